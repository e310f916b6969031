/**
 * Trying again: how long to wait between tries, and the loop that does it forever.
 *
 * @module
 */
import type { Clock } from "./clock.ts";
import { TransientError } from "./errors.ts";

/** Bounds of a growing wait. */
export interface BackoffOptions {
  /** Longest wait before the second try, ms. */
  readonly minMs: number;
  /** Longest wait of all, ms. */
  readonly maxMs: number;
  /**
   * A number from 0 up to but not including 1.
   *
   * @default Math.random
   */
  readonly random?: () => number;
}

/**
 * The wait after the `failures`th failure in a row, in milliseconds. The ceiling doubles with each
 * failure; the wait lies between half of the ceiling and the ceiling, so that many clients that
 * lost the same server do not come back all at once.
 *
 * @param failures 1 or more.
 */
export function backoffMs(failures: number, options: BackoffOptions): number {
  const { minMs, maxMs, random = Math.random } = options;
  const ceiling = Math.min(maxMs, minMs * 2 ** (failures - 1));
  return ceiling * (1 + random()) / 2;
}

/** How {@linkcode retryForever} waits, and whom it tells. */
export interface RetryOptions extends BackoffOptions {
  /** Does the waiting. */
  readonly clock: Clock;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
  /**
   * Whether the same call can succeed later.
   *
   * @default every `TransientError`
   */
  readonly isTransient?: (error: unknown) => boolean;
  /** Called before each wait. */
  readonly onWait?: (error: unknown, wait: { failures: number; waitMs: number }) => void;
}

/**
 * Runs `action` until it succeeds.
 *
 * @throws Whatever the action throws that is not transient, and the last transient error once the
 * signal has aborted. The action runs at least once, even then.
 */
export async function retryForever<T>(
  action: () => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  const { clock, signal, onWait } = options;
  const isTransient = options.isTransient ?? ((error) => error instanceof TransientError);
  for (let failures = 1;; failures++) {
    try {
      return await action();
    } catch (error) {
      if (!isTransient(error) || signal.aborted) throw error;
      const waitMs = backoffMs(failures, options);
      onWait?.(error, { failures, waitMs });
      await clock.sleep(waitMs, signal);
      if (signal.aborted) throw error;
    }
  }
}
