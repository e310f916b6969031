/**
 * Tables for a terminal, and for programs that read lines.
 *
 * @module
 */
import { columnsOf, cutTo, padTo, wrapped } from "./text_columns.ts";

/** How a table looks. */
export interface TableOptions {
  /**
   * Columns of the terminal. Where nobody looks there is no bound, and each row is one line.
   *
   * @default undefined
   */
  readonly columns?: number | undefined;
  /**
   * Where a cell stands in its column.
   *
   * @default "right"
   */
  readonly alignment?: "left" | "right";
  /**
   * What is done with the last column where the terminal is too narrow.
   *
   * @default "keep"
   */
  readonly last?: "keep" | "wrap" | "cut";
}

/** Between two columns. */
const GAP = "  ";

/** A last column that would be narrower is not worth its place. */
const LAST_COLUMNS_MIN = 30;

/**
 * Lays out rows in columns. A table that is too wide for its terminal gets closer and its head
 * goes over two lines; if that is not enough, its last column is cut or wrapped, or each row becomes a
 * paragraph in which every value stands behind the name of its column.
 *
 * @param head The names of the columns; empty: they have none.
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  { columns = Infinity, alignment = "right", last = "keep" }: TableOptions = {},
): readonly string[] {
  const side = alignment === "right" ? "start" : "end";
  const heads = head.length === 0 ? [] : [head];
  const wide = grid([...heads, ...rows], { gap: GAP, side });
  if (fits(wide, columns)) return wide;
  const close = grid([...twoLines(head), ...rows], { gap: " ", side });
  if (fits(close, columns)) return close;
  if (last !== "keep") {
    const narrow = narrowLast([...heads, ...rows], columns, last);
    if (narrow !== undefined) return narrow;
  }
  return rows.flatMap((row) => paragraph(head, row, { columns, last }));
}

function fits(lines: readonly string[], columns: number): boolean {
  return lines.every((line) => columnsOf(line) <= columns);
}

function grid(
  rows: readonly (readonly string[])[],
  { gap, side }: { readonly gap: string; readonly side: "start" | "end" },
): readonly string[] {
  const widths = widthsOf(rows);
  return rows.map((row) =>
    row.map((cell, at) => padTo(cell, widths[at] ?? 0, side)).join(gap).trimEnd()
  );
}

function widthsOf(rows: readonly (readonly string[])[]): readonly number[] {
  return rows[0]?.map((_, at) => Math.max(...rows.map((row) => columnsOf(row[at] ?? "")))) ?? [];
}

/** A head of which each name has its last word in the second line. */
function twoLines(head: readonly string[]): readonly (readonly string[])[] {
  if (head.length === 0) return [];
  const cuts = head.map((name) => name.lastIndexOf(" "));
  return [
    head.map((name, at) => name.slice(0, Math.max(0, cuts[at]!))),
    head.map((name, at) => name.slice(cuts[at]! + 1)),
  ];
}

/** The rows with a last column in what the others leave; undefined: that is too little. */
function narrowLast(
  rows: readonly (readonly string[])[],
  columns: number,
  last: "wrap" | "cut",
): readonly string[] | undefined {
  const left = grid(rows.map((row) => row.slice(0, -1)), { gap: GAP, side: "end" });
  const leftColumns = Math.max(...left.map(columnsOf)) + GAP.length;
  const room = columns - leftColumns;
  if (room < LAST_COLUMNS_MIN) return undefined;
  return rows.flatMap((row, at) => {
    const cell = row.at(-1) ?? "";
    const lines = last === "cut" ? [cutTo(cell, room)] : wrapped(cell, room, 0);
    const margins = [left[at] ?? "", ...lines.slice(1).map(() => "")];
    return lines.map((line, number) =>
      (padTo(margins[number]!, leftColumns, "end") + line).trimEnd()
    );
  });
}

/** Names and values one after the other; a pair is kept together if it fits into a line. */
function paragraph(
  head: readonly string[],
  row: readonly string[],
  { columns, last }: { readonly columns: number; readonly last: TableOptions["last"] },
): readonly string[] {
  const pairs = row.map((cell, at) => `${head[at] ?? ""} ${cell}`.trim());
  const lines: string[] = [];
  for (const [at, pair] of pairs.entries()) {
    if (row[at] === "") continue;
    const previous = lines.at(-1);
    if (previous !== undefined && columnsOf(previous + GAP + pair) <= columns) {
      lines[lines.length - 1] = previous + GAP + pair;
    } else {
      lines.push(previous === undefined ? pair : GAP + pair);
    }
  }
  return lines.flatMap((line, at) =>
    last === "cut" && at === lines.length - 1 ? [cutTo(line, columns)] : wrapped(line, columns)
  );
}
