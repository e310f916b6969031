/**
 * Tables for a terminal.
 *
 * @module
 */

/** Lays out rows in columns, right-aligned. */
export function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths =
    rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("  ").trimEnd()
  );
}
