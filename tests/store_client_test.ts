import assert from "node:assert/strict";
import { readingRows } from "../fakes/reading_rows.ts";
import { TransientError } from "../lib/errors.ts";
import { storeOn } from "../lib/postgres/client.ts";
import type { SqlPool } from "../lib/postgres/pool.ts";
import type { BatchToStore } from "../lib/postgres/store.ts";

/** A pool on which every statement fails. */
function failingPool(error: Error): SqlPool {
  const query = (): Promise<never> => Promise.reject(error);
  return { query, transaction: query, close: () => Promise.resolve() };
}

const BATCH: BatchToStore = {
  dataSetId: "00112233-4455-6677-8899-aabbccddeeff",
  topic: { clusterId: "c", topic: "t", topicId: "i" },
  partition: 3,
  fromOffset: 10,
  nextOffset: 11,
  readings: readingRows([]),
  duplicates: 0,
  skipped: 1,
  deadLetters: [],
  suspects: [],
  fromEpoch: 0,
  nextEpoch: 0,
};

Deno.test("storeBatch() takes only what does not fit its column for a row's data", async (t) => {
  const reading = {
    unique_reading_id: "00112233-4455-6677-8899-aabbccddeeff",
    sensor_id: "s-1",
    sensor_type: "temperature",
    location: { latitude: 1, longitude: 2 },
    timestamp: "2026-01-01T00:00:00+00:00",
    value: 3,
    unit: "C",
    status: "OK",
    battery_level: 2 ** 40,
  };
  const unfit = { ...BATCH, readings: readingRows([{ offset: 10, reading, eventTimeUs: 0 }]) };
  const overflow = new RangeError("Maximum call stack size exceeded");
  const cases: [name: string, batch: BatchToStore, thrown: Error, want: string, text: RegExp][] = [
    ["an integer of 41 bits", unfit, overflow, "RowDataError", /^Cannot store offsets 10 to 11/],
    ["a full stack", BATCH, overflow, "RangeError", /stack/],
    ["an array too long", BATCH, new RangeError("Invalid array length"), "RangeError", /array/],
    ["a server away", BATCH, new TransientError("away"), "TransientError", /away/],
  ];
  for (const [name, batch, thrown, want, text] of cases) {
    await t.step(name, async () => {
      const store = storeOn(failingPool(thrown));
      for (const way of ["copy", "compare"] as const) {
        await assert.rejects(store.storeBatch(batch, way), { name: want, message: text });
      }
    });
  }
});
