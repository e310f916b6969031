import assert from "node:assert/strict";
import { readingColumns } from "../fakes/reading_rows.ts";
import { BROKEN_MESSAGES } from "../lib/producer/broken_messages.ts";
import type { ParsedReading } from "../lib/reading/reading.ts";
import { parseReading } from "../lib/reading/reading.ts";
import type { Rejection } from "../lib/reading/rejection.ts";
import {
  simulate,
  type SimulatedMessage,
  type SimulatorOptions,
} from "../lib/producer/simulator.ts";
import { FakeClock } from "./fake_clock.ts";

const START_MS = Date.UTC(2026, 10, 24, 10);
const NOTHING_SPECIAL = { bad: 0, late: 0, duplicate: 0, conflict: 0 };
const EVERYTHING = { bad: 0.1, late: 0.1, duplicate: 0.2, conflict: 0.05 };

function options(some: Partial<SimulatorOptions> = {}): SimulatorOptions {
  return {
    clock: new FakeClock(START_MS),
    seed: 7,
    sensors: 30,
    ratios: NOTHING_SPECIAL,
    ...some,
  };
}

function take(count: number, some: Partial<SimulatorOptions> = {}): SimulatedMessage[] {
  return simulate(options(some)).take(count).toArray();
}

function parse(
  message: Pick<SimulatedMessage, "value">,
  nowMs = START_MS,
): ParsedReading | Rejection {
  return parseReading(message.value, {
    nowMs,
    futureSkewSecondsMax: 3_600,
    pastDaysMax: 3_650,
  });
}

function parsed(message: SimulatedMessage, nowMs = START_MS): ParsedReading {
  const result = parse(message, nowMs);
  assert(result.kind === "reading", `${JSON.stringify(result)}: ${textOf(message)}`);
  return result;
}

function textOf(message: SimulatedMessage): string {
  return new TextDecoder().decode(message.value!);
}

Deno.test("simulate() gives the same messages for the same seed and clock", () => {
  const first = take(2_000, { ratios: EVERYTHING });
  assert.deepEqual(take(2_000, { ratios: EVERYTHING }), first);
  assert.notDeepEqual(take(2_000, { ratios: EVERYTHING, seed: 8 }), first);
});

Deno.test("simulate() keeps its sensors from run to run, and never an id", async (t) => {
  const first = take(500);
  const idsOf = (messages: SimulatedMessage[]): Set<string> =>
    new Set(messages.map((message) => parsed(message).reading.unique_reading_id));
  const placesOf = (messages: SimulatedMessage[]): string[] => {
    const places = messages.map((message) => parsed(message).reading)
      .map(({ sensor_id, sensor_type, location, unit }) =>
        JSON.stringify({ sensor_id, sensor_type, location, unit })
      );
    return [...new Set(places)].sort();
  };
  assert.equal(placesOf(first).length, 30);
  const others: readonly [name: string, some: Partial<SimulatorOptions>][] = [
    ["at another time", { clock: new FakeClock(START_MS + 1) }],
    ["with another salt", { salt: 1 }],
  ];
  for (const [name, some] of others) {
    await t.step(name, () => {
      const other = take(500, some);
      assert.deepEqual(placesOf(other), placesOf(first));
      assert.equal(idsOf(first).union(idsOf(other)).size, 1_000);
    });
  }
});

