/**
 * Trouble of several parts with the same cause, told once: a server that is away is away for all
 * partitions, and each of them meets it again and again.
 *
 * @module
 */
import type { Clock } from "./clock.ts";

/** Most troubles that are told in {@linkcode TOLD_WINDOW_MS}: flapping must not fill a disk. */
const TOLD_MAX = 10;
/** See {@linkcode TOLD_MAX}, ms. */
const TOLD_WINDOW_MS = 60_000;
/** Most troubles that are remembered as told: a partition can meet ever new ones for days. */
const TOLD_KEPT_MAX = 100;

/** Remembers what was told and is not over, and who has it. */
export class ToldOnce {
  readonly #clock: Clock;
  /** Each text with the partitions that met it since it was told. */
  readonly #told = new Map<string, Set<number>>();
  #toldAtMs: number[] = [];

  /** Nothing has been told. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `tell` unless the same trouble was told and is not over, or too much was told of late. */
  met(text: string, partitions: readonly number[], tell: () => void): void {
    let having = this.#told.get(text);
    if (having === undefined) {
      const nowMs = this.#clock.elapsedMs();
      this.#toldAtMs = this.#toldAtMs.filter((atMs) => nowMs - atMs < TOLD_WINDOW_MS);
      // Not forgotten: if it lasts, a later failure tells it.
      if (this.#toldAtMs.length >= TOLD_MAX) return;
      this.#toldAtMs.push(nowMs);
      tell();
      having = new Set();
      this.#told.set(text, having);
      const [oldest] = this.#told.keys();
      if (this.#told.size > TOLD_KEPT_MAX) this.#told.delete(oldest!);
    }
    for (const partition of partitions) having.add(partition);
  }

  /** The partition is well. Returns the last of the troubles that were told and nobody has any more. */
  left(partition: number): string | undefined {
    let over: string | undefined;
    for (const [text, having] of this.#told) {
      if (!having.delete(partition) || having.size > 0) continue;
      this.#told.delete(text);
      over = text;
    }
    return over;
  }
}
