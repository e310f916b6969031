/**
 * Keeps a best-effort server from slowing the flow: whoever asks waits no longer than a budget, and
 * after a failure nobody asks at all until a probe has succeeded.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { TransientError } from "../errors.ts";
import { backoffMs } from "../retry.ts";
import { withTimeLimit } from "../time_limit.ts";

/** How a {@linkcode Breaker} behaves, and whom it tells. */
export interface BreakerOptions {
  /** Measures the budget and the pauses. */
  readonly clock: Clock;
  /** Longest wait for one call, ms. */
  readonly budgetMs: number;
  /** Called when a call, or a probe, has failed, with how many have in a row: calls are left out. */
  readonly onFailure?: (cause: TransientError, failures: number) => void;
  /** Called when a probe has succeeded: calls are made again. */
  readonly onClose?: () => void;
  /**
   * Spreads the probes of several programs; from 0 up to but not including 1.
   *
   * @default Math.random
   */
  readonly random?: () => number;
}

/**
 * Pause before a probe, ms. It grows with each probe that fails. With a budget of 250 ms a silent
 * server costs one caller at most 250 ms of 500 at first and of 2,750 in the end.
 */
const PROBE_PAUSE = { minMs: 500, maxMs: 5_000 };

/**
 * Lets calls through, or not. It opens at the first failure: the work that it spares can be done
 * without, so there is nothing to gain by waiting out a second budget.
 *
 * Use one for reading and another one for writing. A server out of memory answers the one and
 * refuses the other, and the successes of the one would hide the failures of the other.
 */
export class Breaker {
  readonly #options: BreakerOptions;
  /** Failures in a row; 0: closed. */
  #failures = 0;
  /** While open: when the next probe may start, in `elapsedMs`. */
  #probeAtMs = 0;
  #isProbing = false;

  /** Starts closed: calls are made. */
  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  /** True while calls are left out. */
  get isOpen(): boolean {
    return this.#failures > 0;
  }

  /**
   * Runs `action` if the breaker is closed or a probe is due; else costs nothing.
   *
   * @returns what the action gave, or undefined if it was left out, failed with `TransientError` or
   * overran the budget. The signal that an action is given aborts when it overruns, so that it begins
   * nothing new; a script that is in flight can still take effect. That harms nobody: a mark is
   * judged by what it says, and a last value is compared inside Redis, where its data set is, too.
   * @throws Whatever the action throws that is not a `TransientError`: a fault of ours.
   */
  async attempt<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const { clock, budgetMs } = this.#options;
    const isProbe = this.isOpen;
    if (isProbe) {
      if (this.#isProbing || clock.elapsedMs() < this.#probeAtMs) return undefined;
      this.#isProbing = true;
    }
    try {
      const result = await withTimeLimit(action, { clock, limitMs: budgetMs });
      if (isProbe) this.#close();
      return result;
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      // A call that began before the breaker opened says nothing new.
      if (isProbe || !this.isOpen) this.#open(error);
      return undefined;
    } finally {
      if (isProbe) this.#isProbing = false;
    }
  }

  #open(cause: TransientError): void {
    const { clock, random, onFailure } = this.#options;
    this.#failures++;
    const pause = random === undefined ? PROBE_PAUSE : { ...PROBE_PAUSE, random };
    this.#probeAtMs = clock.elapsedMs() + backoffMs(this.#failures, pause);
    onFailure?.(cause, this.#failures);
  }

  #close(): void {
    this.#failures = 0;
    this.#options.onClose?.();
  }
}
