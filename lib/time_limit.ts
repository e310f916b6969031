/**
 * A bound on how long somebody waits.
 *
 * @module
 */
import type { Clock } from "./clock.ts";
import { NoAnswerError, TransientError } from "./errors.ts";

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
 * Does `work`, but waits for it no longer than the limit. Then the signal that the work was given
 * aborts, with the error that is thrown here as its reason. Work of several steps that change
 * something looks at it before each step: whoever gave it up may be doing the same again. What was
 * sent to a server before can still take effect.
 *
 * @throws {NoAnswerError} If the limit passes.
 * @throws {TransientError} If the signal aborts first; if it had aborted before, the work is not begun.
 */
export async function withTimeLimit<T>(
  work: (signal: AbortSignal) => Promise<T>,
  limit: TimeLimit,
): Promise<T> {
  const { clock, limitMs, signal } = limit;
  if (signal?.aborted) throw new TransientError("stopped waiting");
  const settled = new AbortController();
  const givingUp = new AbortController();
  const waking = signal === undefined ? settled.signal : AbortSignal.any([settled.signal, signal]);
  const refuseLate = async (): Promise<never> => {
    await clock.sleep(limitMs, waking);
    const error = signal?.aborted
      ? new TransientError("stopped waiting")
      : new NoAnswerError(`no answer within ${limitMs} ms`);
    if (!settled.signal.aborted) givingUp.abort(error);
    throw error;
  };
  try {
    return await Promise.race([work(givingUp.signal), refuseLate()]);
  } finally {
    // With a reason of its own: the default is an exception, whose stack costs more than the wait.
    settled.abort("settled");
  }
}
