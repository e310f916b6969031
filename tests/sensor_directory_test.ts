import assert from "node:assert/strict";
import { TransientError } from "../lib/errors.ts";
import { SensorDirectory, type SensorQuery } from "../lib/monitor/sensor_directory.ts";
import type { Reading } from "../lib/reading/reading.ts";
import type { LastValue } from "../lib/redis/cache.ts";
import { MemoryCache } from "../lib/redis/memory.ts";
import { FakeClock } from "./fake_clock.ts";
import { sampleFields } from "./sample_message.ts";

const NOW_MS = Date.UTC(2026, 10, 24, 12);
const SENSORS = 10;
const ALL: SensorQuery = { silentAfterMs: 60_000, limit: 100 };

/** `s0` to `s9`; the first three have been silent for 30, 20 and 10 minutes. */
function readingOf(index: number): Reading {
  const ageMs = index < 3 ? (30 - 10 * index) * 60_000 : 1_000;
  return sampleFields({
    sensor_id: `s${index}`,
    sensor_type: index % 2 === 0 ? "co2" : "light",
    timestamp: new Date(NOW_MS - ageMs).toISOString().replace("Z", "000+00:00"),
    value: index,
  }) as unknown as Reading;
}

function lastValueOf(reading: Reading, text = JSON.stringify(reading)): LastValue {
  const eventTimeUs = Date.parse(reading.timestamp) * 1_000;
  return { sensorId: reading.sensor_id, eventTimeUs, id: reading.unique_reading_id, text };
}

async function directory(): Promise<{
  readonly cache: MemoryCache;
  readonly clock: FakeClock;
  readonly directory: SensorDirectory;
}> {
  const clock = new FakeClock(NOW_MS);
  const cache = new MemoryCache({ clock, ttlSeconds: 60 });
  const readings = Array.from({ length: SENSORS }, (_, index) => readingOf(index));
  await cache.remember([], readings.map((reading) => lastValueOf(reading)));
  const store = {
    lastReadings: (after: string, limit: number): Promise<readonly Reading[]> =>
      Promise.resolve(readings.filter(({ sensor_id }) => sensor_id > after).slice(0, limit)),
  };
  return { cache, clock, directory: new SensorDirectory({ cache, store, clock }) };
}

Deno.test("SensorDirectory.page() puts silent sensors first, the longest silent at the top", async () => {
  const { directory: sensors } = await directory();
  const page = await sensors.page(ALL);
  assert.deepEqual(
    page.sensors.map(({ sensorId, isSilent }) => `${sensorId}${isSilent ? " silent" : ""}`),
    ["s0 silent", "s1 silent", "s2 silent", "s3", "s4", "s5", "s6", "s7", "s8", "s9"],
  );
  const { sensors: _, next, ...counts } = page;
  assert.equal(next, undefined);
  assert.deepEqual(counts, {
    total: 10,
    matching: 10,
    silent: 3,
    types: ["co2", "light"],
    source: "redis",
  });
});

Deno.test("SensorDirectory.page() filters", async (t) => {
  const rows: readonly [string, Partial<SensorQuery>, string[]][] = [
    ["by type", { sensorType: "light" }, ["s1", "s3", "s5", "s7", "s9"]],
    ["by a part of the id, in any case", { search: "S7" }, ["s7"]],
    ["by both", { sensorType: "co2", search: "7" }, []],
    ["with a longer patience", { silentAfterMs: 1_500_000, limit: 2 }, ["s0", "s1"]],
  ];
  const { directory: sensors } = await directory();
  for (const [name, query, wanted] of rows) {
    await t.step(name, async () => {
      const page = await sensors.page({ ...ALL, ...query });
      assert.deepEqual(page.sensors.map(({ sensorId }) => sensorId), wanted);
    });
  }
});

Deno.test("SensorDirectory.page() goes on where the page before ended", async () => {
  const { directory: sensors } = await directory();
  const seen: string[] = [];
  let after: SensorQuery["after"];
  for (let pages = 0; pages < 4; pages++) {
    const page = await sensors.page({ ...ALL, after, limit: 4 });
    seen.push(...page.sensors.map(({ sensorId }) => sensorId));
    if (page.next === undefined) break;
    after = page.next;
  }
  assert.deepEqual(seen, Array.from({ length: SENSORS }, (_, index) => `s${index}`));
});

Deno.test("SensorDirectory.page() asks Redis for new values alone", async () => {
  const { cache, clock, directory: sensors } = await directory();
  await sensors.page(ALL);
  const asked: string[] = [];
  const { lastTexts } = cache;
  cache.lastTexts = (ids) => {
    asked.push(...ids);
    return lastTexts.call(cache, ids);
  };
  const newer = { ...readingOf(5), timestamp: "2026-11-24T12:00:00.500000+00:00", value: 99 };
  await cache.remember([], [lastValueOf(newer)]);
  assert.equal((await sensors.page({ ...ALL, search: "s5" })).sensors[0]?.value, 5, "still fresh");
  await clock.advance(1_001);
  assert.equal((await sensors.page({ ...ALL, search: "s5" })).sensors[0]?.value, 99);
  assert.deepEqual(asked, ["s5"]);
});

Deno.test("SensorDirectory.page() leaves out what is no reading", async (t) => {
  const rows: readonly [string, string][] = [
    ["not JSON", "{"],
    ["null", "null"],
    ["a time that is none", JSON.stringify({ ...readingOf(3), timestamp: "yesterday" })],
    ["another sensor's", JSON.stringify(readingOf(4))],
  ];
  for (const [name, text] of rows) {
    await t.step(name, async () => {
      const { cache, directory: sensors } = await directory();
      cache.lastValues.set("s3", lastValueOf(readingOf(3), text));
      const page = await sensors.page(ALL);
      assert.equal(page.total, SENSORS - 1);
      assert(!page.sensors.some(({ sensorId }) => sensorId === "s3"));
    });
  }
});

Deno.test("SensorDirectory.page() asks PostgreSQL while Redis is away", async () => {
  const { cache, clock, directory: sensors } = await directory();
  cache.isAway = true;
  const page = await sensors.page(ALL);
  assert.deepEqual([page.source, page.total, page.silent], ["postgres", 10, 3]);
  cache.isAway = false;
  await clock.advance(5_001);
  assert.equal((await sensors.page(ALL)).source, "redis");
});

Deno.test("SensorDirectory.page() rejects if neither answers, and recovers", async () => {
  const clock = new FakeClock(NOW_MS);
  const cache = new MemoryCache({ clock, ttlSeconds: 60 });
  const store = { lastReadings: () => Promise.reject(new TransientError("PostgreSQL is away")) };
  const sensors = new SensorDirectory({ cache, store, clock });
  cache.isAway = true;
  await assert.rejects(sensors.page(ALL), { name: "TransientError", message: /PostgreSQL/ });
  cache.isAway = false;
  assert.equal((await sensors.page(ALL)).total, 0);
});
