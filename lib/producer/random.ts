/**
 * Seeded randomness: the same seed gives the same numbers, on every machine and in every release.
 *
 * @module
 */

/** A stream of pseudo-random numbers. Not for secrets. */
export interface Random {
  /** A whole number from 0 to 2^32 - 1. */
  uint32(): number;
  /** A number from 0 up to but not including 1. */
  unit(): number;
  /** A number from `min` up to but not including `max`. */
  between(min: number, max: number): number;
  /** A number around 0, about normally distributed with standard deviation 1, within -3.5..3.5. */
  bell(): number;
  /** One of `items`, of which there is at least one. */
  pick<Item>(items: readonly Item[]): Item;
}

/**
 * Starts a stream (sfc32: small, fast, and good enough for every statistical test).
 *
 * @param seeds Whole numbers that name the stream together.
 */
export function createRandom(...seeds: readonly number[]): Random {
  let [a, b, c, counter] = [0x9e3779b9, 0x243f6a88, 0xb7e15162, 1];
  const uint32 = (): number => {
    const result = a + b + counter | 0;
    counter = counter + 1 | 0;
    a = b ^ b >>> 9;
    b = c + (c << 3) | 0;
    c = (c << 21 | c >>> 11) + result | 0;
    return result >>> 0;
  };
  for (const seed of seeds) {
    a ^= seed;
    b ^= Math.floor(seed / 2 ** 32);
    // Neighbouring seeds must not give similar streams.
    for (let round = 0; round < 12; round++) uint32();
  }
  const unit = (): number => uint32() / 2 ** 32;
  return {
    uint32,
    unit,
    between: (min, max) => min + unit() * (max - min),
    bell: () => (unit() + unit() + unit() + unit() - 2) * Math.sqrt(3),
    pick: (items) => items[Math.floor(unit() * items.length)]!,
  };
}
