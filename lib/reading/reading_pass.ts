/**
 * The fast way from the bytes of a message into columns: one pass, and no object. It takes a quarter
 * of the time of `parseReading`, and less than `JSON.parse` alone.
 *
 * It knows messages as nearly all sensors send them: every field of the schema once and nothing else,
 * in any order, with white space or without. Whatever it does not know at once (an escape, an
 * exponent, a field of somebody else's, a byte order mark, anything that breaks a rule) it leaves to
 * `parseReading`, whose answer is the law. So it never says why a message is bad, and what it takes is
 * what `parseReading` takes, to the bit: `tests/reading_pass_test.ts` holds the two together.
 *
 * All that it knows of fields comes from the schema: keys, kinds, bounds, and which characters a text
 * may have.
 *
 * @module
 */
import { earliestUs, latestUs, MESSAGE_BYTES_MAX, type ParseLimits } from "./reading.ts";
import { ID_BYTES, type ReadingColumns } from "./reading_columns.ts";
import { READING_FIELDS, type ReadingField } from "./reading_schema.ts";
import { TIMESTAMP_LENGTH_MAX, TIMESTAMP_LENGTH_MIN, timestampUs } from "./timestamp.ts";
import { readUuid, UUID_LENGTH } from "./uuid.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;
const SPACE = 0x20;

/** In place of a position: `parseReading` has the word. Larger than any position. */
const NOT_MINE = 2 ** 30;

/** So many digits are exact as an integer, and so is their power of ten; the quotient is rounded once. */
const DIGITS_MAX = 15;
const POWERS_OF_TEN = Float64Array.from({ length: DIGITS_MAX + 1 }, (_, power) => 10 ** power);

/** Characters of two bytes in UTF-8 end below; longer ones are not known here. */
const CODE_END = 0x800;
const ASCII_END = 0x80;

/** What texts a field may have. */
interface TextRule {
  /** 1 for each character that may stand in it as it is, by its code. */
  readonly allowed: Uint8Array;
  readonly charactersMax: number;
}

/** A member of an object: a field, or an object inside. */
interface Member {
  /** In quotes. */
  readonly key: Uint8Array;
  readonly kind: ReadingField["kind"] | "object";
  /** The field's index, see `READING_FIELDS`. */
  readonly field: number;
  readonly text: TextRule | undefined;
  readonly minimum: number;
  readonly maximum: number;
  readonly inner: Shape | undefined;
}

/** An object, as it has to be. */
interface Shape {
  readonly members: readonly Member[];
  /** A bit for each member. */
  readonly all: number;
  /**
   * Which member came after which in the last message: of member `n` at `n + 1`, and the first of all
   * at 0. Sensors keep to their order, and to look for each key in turn costs a fifth more.
   */
  readonly next: Uint8Array;
}

const MESSAGE: Shape = shapeOf([]);

// What the functions below work on. Reading does not wait for anything, so one of each is enough, and
// no object has to be made for a message.
let columns: ReadingColumns;
let row = 0;
let bytes: Uint8Array;
/**
 * Where the brace is that closes the message. No key, number or white space goes on behind it, so only
 * what may hold a brace, a text, has to look for the end.
 */
let last = 0;
let limits: ParseLimits;

/**
 * Reads a message into a row, its digest included, and returns true; or returns false if it is not
 * known at once: then the row holds nothing, and `parseReading` has the word.
 */
export function readInto(
  target: ReadingColumns,
  targetRow: number,
  message: Uint8Array,
  from: number,
  to: number,
  bounds: ParseLimits,
): boolean {
  if (to - from > MESSAGE_BYTES_MAX) return false;
  columns = target;
  row = targetRow;
  bytes = message;
  limits = bounds;
  last = to - 1;
  while (last > from && isSpace(bytes[last]!)) last--;
  if (last <= from || bytes[last] !== CLOSING_BRACE) return false;
  if (readObject(MESSAGE, skipSpace(from)) !== last + 1) return false;
  columns.isDecoded[row] = 0;
  columns.nulls[row] = 0;
  columns.digest(row);
  return true;
}

