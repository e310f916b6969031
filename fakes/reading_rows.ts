/**
 * Readings as objects, and the columns that say the same: for fakes and for tests. The product makes no
 * object of a reading that it stores.
 *
 * @module
 */
import type { Reading } from "../lib/reading/reading.ts";
import {
  ReadingColumns,
  readingFrom,
  type ReadingRows,
  sortById,
} from "../lib/reading/reading_columns.ts";

/** A reading together with where it stands in its partition. */
export interface ReadingAt {
  /** Offset of its message. */
  readonly offset: number;
  /** The reading itself. */
  readonly reading: Reading;
  /** Event time in microseconds since 1970: what `reading.timestamp` says, as an exact integer. */
  readonly eventTimeUs: number;
}

/** Columns of these readings, in their order. */
export function readingColumns(readings: readonly ReadingAt[]): ReadingColumns {
  const columns = new ReadingColumns(readings.length);
  columns.begin(new Uint8Array());
  for (const [row, { offset, ...parsed }] of readings.entries()) {
    columns.offsets[row] = offset;
    columns.put(row, parsed);
  }
  return columns;
}

/** Readings that exist as objects, as sorted rows. */
export function readingRows(readings: readonly ReadingAt[]): ReadingRows {
  const columns = readingColumns(readings);
  return { columns, rows: sortById(columns, Uint32Array.from(readings.keys())) };
}

/** The same as objects, in their order: what outlives the columns. */
export function readingsOf({ columns, rows }: ReadingRows): readonly ReadingAt[] {
  return Array.from(rows, (row) => ({
    offset: columns.offsets[row]!,
    reading: readingOf(columns, row),
    eventTimeUs: columns.eventTimesUs[row]!,
  }));
}

/** A row as an object. Its timestamp is written in UTC. */
export function readingOf(columns: ReadingColumns, row: number): Reading {
  return readingFrom(({ kind }, index) => {
    if (columns.isNull(row, index)) return undefined;
    if (kind === "id") return columns.idText(row);
    if (kind === "text") return columns.text(row, index);
    if (kind === "time") return timestampText(columns.eventTimesUs[row]!);
    return columns.numbers[index]![row]!;
  });
}

/** Writes an instant in UTC with six digits of a second, as `2026-11-24T10:00:00.123456+00:00`. */
export function timestampText(us: number): string {
  const ms = Math.floor(us / 1_000);
  const rest = String(us - ms * 1_000).padStart(3, "0");
  return new Date(ms).toISOString().replace("Z", `${rest}+00:00`);
}
