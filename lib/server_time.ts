/**
 * The clock of a server, compared with that of this computer.
 *
 * @module
 */
import type { Clock } from "./clock.ts";

/** How far a server's clock is ahead of ours. */
export interface ServerTime {
  /** Milliseconds; negative: it is behind. */
  readonly aheadMs: number;
  /** The true difference is within this many milliseconds of `aheadMs`. */
  readonly toleranceMs: number;
}

/**
 * Asks a server for its time once. The answer belongs to some moment between question and answer;
 * the middle is taken, and half of the time between them is the tolerance.
 *
 * @param ask gives the server's time, ms since 1970
 */
export async function askServerTime(
  clock: Pick<Clock, "now" | "elapsedMs">,
  ask: () => Promise<number>,
): Promise<ServerTime> {
  const startMs = clock.elapsedMs();
  const serverMs = await ask();
  const toleranceMs = (clock.elapsedMs() - startMs) / 2;
  return { aheadMs: serverMs - (clock.now() - toleranceMs), toleranceMs };
}
