/**
 * Durations of the last minute, kept as counts, so that a quantile costs the same for ten messages
 * and for ten million.
 *
 * @module
 */
import type { Clock } from "../clock.ts";

/** Each bucket is this much wider than the one before: the error of a quantile is at most half. */
const GROWTH = 1.1;
const SHORTEST_MS = 0.05;
/** The last bucket ends above ten days; longer durations count as that long. */
const BUCKETS = 250;

/** The window is made of slots; the oldest one is dropped as a whole. */
const SLOTS = 6;
const SLOT_MS = 10_000;

const LOG_GROWTH = Math.log(GROWTH);

interface Slot {
  readonly number: number;
  readonly counts: Uint32Array;
}

/** Counts durations, and forgets those that are older than a minute. */
export class SlidingHistogram {
  readonly #clock: Clock;
  #slots: Slot[] = [];

  /** Starts empty. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts a duration, ms. What is negative counts as 0: two computers' clocks differ. */
  record(durationMs: number): void {
    this.#currentSlot().counts[bucketOf(durationMs)]!++;
  }

  /** Counts many durations, ms. */
  recordAll(durationsMs: Iterable<number>): void {
    const { counts } = this.#currentSlot();
    for (const durationMs of durationsMs) counts[bucketOf(durationMs)]!++;
  }

  /**
   * The duration that the part `quantile` of all do not exceed, ms; undefined if there are none.
   *
   * @param quantile 0 to 1.
   */
  quantile(quantile: number): number | undefined {
    this.#dropOld();
    const sums = new Float64Array(BUCKETS);
    let total = 0;
    for (const { counts } of this.#slots) {
      for (const [bucket, count] of counts.entries()) {
        sums[bucket]! += count;
        total += count;
      }
    }
    if (total === 0) return undefined;
    let rest = Math.max(1, Math.ceil(total * quantile));
    const bucket = sums.findIndex((count) => (rest -= count) <= 0);
    return middleMs(bucket);
  }

  #currentSlot(): Slot {
    const number = Math.floor(this.#clock.elapsedMs() / SLOT_MS);
    const last = this.#slots.at(-1);
    if (last?.number === number) return last;
    const slot = { number, counts: new Uint32Array(BUCKETS) };
    this.#slots.push(slot);
    this.#dropOld();
    return slot;
  }

  #dropOld(): void {
    const oldest = Math.floor(this.#clock.elapsedMs() / SLOT_MS) - SLOTS + 1;
    this.#slots = this.#slots.filter(({ number }) => number >= oldest);
  }
}

function bucketOf(durationMs: number): number {
  if (durationMs <= SHORTEST_MS) return 0;
  const bucket = Math.ceil(Math.log(durationMs / SHORTEST_MS) / LOG_GROWTH);
  return Math.min(BUCKETS - 1, bucket);
}

function middleMs(bucket: number): number {
  return bucket === 0 ? SHORTEST_MS : SHORTEST_MS * GROWTH ** (bucket - 0.5);
}
