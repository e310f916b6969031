import assert from "node:assert/strict";
import type { MemoryMember } from "../fakes/group_member.ts";
import { BatchSize } from "../lib/consumer/batch_size.ts";
import type { ConsumerParts } from "../lib/consumer/consumer.ts";
import { TooMuchError } from "../lib/errors.ts";
import { MemoryPipeline, messageTexts } from "./memory_pipeline.ts";

const LIMIT_MS = 8_000;

/** Stores `batches` full batches with a database that takes so long; returns the failures. */
function work(
  size: BatchSize,
  batches: number,
  msOf: (messages: number) => number,
): number {
  let failures = 0;
  for (let batch = 0; batch < batches; batch++) {
    const tookMs = Math.min(LIMIT_MS, msOf(size.messages));
    if (tookMs < LIMIT_MS) size.wasStored(size.messages, tookMs);
    else {
      size.wasTooMuch(size.messages, tookMs);
      failures++;
    }
  }
  return failures;
}

Deno.test("BatchSize halves down to one message, and no further", () => {
  const size = new BatchSize(10);
  const seen: number[] = [];
  for (let tries = 0; tries < 6; tries++) {
    seen.push(size.messages);
    size.wasTooMuch(size.messages, LIMIT_MS);
  }
  assert.deepEqual(seen, [10, 5, 2, 1, 1, 1]);
});

Deno.test("BatchSize halves what was tried, if that was less than might be", () => {
  const size = new BatchSize(5_000);
  size.wasTooMuch(300, LIMIT_MS);
  assert.equal(size.messages, 150);
  assert(!size.isWhole);
});

Deno.test("BatchSize stays at what a slow database can do, and hardly ever tries more", () => {
  const size = new BatchSize(5_000);
  // 1,600 messages in the time that there is.
  const failures = work(size, 1_000, (messages) => messages * 5);
  assert.equal(failures, 2 + Math.floor((1_000 - 2) / 65));
  assert.equal(size.messages, 1_250);
});

Deno.test("BatchSize is back soon when a lock is gone that many tries waited for", () => {
  const size = new BatchSize(5_000);
  work(size, 20, () => LIMIT_MS);
  assert.equal(size.messages, 1);
  assert.equal(work(size, 13, (messages) => 5 + messages * 0.02), 0);
  assert(size.isWhole);
  assert.equal(size.messages, 5_000);
});

Deno.test("BatchSize is whole again after a statement that somebody cancelled early", () => {
  const size = new BatchSize(5_000);
  size.wasTooMuch(5_000, 10);
  assert.equal(work(size, 64, () => 100), 0);
  assert(size.isWhole);
});

Deno.test("BatchSize learns nothing from batches that are not full", () => {
  const size = new BatchSize(1_000);
  size.wasTooMuch(1_000, LIMIT_MS);
  for (let batch = 0; batch < 1_000; batch++) size.wasStored(3, 1);
  assert.equal(size.messages, 500);
});

/** A database that needs so long for a message, and gives a statement up after a second. */
function slowStore(pipeline: MemoryPipeline, msOf: () => number): {
  readonly wrap: (parts: ConsumerParts & { member: MemoryMember }) => ConsumerParts;
  readonly tried: number[];
} {
  const tried: number[] = [];
  const { store, clock } = pipeline;
  const storeBatch: ConsumerParts["store"]["storeBatch"] = async (batch, way) => {
    const messages = batch.nextOffset - batch.fromOffset;
    tried.push(messages);
    const tookMs = messages * msOf();
    await clock.sleep(Math.min(tookMs, 1_000));
    if (tookMs >= 1_000) throw new TooMuchError("Cannot store: canceled (SQLSTATE 57014)");
    return await store.storeBatch(batch, way);
  };
  return { tried, wrap: (parts) => ({ ...parts, store: { ...store, storeBatch } }) };
}

Deno.test("consume() halves batches that are too much for the database, and grows them again", async () => {
  const pipeline = new MemoryPipeline(1);
  let msPerMessage = 30;
  const { tried, wrap } = slowStore(pipeline, () => msPerMessage);
  pipeline.append(0, messageTexts(0, 200));
  const consumer = pipeline.start({ batchMessagesMax: 100 }, wrap);
  await pipeline.until("all is stored", () => pipeline.store.readings.size === 200);
  assert.deepEqual(tried.slice(0, 4), [100, 50, 25, 25]);
  assert.deepEqual(tried.slice(4).filter((messages) => messages > 25), []);
  msPerMessage = 0.1;
  pipeline.append(0, messageTexts(200, 500));
  await pipeline.until("it grows", () => pipeline.store.readings.size === 700);
  assert.equal(Math.max(...tried.slice(-2)), 100);
  await pipeline.stop(consumer);
  assert.equal(pipeline.logged.filter((line) => line.includes("too large")).length, 1);
});

Deno.test("consume() halves the batches of one partition and leaves the others as they are", async () => {
  const pipeline = new MemoryPipeline(2);
  const { store } = pipeline;
  const tried: [number, number][] = [];
  const wrap = (parts: ConsumerParts & { member: MemoryMember }): ConsumerParts => ({
    ...parts,
    store: {
      ...store,
      storeBatch: (batch, way) => {
        const messages = batch.nextOffset - batch.fromOffset;
        tried.push([batch.partition, messages]);
        if (batch.partition === 1 && messages > 10) throw new TooMuchError("too much");
        return store.storeBatch(batch, way);
      },
    },
  });
  for (const partition of [0, 1]) pipeline.append(partition, messageTexts(partition * 60, 60));
  const consumer = pipeline.start({ batchMessagesMax: 40 }, wrap);
  await pipeline.until("all is stored", () => store.readings.size === 120);
  await pipeline.stop(consumer);
  assert.deepEqual(tried.filter(([partition]) => partition === 0), [[0, 40], [0, 20]]);
});
