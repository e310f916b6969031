/**
 * A fast 64-bit digest of texts and numbers, made of two 32-bit lanes. It tells equal from different
 * content and resists no attacker: who chooses both contents can make them collide.
 *
 * @module
 */

/** Where the two lanes begin. */
const SEED_FIRST = 0x2545f491;
const SEED_SECOND = 0x6c078965;
/** Odd, so that no step loses anything; they differ, so that the lanes do not collide together. */
const MULTIPLIER_FIRST = 0x85ebca6b;
const MULTIPLIER_SECOND = 0xc2b2ae35;

const BITS_PER_DIGIT = 5;
/** The codes of the digits 0-9 and a-v. */
const DIGIT_CODES = Uint8Array.from(
  "0123456789abcdefghijklmnopqrstuv",
  (digit) => digit.charCodeAt(0),
);

const BYTES_PER_WORD = 4;
const doubles = new Float64Array(1);
const words = new Int32Array(doubles.buffer);

/**
 * The two lanes of a digest while it is made. Both take each word, in one loop: a step waits for the
 * one before it, and not for the other lane's.
 */
export class Digest {
  /** One half. */
  first: number = SEED_FIRST;
  /** The other half. */
  second: number = SEED_SECOND;

  /** Forgets everything. */
  restart(): void {
    this.first = SEED_FIRST;
    this.second = SEED_SECOND;
  }

  /** Mixes in a double, all of its bits; -0 counts as 0. */
  number(value: number): void {
    doubles[0] = value + 0;
    const low = words[0]!;
    const high = words[1]!;
    this.first = mix(mix(this.first, low, MULTIPLIER_FIRST), high, MULTIPLIER_FIRST);
    this.second = mix(mix(this.second, low, MULTIPLIER_SECOND), high, MULTIPLIER_SECOND);
  }

  /** Mixes in the bytes of a text, their number included, so that neighbours do not run together. */
  text(bytes: Uint8Array, from: number, to: number): void {
    let first = mix(this.first, to - from, MULTIPLIER_FIRST);
    let second = mix(this.second, to - from, MULTIPLIER_SECOND);
    const lastWhole = to - BYTES_PER_WORD;
    let at = from;
    for (; at <= lastWhole; at += BYTES_PER_WORD) {
      const word = bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24;
      first = mix(first, word, MULTIPLIER_FIRST);
      second = mix(second, word, MULTIPLIER_SECOND);
    }
    if (at < to) {
      let word = 0;
      for (; at < to; at++) word = word << 8 | bytes[at]!;
      first = mix(first, word, MULTIPLIER_FIRST);
      second = mix(second, word, MULTIPLIER_SECOND);
    }
    this.first = first;
    this.second = second;
  }
}

function mix(hash: number, word: number, multiplier: number): number {
  const mixed = hash ^ word;
  // A product carries upward only; the rotation brings the high bits down again.
  return Math.imul((mixed << 13) | (mixed >>> 19), multiplier);
}

/** Digits of a digest. */
export const DIGEST_DIGITS = 14;
const DIGITS_PER_LANE = 7;

/** Writes the two lanes as {@linkcode DIGEST_DIGITS} digits of base 32. */
export function putDigest(
  first: number,
  second: number,
  { target, at }: { readonly target: Uint8Array; readonly at: number },
): void {
  const high = spread(first);
  const low = spread(second);
  for (let place = 0; place < DIGITS_PER_LANE; place++) {
    target[at + place] = digitCode(high, place);
    target[at + DIGITS_PER_LANE + place] = digitCode(low, place);
  }
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
