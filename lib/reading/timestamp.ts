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

/** The last answer: a validator and its caller ask for the same text one after the other. */
let lastText: string | undefined;
let lastAnswer: Instant | TimestampFault = "timestamp_format";

/**
 * Reads `yyyy-mm-ddThh:mm:ss[.fraction](Z|±hh:mm)`, T and Z in either case, the fraction with at
 * most {@linkcode FRACTION_DIGITS_MAX} digits. Second 60 is refused: neither JavaScript nor
 * PostgreSQL keeps a leap second.
 */
export function parseTimestamp(text: string): Instant | TimestampFault {
  if (text !== lastText) {
    lastAnswer = readTimestamp(text);
    lastText = text;
  }
  return lastAnswer;
}

function readTimestamp(text: string): Instant | TimestampFault {
  const year = twoDigits(text, 0) * 100 + twoDigits(text, 2);
  const month = twoDigits(text, 5);
  const day = twoDigits(text, 8);
  const hour = twoDigits(text, 11);
  const minute = twoDigits(text, 14);
  const second = twoDigits(text, 17);
  const zoneAt = endOfFraction(text);
  const zoneMinutes = readZone(text, zoneAt);
  const isWritten = text[4] === "-" && text[7] === "-" && isLetter(text, 10, "t") &&
    text[13] === ":" && text[16] === ":";
  // NaN, from anything that is no digit, makes the sum NaN.
  if (!isWritten || Number.isNaN(year + month + day + hour + minute + second + zoneMinutes)) {
    return "timestamp_format";
  }
  const isReal = year > 0 && month >= 1 && month <= 12 && day >= 1 &&
    day <= daysInMonth(year, month) && hour < 24 && minute < 60 && second < 60 &&
    zoneMinutes !== Infinity;
  if (!isReal) return "timestamp_date";

  const seconds = daysSince1970(year, month, day) * 86_400 + hour * 3_600 +
    (minute - zoneMinutes) * 60 + second;
  const keptEnd = TIME_LENGTH + 1 + FRACTION_DIGITS_KEPT;
  return {
    us: seconds * 1_000_000 + readMicroseconds(text, Math.min(zoneAt, keptEnd)),
    text: zoneAt > keptEnd ? text.slice(0, keptEnd) + text.slice(zoneAt) : text,
  };
}

/** The number of the two digits at `at`, or NaN. */
function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - 0x30;
  const ones = text.charCodeAt(at + 1) - 0x30;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : NaN;
}

function isLetter(text: string, at: number, lowerCase: string): boolean {
  return (text.charCodeAt(at) | 0x20) === lowerCase.charCodeAt(0);
}

/** Where the zone begins, or -1, where none can be, if the fraction has no digits or too many. */
function endOfFraction(text: string): number {
  if (text[TIME_LENGTH] !== ".") return TIME_LENGTH;
  const first = TIME_LENGTH + 1;
  let end = first;
  while (end - first <= FRACTION_DIGITS_MAX && isDigit(text.charCodeAt(end))) end++;
  return end > first && end - first <= FRACTION_DIGITS_MAX ? end : -1;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** Minutes east of UTC, Infinity for a zone that does not exist, NaN for what is not a zone. */
function readZone(text: string, at: number): number {
  if (isLetter(text, at, "z") && text.length === at + 1) return 0;
  const sign = text[at] === "+" ? 1 : text[at] === "-" ? -1 : NaN;
  const hours = twoDigits(text, at + 1);
  const minutes = twoDigits(text, at + 4);
  if (text[at + 3] !== ":" || text.length !== at + ZONE_LENGTH) return NaN;
  if (hours > ZONE_HOURS_MAX || minutes > 59) return Infinity;
  return sign * (hours * 60 + minutes);
}

/** The fraction up to `end`, at most six digits, as microseconds. */
function readMicroseconds(text: string, end: number): number {
  let microseconds = 0;
  let unit = 100_000;
  for (let at = TIME_LENGTH + 1; at < end; at++) {
    microseconds += (text.charCodeAt(at) - 0x30) * unit;
    unit /= 10;
  }
  return microseconds;
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

/** Writes an instant in UTC with six digits of a second, as `2026-11-24T10:00:00.123456+00:00`. */
export function timestampText(us: number): string {
  const ms = Math.floor(us / 1_000);
  const rest = String(us - ms * 1_000).padStart(3, "0");
  return new Date(ms).toISOString().replace("Z", `${rest}+00:00`);
}
