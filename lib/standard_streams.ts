/**
 * Standard output and standard error of a program. Neither holds up the work: whoever reads them may
 * be slow, may have gone, or may never have been there. Data waits for its reader and is complete;
 * the log is written beside the work, and counts what it had to drop.
 *
 * @module
 */
import { systemClock } from "./clock.ts";
import { codeOf, LineQueue, writeAll } from "./line_queue.ts";

/** How long a program that ends waits for whoever reads its standard error, ms. */
const FLUSH_MS_MAX = 1_000;

// Deno's own writing, for that of node:fs does not leave the event loop: a full pipe stopped it all.
// A process has one of each.
const standardError = new LineQueue({
  write: (bytes) => Deno.stderr.write(bytes),
  clock: systemClock,
});
let printing: Promise<void> = Promise.resolve();
let isClosed = false;

/** Whether nobody reads standard output any more, as behind `| head -1`: what is printed is lost. */
export function isOutputClosed(): boolean {
  return isClosed;
}

/**
 * Prints a line for people or machines to standard output.
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

/** Hands a text to standard error. It does not wait and does not throw. */
export function writeError(text: string): void {
  standardError.push(text);
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
