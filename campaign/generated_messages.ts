/**
 * Messages whose truth is known because it was there first: a row is made up, and then written as
 * one of the many texts that mean it. It shares no code with the pipeline.
 *
 * @module
 */
import type { ExpectedRow } from "./stored.ts";

/** What a message is, known from how it was made. */
export type Truth =
  | { readonly kind: "reading"; readonly row: ExpectedRow }
  | { readonly kind: "bad"; readonly reason: string };

/** A message that is to be sent. */
export interface GeneratedMessage {
  /** What the producer takes for its key. */
  readonly key: string | null;
  /** Null: a tombstone. */
  readonly value: Uint8Array | null;
  /** What it is, which was there first. */
  readonly truth: Truth;
}

/** Parts of all messages that are something else than a new reading. */
export interface Ratios {
  /** Say what an earlier message said, to the byte or in other words. */
  readonly repeats: number;
  /** Carry an earlier id with another content. */
  readonly conflicts: number;
  /** Are not readings. */
  readonly bad: number;
}

/** The ratios of a lively topic. */
export const MIXED: Ratios = { repeats: 0.15, conflicts: 0.03, bad: 0.05 };

/** New readings only. */
export const PLAIN: Ratios = { repeats: 0, conflicts: 0, bad: 0 };

/** How many messages back a repeat may reach. */
const RECENT_MAX = 3_000;

const SENSORS = 40;
/** A few days ago. */
const START_US = BigInt(Date.now() - 3 * 86_400_000) * 1_000n;
const UNITS = ["C", "%", "hPa", "lux", "bool", "ppm", "µg/m³", "°F"];
const STATUSES = ["active", "inactive", "error"];

/** A repeatable source of numbers from 0 up to but not including 1 (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Makes `count` messages; equal seeds make equal messages apart from their times. */
export function generate(count: number, ratios: Ratios, seed: number): GeneratedMessage[] {
  const random = seeded(seed);
  const messages: GeneratedMessage[] = [];
  const readings: { row: ExpectedRow; value: Uint8Array }[] = [];
  while (messages.length < count) {
    const dice = random();
    const earlier = readings.at(-1 - Math.floor(random() * Math.min(RECENT_MAX, readings.length)));
    if (dice < ratios.bad) {
      messages.push(badMessage(rowOf(random, messages.length), random));
    } else if (earlier !== undefined && dice < ratios.bad + ratios.repeats) {
      const value = random() < 0.5 ? earlier.value : write(earlier.row, random);
      messages.push(readingMessage(earlier.row, value));
    } else if (earlier !== undefined && dice < ratios.bad + ratios.repeats + ratios.conflicts) {
      const row = changed(earlier.row, random);
      messages.push(readingMessage(row, write(row, random)));
    } else {
      const row = rowOf(random, messages.length);
      const value = write(row, random);
      readings.push({ row, value });
      messages.push(readingMessage(row, value));
    }
  }
  return messages;
}

/** A message that says this row, as plainly as can be. */
export function messageOf(row: ExpectedRow): GeneratedMessage {
  return readingMessage(row, encode(plainText(row)));
}

/** A row like those of {@linkcode generate}, parts of it replaced. */
export function sampleRow(changes: Partial<ExpectedRow> = {}): ExpectedRow {
  return { ...rowOf(Math.random, 0), ...changes };
}

function readingMessage(row: ExpectedRow, value: Uint8Array): GeneratedMessage {
  return { key: row.sensor_id, value, truth: { kind: "reading", row } };
}

function rowOf(random: () => number, number: number): ExpectedRow {
  const among = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const late = random() < 0.1 ? BigInt(Math.floor(random() * 3_600e6)) : 0n;
  return {
    unique_reading_id: uuid(random),
    sensor_id: `hall:${Math.floor(random() * SENSORS)}.north`,
    sensor_type: among(["temperature", "humidity", "pressure", "light", "motion", "co2"]),
    latitude: random() * 180 - 90,
    longitude: among([random() * 360 - 180, -0.000001, 180]),
    timestampUs: START_US + BigInt(number) * 1_000_003n - late,
    value: among([random() * 100, Math.floor(random() * 1_000), -(random() ** 20), 1 / 3, 1e300]),
    unit: among(UNITS),
    status: among(STATUSES),
    battery_level: Math.floor(random() * 101),
  };
}

/** The same id and sensor, and something else said: a little or a lot. */
function changed(row: ExpectedRow, random: () => number): ExpectedRow {
  const changes: readonly Partial<ExpectedRow>[] = [
    { value: row.value === 0 ? 5e-324 : row.value * (1 + Number.EPSILON) },
    { timestampUs: row.timestampUs + 1n },
    { unit: `${row.unit} ` },
    { status: row.status.toUpperCase() },
    { battery_level: 100 - row.battery_level, sensor_type: "other" },
    { latitude: -row.latitude },
  ];
  return { ...row, ...changes[Math.floor(random() * changes.length)] };
}

