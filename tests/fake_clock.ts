/**
 * A clock that stands still until a test moves it.
 *
 * @module
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../lib/clock.ts";

interface Sleeper {
  readonly wakeAtMs: number;
  readonly wake: () => void;
}

/** Virtual time. Sleepers wake in the order of their time, and only by {@linkcode advance}. */
export class FakeClock implements Clock {
  #elapsedMs = 0;
  #epochMs: number;
  readonly #sleepers = new Set<Sleeper>();

  /** @param startMs Wall time at the start, ms since 1970. */
  constructor(startMs: number = Date.UTC(2026, 10, 24, 10)) {
    this.#epochMs = startMs;
  }

  /** How many sleep now: 0 at the end of a test that forgot nobody. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  now(): number {
    return this.#epochMs + this.#elapsedMs;
  }

  elapsedMs(): number {
    return this.#elapsedMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#sleepers.delete(sleeper);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const sleeper = { wakeAtMs: this.#elapsedMs + Math.max(0, ms), wake };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", wake);
    });
  }

  /**
   * Lets `ms` pass. What becomes runnable on the way runs at its own moment, new sleepers included,
   * until nothing more happens.
   */
  async advance(ms: number): Promise<void> {
    const endMs = this.#elapsedMs + ms;
    await nextTurn();
    for (let next = this.#nextBy(endMs); next !== undefined; next = this.#nextBy(endMs)) {
      this.#elapsedMs = Math.max(this.#elapsedMs, next.wakeAtMs);
      next.wake();
      await nextTurn();
    }
    this.#elapsedMs = endMs;
  }

  /** Lets `ms` pass in which nobody can wake, as in a process that SIGSTOP has stopped. */
  freeze(ms: number): void {
    this.#elapsedMs += ms;
  }

  /** Moves the wall clock alone, as an administrator or a time server does. */
  jump(ms: number): void {
    this.#epochMs += ms;
  }

  #nextBy(endMs: number): Sleeper | undefined {
    let next: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (sleeper.wakeAtMs > endMs) continue;
      if (next === undefined || sleeper.wakeAtMs < next.wakeAtMs) next = sleeper;
    }
    return next;
  }
}
