/** Servers that fail in the middle of a drain: the consumer outlives them, and nothing is missing. */
import assert from "node:assert/strict";
import { freePort } from "../../tools/stack/free_ports.ts";
import { startServer, stopServer } from "../../tools/stack/server.ts";
import {
  generate,
  type GeneratedMessage,
  MIXED,
  PLAIN,
} from "../../campaign/generated_messages.ts";
import { pass, Program } from "./processes.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";
import { testServers } from "./test_stack.ts";

const SMALL_BATCHES = { BATCH_MESSAGES_MAX: "100" };
const BATCH_MS = 60;
const STOP_MS = 10_000;
/** How soon rows must come again once the server answers: the longest backoff, and a margin, ms. */
const RESUMED_MS = 5_000;
const OUTAGE_MS = 4_000;
/** More than the consumer needs (200), less than with what is in the topic (200 more), MB. */
const RESIDENT_MB_MAX = 320;

Deno.test("PostgreSQL killed in a drain: the consumer waits in bounded memory and goes on", async () => {
  const [postgres] = (await testServers()).postgres;
  await using pipeline = await RealPipeline.open({ env: SMALL_BATCHES });
  const sent = await pipeline.send(generate(4_000, MIXED, 23).map(padded));
  await pipeline.slowDown(BATCH_MS);
  await using consumer = pipeline.consumer();
  await pipeline.reached(consumer, 500);

  await stopServer(postgres!, "SIGQUIT");
  let residentMbMax = 0;
  try {
    for (let waitedMs = 0; waitedMs < OUTAGE_MS; waitedMs += 100) {
      await pass(100);
      residentMbMax = Math.max(residentMbMax, await consumer.residentMb());
    }
  } finally {
    await startServer(postgres!);
  }
  const before = await pipeline.passed();
  assert.ok(before < sent.length, "killed in the middle");
  const moved = async (): Promise<boolean> => await pipeline.passed() > before;
  await consumer.until("rows come again", moved, RESUMED_MS);
  assert.ok(residentMbMax < RESIDENT_MB_MAX, `${residentMbMax} MB while PostgreSQL was away`);
  await saysOnce(consumer, "PostgreSQL");

  await finish(pipeline, consumer, sent.length);
  await pipeline.assertStored(sent);
});

Deno.test("PostgreSQL sessions ended at random: nothing lost, nothing twice", async () => {
  await using pipeline = await RealPipeline.open({ env: SMALL_BATCHES });
  const sent = await pipeline.send(generate(4_000, MIXED, 29));
  await pipeline.slowDown(BATCH_MS);
  await using consumer = pipeline.consumer();
  for (let step = 1; step <= 5; step++) {
    await pipeline.reached(consumer, step * 500);
    const ended = await pipeline.query(`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()`);
    assert.ok(ended.length > 0, "there was a session");
  }
  await finish(pipeline, consumer, sent.length);
  const { rows } = await pipeline.assertStored(sent);
  assert.deepEqual(await pipeline.lastValueProblems(rows), []);
});

Deno.test("Redis in trouble in a drain: the flow goes on, says so once, and heals", async (t) => {
  const troubles: [string, (pipeline: RealPipeline) => Promise<() => Promise<unknown>>][] = [
    ["killed, and back with nothing", async ({ redis }) => {
      await redis.kill();
      return () => redis.up();
    }],
    ["silent", ({ redis }) => {
      redis.freeze();
      return Promise.resolve(() => Promise.resolve(redis.thaw()));
    }],
    ["out of memory", async ({ redis }) => {
      await redis.cli("CONFIG", "SET", "maxmemory", "1");
      return () => redis.cli("CONFIG", "SET", "maxmemory", "0");
    }],
  ];
  for (const [name, hurt] of troubles) {
    await t.step(name, async () => {
      await using pipeline = await RealPipeline.open({ env: SMALL_BATCHES });
      const sent = await pipeline.send(generate(9_000, MIXED, 31));
      await pipeline.slowDown(BATCH_MS);
      await using consumer = pipeline.consumer();
      await pipeline.reached(consumer, 1_000);
      const heal = await hurt(pipeline);
      try {
        await pipeline.reached(consumer, 3_000);
      } finally {
        await heal();
      }
      await saysOnce(consumer, "Redis");
      await finishHealed(pipeline, consumer, sent.length);
      await pipeline.assertStored(sent);
    });
  }
});

