/**
 * The messages of the bench: like those of the original producer, spaces after `:` and `,`
 * included, about 330 bytes each. The same options give the same messages, so that the consumer and
 * the floor get the same rows without anybody keeping them.
 *
 * @module
 */
import { partitionOf } from "../../lib/kafka/partitioner.ts";
import { createRandom, type Random } from "../../lib/producer/random.ts";
import type { Reading } from "../../lib/reading/reading.ts";

/** Partitions of every topic of the bench. */
export const PARTITIONS = 6;

/** What the messages are like. */
export interface WorkloadOptions {
  /** How many messages, repeats included. */
  readonly messages: number;
  /** How many sensors; each keeps its id, its kind and its place. */
  readonly sensors: number;
  /** Version of the readings' UUIDs: random ones, or such that rise with time. */
  readonly ids: "v4" | "v7";
  /** Part of the messages that repeat an earlier one to the byte, 0 to 1. */
  readonly repeats: number;
  /** Event time of the first reading, ms since 1970. */
  readonly startMs: number;
}

/** One message, and the reading in it. */
export interface WorkloadMessage {
  /** The sensor's id. */
  readonly key: string;
  /** The message. */
  readonly value: Uint8Array;
  /** What the message says. */
  readonly reading: Reading;
}

/**
 * How far back a repeat reaches, in readings. With 6 partitions and 1 MiB a fetch about half of
 * them repeat a message of the same batch, the others one that is stored.
 */
const RECENT_READINGS_MAX = 20_000;

const SEED = 1;
const US_BETWEEN_READINGS = 100;
const STATUSES = ["active", "inactive", "error"];

/** Kinds of sensors with unit and range, as the original producer has them. */
const KINDS = [
  { sensor_type: "temperature", unit: "C", min: -10, max: 50 },
  { sensor_type: "humidity", unit: "%", min: 0, max: 100 },
  { sensor_type: "pressure", unit: "hPa", min: 900, max: 1_100 },
  { sensor_type: "light", unit: "lux", min: 0, max: 1_000 },
  { sensor_type: "motion", unit: "bool", min: 0, max: 1 },
  { sensor_type: "co2", unit: "ppm", min: 300, max: 2_000 },
];

/** The messages of a backlog. */
export function* workload(options: WorkloadOptions): Generator<WorkloadMessage, void, void> {
  const { messages, repeats, startMs } = options;
  const nextMessage = createSource(options);
  const random = createRandom(SEED, 1);
  const recent: WorkloadMessage[] = [];
  for (let index = 0, readings = 0; index < messages; index++) {
    if (recent.length > 0 && random.unit() < repeats) {
      yield random.pick(recent);
      continue;
    }
    const message = nextMessage(startMs * 1_000 + index * US_BETWEEN_READINGS);
    recent[readings++ % RECENT_READINGS_MAX] = message;
    yield message;
  }
}

/** A message that no consumer can read. */
const BAD_VALUE = new TextEncoder().encode('{"unique_reading_id": "cut off');

/** Puts a bad message behind every so many messages of a partition. */
export function* withBadMessages(
  messages: Iterable<WorkloadMessage>,
  every: number,
): Generator<WorkloadMessage | Pick<WorkloadMessage, "key" | "value">, void, void> {
  const counts = Array.from({ length: PARTITIONS }, () => 0);
  for (const message of messages) {
    yield message;
    const partition = partitionOf(message.key, PARTITIONS);
    if (++counts[partition]! % every === 0) yield { key: message.key, value: BAD_VALUE };
  }
}

/** Makes readings without repeats, each with the event time that it is asked for, in microseconds. */
export function createSource(
  options: Pick<WorkloadOptions, "sensors" | "ids">,
): (timeUs: number) => WorkloadMessage {
  const random = createRandom(SEED);
  const sensors = Array.from({ length: options.sensors }, (_, index) => ({
    sensor_id: uuid(random, "v4", 0),
    ...KINDS[index % KINDS.length]!,
    location: { latitude: decimals(random, -90, 90, 6), longitude: decimals(random, -180, 180, 6) },
  }));
  const encoder = new TextEncoder();
  return (timeUs) => {
    const { sensor_id, sensor_type, location, unit, min, max } = random.pick(sensors);
    const reading: Reading = {
      unique_reading_id: uuid(random, options.ids, Math.floor(timeUs / 1_000)),
      sensor_id,
      sensor_type,
      location,
      timestamp: timestampText(timeUs),
      value: decimals(random, min, max, 2),
      unit,
      status: random.pick(STATUSES),
      battery_level: Math.floor(random.between(0, 101)),
    };
    return { key: sensor_id, value: encoder.encode(messageText(reading)), reading };
  };
}

/** JSON with a space after each `:` and `,`, as Python writes it. No text here holds either. */
function messageText(reading: Reading): string {
  const { location, timestamp, ...rest } = reading;
  return `{"unique_reading_id": "${rest.unique_reading_id}", "sensor_id": "${rest.sensor_id}", ` +
    `"sensor_type": "${rest.sensor_type}", "location": {"latitude": ${location.latitude}, ` +
    `"longitude": ${location.longitude}}, "timestamp": "${timestamp}", "value": ${rest.value}, ` +
    `"unit": "${rest.unit}", "status": "${rest.status}", "battery_level": ${rest.battery_level}}`;
}

function timestampText(timeUs: number): string {
  const seconds = new Date(Math.floor(timeUs / 1_000)).toISOString().slice(0, 19);
  return `${seconds}.${String(timeUs % 1_000_000).padStart(6, "0")}+00:00`;
}

function uuid(random: Random, version: WorkloadOptions["ids"], timeMs: number): string {
  let hex = "";
  for (let word = 0; word < 4; word++) hex += random.uint32().toString(16).padStart(8, "0");
  if (version === "v7") hex = timeMs.toString(16).padStart(12, "0") + hex.slice(12);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${version[1]}${hex.slice(13, 16)}-` +
    `a${hex.slice(17, 20)}-${hex.slice(20)}`;
}

function decimals(random: Random, min: number, max: number, digits: number): number {
  return Number(random.between(min, max).toFixed(digits));
}
