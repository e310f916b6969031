/**
 * Simulated sensors: readings that look real, and on demand the faults that real ones have.
 *
 * Everything follows from the seed and the clock. Sensors keep their ids and places from run to
 * run with the same seed, so each has one last value and not one per run.
 *
 * @module
 */
import { faker } from "@faker-js/faker/locale/en";
import { BROKEN_MESSAGES } from "./broken_messages.ts";
import type { Clock } from "../clock.ts";
import type { MessageToSend } from "../kafka/message.ts";
import { createRandom, type Random } from "./random.ts";

/** What a simulated message is, for whoever checks what became of it. */
export type SimulatedKind =
  /** A new reading. */
  | "reading"
  /** A new reading whose event time is minutes to hours back. */
  | "late"
  /** An earlier reading once more, to the byte. */
  | "duplicate"
  /** The id of an earlier reading of the same sensor, with other content. */
  | "conflict"
  /** No valid reading. */
  | "bad";

/** One simulated message and what it is. */
export interface SimulatedMessage extends MessageToSend {
  /** What it is. */
  readonly kind: SimulatedKind;
}

/** What to simulate. */
export interface SimulatorOptions {
  /** Gives readings their time. */
  readonly clock: Clock;
  /** A whole number. Decides the sensors, and with the clock everything else. */
  readonly seed: number;
  /**
   * A whole number that changes the readings and not the sensors. Producers that run at the same
   * time with one seed need different ones, or they make the same ids.
   *
   * @default 0
   */
  readonly salt?: number;
  /** How many sensors there are, 1 to {@linkcode SENSORS_MAX}. */
  readonly sensors: number;
  /** Parts of all messages, each 0 to 1, together at most 1. What is left are new readings. */
  readonly ratios: Readonly<Record<Exclude<SimulatedKind, "reading">, number>>;
}

/** Largest number of sensors. */
export const SENSORS_MAX = 100_000;

/** How far back a duplicate or a conflict reaches, in readings. */
const RECENT_READINGS_MAX = 1_000;

const LATE_MS_MIN = 60_000;
const LATE_MS_MAX = 6 * 3_600_000;

/**
 * Messages without end; whoever pulls them sets the pace.
 *
 * @throws {RangeError} If the number of sensors or a ratio is outside its bounds.
 */
export function simulate(options: SimulatorOptions): Generator<SimulatedMessage, never, void> {
  const { sensors, ratios } = options;
  if (!Number.isInteger(sensors) || sensors < 1 || sensors > SENSORS_MAX) {
    throw new RangeError(`Cannot simulate ${sensors} sensors: 1 to ${SENSORS_MAX} are possible`);
  }
  const parts = Object.values(ratios);
  if (!parts.every((part) => part >= 0) || parts.reduce((sum, part) => sum + part) > 1) {
    const asked = Object.entries(ratios).map(([kind, part]) => `${kind} ${part}`).join(", ");
    throw new RangeError(
      `Cannot simulate ${asked}: each ratio is 0 to 1, and together they are at most 1`,
    );
  }
  return messages(options);
}

function* messages(options: SimulatorOptions): Generator<SimulatedMessage, never, void> {
  const { clock, seed, salt = 0, ratios } = options;
  const sensors = buildSensors(seed, options.sensors);
  const random = createRandom(seed, salt, Math.floor(clock.now()));
  const recent: RecentReading[] = [];
  let readings = 0;
  let timeUs = 0;
  while (true) {
    const nowMs = Math.floor(clock.now());
    // Every time is another one, so a conflict never has the content of what it conflicts with.
    timeUs = Math.max(timeUs + 1, nowMs * 1_000 + Math.floor(random.unit() * 1_000));
    const kind = pickKind(random, ratios);
    if (recent.length > 0 && (kind === "duplicate" || kind === "conflict")) {
      const { sensor, id, value } = random.pick(recent);
      const other = (): Uint8Array => encoder.encode(readingText(sensor, { id, timeUs, random }));
      yield { kind, key: sensor.id, value: kind === "duplicate" ? value : other() };
      continue;
    }
    const sensor = random.pick(sensors);
    const id = uuidv7(nowMs, random);
    const lateUs = kind === "late"
      ? 1_000 * Math.floor(random.between(LATE_MS_MIN, LATE_MS_MAX))
      : 0;
    const text = readingText(sensor, { id, timeUs: timeUs - lateUs, random });
    if (kind === "bad") {
      yield { kind, key: sensor.id, value: random.pick(BROKEN_MESSAGES).make(text) };
      continue;
    }
    const value = encoder.encode(text);
    recent[readings++ % RECENT_READINGS_MAX] = { sensor, id, value };
    yield { kind: kind === "late" ? kind : "reading", key: sensor.id, value };
  }
}

