/**
 * What the bench prints: figures with their median and each round beside it.
 *
 * @module
 */
import { table } from "../../lib/table.ts";

/** One figure of the bench. */
export interface Figure {
  /** What it is, with its unit. */
  readonly name: string;
  /** One value a round. */
  readonly rounds: readonly number[];
  /** Digits after the point. */
  readonly digits: number;
}

/**
 * The middle of the sorted values; of an even number of them the mean of the two in the middle.
 *
 * @throws {RangeError} If there is no value.
 */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.ceil(sorted.length / 2) - 1];
  if (upper === undefined || lower === undefined) {
    throw new RangeError("Cannot take the median of nothing");
  }
  return (lower + upper) / 2;
}

/** The figures as lines of text; `columns` are those of the terminal, if there is one. */
export function figuresText(figures: readonly Figure[], columns?: number): string {
  const nameWidth = Math.max(...figures.map(({ name }) => name.length));
  const rows = figures.map(({ name, rounds, digits }) => {
    const shown = (value: number): string =>
      value.toLocaleString("en-US", {
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
      });
    return [name.padEnd(nameWidth), shown(median(rounds)), rounds.map(shown).join("  ")];
  });
  return table(["", "median", "rounds"], rows, { columns, last: "wrap" }).join("\n");
}
