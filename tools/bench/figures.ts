/**
 * What the bench prints: figures with their median and each round beside it.
 *
 * @module
 */
import { table } from "../../lib/table.ts";
import { SERVERS, type ServersCpu } from "./cpu.ts";

/** What was measured again and again, in turns with others. */
export interface Run {
  /** What it is. */
  readonly name: string;
  /** One result a round. */
  readonly rounds: readonly RunResult[];
}

/** One round of a {@linkcode Run}. */
export interface RunResult {
  /** Messages of the backlog or the file. */
  readonly perSecond: number;
  /** Of the program that was measured, if there was one. */
  readonly programCpuSeconds?: number;
  /** Of the servers. */
  readonly serversCpuSeconds: ServersCpu;
  /** Most memory of the program. */
  readonly peakRssMb?: number;
}

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
    const all = rounds.map((value) => shown(value, digits)).join("  ");
    return [name.padEnd(nameWidth), shown(median(rounds), digits), all];
  });
  return table(["", "median", "rounds"], rows, { columns, last: "wrap" }).join("\n");
}

/** CPU seconds of all processes together. */
export function cpuSecondsOfRun({ programCpuSeconds = 0, serversCpuSeconds }: RunResult): number {
  return SERVERS.reduce((sum, server) => sum + serversCpuSeconds[server], programCpuSeconds);
}

/** A run a line: the medians of its rate, of the CPU seconds of each process, and of its memory. */
export function runsText(runs: readonly Run[], columns?: number): string {
  const nameWidth = Math.max(...runs.map(({ name }) => name.length));
  const rows = runs.map(({ name, rounds }) => {
    const middle = (
      valueOf: (result: RunResult) => number | undefined,
      digits: number,
    ): string => {
      const values = rounds.map(valueOf).filter((value) => value !== undefined);
      return values.length === 0 ? "-" : shown(median(values), digits);
    };
    return [
      name.padEnd(nameWidth),
      middle(({ perSecond }) => perSecond, 0),
      middle(({ programCpuSeconds }) => programCpuSeconds, 2),
      ...SERVERS.map((server) => middle(({ serversCpuSeconds: used }) => used[server], 2)),
      middle(cpuSecondsOfRun, 2),
      middle(({ peakRssMb }) => peakRssMb, 0),
      rounds.map(({ perSecond }) => shown(perSecond, 0)).join("  "),
    ];
  });
  const head = ["", "messages/s", "program", ...SERVERS, "all CPU s", "peak MB", "rounds"];
  return table(head, rows, { columns, last: "wrap" }).join("\n");
}

function shown(value: number, digits: number): string {
  return value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}
