/**
 * Lines on their way to a place that may be slow, full or gone: a pipe, a disk, a terminal.
 *
 * @module
 */
import type { Clock } from "./clock.ts";
import { withTimeLimit } from "./time_limit.ts";
import { counted } from "./quantities.ts";

/**
 * Writes some of the bytes and resolves with how many. It rejects with the system's code:
 * `EAGAIN` for a pipe that is full and set not to wait, `EPIPE` for one that nobody reads any more.
 */
export type WriteSome = (bytes: Uint8Array) => Promise<number>;

/** Waits before a pipe that is full is tried again, ms. */
const FULL_BACKOFF = { minMs: 1, maxMs: 50 } as const;

/** Most text that waits, UTF-16 units. */
export const QUEUE_LENGTH_MAX = 1_048_576;

/** What a pipe that is full takes as a whole or not at all, bytes: POSIX's PIPE_BUF on Linux. */
const PIECE_BYTES_MAX = 4_096;

const LINE_FEED = 10;

/**
 * Writes all of a text, however long the reader takes.
 *
 * @throws what `write` does, but for `EAGAIN`.
 */
export async function writeAll(write: WriteSome, text: string, clock: Clock): Promise<void> {
  let rest: Uint8Array = new TextEncoder().encode(text);
  let waitMs: number = FULL_BACKOFF.minMs;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(await write(nextPiece(rest)));
      waitMs = FULL_BACKOFF.minMs;
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error;
      await clock.sleep(waitMs);
      waitMs = Math.min(FULL_BACKOFF.maxMs, waitMs * 2);
    }
  }
}

/**
 * The next bytes to write: whole lines, or a large piece of one. Below Deno's standard output lies a
 * line buffer of 1,024 bytes. It keeps what a full pipe has left of a line, or a small piece without a
 * line feed, and says EAGAIN as if it had taken nothing, so that trying again wrote it twice.
 */
function nextPiece(bytes: Uint8Array): Uint8Array {
  const piece = bytes.subarray(0, PIECE_BYTES_MAX);
  const lines = piece.lastIndexOf(LINE_FEED) + 1;
  return lines === 0 ? piece : piece.subarray(0, lines);
}

/** Code of the system's error, such as `EPIPE`. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

/** A line that waits. */
interface Entry {
  readonly text: string;
  /** How many lines are lost with it: those that it speaks of, or itself. */
  readonly lines: number;
}

/**
 * Writes lines alongside the flow. Whoever hands one over never waits and never fails: what cannot be
 * written is dropped and counted, and the next line that comes through is told the count before.
 */
export class LineQueue {
  /** Makes the line that tells how many were lost. */
  lostLine: (lines: number) => string = (lines) =>
    `${counted(lines, "line")} could not be written\n`;
  readonly #write: WriteSome;
  readonly #clock: Clock;
  readonly #waiting: Entry[] = [];
  #waitingLength = 0;
  #lost = 0;
  #isTorn = false;
  #writing: Promise<void> | undefined;

  /** Writes nothing before the first line. */
  constructor(parts: { readonly write: WriteSome; readonly clock: Clock }) {
    this.#write = parts.write;
    this.#clock = parts.clock;
  }

  /** Takes a line, line feed included. It does not throw. */
  push(line: string): void {
    this.#tellLost();
    if (!this.#add({ text: line, lines: 1 })) this.#lost++;
  }

  /** Waits until all lines are out, at most `limitMs`. It does not throw. */
  async flush(limitMs: number): Promise<void> {
    this.#tellLost();
    const writing = this.#writing;
    if (writing === undefined) return;
    await withTimeLimit(() => writing, { clock: this.#clock, limitMs }).catch(() => {});
  }

  #tellLost(): void {
    if (this.#lost === 0) return;
    const lines = this.#lost;
    if (this.#add({ text: this.lostLine(lines), lines })) this.#lost -= lines;
  }

  /** False: there is no room. */
  #add(entry: Entry): boolean {
    if (this.#waitingLength + entry.text.length > QUEUE_LENGTH_MAX) return false;
    this.#waiting.push(entry);
    this.#waitingLength += entry.text.length;
    this.#writing ??= this.#drain();
    return true;
  }

  async #drain(): Promise<void> {
    // One line at a time: short ones stay whole in a pipe that several programs write to.
    for (let entry = this.#waiting.shift(); entry !== undefined; entry = this.#waiting.shift()) {
      await this.#bringOut(entry);
      this.#waitingLength -= entry.text.length;
    }
    this.#writing = undefined;
  }

  async #bringOut({ text, lines }: Entry): Promise<void> {
    let written = 0;
    const write: WriteSome = async (bytes) => {
      const count = await this.#write(bytes);
      written += count;
      return count;
    };
    try {
      // What was left of a broken line must not swallow this one.
      await writeAll(write, this.#isTorn ? `\n${text}` : text, this.#clock);
      this.#isTorn = false;
    } catch {
      this.#isTorn ||= written > 0;
      this.#lost += lines;
    }
  }
}
