/**
 * Standard output and standard error of a program. Neither holds up the work: whoever reads them may
 * be slow, may have gone, or may never have been there. Data waits for its reader and is complete;
 * the log is written beside the work, and counts what it had to drop.
 *
 * @module
 */
import process from "node:process";
import { systemClock } from "./clock.ts";
import { codeOf, LineQueue, writeAll } from "./line_queue.ts";
import { asciiJson } from "./printable.ts";
import { columnsOf, cutTo, wrapped } from "./text_columns.ts";

/** How long a program that ends waits for whoever reads its standard error, ms. */
const FLUSH_MS_MAX = 1_000;

// Deno's own writing, because that of node:fs does not leave the event loop: a full pipe stopped it all.
// A process has one of each.
const standardError = new LineQueue({
  write: (bytes) => Deno.stderr.write(bytes),
  clock: systemClock,
});
let printing: Promise<void> = Promise.resolve();
let isClosed = false;
/** The last lines on the terminal, if they are such that move. */
let live: readonly string[] = [];

/** Columns of a terminal that does not say how many it has. */
const COLUMNS_DEFAULT = 80;

/** Fewer than this are no terminal that somebody reads. */
const COLUMNS_MIN = 20;

/** The width of the terminal that shows standard output; undefined: it goes elsewhere. */
export function outputColumns(): number | undefined {
  return Deno.stdout.isTerminal() ? terminalColumns() : undefined;
}

/** How text on standard output looks. */
export interface TextForm {
  /** Of the terminal that shows it; undefined: it goes elsewhere. */
  readonly columns?: number | undefined;
  /**
   * `coloured`: on a terminal that knows colours, unless `NO_COLOR` is set (https://no-color.org).
   *
   * @default "plain"
   */
  readonly colours?: "plain" | "coloured";
}

/** How text on standard output looks best. */
export function outputForm(): TextForm {
  const columns = outputColumns();
  return { columns, colours: columns === undefined || isPlain() ? "plain" : "coloured" };
}

/** Whether lines can be rewritten where standard error goes: on a terminal that takes escapes. */
export function canRewrite(): boolean {
  return Deno.stderr.isTerminal() && !isPlain();
}

/** Whether escapes are not wanted, or not understood. */
function isPlain(): boolean {
  return Deno.noColor || process.env.TERM === "dumb";
}

/** The width of the terminal that shows standard error; undefined: it goes elsewhere. */
export function errorColumns(): number | undefined {
  return Deno.stderr.isTerminal() ? terminalColumns() : undefined;
}

/** Asked each time, for a window changes its size. One that is just being made has none. */
function terminalColumns(): number {
  try {
    const { columns } = Deno.consoleSize();
    return columns < COLUMNS_MIN ? COLUMNS_DEFAULT : columns;
  } catch {
    return COLUMNS_DEFAULT;
  }
}

/** Whether nobody reads standard output any more, as behind `| head -1`: what is printed is lost. */
export function isOutputClosed(): boolean {
  return isClosed;
}

/**
 * Prints lines for people to standard output. On a terminal they wrap between words.
 *
 * @throws what {@linkcode print} throws.
 */
export function printText(text: string): Promise<void> {
  return print(fitted(text, outputColumns()));
}

/**
 * Prints a value as JSON: on one line, but for a terminal, where nobody could read it.
 *
 * @throws what {@linkcode print} throws.
 */
export function printJson(value: unknown): Promise<void> {
  return print(asciiJson(value, outputColumns() === undefined ? "one line" : "indented"));
}

/** Writes lines for people to standard error, as {@linkcode printText} does. It does not wait. */
export function tell(text: string): void {
  writeError(`${fitted(text, errorColumns())}\n`);
}

function fitted(text: string, columns: number | undefined): string {
  if (columns === undefined) return text;
  return text.split("\n").flatMap((line) => wrapped(line, columns)).join("\n");
}

/**
 * Prints a line to standard output as it is.
 *
 * @throws if it cannot be written, as on a full disk; see {@linkcode isOutputClosed} for a pipe.
 */
export function print(text: string): Promise<void> {
  return printRaw(`${text}\n`);
}

/** Prints without a line feed, see {@linkcode print}. What was printed before comes first. */
export function printRaw(text: string): Promise<void> {
  printing = printing.then(() => printNow(text));
  return printing;
}

async function printNow(text: string): Promise<void> {
  if (isClosed) return;
  try {
    await writeAll((bytes) => Deno.stdout.write(bytes), text, systemClock);
  } catch (error) {
    isClosed = codeOf(error) === "EPIPE";
    if (!isClosed) throw new Error("Cannot write to standard output", { cause: error });
  }
}

/**
 * Hands whole lines to standard error. It does not wait and does not throw. Lines that move make way
 * for them.
 */
export function writeError(text: string): void {
  standardError.push(eraseLive() + text);
  live = [];
}

/** Shows lines that move, in the place of those before, on the terminal of standard error. */
export function showLive(...lines: readonly string[]): void {
  const shown = lines.map((line) => cutTo(line, terminalColumns() - 1));
  standardError.push(eraseLive() + shown.join("\n"));
  live = shown;
}

/** Takes the lines that move away, before something is printed to standard output. */
export async function endLive(): Promise<void> {
  if (live.length > 0) writeError("");
  await flushErrors();
}

/** After Ctrl-C: the terminal has put `^C` where the cursor was, and what comes next begins a line. */
export function leaveEcho(): void {
  if (Deno.stderr.isTerminal()) writeError(live.length > 0 ? "" : "\n");
}

/** Takes away what moves. The cursor is in its last line. */
function eraseLive(): string {
  if (live.length === 0) return "";
  const columns = terminalColumns();
  // A terminal that has become narrower has wrapped them.
  const rowsAbove = live.slice(0, -1)
    .reduce((rows, line) => rows + Math.max(1, Math.ceil(columnsOf(line) / columns)), 0);
  return `\r${rowsAbove > 0 ? `\x1b[${rowsAbove}A` : ""}\x1b[J`;
}

/** From now on, `line` makes what is said of lines that could not be written. */
export function sayLostLines(line: (lines: number) => string): void {
  standardError.lostLine = line;
}

/**
 * Waits until everything that was printed is out.
 *
 * @throws what {@linkcode print} threw.
 */
export async function printed(): Promise<void> {
  await printing;
}

/** Waits until standard error has everything, for a moment: its reader may not be there. */
export async function flushErrors(): Promise<void> {
  await standardError.flush(FLUSH_MS_MAX);
}
