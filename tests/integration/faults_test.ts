/** Servers that fail in the middle of a drain: the consumer outlives them, and nothing is missing. */
import assert from "node:assert/strict";
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
  const troubles = consumer.log.map(({ message }) => message)
    .filter((message) => message.startsWith("waiting: "));
  assert.ok(troubles.length > 0, consumer.stderr);
  assert.equal(new Set(troubles).size, troubles.length, `each is said once: ${consumer.stderr}`);
  const ended = consumer.log.filter(({ message }) => message === "going on")
    .map(({ after }) => `waiting: ${after}`);
  assert.ok(ended.length > 0, consumer.stderr);
  assert.equal(new Set(ended).size, ended.length, `each end is said once: ${consumer.stderr}`);
  assert.deepEqual(ended.filter((trouble) => !troubles.includes(trouble)), []);

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
      const isBack = (): boolean => consumer.said("Redis writes are used again") > 0;
      await consumer.until("Redis writes are used again", isBack, DONE_MS);
      await finishHealed(pipeline, consumer, sent.length);
      assert.equal(consumer.said(/^Redis writes bypassed/), 1, consumer.stderr);
      assert.equal(consumer.said("Redis writes are used again"), 1, consumer.stderr);
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
  await using consumer = pipeline.consumer();
  await pipeline.reached(consumer, 1_000);
  await stopServer(broker!, "SIGKILL");
  await startServer(broker!);
  await finish(pipeline, consumer, sent.length);
  await pipeline.assertStored(sent);
});

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
