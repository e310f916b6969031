/**
 * What is done alongside the flow, every so often. The flow never waits for a chore.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import { withTimeLimit } from "../time_limit.ts";

/** What chores need. */
export interface ChoresParts {
  /** Says when one is due. */
  readonly clock: Clock;
  /** Hears of those that fail. */
  readonly log: Log;
}

/** A chore without a limit is never given up. */
const NEVER: AbortSignal = new AbortController().signal;

/** One of each kind at a time. A chore that fails is done again when it is due again. */
export class Chores {
  readonly #parts: ChoresParts;
  readonly #lastMs = new Map<string, number>();
  readonly #underWay = new Map<string, Promise<void>>();

  /** Nothing is due yet. */
  constructor(parts: ChoresParts) {
    this.#parts = parts;
  }

  /** True, and the interval starts again, if `everyMs` have passed; counted from the first call. */
  isDue(kind: string, everyMs: number): boolean {
    const now = this.#parts.clock.elapsedMs();
    const last = this.#lastMs.get(kind);
    if (last !== undefined && now - last < everyMs) return false;
    this.#lastMs.set(kind, now);
    return last !== undefined;
  }

  /**
   * Begins a chore unless one of its kind is under way. The signal that it is given aborts when it
   * is given up: a late answer must change nothing then.
   *
   * @param limitMs after this long it counts as failed, and the next one can begin; absent: it may
   * take its time
   */
  start(kind: string, chore: (signal: AbortSignal) => Promise<void>, limitMs?: number): void {
    if (this.#underWay.has(kind)) return;
    const { clock, log } = this.#parts;
    const bounded = limitMs === undefined ? chore(NEVER) : withTimeLimit(chore, { clock, limitMs });
    const work = bounded
      .catch((error) => log.debug(`${kind} check failed`, { error }))
      .finally(() => this.#underWay.delete(kind));
    this.#underWay.set(kind, work);
  }

  /** Resolves when no chore of this kind is under way. */
  async settled(kind: string): Promise<void> {
    await this.#underWay.get(kind);
  }
}
