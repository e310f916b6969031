/**
 * The contract: what a message must look like to be a reading, and how bytes become one.
 *
 * @module
 */
import { Buffer, isUtf8 } from "node:buffer";
import { countQuotes, countStrings, findDuplicateKey, numberLiteral } from "./json_text.ts";
import { matchesSchema, type MessageFields, rejectSchemaFault } from "./reading_schema.ts";
import { reject, type Rejection } from "./rejection.ts";
import { type Instant, parseTimestamp } from "./timestamp.ts";

/** Largest message, in bytes. */
export const MESSAGE_BYTES_MAX = 65_536;

/** Deepest nesting of objects and arrays in a message; the outermost object is level 1. */
export const JSON_DEPTH_MAX = 32;

/** One sensor reading with the field names of the message and nothing else. */
export type Reading = Unchangeable<MessageFields>;

/** `T` with every field, at every level, read-only. */
export type Unchangeable<T> = T extends object ? { readonly [K in keyof T]: Unchangeable<T[K]> }
  : T;

/** A valid message: the reading, and what the steps after parsing need of it. */
export interface ParsedReading {
  /** Tells it from a rejection. */
  readonly kind: "reading";
  /** The id in lower case, the timestamp with at most six digits of a second. */
  readonly reading: Reading;
  /** Event time in microseconds since 1970; an exact integer. */
  readonly eventTimeUs: number;
}

/** Bounds that come from settings. */
export interface ParseLimits {
  /** Wall time, ms since 1970. */
  readonly nowMs: number;
  /** How far the event time may lie ahead of `nowMs`, in seconds. */
  readonly futureSkewSecondsMax: number;
  /** How far the event time may lie behind `nowMs`, in days; 0: no bound. */
  readonly pastDaysMax: number;
}

const BYTE_ORDER_MARK = "\ufeff";

/**
 * Turns the bytes of a message into a reading, or says which rule they break. It never throws
 * because of them.
 *
 * Rules are looked at from the outside in: presence, size, encoding, JSON, then the fields in the
 * order of the schema, then the event time. The first broken one is the reason.
 */
export function parseReading(
  bytes: Uint8Array | null,
  limits: ParseLimits,
): ParsedReading | Rejection {
  if (bytes === null) return reject("tombstone", "the message has no value");
  if (bytes.length > MESSAGE_BYTES_MAX) {
    return reject("size", `expected at most ${MESSAGE_BYTES_MAX} bytes, found ${bytes.length}`);
  }
  // Malformed bytes are not replaced: two ids must never become one.
  if (!isUtf8(bytes)) return reject("utf8", "expected well-formed UTF-8");
  const text = messageText(bytes);
  const value = parseJson(text);
  if (value instanceof Error) {
    return text.trim() === ""
      ? reject("empty", "the message has no characters")
      : reject("json", value.message);
  }
  const strings = countStrings(value, JSON_DEPTH_MAX);
  if (strings === Infinity) return reject("depth", `expected at most ${JSON_DEPTH_MAX} levels`);
  // A key twice in any object, one that nobody knows included.
  if (2 * strings !== countQuotes(bytes)) {
    return reject("duplicate_key", `an object has a key twice: ${findDuplicateKey(text)}`);
  }
  return matchesSchema(value) ? readFields(value, text, limits) : rejectSchemaFault(value);
}

/**
 * The text of a message that is a reading, without a byte order mark. It is made again where it is
 * needed, for the newest reading of a sensor: kept with each reading it would cost memory.
 */
export function messageText(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
  return text.startsWith(BYTE_ORDER_MARK) ? text.slice(BYTE_ORDER_MARK.length) : text;
}

/** The value, which is never an Error, or the error that says why there is none. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return error;
  }
}

/** Makes the result from a value that the schema has accepted. */
function readFields(
  value: MessageFields,
  text: string,
  limits: ParseLimits,
): ParsedReading | Rejection {
  const instant = parseTimestamp(value.timestamp);
  // The schema has asked the same question, so this is for the compiler.
  if (typeof instant === "string") return reject(instant, `timestamp: ${value.timestamp}`);
  const fault = findTimeFault(instant, limits) ?? findInexactInteger(value.value, text);
  if (fault !== undefined) return fault;
  return {
    kind: "reading",
    reading: {
      unique_reading_id: value.unique_reading_id.toLowerCase(),
      sensor_id: value.sensor_id,
      sensor_type: value.sensor_type,
      location: { latitude: value.location.latitude, longitude: value.location.longitude },
      timestamp: instant.text,
      value: value.value,
      unit: value.unit,
      status: value.status,
      battery_level: value.battery_level,
    },
    eventTimeUs: instant.us,
  };
}

/** The latest event time that is taken. Outside of 2^53 microseconds it is too far in any case. */
export function latestUs({ nowMs, futureSkewSecondsMax }: ParseLimits): number {
  return Math.min((nowMs + futureSkewSecondsMax * 1_000) * 1_000, Number.MAX_SAFE_INTEGER);
}

/** The earliest one. */
export function earliestUs({ nowMs, pastDaysMax }: ParseLimits): number {
  if (pastDaysMax === 0) return -Number.MAX_SAFE_INTEGER;
  return Math.max((nowMs - pastDaysMax * 86_400_000) * 1_000, -Number.MAX_SAFE_INTEGER);
}

/** An event time too far from now. */
function findTimeFault({ us, text }: Instant, limits: ParseLimits): Rejection | undefined {
  if (us > latestUs(limits)) {
    const bound = `at most ${limits.futureSkewSecondsMax} s ahead of now`;
    return reject("timestamp_in_future", `timestamp: expected ${bound}, found ${text}`);
  }
  if (us < earliestUs(limits)) {
    const bound = limits.pastDaysMax === 0
      ? "1684 or later"
      : `at most ${limits.pastDaysMax} days ago`;
    return reject("timestamp_in_past", `timestamp: expected ${bound}, found ${text}`);
  }
  return undefined;
}

/** An integer that a double cannot be trusted to hold: 9007199254740993 would become ...992. */
function findInexactInteger(value: number, text: string): Rejection | undefined {
  if (Math.abs(value) <= Number.MAX_SAFE_INTEGER) return undefined;
  const literal = numberLiteral(text, "value");
  if (literal === undefined || !/^-?\d+$/.test(literal)) return undefined;
  const magnitude = BigInt(literal.replace("-", ""));
  if (magnitude <= 2n ** 53n) return undefined;
  return reject("range", `value: expected an integer within 2^53, found ${literal}`);
}
