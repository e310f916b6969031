/**
 * A bound on how long somebody waits.
 *
 * @module
 */
import type { Clock } from "./clock.ts";
import { TransientError } from "./errors.ts";

/** How long {@linkcode withTimeLimit} waits. */
export interface TimeLimit {
  /** Measures the wait. */
  readonly clock: Clock;
  /** Milliseconds. */
  readonly limitMs: number;
  /** Ends the wait early, as if the limit had passed. */
  readonly signal?: AbortSignal;
}

/**
 * Waits for `work`, but no longer than the limit. Only the waiting ends: the work itself goes on,
 * and what becomes of it is nobody's business any more.
 *
 * @throws {TransientError} If the limit passes or the signal aborts first.
 */
export async function withTimeLimit<T>(work: Promise<T>, limit: TimeLimit): Promise<T> {
  const { clock, limitMs, signal } = limit;
  const settled = new AbortController();
  const waking = signal === undefined ? settled.signal : AbortSignal.any([settled.signal, signal]);
  const refuseLate = async (): Promise<never> => {
    await clock.sleep(limitMs, waking);
    throw new TransientError(
      signal?.aborted ? "stopped waiting" : `no answer within ${limitMs} ms`,
    );
  };
  try {
    return await Promise.race([work, refuseLate()]);
  } finally {
    // With a reason of its own: the default is an exception, whose stack costs more than the wait.
    settled.abort("settled");
  }
}
