import assert from "node:assert/strict";
import { TransientError } from "../lib/errors.ts";
import type { Flood } from "../lib/consumer/flood_guard.ts";
import { type BatchReport, type FlowObserver, tellAll } from "../lib/consumer/observer.ts";
import { consume } from "../lib/consumer/consumer.ts";
import {
  consumerOptions,
  GROUP,
  MemoryPipeline,
  messageText,
  messageTexts,
} from "./memory_pipeline.ts";

/** Writes down what it is told. */
class Witness implements FlowObserver {
  readonly told: string[] = [];
  readonly reports: BatchReport[] = [];
  ticks = 0;

  ticked(): void {
    this.ticks++;
  }
  assigned(partitions: readonly number[]): void {
    this.told.push(`assigned ${partitions}`);
  }
  placed(partition: number, nextOffset: number): void {
    this.told.push(`placed ${partition} at ${nextOffset}`);
  }
  batchBegan(partition: number): void {
    this.told.push(`began ${partition}`);
  }
  batchEnded(partition: number): void {
    this.told.push(`ended ${partition}`);
  }
  stored(report: BatchReport): void {
    this.told.push(`stored ${report.partition} to ${report.nextOffset}`);
    this.reports.push(report);
  }
  failed(step: string, partitions: readonly number[], error: unknown): void {
    this.told.push(`failed ${step} ${partitions}: ${error}`);
  }
  wentOn(partition: number): void {
    this.told.push(`went on ${partition}`);
  }
  neighboured(owner: string | undefined): void {
    this.told.push(`neighboured: ${owner}`);
  }

  noticed(): void {}

  orphaned(): void {}

  flooded(flood: Flood | undefined): void {
    this.told.push(`flooded: ${flood?.deadLetters}`);
  }
}

async function watch(pipeline: MemoryPipeline, done: () => boolean): Promise<Witness> {
  const witness = new Witness();
  const stop = new AbortController();
  const parts = { ...pipeline.parts(), member: pipeline.kafka.member(GROUP), observer: witness };
  const running = consume(
    parts,
    consumerOptions({ startFrom: { kind: "beginning" }, signal: stop.signal }),
  );
  await pipeline.until("what is waited for", done);
  await pipeline.clock.advance(1_000);
  stop.abort();
  for (let steps = 0; steps < 10; steps++) await pipeline.clock.advance(1_000);
  await running;
  return witness;
}

Deno.test("consume() tells its observer of every step", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, [
    ...messageTexts(1, 3),
    "{",
    "{",
    messageText(1),
    messageText(2, { value: 7 }),
  ]);
  pipeline.kafka.appendControl(0, 2);
  const witness = await watch(pipeline, () => pipeline.store.readings.size === 3);
  assert.deepEqual(witness.told, [
    "assigned 0",
    "placed 0 at 0",
    "began 0",
    "stored 0 to 9",
    "ended 0",
  ]);
  assert(witness.ticks >= 3, `${witness.ticks} ticks`);
  const [report] = witness.reports;
  assert.equal(report?.timestampsMs.length, 7);
  assert.deepEqual(
    { ...report, timestampsMs: [], stageMs: Object.keys(report!.stageMs), storedAtMs: 0 },
    {
      partition: 0,
      nextOffset: 9,
      messages: 7,
      timestampsMs: [],
      inserted: 3,
      duplicates: 1,
      rejections: new Map([["json", 2], ["id_conflict", 1]]),
      skipped: 2,
      stageMs: ["parse", "redis", "store", "mark"],
      storedAtMs: 0,
    },
  );
});

Deno.test("consume() tells its observer when many messages are dead letters", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, [...Array.from({ length: 600 }, () => "{"), ...messageTexts(1, 1)]);
  const witness = await watch(pipeline, () => pipeline.store.readings.size === 1);
  // Each batch has 100 messages, and more than 500 of 1,000 are too many.
  const told = witness.told.filter((what) => what.startsWith("flooded"));
  assert.deepEqual(told, ["flooded: 600", "flooded: 600"]);
});

Deno.test("consume() tells its observer of failures, and of the end of the batch", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 2));
  pipeline.store.failNext("readLedger", new TransientError("away"));
  pipeline.store.failNext("storeBatch", new TransientError("disk full"));
  const witness = await watch(pipeline, () => pipeline.store.readings.size === 2);
  assert.deepEqual(witness.told, [
    "assigned 0",
    "failed placing 0: TransientError: away",
    "went on 0",
    "placed 0 at 0",
    "began 0",
    "failed storing 0: TransientError: disk full",
    "ended 0",
    "placed 0 at 0",
    "began 0",
    "stored 0 to 2",
    "went on 0",
    "ended 0",
  ]);
});

Deno.test("consume() tells its observer that it goes on when a lost answer was a COMMIT", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 2));
  const { store } = pipeline;
  const { storeBatch } = store;
  store.storeBatch = async (batch, way) => {
    await storeBatch(batch, way);
    throw new TransientError("the answer is lost");
  };
  const witness = await watch(pipeline, () => store.readings.size === 2);
  assert.deepEqual(witness.told.slice(2), [
    "began 0",
    "failed storing 0: TransientError: the answer is lost",
    "ended 0",
    "went on 0",
    "placed 0 at 2",
  ]);
});

Deno.test("tellAll() tells each what it wants to hear", () => {
  const witness = new Witness();
  const stored: BatchReport[] = [];
  const all = tellAll([{ stored: (report) => stored.push(report) }, {}, witness]);
  const report: BatchReport = {
    partition: 0,
    nextOffset: 1,
    messages: 0,
    timestampsMs: new Float64Array(),
    inserted: 0,
    duplicates: 0,
    rejections: new Map(),
    skipped: 1,
    stageMs: { parse: 0, redis: 0, store: 0, mark: 0 },
    storedAtMs: 0,
  };
  all.ticked();
  all.assigned([0]);
  all.placed(0, 5);
  all.batchBegan(0);
  all.stored(report);
  all.failed("storing", [0], "x");
  all.wentOn(0);
  all.batchEnded(0);
  all.flooded({ deadLetters: 9, messages: 10, reasons: [] });
  assert.equal(witness.ticks, 1);
  assert.deepEqual(witness.told, [
    "assigned 0",
    "placed 0 at 5",
    "began 0",
    "stored 0 to 1",
    "failed storing 0: x",
    "went on 0",
    "ended 0",
    "flooded: 9",
  ]);
  assert.deepEqual(stored, [report]);
});
