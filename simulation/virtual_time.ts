/**
 * The time of one simulated world: a queue of events that happen in order, as fast as they can be
 * worked through. Nothing in a world waits for real time or reads a real clock.
 *
 * @module
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../lib/clock.ts";

interface Happening {
  readonly atMs: number;
  /** Breaks ties: what was planned first happens first. */
  readonly number: number;
  readonly happen: () => void;
}

/** Where the wall clocks of a world stand at its beginning, ms since 1970. */
export const WORLD_START_MS: number = Date.UTC(2026, 10, 24, 10);

/** Events by their time. */
export class VirtualTime {
  #nowMs = 0;
  #planned = 0;
  /** A binary heap: each parent comes before its two children. */
  readonly #heap: Happening[] = [];

  /** Milliseconds since the world began. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** How many events have been planned so far. */
  get planned(): number {
    return this.#planned;
  }

  /** Plans an event. */
  after(ms: number, happen: () => void): void {
    const atMs = this.#nowMs + Math.max(0, Math.ceil(ms));
    this.#push({ atMs, number: this.#planned++, happen });
  }

  /**
   * Lets time pass until `endMs`, or until `isOver` says so; it is asked every `everyMs`.
   *
   * @returns whether `isOver` was true in the end
   */
  async run(endMs: number, everyMs: number, isOver: () => boolean): Promise<boolean> {
    let askAtMs = this.#nowMs;
    await nextTurn();
    while (this.#nowMs < endMs) {
      if (this.#nowMs >= askAtMs) {
        if (isOver()) return true;
        askAtMs = this.#nowMs + everyMs;
      }
      this.#nowMs = Math.min(this.#heap[0]?.atMs ?? endMs, endMs, askAtMs);
      if ((this.#heap[0]?.atMs ?? Infinity) > this.#nowMs) continue;
      // Events of the same moment, then everything that follows from them without waiting.
      while (this.#heap[0] !== undefined && this.#heap[0].atMs <= this.#nowMs) this.#pop().happen();
      await nextTurn();
    }
    return isOver();
  }

  #push(event: Happening): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (precedes(heap[parent]!, event)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Happening {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const right = left + 1;
      let child = left;
      if (right < heap.length && precedes(heap[right]!, heap[left]!)) child = right;
      if (child >= heap.length || precedes(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function precedes(one: Happening, other: Happening): boolean {
  return one.atMs !== other.atMs ? one.atMs < other.atMs : one.number < other.number;
}

/**
 * A process of the world, which can die and can be frozen. Its clock and its calls to servers go
 * through it: a dead process never hears of anything again, so nothing in it goes on.
 */
export class VirtualProcess {
  /** Tells it from the others in a trace. */
  readonly name: string;
  /** Its own clock. */
  readonly clock: Clock;
  readonly #time: VirtualTime;
  #isAlive = true;
  #frozenUntilMs = 0;
  #wallOffsetMs = 0;

  /** Starts alive. */
  constructor(time: VirtualTime, name: string) {
    this.name = name;
    this.#time = time;
    this.clock = {
      now: () => WORLD_START_MS + time.nowMs + this.#wallOffsetMs,
      elapsedMs: () => time.nowMs,
      sleep: (ms, signal) => this.#sleep(ms, signal),
    };
  }

  /** False once it was killed. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Kills it: everything that it had in memory is gone. */
  kill(): void {
    this.#isAlive = false;
  }

  /** Stops it for a while, as SIGSTOP and SIGCONT do. */
  freeze(ms: number): void {
    this.#frozenUntilMs = this.#time.nowMs + ms;
  }

  /** Moves its wall clock, as an administrator or a time server does. */
  jump(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  /** Lets it hear of something: now, after it has thawed, or never. */
  deliver(hear: () => void): void {
    if (!this.#isAlive) return;
    const frozenMs = this.#frozenUntilMs - this.#time.nowMs;
    if (frozenMs > 0) this.#time.after(frozenMs, () => this.deliver(hear));
    else hear();
  }

  #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      signal?.addEventListener("abort", wake);
      this.#time.after(ms, () => this.deliver(wake));
    });
  }
}
