/**
 * The signals that end a program: the first one asks it to finish its work, a second one ends it.
 *
 * @module
 */
import process from "node:process";
import { type Clock, systemClock } from "./clock.ts";
import { flushErrors, leaveEcho } from "./standard_streams.ts";

/** What asks a program to stop: Ctrl-C, a supervisor, a terminal that closes. */
export const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** One of {@linkcode STOP_SIGNALS}. */
export type StopSignal = typeof STOP_SIGNALS[number];

/** Exit code of a program that a second signal has ended. */
export const INTERRUPTED = 130;

/**
 * What comes so soon after the first signal is the same wish, ms. A terminal sends Ctrl-C to every
 * program in the foreground, and `deno task`, which is one of them, sends it on to its own.
 */
export const SAME_WISH_MS = 500;

/** What is done at the signals. */
export interface StopActions {
  /** At the first one. */
  readonly stop: (name: StopSignal) => void;
  /**
   * At each later one that is a wish of its own.
   *
   * @default ends the process
   */
  readonly end?: () => void;
}

/**
 * Judges signals as they come. SIGHUP is never a second wish: a terminal that closes sends several.
 *
 * @returns the function that takes each signal.
 */
export function stopOnce(
  { stop, end }: Required<StopActions>,
  clock: Clock,
): (name: StopSignal) => void {
  let firstMs: number | undefined;
  return (name) => {
    const nowMs = clock.elapsedMs();
    if (firstMs === undefined) {
      firstMs = nowMs;
      if (name === "SIGINT") leaveEcho();
      stop(name);
    } else if (name !== "SIGHUP" && nowMs - firstMs >= SAME_WISH_MS) {
      if (name === "SIGINT") leaveEcho();
      end();
    }
  };
}

/** Listens for the signals from now on. */
export function onStopSignals({ stop, end = endNow }: StopActions): void {
  const take = stopOnce({ stop, end }, systemClock);
  for (const name of STOP_SIGNALS) process.on(name, () => take(name));
}

/**
 * Listens for the signals on behalf of work that heeds an abort.
 *
 * @param say Is called before the abort.
 * @returns aborts at the first signal.
 */
export function listenForStop(say: (name: StopSignal) => void): AbortSignal {
  const stop = new AbortController();
  onStopSignals({
    stop: (name) => {
      say(name);
      stop.abort();
    },
  });
  return stop.signal;
}

/**
 * Ends the process at the first signal, because it has nothing to put in order.
 *
 * @param say Is called before.
 */
export function endAtStop(say: () => void = () => {}): void {
  onStopSignals({
    stop: () => {
      say();
      endNow();
    },
  });
}

function endNow(): void {
  void flushErrors().then(() => process.exit(INTERRUPTED));
}
