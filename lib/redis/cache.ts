/**
 * The port to the accelerator: marks of processed readings and each sensor's last value.
 * Nothing here decides anything; losing all of it costs work and no reading.
 *
 * Two implementations: `client.ts` speaks to Redis, `memory.ts` keeps keys in memory.
 * `tests/contracts/cache.ts` states the laws and runs on both.
 *
 * @module
 */

/** Remembers that a reading is stored: key `reading:<id>`, which expires. */
export interface Mark {
  /** The reading's id, lower case. */
  readonly id: string;
  /** Names the data set, the place in the topic and the content, see `batch.ts`. */
  readonly value: string;
}

/** A candidate for `last:<sensorId>`. */
export interface LastValue {
  /** Case kept. Never `index`: that key is the index itself, and `remember` refuses it. */
  readonly sensorId: string;
  /** Event time in microseconds since 1970; exact, for it stays below 2^53. */
  readonly eventTimeUs: number;
  /** Breaks ties between equal event times: the larger id wins. Lower case. */
  readonly id: string;
  /** The message as JSON text, `unique_reading_id` included. */
  readonly text: string;
}

/** Every call rejects with `TransientError` when Redis is away, refuses, or is too slow. */
export interface Cache {
  /** The marks of these ids, in their order; null where there is none. One round trip. */
  marks(ids: readonly string[]): Promise<readonly (string | null)[]>;
  /**
   * Writes marks, and last values that are newer than what is there, in one atomic script.
   * `last:<sensorId>` never goes back in (event time, id); `last:index` keeps sensor -> event time.
   *
   * @returns the data set for which {@linkcode Cache.setLastComplete} was called last, or null if
   * that is unknown: Redis was emptied since.
   */
  remember(marks: readonly Mark[], lastValues: readonly LastValue[]): Promise<string | null>;
  /** Says that the last value of every stored sensor of this data set has been written. */
  setLastComplete(dataSetId: string): Promise<void>;
  /**
   * Forgets every last value and what {@linkcode Cache.setLastComplete} said, in bounded steps:
   * they belong to a data set that is gone.
   */
  clearLastValues(): Promise<void>;
  /** The JSON text of `last:<sensorId>`, or null. */
  lastValue(sensorId: string): Promise<string | null>;
}

/** What readers need, the dashboard above all. Rejects as {@linkcode Cache} does. */
export interface LastValueReader {
  /**
   * Event times of last values in microseconds since 1970, by sensor, from `last:index`: the
   * `limit` oldest ones.
   */
  lastTimes(limit: number): Promise<ReadonlyMap<string, number>>;
  /** The JSON texts of `last:<sensorId>` in the order of the ids; null where there is none. */
  lastTexts(sensorIds: readonly string[]): Promise<readonly (string | null)[]>;
}
