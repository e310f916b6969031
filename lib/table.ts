/**
 * Tables for a terminal.
 *
 * @module
 */

/** Lays out rows in columns. */
export function table(
  rows: readonly (readonly string[])[],
  alignment: "left" | "right" = "right",
): readonly string[] {
  const widths =
    rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row.map((cell, column) =>
      alignment === "right" ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)
    ).join("  ").trimEnd()
  );
}
