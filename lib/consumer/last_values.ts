/**
 * Repairs `last:<sensor_id>` in Redis from PostgreSQL, through the same compare that writes them:
 * after Redis was emptied or away, after a crash between COMMIT and mark, and when another member's
 * partitions come to us.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { TooMuchError, TransientError } from "../errors.ts";
import type { Store } from "../postgres/store.ts";
import type { Reading } from "../reading/reading.ts";
import type { Cache, Claim, Claimant, LastValue } from "../redis/cache.ts";
import { NO_MARKS } from "../redis/marks.ts";
import { INDEX_NAME } from "../redis/scripts.ts";
import { parseTimestamp } from "../reading/timestamp.ts";
import { withTimeLimit } from "../time_limit.ts";

/** Sensors read from PostgreSQL and written to Redis at a time. */
export const REPAIR_SENSORS_MAX = 500;

/** A server that has not answered one step for this long is given up, ms. */
export const ANSWER_MS_MAX = 20_000;

/** Where last values are repaired from and to. */
export interface RepairParts {
  /** Has every reading. */
  readonly store: Pick<Store, "lastReadings">;
  /** Has lost some last values. */
  readonly cache: Cache;
  /** Bounds the waits. */
  readonly clock: Clock;
  /** Is notified after each page how many sensors have been looked at. */
  readonly onProgress?: (sensors: number) => void;
}

/** What became of a repair. */
export type Repaired =
  /** All sensors have been looked at, or, once the signal has aborted, so many of them. */
  | { readonly kind: "repaired"; readonly sensors: number }
  /** The last values are those of another data set that is alive: nothing was done. */
  | Extract<Claim, { kind: "foreign" }>;

/**
 * Writes the newest stored reading of every sensor to Redis unless a newer one is there. Values of
 * another data set are cleared first, if it is gone: their rows are, too. Every step is bounded, and
 * whatever interrupts the work, it can be done again by anybody.
 *
 * @param claimant the data set of the store
 * @throws {TransientError} if either server is away; everything can be done again.
 */
export async function repairLastValues(
  parts: RepairParts,
  claimant: Claimant,
  signal: AbortSignal,
): Promise<Repaired> {
  const { store, cache, clock } = parts;
  const { dataSetId } = claimant;
  const answer = <T>(work: () => Promise<T>): Promise<T> =>
    withTimeLimit(work, { clock, limitMs: ANSWER_MS_MAX });
  let sensors = 0;
  // Bound: each step deletes sensors, and while a step is left nobody adds one.
  for (let isClearing = true; isClearing;) {
    if (signal.aborted) return { kind: "repaired", sensors };
    const claim = await answer(() => cache.claimLastValues(claimant));
    if (claim.kind === "foreign") return claim;
    isClearing = claim.kind === "clearing";
  }
  // Said before it is true. Should Redis be emptied from here on, it forgets this as well, and that
  // is noticed; said at the end, it would cover up what was forgotten on the way. Should we fail or
  // die instead, then we or the next owner of our partitions repair again, whatever Redis says.
  if (!await answer(() => cache.setLastComplete(dataSetId))) throw lostMeanwhile();
  let after = "";
  let sensorsMax = REPAIR_SENSORS_MAX;
  // Bound: each page starts after the last sensor of the one before, or is smaller.
  while (!signal.aborted) {
    const readings = await answer(() => store.lastReadings(after, sensorsMax)).catch((error) => {
      if (error instanceof TooMuchError && sensorsMax > 1) return "too much" as const;
      throw error;
    });
    if (readings === "too much") {
      // The same page would take as long again.
      sensorsMax = Math.floor(sensorsMax / 2);
      continue;
    }
    const last = readings.at(-1);
    if (last === undefined) break;
    const values = readings.filter(({ sensor_id }) => sensor_id !== INDEX_NAME).map(lastValueOf);
    const { lastValues } = await answer(() => cache.remember(NO_MARKS, { dataSetId, values }));
    if (lastValues !== "complete") throw lostMeanwhile();
    sensors += readings.length;
    parts.onProgress?.(sensors);
    after = last.sensor_id;
  }
  return { kind: "repaired", sensors };
}

function lostMeanwhile(): TransientError {
  return new TransientError(
    "Cannot repair last values: meanwhile, Redis was emptied or taken over by another data set",
  );
}

function lastValueOf(reading: Reading): LastValue {
  const instant = parseTimestamp(reading.timestamp);
  if (typeof instant === "string") {
    throw new TransientError(`Cannot read the stored timestamp ${reading.timestamp}: ${instant}`);
  }
  return {
    sensorId: reading.sensor_id,
    eventTimeUs: instant.us,
    id: reading.unique_reading_id,
    text: JSON.stringify(reading),
  };
}
