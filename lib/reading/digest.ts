/**
 * A fast 64-bit digest of texts and numbers, made of two 32-bit lanes. It tells equal from different
 * content and resists no attacker: who chooses both contents can make them collide.
 *
 * @module
 */

/** One half of a digest. */
export interface Lane {
  /** What an empty text starts from. */
  readonly seed: number;
  /** Odd, so that no step loses anything. */
  readonly multiplier: number;
}

/** The two halves. Their multipliers differ, so that they do not collide together. */
export const LANES: readonly [Lane, Lane] = [
  { seed: 0x2545f491, multiplier: 0x85ebca6b },
  { seed: 0x6c078965, multiplier: 0xc2b2ae35 },
];

const BITS_PER_DIGIT = 5;
/** The codes of the digits 0-9 and a-v. */
const DIGIT_CODES = Uint8Array.from(
  "0123456789abcdefghijklmnopqrstuv",
  (digit) => digit.charCodeAt(0),
);

const doubles = new Float64Array(1);
const words = new Int32Array(doubles.buffer);

/** Mixes in a text, its length included, so that neighbours do not run together. */
export function mixText(hash: number, text: string, lane: Lane): number {
  let mixed = mixWord(hash, text.length, lane);
  // Two UTF-16 units at a time; beyond the end charCodeAt() is NaN, which shifts to 0.
  for (let at = 0; at < text.length; at += 2) {
    mixed = mixWord(mixed, text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16), lane);
  }
  return mixed;
}

/** Mixes in a double, all of its bits; -0 counts as 0. */
export function mixNumber(hash: number, value: number, lane: Lane): number {
  doubles[0] = value + 0;
  return mixWord(mixWord(hash, words[0]!, lane), words[1]!, lane);
}

function mixWord(hash: number, word: number, lane: Lane): number {
  const mixed = hash ^ word;
  // A product carries upward only; the rotation brings the high bits down again.
  return Math.imul((mixed << 13) | (mixed >>> 19), lane.multiplier);
}

/** The two lanes as 14 digits of base 32. Three times faster than `toString(36)`. */
export function digestText(first: number, second: number): string {
  const high = spread(first);
  const low = spread(second);
  return String.fromCharCode(
    digitCode(high, 0),
    digitCode(high, 1),
    digitCode(high, 2),
    digitCode(high, 3),
    digitCode(high, 4),
    digitCode(high, 5),
    digitCode(high, 6),
    digitCode(low, 0),
    digitCode(low, 1),
    digitCode(low, 2),
    digitCode(low, 3),
    digitCode(low, 4),
    digitCode(low, 5),
    digitCode(low, 6),
  );
}

function digitCode(bits: number, place: number): number {
  return DIGIT_CODES[(bits >>> (place * BITS_PER_DIGIT)) & 31]!;
}

/** Lets every bit of a lane touch every bit of the result. */
function spread(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
  return mixed ^ (mixed >>> 16);
}

/** A text where it stands. */
export interface TextBytes {
  /** UTF-8. */
  readonly bytes: Uint8Array;
  /** Its first byte. */
  readonly from: number;
  /** One past its last byte. */
  readonly to: number;
}

/** Mixes in a text, its length included, so that neighbours do not run together. */
export function mixBytes(hash: number, { bytes, from, to }: TextBytes, lane: Lane): number {
  let mixed = mixWord(hash, to - from, lane);
  for (let at = from; at < to; at += 2) {
    // Two bytes at a time. What stands behind the end is none of it.
    const second = at + 1 < to ? bytes[at + 1]! : 0;
    mixed = mixWord(mixed, bytes[at]! | second << 16, lane);
  }
  return mixed;
}
