/**
 * The port to the accelerator: marks of processed readings and each sensor's last value.
 * Nothing here decides anything; losing all of it costs work and no reading.
 *
 * Two implementations: `client.ts` speaks to Redis, `fakes/cache.ts` keeps keys in memory.
 * `tests/contracts/cache.ts` states the laws and runs on both.
 *
 * @module
 */
import { ID_BYTES, type Marks } from "./marks.ts";

/** A candidate for `last:<sensorId>`. */
export interface LastValue {
  /** Case kept. Never `index`: that key is the index itself, and `remember` refuses it. */
  readonly sensorId: string;
  /** Event time in microseconds since 1970; exact, because it stays below 2^53. */
  readonly eventTimeUs: number;
  /** Breaks ties between equal event times: the larger id wins. Lower case. */
  readonly id: string;
  /** The message as JSON text, `unique_reading_id` included. */
  readonly text: string;
}

/** Last values and the data set that they are of. */
export interface OwnLastValues {
  /** Names the data set, see `Store.dataSetId`. */
  readonly dataSetId: string;
  /** At most one batch's. */
  readonly values: readonly LastValue[];
}

/** What {@linkcode Cache.remember} has found and done. */
export interface Remembered {
  /**
   * How the data set's last values stand in Redis. `incomplete`: some may be missing. `not ours`:
   * those that are there are of another data set or of none, so none were written.
   */
  readonly lastValues: "complete" | "incomplete" | "not ours";
  /**
   * Keys that hold something else than ours, so that they were left alone; ten at most. Each costs
   * its sensor the last value, and no other.
   */
  readonly refusedKeys: readonly string[];
}

/** Who asks for the last values. */
export interface Claimant {
  /** The data set. */
  readonly dataSetId: string;
  /** A data set whose place ours has taken in the same database: it is gone, whatever Redis says. */
  readonly formerly?: string | undefined;
}

/** What became of {@linkcode Cache.claimLastValues}. */
export type Claim =
  /** They are ours, and how they stand. */
  | { readonly kind: "complete" | "incomplete" }
  /** They will be ours: those of a data set that is gone are being deleted. Ask again. */
  | { readonly kind: "clearing" }
  /** They are of a data set one of whose consumers was there a moment ago. */
  | { readonly kind: "foreign"; readonly dataSetId: string; readonly leaseMs: number };

/** How long a data set keeps its last values after its last consumer has asked for them, ms. */
export const LEASE_MS = 30_000;

/** Names no reading: for whoever asks only whether Redis answers. */
export const PROBE_ID = new Uint8Array(ID_BYTES);

/** Every call rejects with `TransientError` when Redis is away, refuses, or is too slow. */
export interface Cache {
  /**
   * The marks of these ids, in their order; null where there is none. One round trip.
   *
   * @param ids 16 bytes each; read before this returns
   */
  marks(ids: Uint8Array): Promise<readonly (string | null)[]>;
  /**
   * Writes marks, and last values that are newer than what is there, in one round trip.
   * `last:<sensorId>` never goes back in (event time, id); `last:index` keeps sensor -> event time.
   * Last values are written only if those in Redis are of the same data set, or there are none.
   *
   * All last values are written together or not at all. Marks are not: if this rejects, any of them
   * can be there, with the last values or without. Nothing relies on more: a mark is judged alone,
   * and a last value that is missing is repaired.
   *
   * @param marks read before this returns
   */
  remember(marks: Marks, last: OwnLastValues): Promise<Remembered>;
  /**
   * Takes possession of the last values for {@linkcode LEASE_MS}, or renews that. Those of another
   * data set that nobody holds are deleted first, a bounded number by each call: of them the keys
   * that `last:index` names, and no others. It can be left and gone on with at any time, by anybody.
   */
  claimLastValues(claimant: Claimant): Promise<Claim>;
  /**
   * Says that the last value of every stored sensor of this data set has been written.
   *
   * @returns false, and nothing is said, if the last values are not this data set's.
   */
  setLastComplete(dataSetId: string): Promise<boolean>;
  /** The JSON text of `last:<sensorId>`, or null. */
  lastValue(sensorId: string): Promise<string | null>;
}

/** A piece of `last:index`, which is ordered by event time and then by sensor. */
export interface IndexRange {
  /** Event time where it begins, microseconds since 1970. */
  readonly fromUs: number;
  /** Sensors left out there: those that were read before. */
  readonly skip: number;
  /** Most sensors. */
  readonly limit: number;
}

/** What readers need, the dashboard above all. Rejects as {@linkcode Cache} does. */
export interface LastValueReader {
  /** Sensors and the event times of their last values, microseconds since 1970, the oldest first. */
  lastTimes(range: IndexRange): Promise<readonly (readonly [sensorId: string, us: number])[]>;
  /** The JSON texts of `last:<sensorId>` in the order of the ids; null where there is none. */
  lastTexts(sensorIds: readonly string[]): Promise<readonly (string | null)[]>;
}
