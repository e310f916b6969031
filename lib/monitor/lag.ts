/**
 * How far behind, how fast, and how long until caught up, from looks at the topic once a second.
 *
 * @module
 */

/** One look at the whole topic. */
export interface TopicSample {
  /** When it was taken, in `elapsedMs`. */
  readonly atMs: number;
  /** The end of each partition's log. */
  readonly ends: ReadonlyMap<number, number>;
  /** How many offsets the ledger has passed, over all partitions. */
  readonly passed: number;
}

/** Rates over a window, messages per second. */
export interface TopicRates {
  /** Messages that came into the topic. */
  readonly inPerSecond: number;
  /** Messages that were stored. */
  readonly storedPerSecond: number;
}

/** Rates at one moment, for a chart. */
export interface RatePoint extends TopicRates {
  /** When they were measured: in `elapsedMs` here, in ms since 1970 in the status. */
  readonly atMs: number;
}

/** Longest memory of looks: lag in seconds is exact up to here. */
const SAMPLES_MAX = 600;

/** Rates are those of the last milliseconds, this many. */
const RATE_WINDOW_MS = 5_000;

/** Remembers looks at the topic. */
export class TopicHistory {
  #samples: TopicSample[] = [];

  /** Adds a look. */
  add(sample: TopicSample): void {
    this.#samples.push(sample);
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  /** Rates up to the last look; undefined before there are two that are not far apart. */
  rates(): RatePoint | undefined {
    const newest = this.#samples.at(-1);
    const oldest = this.#samples.find(({ atMs }) => atMs >= (newest?.atMs ?? 0) - RATE_WINDOW_MS);
    if (newest === undefined || oldest === undefined || newest === oldest) return undefined;
    const seconds = (newest.atMs - oldest.atMs) / 1_000;
    // Both can go back: a topic that was recreated, a ledger that was emptied.
    return {
      atMs: newest.atMs,
      inPerSecond: Math.max(0, sumOf(newest.ends) - sumOf(oldest.ends)) / seconds,
      storedPerSecond: Math.max(0, newest.passed - oldest.passed) / seconds,
    };
  }

  /**
   * The age of the oldest message that is not stored, seconds: the time since the first look that
   * saw it. Older than all looks, it is at least as old as the first one; the time of the message
   * before it, if known, is a better guess.
   */
  lagSeconds(
    at: { readonly partition: number; readonly nextOffset: number },
    now: { readonly elapsedMs: number; readonly lastMessageAgeMs: number | undefined },
  ): number {
    const { partition, nextOffset } = at;
    const isThere = (sample: TopicSample): boolean =>
      (sample.ends.get(partition) ?? 0) > nextOffset;
    const first = this.#samples.findIndex(isThere);
    const sample = this.#samples[first];
    if (sample === undefined) return 0;
    const seenMs = now.elapsedMs - sample.atMs;
    const ageMs = first === 0 ? Math.max(seenMs, now.lastMessageAgeMs ?? 0) : seenMs;
    return ageMs / 1_000;
  }
}

/** Seconds until the lag is gone at these rates; undefined: it does not shrink. */
export function etaSeconds(lagMessages: number, rates: TopicRates): number | undefined {
  if (lagMessages === 0) return 0;
  const shrinkPerSecond = rates.storedPerSecond - rates.inPerSecond;
  return shrinkPerSecond > 0 ? lagMessages / shrinkPerSecond : undefined;
}

function sumOf(numbers: ReadonlyMap<number, number>): number {
  let sum = 0;
  for (const number of numbers.values()) sum += number;
  return sum;
}
