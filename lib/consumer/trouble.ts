/**
 * What fails and is tried again: how long each partition waits before its next try, and what to say
 * of it. Placing and storing share one, for a server that is away is away for both. Partitions share
 * the wording only: one that fails neither waits for those that flow, nor they for it.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { describeError } from "../errors.ts";
import type { Log } from "../log.ts";
import { backoffMs } from "../retry.ts";
import type { FlowObserver, TroubledStep } from "./observer.ts";

/** Who hears of trouble, and what paces the next try. */
export interface TroubleParts {
  /** Measures the waits. */
  readonly clock: Clock;
  /** Is told once of each trouble, and of its end. */
  readonly log: Log;
  /** Is told of each failure and of each end. */
  readonly observer?: Pick<FlowObserver, "failed" | "wentOn"> | undefined;
  /** Spreads the waits; from 0 up to but not including 1. @default Math.random */
  readonly random?: (() => number) | undefined;
}

const BACKOFF = { minMs: 100, maxMs: 2_000 } as const;

/** Most troubles that are told in {@linkcode TOLD_WINDOW_MS}: flapping must not fill a disk. */
const TOLD_MAX = 10;
/** See {@linkcode TOLD_MAX}, ms. */
const TOLD_WINDOW_MS = 60_000;
/** Most troubles that are remembered as told: a partition can meet ever new ones for days. */
const TOLD_KEPT_MAX = 100;

/** What is known of a partition that fails. */
interface Failing {
  readonly step: TroubledStep;
  readonly failuresInARow: number;
  /** When the next try may begin, in `elapsedMs`. */
  readonly nextTryMs: number;
}

/** Counts the failures of each partition until something of it succeeds. */
export class Trouble {
  readonly #parts: TroubleParts;
  readonly #failing = new Map<number, Failing>();
  readonly #failuresEver = new Map<number, number>();
  /** What was told and is not over yet, each with the partitions that met it since. */
  readonly #told = new Map<string, Set<number>>();
  #toldAtMs: number[] = [];

  /** All is well. */
  constructor(parts: TroubleParts) {
    this.#parts = parts;
  }

  /** The step of the partition that failed last; undefined: all is well there. */
  stepOf(partition: number): TroubledStep | undefined {
    return this.#failing.get(partition)?.step;
  }

  /** Failures ever: whoever began when there were fewer has not seen the end of the trouble. */
  failuresOf(partition: number): number {
    return this.#failuresEver.get(partition) ?? 0;
  }

  /** How long the partition still has to wait before its next try, ms; 0 if all is well. */
  waitMsOf(partition: number): number {
    const nextTryMs = this.#failing.get(partition)?.nextTryMs ?? 0;
    return Math.max(0, nextTryMs - this.#parts.clock.elapsedMs());
  }

  /**
   * A step failed for these partitions together, and they will try again together, later after each
   * failure in a row.
   */
  failed(step: TroubledStep, partitions: readonly number[], error: unknown): void {
    const { clock, observer, random = Math.random } = this.#parts;
    observer?.failed(step, partitions, error);
    const inARow = partitions.map((one) => (this.#failing.get(one)?.failuresInARow ?? 0) + 1);
    const waitMs = backoffMs(Math.max(1, ...inARow), { ...BACKOFF, random });
    const nextTryMs = clock.elapsedMs() + waitMs;
    for (const [at, partition] of partitions.entries()) {
      this.#failing.set(partition, { step, failuresInARow: inARow[at]!, nextTryMs });
      this.#failuresEver.set(partition, this.failuresOf(partition) + 1);
    }
    this.#tell(describeError(error), partitions);
  }

  /** It is over for the partition. */
  ended(partition: number): void {
    if (!this.#failing.delete(partition)) return;
    this.#parts.observer?.wentOn(partition);
    const over = this.#leaveTold(partition).at(-1);
    // As long as another partition has the same trouble, it is not over.
    if (over !== undefined) this.#parts.log.info("going on", { after: over });
  }

  /** The partitions of a new assignment: what became of the others is somebody else's now. */
  assign(partitions: readonly number[]): void {
    for (const partition of [...this.#failuresEver.keys()]) {
      if (partitions.includes(partition)) continue;
      this.#failing.delete(partition);
      this.#failuresEver.delete(partition);
      this.#leaveTold(partition);
    }
  }

  /** Once, however many partitions have it and however often they meet it. */
  #tell(text: string, partitions: readonly number[]): void {
    const { clock, log } = this.#parts;
    let met = this.#told.get(text);
    if (met === undefined) {
      const nowMs = clock.elapsedMs();
      this.#toldAtMs = this.#toldAtMs.filter((atMs) => nowMs - atMs < TOLD_WINDOW_MS);
      // Not forgotten: if it lasts, a later failure tells it.
      if (this.#toldAtMs.length >= TOLD_MAX) return;
      this.#toldAtMs.push(nowMs);
      log.warn(`waiting: ${text}`, { partitions: partitions.join(",") });
      met = new Set();
      this.#told.set(text, met);
      const [oldest] = this.#told.keys();
      if (this.#told.size > TOLD_KEPT_MAX) this.#told.delete(oldest!);
    }
    for (const partition of partitions) met.add(partition);
  }

  /** Returns what nobody has any more. */
  #leaveTold(partition: number): readonly string[] {
    const over: string[] = [];
    for (const [text, met] of this.#told) {
      if (!met.delete(partition) || met.size > 0) continue;
      this.#told.delete(text);
      over.push(text);
    }
    return over;
  }
}
