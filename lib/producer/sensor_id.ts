/**
 * Finds a line's `sensor_id` without parsing the line, which costs several times as much.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Longest `sensor_id` that is found here, in bytes. */
const ID_BYTES_MAX = 64;

const NAME = new TextEncoder().encode("sensor_id");

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OBJECT_BEGIN = 0x7b;
const OBJECT_END = 0x7d;
const ARRAY_BEGIN = 0x5b;
const ASCII_MAX = 0x7e;
const SPACE = 0x20;

/**
 * The `sensor_id` of a line that is one object and has nothing odd before it: no escape, nothing
 * nested. Undefined for all other lines, with or without an id: those have to be parsed.
 *
 * Of two fields of that name this is the first, and a parser takes the last. And a line that is
 * broken behind it has an id here. The consumer judges both; the key only chooses the partition.
 */
export function sensorIdAtOnce(line: Uint8Array): string | undefined {
  if (line[0] !== OBJECT_BEGIN || line[line.length - 1] !== OBJECT_END) return undefined;
  let at = 1;
  for (;;) {
    while (line[at] === SPACE) at++;
    if (line[at] !== QUOTE) return undefined;
    const nameAt = at + 1;
    const nameTo = stringEnd(line, nameAt);
    at = nameTo + 1;
    while (line[at] === SPACE) at++;
    if (nameTo === -1 || line[at] !== COLON) return undefined;
    at++;
    while (line[at] === SPACE) at++;
    if (isName(line, nameAt, nameTo)) return idAt(line, at);
    at = valueEnd(line, at);
    if (at === -1 || line[at] !== COMMA) return undefined;
    at++;
  }
}

/** Where the string ends that begins at `from`, behind its quote; -1: nowhere, or it has an escape. */
function stringEnd(line: Uint8Array, from: number): number {
  for (let at = from; at < line.length; at++) {
    if (line[at] === QUOTE) return at;
    if (line[at] === BACKSLASH) return -1;
  }
  return -1;
}

/** Where the comma behind a plain value stands; -1: it is not plain, or there is none. */
function valueEnd(line: Uint8Array, from: number): number {
  let at = from;
  if (line[at] === QUOTE) {
    at = stringEnd(line, at + 1);
    if (at === -1) return -1;
    at++;
  }
  for (; at < line.length; at++) {
    const byte = line[at]!;
    if (byte === COMMA) return at;
    if (byte === QUOTE || byte === OBJECT_BEGIN || byte === ARRAY_BEGIN) return -1;
  }
  return -1;
}

function isName(line: Uint8Array, from: number, to: number): boolean {
  if (to - from !== NAME.length) return false;
  for (let index = 0; index < NAME.length; index++) {
    if (line[from + index] !== NAME[index]) return false;
  }
  return true;
}

function idAt(line: Uint8Array, at: number): string | undefined {
  if (line[at] !== QUOTE) return undefined;
  const from = at + 1;
  let to = from;
  for (; line[to] !== QUOTE; to++) {
    const byte = line[to];
    if (byte === undefined || byte === BACKSLASH || byte < SPACE || byte > ASCII_MAX) {
      return undefined;
    }
  }
  if (to === from || to - from > ID_BYTES_MAX) return undefined;
  return Buffer.from(line.buffer, line.byteOffset, line.length).toString("latin1", from, to);
}