Deno.test("simulate() makes readings that the contract accepts, keyed by their sensor", () => {
  for (const message of take(20_000)) {
    const { reading } = parsed(message);
    assert.equal(message.kind, "reading");
    assert.equal(message.key, reading.sensor_id);
    assert.match(
      reading.unique_reading_id,
      /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    assert.match(reading.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/);
    assert.equal(textOf(message), JSON.stringify(reading), "compact, fields in the usual order");
  }
});

Deno.test("simulate() writes the clock's time into timestamp and id", async () => {
  const clock = new FakeClock(START_MS);
  const messages = simulate(options({ clock }));
  for (const waitMs of [0, 1, 1_000, 86_400_000]) {
    await clock.advance(waitMs);
    const { reading, eventTimeUs } = parsed(messages.next().value, clock.now());
    assert.equal(Math.floor(eventTimeUs / 1_000), clock.now());
    const idMs = parseInt(reading.unique_reading_id.replace("-", "").slice(0, 12), 16);
    assert.equal(idMs, clock.now());
  }
});

Deno.test("simulate() gives every reading a time of its own while the clock stands still", () => {
  const times = take(5_000).map((message) => parsed(message).eventTimeUs);
  times.reduce((before, time) => {
    assert(time > before, `${time} follows ${before}`);
    return time;
  });
});

Deno.test("simulate() keeps every kind of sensor in its range, moving", async (t) => {
  const ranges: readonly [type: string, unit: string, min: number, max: number][] = [
    ["temperature", "C", -10, 50],
    ["humidity", "%", 0, 100],
    ["pressure", "hPa", 900, 1_100],
    ["light", "lux", 0, 1_000],
    ["motion", "bool", 0, 1],
    ["co2", "ppm", 300, 2_000],
  ];
  const clock = new FakeClock(START_MS - 2 * 86_400_000);
  const messages = simulate(options({ clock, sensors: 12 }));
  const readings: ParsedReading["reading"][] = [];
  for (let at = 0; at < 5_760; at++) {
    await clock.advance(30_000); // Two days.
    readings.push(parsed(messages.next().value).reading);
  }
  assert.deepEqual(
    new Set(readings.map(({ sensor_type }) => sensor_type)),
    new Set(ranges.map(([type]) => type)),
  );
  for (const [type, unit, min, max] of ranges) {
    await t.step(type, () => {
      const own = readings.filter(({ sensor_type }) => sensor_type === type);
      const values = own.map(({ value }) => value);
      assert(values.every((value) => value >= min && value <= max));
      assert(own.every((reading) => reading.unit === unit));
      assert(new Set(values).size >= (type === "motion" ? 2 : 100), "it does not move");
    });
  }
  const statuses = Map.groupBy(readings, ({ status }) => status);
  assert(statuses.get("active")!.length > 0.9 * readings.length);
  assert.deepEqual([...statuses.keys()].sort(), ["active", "error", "inactive"]);
});

Deno.test("simulate() drains batteries and has them changed", () => {
  const levels = take(60_000, { sensors: 1 }).map((message) =>
    parsed(message).reading.battery_level
  );
  let drops = 0;
  let changes = 0;
  levels.reduce((before, level) => {
    if (level === before - 1) drops++;
    else if (level > before) changes++;
    else assert.equal(level, before);
    return level;
  });
  assert(drops > 50 && changes >= 1, `${drops} drops, ${changes} changes`);
});

Deno.test("simulate() keeps its ratios", async (t) => {
  const messages = take(20_000, { ratios: EVERYTHING });
  const kinds = Map.groupBy(messages, ({ kind }) => kind);
  for (const [kind, ratio] of Object.entries({ ...EVERYTHING, reading: 0.55 })) {
    await t.step(kind, () => {
      const part = (kinds.get(kind as SimulatedMessage["kind"]) ?? []).length / messages.length;
      assert(Math.abs(part - ratio) < 0.015, `${part} instead of ${ratio}`);
    });
  }
  await t.step("of one kind only", () => {
    assert(
      take(1_000, { ratios: { ...NOTHING_SPECIAL, bad: 1 } }).every(({ kind }) => kind === "bad"),
    );
  });
});

Deno.test("simulate() labels every message with what it is", () => {
  const seen = new Map<string, { message: SimulatedMessage; reading: ParsedReading }>();
  let backwardMs = 0;
  for (const message of take(20_000, { ratios: EVERYTHING })) {
    if (message.kind === "bad") {
      assert.equal(parse(message).kind, "rejection");
      continue;
    }
    const reading = parsed(message);
    const id = reading.reading.unique_reading_id;
    const earlier = seen.get(id);
    if (message.kind === "duplicate") {
      assert.deepEqual(message.value, earlier!.message.value);
      assert.equal(message.key, earlier!.message.key);
    } else if (message.kind === "conflict") {
      const both = [reading, earlier!.reading].map((one) => ({ offset: 0, ...one }));
      assert(!readingColumns(both).hasSameContent(0, 1));
      // The same partition, so that the original comes first.
      assert.equal(message.key, earlier!.message.key);
    } else {
      assert.equal(earlier, undefined, "an id twice");
      seen.set(id, { message, reading });
      const lateMs = START_MS - reading.eventTimeUs / 1_000;
      assert.equal(lateMs > 50_000, message.kind === "late");
      backwardMs = Math.max(backwardMs, lateMs);
    }
  }
  assert(backwardMs > 5 * 3_600_000, "nothing is hours late");
});

Deno.test("simulate() refuses what it cannot simulate", async (t) => {
  const cases: readonly [name: string, some: Partial<SimulatorOptions>][] = [
    ["no sensor", { sensors: 0 }],
    ["too many sensors", { sensors: 100_001 }],
    ["part of a sensor", { sensors: 1.5 }],
    ["a negative ratio", { ratios: { ...NOTHING_SPECIAL, late: -0.1 } }],
    ["a ratio that is no number", { ratios: { ...NOTHING_SPECIAL, late: NaN } }],
    ["ratios above 1", { ratios: { bad: 0.5, late: 0.5, duplicate: 0.1, conflict: 0 } }],
  ];
  for (const [name, some] of cases) {
    await t.step(name, () => {
      assert.throws(() => simulate(options(some)), { name: "RangeError", message: /^Cannot sim/ });
    });
  }
});

Deno.test("BROKEN_MESSAGES each break the rule that they name", async (t) => {
  const text = textOf(take(1)[0]!);
  for (const [index, { reason, make }] of BROKEN_MESSAGES.entries()) {
    await t.step(`${index} ${reason}`, () => {
      const result = parse({ value: make(text) });
      assert(result.kind === "rejection", "it was accepted");
      assert.equal(result.reason, reason, result.detail);
    });
  }
});
