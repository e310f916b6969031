import assert from "node:assert/strict";
import {
  type PartitionStatus,
  RATE_SAMPLE_MS,
  readStatus,
  type Status,
  statusText,
} from "../lib/status.ts";
import { GROUP, MemoryPipeline, messageText, messageTexts } from "./memory_pipeline.ts";
import { utf8 } from "./sample_message.ts";

async function statusOf(pipeline: MemoryPipeline): Promise<Status> {
  const { store, clock } = pipeline;
  const reading = readStatus({ member: pipeline.kafka.member(GROUP), store, clock });
  await pipeline.clock.advance(RATE_SAMPLE_MS);
  return await reading;
}

Deno.test("readStatus() of an untouched topic", async () => {
  const pipeline = new MemoryPipeline(1);
  const status = await statusOf(pipeline);
  assert.deepEqual(
    [status.lagMessages, status.lagSeconds, status.ratePerSecond],
    [0, 0, 0],
  );
  assert.equal(status.partitions[0]?.next, null);
});

Deno.test("readStatus() tells the lag in messages and the age of the oldest one", async () => {
  const pipeline = new MemoryPipeline(2);
  const nowMs = pipeline.clock.now();
  const aged = (number: number, seconds: number) => ({
    key: null,
    value: utf8(messageText(number)),
    timestampMs: nowMs - seconds * 1_000,
  });
  pipeline.append(0, [aged(1, 900), aged(2, 100), aged(3, 10)]);
  pipeline.append(1, [aged(4, 5)]);
  const topic = pipeline.kafka.identity();
  await pipeline.store.openLedgerLine(topic, 0, 1);
  await pipeline.store.openLedgerLine(topic, 1, 1);
  const status = await statusOf(pipeline);
  assert.equal(status.lagMessages, 2);
  // The sample takes a second, and ages are found to half a second.
  assert.ok(Math.abs(status.lagSeconds! - 101) <= 1, `${status.lagSeconds}`);
  assert.deepEqual(status.partitions.map((one) => one.lagMessages), [2, 0]);
  assert.equal(status.partitions[1]?.lagSeconds, 0);
});

Deno.test("readStatus() tells what open transactions hold back beside the lag", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 2));
  pipeline.kafka.transactionalProducer().append(0, [{ key: null, value: utf8(messageText(3)) }]);
  pipeline.append(0, messageTexts(4, 5));
  const status = await statusOf(pipeline);
  const [{ lagMessages, end, heldBack }] = status.partitions as [PartitionStatus];
  assert.deepEqual([lagMessages, end, heldBack], [2, 2, { offset: 2, messages: 6 }]);
  assert.match(
    statusText(status),
    /\npartition 0: 6 messages wait behind a transaction that has been open since offset 2$/,
  );
});

Deno.test("readStatus() measures the rate while it waits", async () => {
  const pipeline = new MemoryPipeline(1);
  const consumer = pipeline.start();
  await pipeline.clock.advance(1_000);
  const { store, clock } = pipeline;
  const reading = readStatus({ member: pipeline.kafka.member("other"), store, clock });
  await pipeline.clock.advance(100);
  pipeline.append(0, messageTexts(1, 40));
  await pipeline.clock.advance(RATE_SAMPLE_MS);
  assert.equal((await reading).ratePerSecond, 40);
  await pipeline.stop(consumer);
});

Deno.test("readStatus() tells of a partition without a leader what can be told", async () => {
  const pipeline = new MemoryPipeline(2);
  pipeline.append(0, messageTexts(1, 3));
  pipeline.append(1, messageTexts(11, 3));
  await pipeline.store.openLedgerLine(pipeline.kafka.identity(), 1, 2);
  pipeline.kafka.setLeader(1, "none");
  const status = await statusOf(pipeline);
  assert.deepEqual([status.lagMessages, status.lagSeconds], [null, null]);
  const { next, end, lagMessages, offline } = status.partitions[1]!;
  assert.deepEqual([next, end, lagMessages, offline], [2, null, null, "no broker leads it"]);
  const text = statusText(status);
  assert.match(text, /^lag at least 3 messages, \d+ s; storing/m);
  assert.match(text, /^ +1 +2 +- +- +- /m);
  assert.match(text, /partition 1 cannot be read or written: no broker leads it; start its broker/);
  pipeline.kafka.setLeader(0, "none");
  assert.match(statusText(await statusOf(pipeline)), /^lag not known; storing/m);
});

Deno.test("statusText() is a table", async () => {
  const pipeline = new MemoryPipeline(1);
  await pipeline.store.openLedgerLine(pipeline.kafka.identity(), 0, 0);
  const text = statusText(await statusOf(pipeline));
  assert.match(text, /^topic readings \(/);
  assert.match(text, /lag 0 messages, 0 s; storing 0 messages\/s/);
  const [head, row] = text.split("\n").slice(-2);
  assert.equal(
    head?.length,
    "partition  next  end  lag  lag s  inserted  duplicates  dead letters  skipped  gaps".length,
  );
  assert.match(row!, /^ +0 +0 +0 +0 +0 /);
});
