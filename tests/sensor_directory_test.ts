import assert from "node:assert/strict";
import { MemoryCache } from "../fakes/cache.ts";
import { TransientError } from "../lib/errors.ts";
import { SensorDirectory } from "../lib/monitor/sensor_directory.ts";
import type { SensorQuery } from "../lib/monitor/sensor_pages.ts";
import type { Reading } from "../lib/reading/reading.ts";
import type { LastValue } from "../lib/redis/cache.ts";
import { NO_MARKS } from "../lib/redis/marks.ts";
import { ours } from "./contracts/cache.ts";
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
  await cache.remember(NO_MARKS, ours(readings.map((reading) => lastValueOf(reading))));
  const store = {
    lastReadings: (after: string, limit: number): Promise<readonly Reading[]> =>
      Promise.resolve(readings.filter(({ sensor_id }) => sensor_id > after).slice(0, limit)),
  };
  return { cache, clock, directory: new SensorDirectory({ cache, store, clock }) };
}

Deno.test("SensorDirectory.page() puts silent sensors first, the longest silent at the top", async () => {
  const { directory: sensors, clock } = await directory();
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
    measuredAtMs: clock.now(),
  });
  await clock.advance(500);
  const { measuredAtMs } = await sensors.page(ALL);
  assert.equal(measuredAtMs, clock.now() - 500, "it was not asked again");
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

Deno.test("SensorDirectory.page() asks Redis for the new values of the page alone", async (t) => {
  const { cache, clock, directory: sensors } = await directory();
  await sensors.page(ALL);
  const asked: string[] = [];
  const { lastTexts } = cache;
  cache.lastTexts = (ids) => {
    asked.push(...ids);
    return lastTexts.call(cache, ids);
  };
  const newer = (index: number): LastValue =>
    lastValueOf({
      ...readingOf(index),
      timestamp: "2026-11-24T12:00:00.500000+00:00",
      value: 90 + index,
    });
  await cache.remember(NO_MARKS, ours([newer(2), newer(5)]));
  const valueOfS5 = async (): Promise<number | undefined> =>
    (await sensors.page({ ...ALL, search: "s5" })).sensors[0]?.value;
  await t.step("still fresh", async () => assert.equal(await valueOfS5(), 5));
  await t.step("a second later", async () => {
    await clock.advance(1_001);
    assert.equal(await valueOfS5(), 95);
    assert.deepEqual(asked, ["s5"]);
  });
  await t.step("a sensor that is on no page reports again, too", async () => {
    assert.equal((await sensors.page({ ...ALL, search: "s5" })).silent, 0);
    assert.equal((await sensors.page({ ...ALL, limit: 1 })).silent, 2);
    assert.deepEqual(asked, ["s5"]);
  });
  await t.step("Redis goes away in between: the value before stays", async () => {
    cache.failNext("lastTexts");
    cache.lastTexts = lastTexts;
    assert.equal((await sensors.page({ ...ALL, search: "s2" })).sensors[0]?.value, 2);
    assert.equal((await sensors.page({ ...ALL, search: "s2" })).sensors[0]?.value, 92);
  });
});

Deno.test("SensorDirectory.page() notices sensors that come and go", async () => {
  const { cache, clock, directory: sensors } = await directory();
  await sensors.page(ALL);
  cache.lastValues.delete("s4");
  await cache.remember(NO_MARKS, ours([lastValueOf({ ...readingOf(5), sensor_id: "s35" })]));
  await clock.advance(1_001);
  const page = await sensors.page(ALL);
  assert.deepEqual(
    page.sensors.map(({ sensorId }) => sensorId),
    ["s0", "s1", "s2", "s3", "s35", "s5", "s6", "s7", "s8", "s9"],
  );
});

Deno.test("SensorDirectory.page() shows each of 10,000 sensors once while all report", async () => {
  const { cache, clock, directory: sensors } = await directory();
  const reading = readingOf(5);
  const many = (value: number): LastValue[] => {
    const timestamp = new Date(clock.now()).toISOString();
    return Array.from({ length: 10_000 }, (_, index) => {
      const sensor_id = `many-${(index * 7_919) % 10_000}`;
      return lastValueOf({ ...reading, sensor_id, timestamp, value });
    });
  };
  let value = 0;
  const seen = new Set<string>();
  let after: SensorQuery["after"];
  for (let pages = 1; pages <= 20; pages++) {
    if (pages % 5 === 1) await cache.remember(NO_MARKS, ours(many(++value)));
    await clock.advance(1_001);
    const page = await sensors.page({ ...ALL, search: "many", after, limit: 500 });
    assert.equal(page.sensors.length, 500);
    for (const sensor of page.sensors) {
      assert.equal(sensor.value, value);
      seen.add(sensor.sensorId);
    }
    after = page.next;
  }
  assert.equal(after, undefined);
  assert.equal(seen.size, 10_000);
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
