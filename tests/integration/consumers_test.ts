/** Consumers that come and go in the middle of a drain: killed, stopped, several in one group. */
import assert from "node:assert/strict";
import { generate, MIXED, seeded } from "../../campaign/generated_messages.ts";
import { pass, Program } from "./processes.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";

/** So small, and so slow, that a drain takes seconds and a signal meets it in its middle. */
const SMALL_BATCHES = { BATCH_MESSAGES_MAX: "100" };
const BATCH_MS = 100;
/**
 * So slow that a group can be joined and left in the middle of a drain; so fast that a stop can wait
 * for a batch that waits for another partition's, because both hold the same reading.
 */
const REBALANCE_BATCH_MS = 1_000;

const KILLS = 3;
/** A stop may take this long by promise, ms. */
const STOP_MS = 10_000;

Deno.test("main_consumer.ts killed with -9 and started again loses and doubles nothing", async () => {
  const seed = 7;
  const random = seeded(seed);
  await using pipeline = await RealPipeline.open({ env: SMALL_BATCHES });
  const sent = await pipeline.send(generate(9_000, MIXED, seed));
  await pipeline.slowDown(BATCH_MS);
  for (let kill = 1; kill <= KILLS; kill++) {
    await using consumer = pipeline.consumer();
    const target = Math.floor(sent.length * (kill - 0.5) / (KILLS + 1));
    await pipeline.reached(consumer, target);
    await pass(random() * 2 * BATCH_MS);
    consumer.signal("SIGKILL");
    await consumer.ended(STOP_MS);
    assert.ok(await pipeline.passed() < sent.length, "killed in the middle");
  }
  await pipeline.slowDown(0);
  await pipeline.run("run", "--until-end");
  const { rows } = await pipeline.assertStored(sent);
  assert.deepEqual(await pipeline.lastValueProblems(rows), []);
  assert.equal(await pipeline.groupLag(), 0);
});

Deno.test("main_consumer.ts stops on SIGTERM in the middle: exit code 0, commits as the ledger", async () => {
  await using pipeline = await RealPipeline.open({ env: SMALL_BATCHES });
  const sent = await pipeline.send(generate(6_000, MIXED, 11));
  await pipeline.slowDown(BATCH_MS);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    await using consumer = pipeline.consumer();
    await pipeline.reached(consumer, await pipeline.passed() + 1_000);
    consumer.signal(signal);
    await consumer.succeeded(STOP_MS);
    const passed = await pipeline.passed();
    assert.ok(passed < sent.length, "stopped in the middle");
    assert.equal(await pipeline.groupLag(), sent.length - passed);
  }
  await pipeline.slowDown(0);
  await pipeline.run("run", "--until-end");
  await pipeline.assertStored(sent);
});

Deno.test("main_consumer.ts shares a topic with others that join and leave", async () => {
  await using pipeline = await RealPipeline.open({ env: SMALL_BATCHES, partitions: 4 });
  const sent = await pipeline.send(generate(12_000, MIXED, 13));
  await pipeline.slowDown(BATCH_MS);
  await using first = pipeline.consumer(["run", "--until-end"]);
  await pipeline.reached(first, 1_000);
  await pipeline.slowDown(REBALANCE_BATCH_MS);
  await using second = pipeline.consumer(["run", "--until-end"]);
  await second.until("it has partitions", () => hasPartitions(second), STOP_MS);
  await pipeline.slowDown(BATCH_MS);
  await pipeline.reached(second, 4_000);
  await pipeline.slowDown(REBALANCE_BATCH_MS);

  first.signal("SIGTERM");
  await first.succeeded(STOP_MS);
  await using third = pipeline.consumer(["run", "--until-end"]);
  await third.until("it has partitions", () => hasPartitions(third), STOP_MS);
  assert.ok(await pipeline.passed() < sent.length, "all of it in the middle of the drain");
  await pipeline.slowDown(0);

  await Promise.all([second.succeeded(DONE_MS), third.succeeded(DONE_MS)]);
  const { rows } = await pipeline.assertStored(sent);
  assert.deepEqual(await pipeline.lastValueProblems(rows), []);
  assert.equal(await pipeline.groupLag(), 0);
});

function hasPartitions(consumer: Program): boolean {
  return consumer.log.some((line) =>
    line.message === "partitions assigned" && line.partitions !== ""
  );
}
