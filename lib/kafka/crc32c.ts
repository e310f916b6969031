/**
 * CRC-32C, the checksum of Kafka's record batches. `node:zlib` has only the other one, CRC-32.
 *
 * @module
 */

/** The polynomial of Castagnoli, its bits reversed. */
const POLYNOMIAL = 0x82f63b78;

/** Bytes that one step takes in. */
const STEP_BYTES = 8;

/** Eight tables of 256 numbers: what a byte does to the sum from 0 to 7 bytes before its end. */
const TABLES = makeTables();

function makeTables(): Int32Array {
  const tables = new Int32Array(STEP_BYTES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let sum = byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? sum >>> 1 ^ POLYNOMIAL : sum >>> 1;
    tables[byte] = sum;
  }
  for (let at = 256; at < tables.length; at++) {
    const before = tables[at - 256]!;
    tables[at] = before >>> 8 ^ tables[before & 0xff]!;
  }
  return tables;
}

/**
 * The checksum of the bytes from `from` to `to`, from 0 to 2^32 - 1. Eight bytes a step: four times as
 * fast as one.
 */
export function crc32c(bytes: Uint8Array, from = 0, to = bytes.length): number {
  const t = TABLES;
  let sum = -1;
  let at = from;
  for (const stepsTo = to - STEP_BYTES; at <= stepsTo; at += STEP_BYTES) {
    const mixed = sum ^
      (bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24);
    sum = t[1_792 + (mixed & 0xff)]! ^ t[1_536 + (mixed >>> 8 & 0xff)]! ^
      t[1_280 + (mixed >>> 16 & 0xff)]! ^ t[1_024 + (mixed >>> 24)]! ^
      t[768 + bytes[at + 4]!]! ^ t[512 + bytes[at + 5]!]! ^
      t[256 + bytes[at + 6]!]! ^ t[bytes[at + 7]!]!;
  }
  for (; at < to; at++) sum = sum >>> 8 ^ t[(sum ^ bytes[at]!) & 0xff]!;
  return (sum ^ -1) >>> 0;
}
