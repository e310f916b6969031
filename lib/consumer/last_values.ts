/**
 * Repairs `last:<sensor_id>` in Redis from PostgreSQL, through the same compare that writes them:
 * after Redis was emptied or away, after a crash between COMMIT and mark, and when another member's
 * partitions come to us.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { TransientError } from "../errors.ts";
import type { Store } from "../postgres/store.ts";
import type { Reading } from "../reading/reading.ts";
import type { Cache, LastValue } from "../redis/cache.ts";
import { INDEX_NAME } from "../redis/scripts.ts";
import { parseTimestamp } from "../reading/timestamp.ts";
import { withTimeLimit } from "../time_limit.ts";

/** Sensors read from PostgreSQL and written to Redis at a time. */
export const REPAIR_SENSORS_MAX = 500;

/** A server that has not answered for this long is given up, ms; a repair can begin anew. */
const ANSWER_MS_MAX = 20_000;

/** Where last values are repaired from and to. */
export interface RepairParts {
  /** Has every reading. */
  readonly store: Pick<Store, "dataSetId" | "lastReadings">;
  /** Has lost some last values. */
  readonly cache: Cache;
  /** Bounds the waits. */
  readonly clock: Clock;
  /** Is told after each page how many sensors have been looked at. */
  readonly onProgress?: (sensors: number) => void;
}

/**
 * Writes the newest stored reading of every sensor to Redis unless a newer one is there. Values of
 * another data set are cleared first: their rows are gone.
 *
 * @param writtenFor the data set that Redis says its last values are of; null if it says nothing
 * @returns the number of sensors looked at
 * @throws {TransientError} if either server is away; everything can be done again.
 */
export async function repairLastValues(
  parts: RepairParts,
  writtenFor: string | null,
  signal: AbortSignal,
): Promise<number> {
  const { store, cache, clock } = parts;
  const answer = <T>(work: () => Promise<T>): Promise<T> =>
    withTimeLimit(work, { clock, limitMs: ANSWER_MS_MAX });
  const dataSetId = await answer(() => store.dataSetId());
  if (writtenFor !== null && writtenFor !== dataSetId) await answer(() => cache.clearLastValues());
  // Said before it is true. Should Redis be emptied from here on, it forgets this as well, and that
  // is noticed; said at the end, it would cover up what was forgotten on the way. Should we fail or
  // die instead, then we or the next owner of our partitions repair again, whatever Redis says.
  await answer(() => cache.setLastComplete(dataSetId));
  let sensors = 0;
  let after = "";
  // Bound: each page starts after the last sensor of the one before.
  while (!signal.aborted) {
    const readings = await answer(() => store.lastReadings(after, REPAIR_SENSORS_MAX));
    const last = readings.at(-1);
    if (last === undefined) break;
    const values = readings.filter(isKept).map(lastValueOf);
    const said = await answer(() => cache.remember([], values));
    if (said !== dataSetId) {
      throw new TransientError("Cannot repair last values: Redis was emptied meanwhile");
    }
    sensors += readings.length;
    parts.onProgress?.(sensors);
    after = last.sensor_id;
  }
  return sensors;
}

function isKept(reading: Reading): boolean {
  return reading.sensor_id !== INDEX_NAME;
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