const encoder = new TextEncoder();

interface RecentReading {
  readonly sensor: Sensor;
  readonly id: string;
  readonly value: Uint8Array;
}

function pickKind(random: Random, ratios: SimulatorOptions["ratios"]): SimulatedKind {
  let at = random.unit();
  if ((at -= ratios.bad) < 0) return "bad";
  if ((at -= ratios.late) < 0) return "late";
  if ((at -= ratios.duplicate) < 0) return "duplicate";
  if ((at -= ratios.conflict) < 0) return "conflict";
  return "reading";
}

/** A kind of sensor: what it measures, and how that behaves. */
interface SensorModel {
  readonly type: string;
  readonly unit: string;
  readonly min: number;
  readonly max: number;
  readonly decimals: number;
  /** What one sensor differs from the next by, picked once. */
  readonly base: readonly [min: number, max: number];
  /** The value at an hour of the day, local time, around which everything else moves. */
  level(base: number, hour: number, random: Random): number;
  /** Standard deviation of one reading. */
  readonly noise: number;
  /** Standard deviation of one step of the slow drift. */
  readonly drift: number;
}

/** 1 at `peakHour`, -1 twelve hours later. */
function wave(hour: number, peakHour: number): number {
  return Math.cos((hour - peakHour) * Math.PI / 12);
}

/** The kinds, with the ranges and units that the original producer uses. */
const MODELS: readonly SensorModel[] = [
  {
    ...{ type: "temperature", unit: "C", min: -10, max: 50, decimals: 2 },
    ...{ base: [8, 24], noise: 0.1, drift: 0.03 },
    level: (base, hour) => base + 6 * wave(hour, 15),
  },
  {
    ...{ type: "humidity", unit: "%", min: 0, max: 100, decimals: 2 },
    ...{ base: [40, 70], noise: 0.4, drift: 0.1 },
    level: (base, hour) => base - 12 * wave(hour, 15),
  },
  {
    ...{ type: "pressure", unit: "hPa", min: 900, max: 1_100, decimals: 2 },
    ...{ base: [985, 1_025], noise: 0.05, drift: 0.05 },
    level: (base, hour) => base + 0.8 * wave(hour * 2, 20),
  },
  {
    ...{ type: "light", unit: "lux", min: 0, max: 1_000, decimals: 1 },
    ...{ base: [500, 950], noise: 4, drift: 1 },
    level: (base, hour) => base * wave(hour, 13),
  },
  {
    ...{ type: "motion", unit: "bool", min: 0, max: 1, decimals: 0 },
    ...{ base: [0.1, 0.4], noise: 0, drift: 0 },
    level: (base, hour, random) => random.unit() < base * (1 + wave(hour, 14)) / 2 ? 1 : 0,
  },
  {
    ...{ type: "co2", unit: "ppm", min: 300, max: 2_000, decimals: 0 },
    ...{ base: [500, 900], noise: 8, drift: 3 },
    level: (base, hour) => base + 350 * wave(hour, 14),
  },
];

/** Latitude and longitude of the towns that have sensors. */
const SITES: readonly [latitude: number, longitude: number][] = [
  [52.52, 13.405],
  [38.7223, -9.1393],
  [-1.2864, 36.8172],
  [-23.5505, -46.6333],
  [43.6532, -79.3832],
  [34.6937, 135.5023],
  [-37.8136, 144.9631],
  [18.5204, 73.8567],
];

