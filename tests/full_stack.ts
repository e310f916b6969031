/**
 * Code that runs out of stack: no fault of the data that it works on.
 *
 * @module
 */

/** Successes after which there is stack enough. */
const SUCCESSES_ENOUGH = 5;
const TRIES_MAX = 5_000;

/**
 * Runs `action` where the stack is all but full, and again with a little more of it each time, until
 * it succeeds. What it returned and threw, in that order.
 */
export function onAFullStack<T>(action: () => T): readonly (T | Error)[] {
  const results: (T | Error)[] = [];
  let successes = 0;
  const descend = (): void => {
    try {
      descend();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    if (successes >= SUCCESSES_ENOUGH || results.length >= TRIES_MAX) return;
    try {
      results.push(action());
      successes++;
    } catch (error) {
      // Mostly a RangeError; V8 can also find a regular expression invalid for want of stack.
      if (!(error instanceof Error)) throw error;
      results.push(error);
    }
  };
  descend();
  return results;
}
