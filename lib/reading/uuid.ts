/**
 * UUIDs as 16 bytes and as texts: 8-4-4-4-12 hexadecimal digits of either case, whatever the version,
 * which is what PostgreSQL's `uuid` takes and gives back.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Characters of a UUID's text. */
export const UUID_LENGTH = 36;
/** Bytes of a UUID. */
export const UUID_BYTES = 16;

const DASH = 0x2d;

/** What each character is worth as a digit; -1, all bits, for those that are none. */
const HEX_VALUES = new Int8Array(256).fill(-1);
const HEX_CODES = Buffer.from("0123456789abcdef");
for (const [value, code] of HEX_CODES.entries()) HEX_VALUES[code] = value;
for (const [value, code] of Buffer.from("0123456789ABCDEF").entries()) HEX_VALUES[code] = value;

/** A text, and the bytes that it stands for, while they are read or written. */
const textBytes = Buffer.alloc(UUID_LENGTH);
const uuidBytes = new Uint8Array(UUID_BYTES);
const utf8 = new TextEncoder();

/** True if the text is a UUID. */
export function isUuid(text: string): boolean {
  return putUuid(text, uuidBytes, 0);
}

/** Writes the 16 bytes of a UUID to `target`, or returns false if the text is none. */
export function putUuid(text: string, target: Uint8Array, at: number): boolean {
  // A character outside of ASCII has bytes that are no digits, or finds no room for them.
  return text.length === UUID_LENGTH && utf8.encodeInto(text, textBytes).written === UUID_LENGTH &&
    readUuid(textBytes, 0, target, at);
}

/**
 * Writes the 16 bytes of the UUID whose 36 characters begin at `from`, or returns false if they are
 * none; what it has written is worth nothing then.
 */
export function readUuid(text: Uint8Array, from: number, target: Uint8Array, at: number): boolean {
  if (
    text[from + 8] !== DASH || text[from + 13] !== DASH || text[from + 18] !== DASH ||
    text[from + 23] !== DASH
  ) return false;
  // One that is no digit makes all of it negative.
  const valid = readDigits(text, from, target, at, 4) |
    readDigits(text, from + 9, target, at + 4, 2) |
    readDigits(text, from + 14, target, at + 6, 2) |
    readDigits(text, from + 19, target, at + 8, 2) |
    readDigits(text, from + 24, target, at + 10, 6);
  return valid >= 0;
}

function readDigits(
  text: Uint8Array,
  from: number,
  target: Uint8Array,
  at: number,
  bytes: number,
): number {
  let all = 0;
  for (let index = 0; index < bytes; index++) {
    const high = HEX_VALUES[text[from + 2 * index]!]!;
    const low = HEX_VALUES[text[from + 2 * index + 1]!]!;
    all |= high | low;
    target[at + index] = high << 4 | low;
  }
  return all;
}

/** The text of a UUID's 16 bytes, lower case with dashes. */
export function uuidText(bytes: Uint8Array, at: number): string {
  writeUuid(bytes, at, textBytes, 0);
  // Half as much again is what 20 pieces put together cost.
  return textBytes.toString("latin1");
}

/** Writes the 36 characters of a UUID's 16 bytes to `target`, in ASCII. */
export function writeUuid(bytes: Uint8Array, at: number, target: Uint8Array, to: number): void {
  let next = to;
  for (let index = 0; index < UUID_BYTES; index++) {
    if (index === 4 || index === 6 || index === 8 || index === 10) target[next++] = DASH;
    const byte = bytes[at + index]!;
    target[next++] = HEX_CODES[byte >> 4]!;
    target[next++] = HEX_CODES[byte & 15]!;
  }
}
