import assert from "node:assert/strict";
import { REPAIR_SENSORS_MAX, repairLastValues } from "../lib/last_values.ts";
import { parseReading } from "../lib/reading.ts";
import { MemoryPipeline, messageText } from "./memory_pipeline.ts";
import { SAMPLE_LIMITS, utf8 } from "./sample_message.ts";

const NEVER = new AbortController().signal;

/** A pipeline whose database holds these messages and whose Redis holds nothing. */
async function stored(texts: readonly string[]): Promise<MemoryPipeline> {
  const pipeline = new MemoryPipeline(1);
  const topic = pipeline.kafka.identity();
  await pipeline.store.openLedgerLine(topic, 0, 0);
  await pipeline.store.storeBatch({
    dataSetId: await pipeline.store.dataSetId(),
    topic,
    partition: 0,
    fromOffset: 0,
    nextOffset: texts.length,
    readings: texts.map((text, offset) => {
      const parsed = parseReading(utf8(text), SAMPLE_LIMITS);
      if (parsed.kind === "rejection") assert.fail(parsed.reason);
      return { offset, reading: parsed.reading, eventTimeUs: parsed.eventTimeUs };
    }),
    duplicates: 0,
    skipped: 0,
    deadLetters: [],
    suspects: [],
  });
  return pipeline;
}

function sensor(number: number): string {
  return `s-${String(number).padStart(5, "0")}`;
}

Deno.test("repairLastValues() writes every sensor, page by page", async () => {
  const count = 2 * REPAIR_SENSORS_MAX + 1;
  const pipeline = await stored(
    Array.from({ length: count }, (_, index) => messageText(index, { sensor_id: sensor(index) })),
  );
  assert.equal(await repairLastValues(pipeline, null, NEVER), count);
  assert.equal(pipeline.cache.lastValues.size, count);
  assert.equal(pipeline.cache.lastComplete, await pipeline.store.dataSetId());
});

Deno.test("repairLastValues() leaves a newer last value alone", async () => {
  const pipeline = await stored([messageText(1, { sensor_id: "a" })]);
  const newer = {
    sensorId: "a",
    eventTimeUs: Date.UTC(2026, 10, 24, 11) * 1_000,
    id: "x",
    text: "newer",
  };
  await pipeline.cache.remember([], [newer]);
  await repairLastValues(pipeline, null, NEVER);
  assert.equal(await pipeline.cache.lastValue("a"), "newer");
});

Deno.test("repairLastValues() forgets the last values of another data set", async () => {
  const pipeline = await stored([messageText(1, { sensor_id: "a" })]);
  const stale = { sensorId: "gone", eventTimeUs: 1, id: "x", text: "stale" };
  await pipeline.cache.remember([], [stale]);
  await repairLastValues(pipeline, "another data set", NEVER);
  assert.deepEqual([...pipeline.cache.lastValues.keys()], ["a"]);
});

Deno.test("repairLastValues() of a sensor named index skips it", async () => {
  const pipeline = await stored([messageText(1, { sensor_id: "index" })]);
  await repairLastValues(pipeline, null, NEVER);
  assert.equal(pipeline.cache.lastValues.size, 0);
  assert.equal(pipeline.cache.lastComplete, await pipeline.store.dataSetId());
});

Deno.test("repairLastValues() that fails on the way rejects, and can be run again", async () => {
  const pipeline = await stored([messageText(1, { sensor_id: "a" })]);
  pipeline.cache.failNext("remember");
  await assert.rejects(repairLastValues(pipeline, null, NEVER), { name: "TransientError" });
  assert.equal(pipeline.cache.lastValues.size, 0);
  assert.equal(await repairLastValues(pipeline, pipeline.cache.lastComplete, NEVER), 1);
  assert.ok(pipeline.cache.lastValues.has("a"));
});

Deno.test("repairLastValues() notices that Redis was emptied on the way", async () => {
  const pipeline = await stored([messageText(1, { sensor_id: "a" })]);
  const { cache } = pipeline;
  const setLastComplete = cache.setLastComplete.bind(cache);
  cache.setLastComplete = async (dataSetId) => {
    await setLastComplete(dataSetId);
    cache.flush();
  };
  await assert.rejects(repairLastValues(pipeline, null, NEVER), { message: /emptied meanwhile/ });
});
