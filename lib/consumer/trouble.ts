/**
 * What fails and is tried again: how long each partition waits before its next try, and what to say
 * of it. Placing and storing share one, for a server that is away is away for both. Partitions share
 * the wording only: one that fails neither waits for those that flow, nor they for it.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import { backoffMs } from "../retry.ts";
import { TroubleLog } from "../trouble_log.ts";
import type { FlowObserver, TroubledStep } from "./observer.ts";

/** Who hears of trouble, and what paces the next try. */
export interface TroubleParts {
  /** Measures the waits. */
  readonly clock: Clock;
  /** Is notified of trouble, through the next. */
  readonly log: Log;
  /** Is notified of each trouble and of its end. @default one that writes to the log */
  readonly troubles?: TroubleLog | undefined;
  /** Is notified of each failure and of each end. */
  readonly observer?: Pick<FlowObserver, "failed" | "wentOn"> | undefined;
  /** Spreads the waits; from 0 up to but not including 1. @default Math.random */
  readonly random?: (() => number) | undefined;
}

const BACKOFF = { minMs: 100, maxMs: 2_000 } as const;

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
  readonly #told: TroubleLog;

  /** All is well. */
  constructor(parts: TroubleParts) {
    this.#parts = parts;
    this.#told = parts.troubles ?? new TroubleLog(parts);
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
    this.#parts.observer?.failed(step, partitions, error);
    this.#waitLonger(step, partitions);
    for (const partition of partitions) {
      this.#failuresEver.set(partition, this.failuresOf(partition) + 1);
    }
    const fields = { partitions: partitions.join(",") };
    this.#told.met(partitions.map(nameOf), error, { fields });
  }

  /** A partition cannot be placed yet, and somebody else says why. It will be tried again. */
  postponed(partition: number): void {
    this.#waitLonger(this.stepOf(partition) ?? "placing", [partition]);
  }

  #waitLonger(step: TroubledStep, partitions: readonly number[]): void {
    const { clock, random = Math.random } = this.#parts;
    const inARow = partitions.map((one) => (this.#failing.get(one)?.failuresInARow ?? 0) + 1);
    const waitMs = backoffMs(Math.max(1, ...inARow), { ...BACKOFF, random });
    const nextTryMs = clock.elapsedMs() + waitMs;
    for (const [at, partition] of partitions.entries()) {
      this.#failing.set(partition, { step, failuresInARow: inARow[at]!, nextTryMs });
    }
  }

  /** It is over for the partition. */
  ended(partition: number): void {
    if (!this.#failing.delete(partition)) return;
    this.#parts.observer?.wentOn(partition);
    this.#told.left(nameOf(partition));
  }

  /** The partitions of a new assignment: what became of the others is somebody else's now. */
  assign(partitions: readonly number[]): void {
    for (const partition of [...this.#failing.keys(), ...this.#failuresEver.keys()]) {
      if (partitions.includes(partition)) continue;
      this.#failing.delete(partition);
      this.#failuresEver.delete(partition);
      this.#told.forget(nameOf(partition));
    }
  }
}

function nameOf(partition: number): string {
  return `partition ${partition}`;
}
