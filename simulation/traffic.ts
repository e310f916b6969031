/**
 * What the sensors of a world send: fresh readings, repeats, conflicts, late ones, and messages
 * that are not valid readings. Nothing here decides what should become of a message; the oracle reads the
 * bytes on its own.
 *
 * @module
 */
import type { MessageToSend } from "../lib/kafka/message.ts";
import type { Random } from "../lib/producer/random.ts";
import { WORLD_START_MS } from "./virtual_time.ts";

/** A message and when its sensor sends it. */
export interface PlannedMessage {
  /** Milliseconds since the world began. */
  readonly atMs: number;
  /** What is sent. */
  readonly message: MessageToSend;
}

/** How many of the messages are of which kind, from 0 to 1. The rest are fresh readings. */
export interface TrafficMix {
  /** Sent before, to the letter. */
  readonly repeats: number;
  /** An id that was sent before, with another value. */
  readonly conflicts: number;
  /** Readings measured hours ago. */
  readonly late: number;
  /** No readings. */
  readonly bad: number;
}

/** How much is sent. */
export interface TrafficPlan {
  /** Messages while things go wrong. */
  readonly messages: number;
  /** They are sent within this time, ms. */
  readonly spanMs: number;
  /** Number of sensors. */
  readonly sensors: number;
  /** What is among the messages. */
  readonly mix: TrafficMix;
}

/** Readings with this status pass every check but the database's own. */
export const UNSTORABLE_STATUS = "unstorable";

const encoder = new TextEncoder();

/** Plans all messages of a world, by their time. */
export function planTraffic(plan: TrafficPlan, random: Random): readonly PlannedMessage[] {
  const sent: ReadingFields[] = [];
  const times = Array.from({ length: plan.messages }, () => Math.floor(random.unit() * plan.spanMs))
    .sort((a, b) => a - b);
  return times.map((atMs, number) => {
    const fields = nextFields(plan, { number, atMs, sent, random });
    return { atMs, message: writeMessage(fields, plan.mix.bad, random) };
  });
}

/** A fresh reading of every sensor, for the time after the faults. */
export function planFarewell(
  plan: TrafficPlan,
  atMs: number,
): readonly PlannedMessage[] {
  return Array.from({ length: plan.sensors }, (_, sensor) => {
    const fields = freshFields(1_000_000 + sensor, sensor, WORLD_START_MS + atMs);
    return { atMs, message: { key: fields.sensor_id, value: bytesOf(fields) } };
  });
}

/** Fresh readings that take the place of lost ones at once, for the end of one log. */
export function planRegrowth(
  plan: TrafficPlan,
  atMs: number,
  numbers: readonly number[],
): readonly MessageToSend[] {
  return numbers.map((number) => {
    const fields = freshFields(3_000_000 + number, number % plan.sensors, WORLD_START_MS + atMs);
    return { key: fields.sensor_id, value: bytesOf(fields) };
  });
}

/** What a reading says. */
export interface ReadingFields {
  /** A UUID. */
  readonly unique_reading_id: string;
  /** Who measured. */
  readonly sensor_id: string;
  /** What kind of sensor. */
  readonly sensor_type: string;
  /** Where, in degrees. */
  readonly location: { readonly latitude: number; readonly longitude: number };
  /** When it was measured, RFC 3339. */
  readonly timestamp: string;
  /** What was measured. */
  readonly value: number;
  /** In which unit. */
  readonly unit: string;
  /** How the sensor is. */
  readonly status: string;
  /** In percent. */
  readonly battery_level: number;
}

function nextFields(
  plan: TrafficPlan,
  { number, atMs, sent, random }: {
    readonly number: number;
    readonly atMs: number;
    readonly sent: ReadingFields[];
    readonly random: Random;
  },
): ReadingFields {
  const { repeats, conflicts, late } = plan.mix;
  const kind = random.unit();
  if (sent.length > 0 && kind < repeats + conflicts) {
    const earlier = random.pick(sent);
    if (kind < repeats) return earlier;
    return { ...earlier, value: earlier.value + 1 };
  }
  const agoMs = kind < repeats + conflicts + late ? Math.floor(random.unit() * 7_200_000) : 0;
  const sensor = Math.floor(random.unit() * plan.sensors);
  const fields = freshFields(number, sensor, WORLD_START_MS + atMs - agoMs);
  sent.push(fields);
  return fields;
}

/**
 * A reading that nobody has sent before.
 *
 * @param number makes its id
 * @param measuredMs when it was measured, ms since 1970
 */
export function freshFields(number: number, sensor: number, measuredMs: number): ReadingFields {
  return {
    unique_reading_id: `00000000-0000-4000-8000-${number.toString(16).padStart(12, "0")}`,
    sensor_id: `sensor-${sensor}`,
    sensor_type: "temperature",
    location: { latitude: 52.5, longitude: 13.4 },
    timestamp: new Date(measuredMs).toISOString().replace("Z", "+00:00"),
    value: number / 4,
    unit: "C",
    status: "active",
    battery_level: number % 101,
  };
}

/**
 * Writes a reading, or something broken in its place.
 * Most messages go to their sensor's partition; some take another way and meet their repeats late.
 *
 * @param badShare how many become invalid, from 0 to 1
 */
export function writeMessage(
  fields: ReadingFields,
  badShare: number,
  random: Random,
): MessageToSend {
  const key = random.unit() < 0.8 ? fields.sensor_id : `elsewhere-${random.uint32() % 8}`;
  if (random.unit() >= badShare) return { key, value: bytesOf(fields) };
  return { key, value: random.pick(BREAKS)(fields) };
}

const BREAKS: readonly ((fields: ReadingFields) => Uint8Array | null)[] = [
  () => null,
  () => encoder.encode("no JSON"),
  (fields) => bytesOf(fields).subarray(0, 40),
  () => new Uint8Array([0x7b, 0xff, 0x7d]),
  ({ unit: _, ...fields }) => encoder.encode(JSON.stringify(fields)),
  (fields) => bytesOf({ ...fields, battery_level: 101 }),
  (fields) => bytesOf({ ...fields, timestamp: "9000-01-01T00:00:00+00:00" }),
  (fields) => bytesOf({ ...fields, status: UNSTORABLE_STATUS }),
];

function bytesOf(fields: ReadingFields): Uint8Array {
  return encoder.encode(JSON.stringify(fields));
}
