/**
 * Marks as columns: what says of a reading that it is stored. A batch has thousands, and none of them
 * is worth an object.
 *
 * @module
 */

/** Bytes of a reading's id. */
export const ID_BYTES = 16;

/** Marks of stored readings: keys `reading:<id>`, which expire. */
export interface Marks {
  /** How many there are. */
  readonly count: number;
  /** 16 bytes each. */
  readonly ids: Uint8Array;
  /**
   * ASCII, one after the other. A value names the data set, the place in the topic and the content,
   * see `mark.ts`.
   */
  readonly values: Uint8Array;
  /** Where each value ends. */
  readonly ends: Uint32Array;
}

const ZERO = 0x30;

/** Writes a whole number of 0 or more in decimal digits, and returns where they end. */
export function putDecimal(value: number, target: Uint8Array, at: number): number {
  let end = at + 1;
  for (let bound = 10; value >= bound; bound *= 10) end++;
  let rest = value;
  for (let digit = end - 1; digit >= at; digit--) {
    const shorter = Math.floor(rest / 10);
    target[digit] = ZERO + (rest - shorter * 10);
    rest = shorter;
  }
  return end;
}

/** No marks: for whoever writes last values alone. */
export const NO_MARKS: Marks = {
  count: 0,
  ids: new Uint8Array(),
  values: new Uint8Array(),
  ends: new Uint32Array(),
};
