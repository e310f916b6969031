/**
 * Timestamps as RFC 3339 has them and PostgreSQL takes them, read to the microsecond.
 *
 * `Date.parse` does not do: it keeps milliseconds only, turns February 30 into March 1, and reads
 * texts that are no timestamps. PostgreSQL reads `now`, `infinity` and more.
 *
 * @module
 */

/** A moment and how it was written. */
export interface Instant {
  /**
   * Microseconds since 1970; fractions beyond are cut off, not rounded. Exact between the years
   * 1684 and 2255, where it is below 2^53.
   */
  readonly us: number;
  /** The timestamp without the digits that `us` has cut off. */
  readonly text: string;
}

/**
 * Why a text is not a timestamp: it is written otherwise, or it names a day or a time that does not
 * exist or that PostgreSQL refuses (year 0, a zone of 16 hours or more).
 */
export type TimestampFault = "timestamp_format" | "timestamp_date";

/** Most digits of a second's fraction. */
export const FRACTION_DIGITS_MAX = 9;

const FRACTION_DIGITS_KEPT = 6;
const TIME_LENGTH = "2026-11-24T10:00:00".length;
const ZONE_LENGTH = "+00:00".length;
const ZONE_HOURS_MAX = 15;

/** Characters of the shortest timestamp, in UTC to the second. */
export const TIMESTAMP_LENGTH_MIN: number = TIME_LENGTH + "Z".length;
/** Characters of the longest timestamp. */
export const TIMESTAMP_LENGTH_MAX: number = TIME_LENGTH + ".".length + FRACTION_DIGITS_MAX +
  ZONE_LENGTH;

const DASH = 0x2d;
const COLON = 0x3a;
const PLUS = 0x2b;
const POINT = 0x2e;
const LETTER_T = 0x74;
const LETTER_Z = 0x7a;
/** What makes a letter of ASCII a small one. */
const SMALL = 0x20;

/** What a character is worth as a digit; NO_DIGIT, larger than any sum of digits, for others. */
const NO_DIGIT = 1_000_000;
const DIGITS = Int32Array.from(
  { length: 256 },
  (_, code) => code >= 0x30 && code <= 0x39 ? code - 0x30 : NO_DIGIT,
);
/** Microseconds of the last digit of a fraction with so many digits. */
const LAST_DIGIT_US = [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];

/** A text in UTF-8. */
const textBytes = new Uint8Array(TIMESTAMP_LENGTH_MAX);
const utf8 = new TextEncoder();

/**
 * Reads `yyyy-mm-ddThh:mm:ss[.fraction](Z|±hh:mm)`, T and Z in either case, the fraction with at
 * most {@linkcode FRACTION_DIGITS_MAX} digits. Second 60 is refused: neither JavaScript nor
 * PostgreSQL keeps a leap second.
 */
export function parseTimestamp(text: string): Instant | TimestampFault {
  const { read, written } = utf8.encodeInto(text, textBytes);
  const us = read === text.length ? timestampUs(textBytes, 0, written) : NaN;
  if (Number.isNaN(us)) return "timestamp_format";
  return us === Infinity ? "timestamp_date" : { us, text: withoutCutDigits(text) };
}

function withoutCutDigits(text: string): string {
  const zoneAt = text.length - (text.endsWith("Z") || text.endsWith("z") ? 1 : ZONE_LENGTH);
  const keptEnd = TIME_LENGTH + 1 + FRACTION_DIGITS_KEPT;
  return zoneAt > keptEnd ? text.slice(0, keptEnd) + text.slice(zoneAt) : text;
}

/**
 * The microseconds since 1970 of a timestamp in ASCII, see {@linkcode parseTimestamp}; NaN for what is
 * written otherwise, Infinity for a day or time that does not exist.
 */