// Each of the functions below reads what stands at `start`, and returns where it ends, or NOT_MINE.

function readObject(shape: Shape, start: number): number {
  if (bytes[start] !== OPENING_BRACE) return NOT_MINE;
  let seen = 0;
  let place = 0;
  let at = start;
  do {
    at = skipSpace(at + 1);
    const index = memberAt(shape, place, at);
    const bit = 1 << index;
    if (index < 0 || (seen & bit) !== 0) return NOT_MINE;
    seen |= bit;
    place = index + 1;
    const member = shape.members[index]!;
    at = skipSpace(at + member.key.length);
    if (bytes[at] !== COLON) return NOT_MINE;
    at = readValue(member, skipSpace(at + 1));
    if (at > last) return NOT_MINE;
    at = skipSpace(at);
  } while (bytes[at] === COMMA);
  return bytes[at] === CLOSING_BRACE && seen === shape.all ? at + 1 : NOT_MINE;
}

/** The index of the member whose key stands at `at`, or -1: first the one that came next before. */
function memberAt({ members, next }: Shape, place: number, at: number): number {
  const guess = next[place]!;
  if (hasKey(members[guess]!, at)) return guess;
  for (let index = 0; index < members.length; index++) {
    if (!hasKey(members[index]!, at)) continue;
    next[place] = index;
    return index;
  }
  return -1;
}

function hasKey({ key }: Member, at: number): boolean {
  for (let index = 0; index < key.length; index++) {
    if (key[index] !== bytes[at + index]) return false;
  }
  return true;
}

function readValue(member: Member, start: number): number {
  switch (member.kind) {
    case "text":
      return readText(member, start);
    case "number":
    case "integer":
      return readNumber(member, start);
    case "object":
      return readObject(member.inner!, start);
    case "id":
      return readId(start);
    case "time":
      return readTime(start);
  }
}

function readText({ field, text }: Member, start: number): number {
  if (bytes[start] !== QUOTE) return NOT_MINE;
  const { allowed, charactersMax } = text!;
  let at = start + 1;
  let trails = 0;
  for (; at < last; at++) {
    const byte = bytes[at]!;
    if (byte < ASCII_END) {
      if (allowed[byte] === 0) break;
      continue;
    }
    const code = twoByteCode(byte, bytes[at + 1]!);
    if (allowed[code] === 0) return NOT_MINE;
    at++;
    trails++;
  }
  const characters = at - start - 1 - trails;
  if (bytes[at] !== QUOTE || characters < 1 || characters > charactersMax) return NOT_MINE;
  columns.textsFrom[field]![row] = start + 1;
  columns.textsTo[field]![row] = at;
  return at + 1;
}

/** The code of a character of two bytes, or CODE_END for any other two bytes. */
function twoByteCode(lead: number, trail: number): number {
  const isCode = lead >= 0xc2 && lead <= 0xdf && (trail & 0xc0) === 0x80;
  return isCode ? (lead & 0x1f) << 6 | (trail & 0x3f) : CODE_END;
}

function readNumber({ field, kind, minimum, maximum }: Member, start: number): number {
  const isNegative = bytes[start] === MINUS;
  const first = isNegative ? start + 1 : start;
  let at = first;
  let mantissa = 0;
  for (; isDigit(bytes[at]!); at++) mantissa = mantissa * 10 + bytes[at]! - ZERO;
  let digits = at - first;
  if (digits === 0 || (digits > 1 && bytes[first] === ZERO)) return NOT_MINE;
  let fractionDigits = 0;
  if (bytes[at] === POINT) {
    const point = at++;
    for (; isDigit(bytes[at]!); at++) mantissa = mantissa * 10 + bytes[at]! - ZERO;
    fractionDigits = at - point - 1;
    if (fractionDigits === 0) return NOT_MINE;
    digits += fractionDigits;
  }
  // An exponent is none of what may come after a value, so the caller finds it.
  if (digits > DIGITS_MAX) return NOT_MINE;
  const magnitude = mantissa / POWERS_OF_TEN[fractionDigits]!;
  const value = isNegative ? -magnitude : magnitude;
  if (value < minimum || value > maximum) return NOT_MINE;
  if (kind === "integer" && !Number.isInteger(value)) return NOT_MINE;
  columns.numbers[field]![row] = value;
  return at;
}

