/**
 * Time as a parameter, so that tests and the simulation can own it.
 *
 * @module
 */

/** Wall time, elapsed time and waiting. Nothing else in `lib/` reads a clock or sets a timer. */
export interface Clock {
  /** Wall time in milliseconds since 1970. It can jump: use it for dates, never for durations. */
  now(): number;
  /** Milliseconds since some fixed moment. It never goes back: use it for durations. */
  elapsedMs(): number;
  /**
   * Resolves after `ms`, or at once when `signal` aborts. It never rejects: whoever waits looks at
   * the signal afterwards.
   */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The computer's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  elapsedMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener("abort", done);
    }),
};