export function timestampUs(text: Uint8Array, from: number, to: number): number {
  const length = to - from;
  if (length < TIMESTAMP_LENGTH_MIN || length > TIMESTAMP_LENGTH_MAX) return NaN;
  const isWritten = text[from + 4] === DASH && text[from + 7] === DASH &&
    (text[from + 10]! | SMALL) === LETTER_T && text[from + 13] === COLON &&
    text[from + 16] === COLON;
  if (!isWritten) return NaN;
  const year = twoDigits(text, from) * 100 + twoDigits(text, from + 2);
  const month = twoDigits(text, from + 5);
  const day = twoDigits(text, from + 8);
  const hour = twoDigits(text, from + 11);
  const minute = twoDigits(text, from + 14);
  const second = twoDigits(text, from + 17);
  const zoneAt = endOfFraction(text, from + TIME_LENGTH, to);
  const zoneMinutes = readZone(text, zoneAt, to);
  if (year + month + day + hour + minute + second >= NO_DIGIT || Number.isNaN(zoneMinutes)) {
    return NaN;
  }
  const isReal = year > 0 && month >= 1 && month <= 12 && day >= 1 &&
    day <= daysInMonth(year, month) && hour < 24 && minute < 60 && second < 60 &&
    zoneMinutes !== Infinity;
  if (!isReal) return Infinity;

  const seconds = daysSince1970(year, month, day) * 86_400 + hour * 3_600 +
    (minute - zoneMinutes) * 60 + second;
  return seconds * 1_000_000 + readMicroseconds(text, from + TIME_LENGTH, zoneAt);
}

/** The number of two digits, or at least NO_DIGIT. */
function twoDigits(text: Uint8Array, at: number): number {
  return DIGITS[text[at]!]! * 10 + DIGITS[text[at + 1]!]!;
}

/** Where the zone begins, or `to`, where none can be, if the fraction has no digits or too many. */
function endOfFraction(text: Uint8Array, from: number, to: number): number {
  if (text[from] !== POINT) return from;
  let end = from + 1;
  while (end < to && DIGITS[text[end]!]! < NO_DIGIT) end++;
  const digits = end - from - 1;
  return digits >= 1 && digits <= FRACTION_DIGITS_MAX ? end : to;
}

/** Minutes east of UTC, Infinity for a zone that does not exist, NaN for what is not a zone. */
function readZone(text: Uint8Array, at: number, to: number): number {
  if (to - at === 1) return (text[at]! | SMALL) === LETTER_Z ? 0 : NaN;
  if (to - at !== ZONE_LENGTH || text[at + 3] !== COLON) return NaN;
  const sign = text[at] === PLUS ? 1 : text[at] === DASH ? -1 : NaN;
  const hours = twoDigits(text, at + 1);
  const minutes = twoDigits(text, at + 4);
  if (Number.isNaN(sign) || hours + minutes >= NO_DIGIT) return NaN;
  return hours > ZONE_HOURS_MAX || minutes > 59 ? Infinity : sign * (hours * 60 + minutes);
}

/** The fraction between the point and its end, as microseconds; further digits are cut off. */
function readMicroseconds(text: Uint8Array, point: number, end: number): number {
  const kept = Math.min(Math.max(end - point - 1, 0), FRACTION_DIGITS_KEPT);
  let digits = 0;
  for (let at = point + 1; at <= point + kept; at++) digits = digits * 10 + DIGITS[text[at]!]!;
  return digits * LAST_DIGIT_US[kept]!;
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Days from 1970-01-01 in the Gregorian calendar; years are counted from March to end in a leap day. */
function daysSince1970(year: number, month: number, day: number): number {
  const marchYear = month > 2 ? year : year - 1;
  const monthsSinceMarch = month > 2 ? month - 3 : month + 9;
  const leapDays = Math.floor(marchYear / 4) - Math.floor(marchYear / 100) +
    Math.floor(marchYear / 400);
  const dayOfYear = Math.floor((153 * monthsSinceMarch + 2) / 5) + day - 1;
  return marchYear * 365 + leapDays + dayOfYear - 719_468;
}