Deno.test("no Redis at all from the start: every reading is stored", async () => {
  await using pipeline = await RealPipeline.open();
  await pipeline.redis.kill();
  const sent = await pipeline.send(generate(1_000, MIXED, 37));
  await pipeline.run("run", "--until-end");
  await pipeline.assertStored(sent);
});

Deno.test("the broker killed in a drain: the consumer joins again, and nothing is missing", async () => {
  const [broker] = (await testServers()).kafka;
  await using pipeline = await RealPipeline.open({ env: SMALL_BATCHES });
  const sent = await pipeline.send(generate(6_000, PLAIN, 41));
  await pipeline.slowDown(BATCH_MS);
  // With its pages, for they look at the brokers once a second.
  await using consumer = pipeline.consumer(["run"], { HTTP_PORT: String(freePort()) });
  await pipeline.reached(consumer, 1_000);
  await stopServer(broker!, "SIGKILL");
  await startServer(broker!);
  await saysOnce(consumer, "Kafka");
  await finish(pipeline, consumer, sent.length);
  await pipeline.assertStored(sent);
});

/** One line says that the server went, since when and why, and one that it is back: no others. */
async function saysOnce(consumer: Program, server: string): Promise<void> {
  const isBack = (): boolean => consumer.said(new RegExp(`^${server} is back after \\d`)) > 0;
  await consumer.until(`${server} is back`, isBack, DONE_MS);
  const told = consumer.log.map(({ message }) => message)
    // On a machine with much to do, others can be too slow meanwhile.
    .filter((message) => /^waiting|^going on/.test(message) || message.startsWith(server));
  assert.equal(told.length, 2, consumer.stderr);
  const since = "has (not answered|been left out) since \\d\\d:\\d\\d:\\d\\d: .";
  assert.match(told[0]!, new RegExp(`^${server} at 127\\.0\\.0\\.1:\\d+ \\([A-Z_, ]+\\) ${since}`));
}

/** With a long field that no row keeps: so that what is in the topic would fill the memory. */
function padded(message: GeneratedMessage): GeneratedMessage {
  if (message.truth.kind === "bad") return message;
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(message.value!);
  const padding = `,"padding":"${"x".repeat(50_000)}"}`;
  return { ...message, value: new TextEncoder().encode(text.replace(/\}$/, padding)) };
}

/**
 * Lets the rest be stored without delay, waits until the group has no lag, and stops the consumer.
 * A commit that failed with a server is sent again although no more messages come.
 */
async function finish(
  pipeline: RealPipeline,
  consumer: Program,
  messages: number,
): Promise<void> {
  await pipeline.slowDown(0);
  await pipeline.reached(consumer, messages);
  // A broker that was killed answers some questions later than others.
  const lag = (): Promise<number> => pipeline.groupLag().catch(() => Infinity);
  const isCommitted = async (): Promise<boolean> => await lag() === 0;
  await consumer.until("the group has no lag", isCommitted, DONE_MS);
  consumer.signal("SIGTERM");
  await consumer.succeeded(STOP_MS);
}

/** As {@linkcode finish}, after the last values are whole again. */
async function finishHealed(
  pipeline: RealPipeline,
  consumer: Program,
  messages: number,
): Promise<void> {
  const isHealed = async (): Promise<boolean> => {
    const { rows } = await pipeline.stored();
    return (await pipeline.lastValueProblems(rows)).length === 0;
  };
  await pipeline.reached(consumer, messages);
  await consumer.until("the last values are whole again", isHealed, DONE_MS);
  await finish(pipeline, consumer, messages);
}
