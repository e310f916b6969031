/**
 * Which partition a key belongs to. The same key goes to the same partition as with every other
 * Kafka client, so readings of one sensor stay in order whoever writes them.
 *
 * @module
 */

const encoder = new TextEncoder();

/** The mixing constants of murmur2 in the order in which Kafka's Java client uses them. */
const SEED = 0x9747b28c;
const MULTIPLIER = 0x5bd1e995;

/** Murmur2 over bytes read in little-endian order, as a signed 32-bit integer. */
function murmur2(bytes: Uint8Array): number {
  const wordsEnd = bytes.length & ~3;
  let hash = SEED ^ bytes.length;
  for (let at = 0; at < wordsEnd; at += 4) {
    let word = bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24;
    word = Math.imul(word, MULTIPLIER);
    word ^= word >>> 24;
    hash = Math.imul(hash, MULTIPLIER) ^ Math.imul(word, MULTIPLIER);
  }
  if (wordsEnd < bytes.length) {
    for (let at = bytes.length - 1; at >= wordsEnd; at--) hash ^= bytes[at]! << 8 * (at - wordsEnd);
    hash = Math.imul(hash, MULTIPLIER);
  }
  hash ^= hash >>> 13;
  hash = Math.imul(hash, MULTIPLIER);
  return hash ^ hash >>> 15;
}

/**
 * The partition of `key` among `partitions`, from 0: murmur2 of its UTF-8 bytes, as Kafka's Java
 * client counts it.
 *
 * @throws {RangeError} If `partitions` is not a positive integer.
 */
export function partitionOf(key: string, partitions: number): number {
  if (!Number.isInteger(partitions) || partitions < 1) {
    throw new RangeError(`Cannot choose a partition: ${partitions} partitions`);
  }
  // Kafka clears the sign bit; it does not take the absolute value.
  return (murmur2(utf8Of(key)) & 0x7fffffff) % partitions;
}

/** Longest key for which no memory is taken. */
const SHORT_KEY_LENGTH = 64;

/** Memory for short keys, by length: used again and again, within one call. */
const shortKeys = Array.from(
  { length: SHORT_KEY_LENGTH + 1 },
  (_, length) => new Uint8Array(length),
);

/** UTF-8 of a key, read before the next call. A sensor's id is short and ASCII: a quarter of the time. */
function utf8Of(key: string): Uint8Array {
  const bytes = shortKeys[key.length];
  if (bytes === undefined) return encoder.encode(key);
  for (let index = 0; index < bytes.length; index++) {
    const unit = key.charCodeAt(index);
    if (unit > 0x7f) return encoder.encode(key);
    bytes[index] = unit;
  }
  return bytes;
}
