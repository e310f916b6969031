/**
 * What fails and is tried again: how long to wait before the next try, and what to say of it. Placing
 * and storing share one, for a server that is away is away for both.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { describeError } from "../errors.ts";
import { type Log, sayOnChange } from "../log.ts";
import { backoffMs } from "../retry.ts";
import type { FlowObserver, TroubledStep } from "./observer.ts";

/** Who hears of trouble, and what paces the next try. */
export interface TroubleParts {
  /** Does the waiting. */
  readonly clock: Clock;
  /** Is told once of each trouble, and of its end. */
  readonly log: Log;
  /** Is told of each failure. */
  readonly observer?: Pick<FlowObserver, "failed"> | undefined;
  /** Spreads the waits; from 0 up to but not including 1. @default Math.random */
  readonly random?: (() => number) | undefined;
}

const BACKOFF = { minMs: 100, maxMs: 2_000 } as const;

/** Counts failures until something succeeds. */
export class Trouble {
  readonly #parts: TroubleParts;
  readonly #say: (trouble: string) => void;
  #inARow = 0;
  #ever = 0;
  #step: TroubledStep | undefined;

  /** All is well. */
  constructor(parts: TroubleParts) {
    this.#parts = parts;
    this.#say = sayOnChange("", (trouble, previous) => {
      if (trouble !== "") parts.log.warn(`waiting: ${trouble}`);
      else parts.log.info("going on", { after: previous });
    });
  }

  /** The step that failed last; undefined: all is well. */
  get step(): TroubledStep | undefined {
    return this.#step;
  }

  /** Failures ever: whoever began when there were fewer has not seen the end of the trouble. */
  get failures(): number {
    return this.#ever;
  }

  /** A step failed and will be tried again. */
  failed(step: TroubledStep, error: unknown): void {
    this.#parts.observer?.failed(step, error);
    this.#inARow++;
    this.#ever++;
    this.#step = step;
    this.#say(describeError(error));
  }

  /** It is over. */
  ended(): void {
    this.#inARow = 0;
    this.#step = undefined;
    this.#say("");
  }

  /** Waits before the next try, longer after each failure in a row; not at all if all is well. */
  async wait(signal: AbortSignal): Promise<void> {
    if (this.#inARow === 0) return;
    const { clock, random = Math.random } = this.#parts;
    await clock.sleep(backoffMs(this.#inARow, { ...BACKOFF, random }), signal);
  }
}