function readId(start: number): number {
  const end = start + 1 + UUID_LENGTH;
  if (end >= last || bytes[start] !== QUOTE || bytes[end] !== QUOTE) return NOT_MINE;
  return readUuid(bytes, start + 1, columns.ids, row * ID_BYTES) ? end + 1 : NOT_MINE;
}

function readTime(start: number): number {
  if (bytes[start] !== QUOTE) return NOT_MINE;
  let end = start + 1 + TIMESTAMP_LENGTH_MIN;
  const endMax = Math.min(start + 1 + TIMESTAMP_LENGTH_MAX, last);
  while (end < endMax && bytes[end] !== QUOTE) end++;
  if (end >= last || bytes[end] !== QUOTE) return NOT_MINE;
  const us = timestampUs(bytes, start + 1, end);
  // NaN, for what is no timestamp, is neither; Infinity, for a day that does not exist, is too late.
  if (!(us >= earliestUs(limits) && us <= latestUs(limits))) return NOT_MINE;
  columns.eventTimesUs[row] = us;
  return end + 1;
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= NINE;
}

function skipSpace(start: number): number {
  let at = start;
  while (isSpace(bytes[at]!)) at++;
  return at;
}

/** White space of JSON: space, tab, line feed, carriage return. */
function isSpace(byte: number): boolean {
  return byte <= SPACE && (byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09);
}

/** The object whose fields' paths begin like this. */
function shapeOf(path: readonly string[]): Shape {
  const inside = [...READING_FIELDS.entries()]
    .filter(([, field]) => path.every((name, depth) => field.path[depth] === name));
  const names = [...new Set(inside.map(([, field]) => field.path[path.length]!))];
  const members = names.map((name): Member => {
    const [index, field] = inside.find(([, field]) => field.path[path.length] === name)!;
    const isLeaf = field.path.length === path.length + 1;
    return {
      key: new TextEncoder().encode(JSON.stringify(name)),
      kind: isLeaf ? field.kind : "object",
      field: index,
      text: isLeaf && field.kind === "text" ? textRuleOf(field) : undefined,
      minimum: field.minimum ?? -Infinity,
      maximum: field.maximum ?? Infinity,
      inner: isLeaf ? undefined : shapeOf([...path, name]),
    };
  });
  const next = Uint8Array.from(
    { length: members.length + 1 },
    (_, place) => place % members.length,
  );
  return { members, all: 2 ** members.length - 1, next };
}

/** Makes a table from a pattern; it has to be a class of characters and how many there may be. */
function textRuleOf({ column, pattern = "" }: ReadingField): TextRule {
  const [, characters, max] = /^\^(\[[^\]]+\])\{1,(\d+)\}\$$/.exec(pattern) ?? [];
  if (characters === undefined) {
    throw new Error(`Cannot read ${column} by bytes: its pattern is not ^[...]{1,n}$: ${pattern}`);
  }
  const allows = new RegExp(`^${characters}$`, "u");
  const allowed = Uint8Array.from({ length: CODE_END + 1 }, (_, code) => {
    const isSpecial = code < SPACE || code === QUOTE || code === BACKSLASH || code === CODE_END;
    return !isSpecial && allows.test(String.fromCharCode(code)) ? 1 : 0;
  });
  return { allowed, charactersMax: Number(max) };
}
