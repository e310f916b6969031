/**
 * What the migration that takes over an earlier table has found and done.
 *
 * @module
 */
import type { SqlPool } from "./pool.ts";
import { counted, grouped } from "../quantities.ts";

/** The migration that does it. */
export const TAKE_OVER_MIGRATION = "007_take_over.sql";

/** The rows of the earlier table. */
export interface TakeOverReport {
  /** Rows that the earlier table has. */
  readonly originalRows: number;
  /** Rows that are in `sensor_events` now. */
  readonly takenRows: number;
  /** Rows that are kept in `take_over_rejected`, by the reason. */
  readonly rejectedRows: ReadonlyMap<string, number>;
}

/**
 * Reads the report; undefined if there was nothing to take over.
 *
 * @throws {ConfigurationError} if the tables do not exist.
 */
export async function readTakeOver(pool: SqlPool): Promise<TakeOverReport | undefined> {
  const { rows: [summary] } = await pool.query({
    action: "read the report of the take-over",
    text: "SELECT original_rows, taken_rows FROM take_over",
    purpose: "migrate",
  });
  if (summary === undefined) return undefined;
  const { rows } = await pool.query({
    action: "read the report of the take-over",
    text: "SELECT reason, count(*) FROM take_over_rejected GROUP BY reason ORDER BY reason",
    purpose: "migrate",
  });
  return {
    originalRows: Number(summary.original_rows),
    takenRows: Number(summary.taken_rows),
    rejectedRows: new Map(rows.map((row) => [String(row.reason), Number(row.count)])),
  };
}

/** The report for a terminal. */
export function takeOverText(report: TakeOverReport): string {
  const { originalRows, takenRows, rejectedRows } = report;
  const rejected = [...rejectedRows].map(([reason, rows]) => `  ${rows}: ${reason}`);
  return [
    `took over ${grouped(takenRows)} of ${
      counted(originalRows, "row")
    } of the earlier sensor_events, which is now ` +
    "sensor_events_original",
    ...(rejected.length === 0 ? [] : [
      `kept aside in take_over_rejected, ${originalRows - takenRows} in all:`,
      ...rejected,
    ]),
  ].join("\n");
}