/** One of the texts that mean the row. */
function write(row: ExpectedRow, random: () => number): Uint8Array {
  const flip = (): boolean => random() < 0.5;
  const fields: [string, unknown][] = [
    [
      "unique_reading_id",
      flip() ? row.unique_reading_id : row.unique_reading_id.toUpperCase(),
    ],
    ["sensor_id", row.sensor_id],
    ["sensor_type", row.sensor_type],
    ["location", { latitude: row.latitude, longitude: row.longitude }],
    ["timestamp", timeText(row.timestampUs, random)],
    ["value", row.value],
    ["unit", row.unit],
    ["status", row.status],
    ["battery_level", row.battery_level],
  ];
  if (random() < 0.1) fields.reverse();
  if (random() < 0.1) fields.push(["firmware", { version: [1, 2], note: 'value: "x", }' }]);
  let text = JSON.stringify(Object.fromEntries(fields));
  if (flip()) text = text.replaceAll('":', '": ').replaceAll(/,"(?=[a-z])/g, ', "');
  if (random() < 0.1) text = text.replace(/"unit":/, '"\\u0075nit":');
  if (random() < 0.05) text = `\uFEFF${text}`;
  return encode(text);
}

function plainText(row: ExpectedRow): string {
  const { latitude, longitude, timestampUs, ...rest } = row;
  const timestamp = timeText(timestampUs, () => 0);
  return JSON.stringify({ ...rest, location: { latitude, longitude }, timestamp });
}

/** The instant in some zone, with no more digits than it needs or with more than are kept. */
function timeText(us: bigint, random: () => number): string {
  const offsetMinutes = [0, 0, 330, -180, 60][Math.floor(random() * 5)]!;
  const local = us + BigInt(offsetMinutes) * 60_000_000n;
  const seconds = new Date(Number(local / 1_000_000n) * 1_000).toISOString().slice(0, 19);
  const digits = String(local % 1_000_000n).padStart(6, "0");
  const fraction = random() < 0.8 ? digits : `${digits}${digits.slice(3)}`;
  const hours = String(Math.trunc(Math.abs(offsetMinutes) / 60)).padStart(2, "0");
  const minutes = String(Math.abs(offsetMinutes) % 60).padStart(2, "0");
  const zone = offsetMinutes === 0 && random() < 0.5
    ? "Z"
    : `${offsetMinutes < 0 ? "-" : "+"}${hours}:${minutes}`;
  return `${seconds}.${fraction}${zone}`;
}

function badMessage(row: ExpectedRow, random: () => number): GeneratedMessage {
  const text = plainText(row);
  const way = BAD[Math.floor(random() * BAD.length)]!;
  const value = way.make(text);
  return { key: keyOf(value), value, truth: { kind: "bad", reason: way.reason } };
}

interface BadWay {
  readonly reason: string;
  readonly make: (text: string) => Uint8Array;
}

/** Ways to be no reading that fit in one line of a file. */
const BAD: readonly BadWay[] = [
  { reason: "json", make: (text) => encode(text.slice(0, -1)) },
  { reason: "json", make: () => encode("Traceback (most recent call last):") },
  { reason: "json", make: (text) => encode(text.replaceAll('"', "'")) },
  { reason: "json", make: (text) => encode(text.replace(/"value":[^,]+/, '"value":NaN')) },
  { reason: "empty", make: () => encode("  \t") },
  { reason: "not_object", make: () => encode("null") },
  { reason: "not_object", make: (text) => encode(`[${text}]`) },
  { reason: "utf8", make: (text) => new Uint8Array([...encode(text.slice(0, 20)), 0xc3, 0x28]) },
  { reason: "utf8", make: () => new Uint8Array([0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]) },
  { reason: "size", make: (text) => encode(text.padEnd(70_000, " ")) },
  { reason: "depth", make: (text) => withField(text, "x", "[".repeat(40) + "]".repeat(40)) },
  { reason: "duplicate_key", make: (text) => withField(text, "value", "1") },
  { reason: "missing", make: (text) => encode(text.replace('"unit"', '"einheit"')) },
  { reason: "type", make: (text) => encode(text.replace(/"value":([^,]+)/, '"value":"$1"')) },
  { reason: "range", make: (text) => encode(text.replace(/"latitude":[^,}]+/, '"latitude":90.5')) },
  { reason: "not_finite", make: (text) => encode(text.replace(/"value":[^,]+/, '"value":1e309')) },
  { reason: "nul", make: (text) => encode(text.replace('"status":"', '"status":"\\u0000')) },
  { reason: "ill_formed", make: (text) => encode(text.replace('"unit":"', '"unit":"\\udc00')) },
  {
    reason: "control_character",
    make: (text) => encode(text.replace('"unit":"', '"unit":"\\u0007')),
  },
  { reason: "id", make: (text) => encode(text.replace(/"unique_reading_id":"./, "$&0")) },
  { reason: "id", make: (text) => encode(text.replace("hall:", "hall ")) },
  { reason: "timestamp_format", make: (text) => withTime(text, "24/11/2026 10:00") },
  { reason: "timestamp_date", make: (text) => withTime(text, "2025-02-29T10:00:00Z") },
  { reason: "timestamp_in_future", make: (text) => withTime(text, "2999-01-01T00:00:00Z") },
  { reason: "timestamp_in_past", make: (text) => withTime(text, "1970-01-01T00:00:00Z") },
];

function withField(text: string, name: string, json: string): Uint8Array {
  return encode(`${text.slice(0, -1)},"${name}":${json}}`);
}

function withTime(text: string, time: string): Uint8Array {
  return encode(text.replace(/"timestamp":"[^"]+"/, `"timestamp":"${time}"`));
}

/** A line of a file is keyed by its `sensor_id`, also if it breaks behind that. */
function keyOf(value: Uint8Array): string | null {
  const text = new TextDecoder("latin1").decode(value);
  const shown = /^\{(?:"unique_reading_id":"[^"\\]*",)?"sensor_id":"([\w.:-]{1,64})".*\}$/s.exec(
    text,
  );
  if (shown !== null) return shown[1]!;
  try {
    const parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(value));
    return typeof parsed?.sensor_id === "string" ? parsed.sensor_id : null;
  } catch {
    return null;
  }
}

function uuid(random: () => number): string {
  const hex = Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