const SITE_RADIUS_KM = 20;

/** One sensor: what stays, and what moves from reading to reading. */
interface Sensor {
  readonly id: string;
  readonly model: SensorModel;
  readonly base: number;
  /** Its longitude tells how far its day is from UTC. */
  readonly hoursAhead: number;
  /** The JSON text between the reading's id and its time. */
  readonly idToTime: string;
  readonly batteryPerReading: number;
  battery: number;
  drift: number;
  status: "active" | "inactive" | "error";
}

function buildSensors(seed: number, count: number): Sensor[] {
  const random = createRandom(seed);
  faker.seed(random.uint32());
  return Array.from({ length: count }, (_, index) => {
    const model = MODELS[index % MODELS.length]!;
    const id = faker.string.uuid();
    const place = faker.location.nearbyGPSCoordinate({
      origin: random.pick(SITES),
      radius: SITE_RADIUS_KM,
      isMetric: true,
    });
    const [latitude, longitude] = place.map((degrees) => Math.round(degrees * 1e6) / 1e6);
    return {
      id,
      model,
      base: random.between(...model.base),
      hoursAhead: place[1] / 15,
      idToTime: `","sensor_id":"${id}","sensor_type":"${model.type}",` +
        `"location":{"latitude":${latitude},"longitude":${longitude}},"timestamp":"`,
      batteryPerReading: random.between(0.001, 0.005),
      battery: random.between(20, 100),
      drift: 0,
      status: "active",
    };
  });
}

/** Takes the next reading of a sensor, as compact JSON text. */
function readingText(
  sensor: Sensor,
  at: { readonly id: string; readonly timeUs: number; readonly random: Random },
): string {
  const { model } = sensor;
  const { id, timeUs, random } = at;
  const hour = timeUs / 3_600_000_000 + sensor.hoursAhead;
  // The drift is pulled back to 0, or it would run away.
  sensor.drift = sensor.drift * 0.999 + model.drift * random.bell();
  const exact = model.level(sensor.base, hour, random) + sensor.drift + model.noise * random.bell();
  const scale = 10 ** model.decimals;
  const value = Math.round(Math.min(model.max, Math.max(model.min, exact)) * scale) / scale;
  sensor.battery -= sensor.batteryPerReading;
  if (sensor.battery < 3) sensor.battery = 100; // Somebody changes it in time.
  const change = random.unit();
  if (sensor.status !== "active") {
    if (change < 0.1) sensor.status = "active";
  } else if (change < 0.002) {
    sensor.status = change < 0.001 ? "error" : "inactive";
  }
  return `{"unique_reading_id":"${id}${sensor.idToTime}${timestampText(timeUs)}",` +
    `"value":${value},"unit":"${model.unit}","status":"${sensor.status}",` +
    `"battery_level":${Math.floor(sensor.battery)}}`;
}

/** ISO 8601 in UTC with microseconds, as Python writes it. */
function timestampText(timeUs: number): string {
  const microseconds = String(timeUs % 1_000_000).padStart(6, "0");
  return `${new Date(timeUs / 1_000).toISOString().slice(0, 19)}.${microseconds}+00:00`;
}

const HEX_BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hex32(word: number): string {
  return HEX_BYTES[word >>> 24]! + HEX_BYTES[word >>> 16 & 0xff]! + HEX_BYTES[word >>> 8 & 0xff]! +
    HEX_BYTES[word & 0xff]!;
}

/** A UUID of version 7: its order is that of its time, which keeps the database's index small. */
function uuidv7(timeMs: number, random: Random): string {
  const [first, second, third] = [random.uint32(), random.uint32(), random.uint32()];
  const versioned = hex32(timeMs % 2 ** 16 * 2 ** 16 + 0x7000 + (first >>> 20));
  const varied = hex32((0x8000_0000 | second >>> 2) >>> 0);
  return `${hex32(Math.floor(timeMs / 2 ** 16))}-${versioned.slice(0, 4)}-${versioned.slice(4)}-` +
    `${varied.slice(0, 4)}-${varied.slice(4)}${hex32(third)}`;
}
