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
}

/**
 * Waits for `work`, but no longer than the limit. Only the waiting ends: the work itself goes on,
 * and what becomes of it is nobody's business any more.
 *
 * @throws {TransientError} If the limit passes first.
 */
export async function withTimeLimit<T>(work: Promise<T>, limit: TimeLimit): Promise<T> {
  const { clock, limitMs } = limit;
  const settled = new AbortController();
  const refuseLate = async (): Promise<never> => {
    await clock.sleep(limitMs, settled.signal);
    throw new TransientError(`no answer within ${limitMs} ms`);
  };
  try {
    return await Promise.race([work, refuseLate()]);
  } finally {
    settled.abort();
  }
}
