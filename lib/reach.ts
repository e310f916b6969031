/**
 * Waiting for servers when a program starts.
 *
 * @module
 */
import { systemClock } from "./clock.ts";
import {
  describeError,
  MissingError,
  NoAnswerError,
  type ServerName,
  TransientError,
} from "./errors.ts";
import type { BasicGroup, Program } from "./program.ts";
import { retryForever } from "./retry.ts";
import type { Group } from "./settings/table.ts";
import type { TroubleLog } from "./trouble_log.ts";

/** Waits between tries to reach a server, ms. */
const BACKOFF = { minMs: 200, maxMs: 5_000 } as const;

/** Whom {@linkcode reach} tells, and what it waits for. */
export interface ReachOptions {
  /** Is told of what is waited for. */
  readonly troubles: TroubleLog;
  /**
   * What another program has yet to make, the tables and the topic: waited for, or a failure.
   *
   * @default "fails"
   */
  readonly missing?: "waits" | "fails";
  /**
   * Whose silence it is if a try has no outcome for a while.
   *
   * @default somebody else looks
   */
  readonly server?: ServerName;
  /** Is told of each failure, and of its end: undefined. */
  readonly onWait?: (error: unknown) => void;
}

/** What servers say for no longer than this when they start is not told, ms. */
const PASSING_MS = 3_000;

/** How long a try may take before it counts as silence, ms. */
const PATIENCE_MS = 5_000;

/** One wait at a time: who waits, in the log of troubles. */
const STARTING = "start";

/**
 * Runs `action` until it succeeds.
 *
 * @returns undefined if the program is stopped first: at once, though a try may be under way, whose
 * outcome is left to the end of the process.
 * @throws {ConfigurationError} if waiting does not help.
 */
export async function reach<T>(
  { signal }: Pick<Program<Group | BasicGroup>, "signal">,
  action: () => Promise<T>,
  { troubles, missing = "fails", server, onWait = () => {} }: ReachOptions,
): Promise<T | undefined> {
  const tell = teller(troubles);
  const failed = (error: unknown): void => {
    if (signal.aborted) return;
    onWait(error);
    tell(error);
  };
  const attempt = async (): Promise<T> => {
    if (server === undefined) return await action();
    const settled = new AbortController();
    void systemClock.sleep(PATIENCE_MS, settled.signal).then(() => {
      if (settled.signal.aborted) return;
      failed(new NoAnswerError(`no answer within ${PATIENCE_MS} ms`, { server }));
    });
    return await action().finally(() => settled.abort());
  };
  const reached = retryForever(attempt, {
    ...BACKOFF,
    clock: systemClock,
    signal,
    isTransient: (error) =>
      error instanceof TransientError || (missing === "waits" && error instanceof MissingError),
    onWait: failed,
  });
  const stopped = Promise.withResolvers<undefined>();
  const stop = (): void => stopped.resolve(undefined);
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  try {
    const result = await Promise.race([reached, stopped.promise]);
    if (signal.aborted) return undefined;
    onWait(undefined);
    troubles.left(STARTING);
    return result;
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/**
 * Tells of one thing at a time. What a server has to say beside that is told if it lasts: one that has
 * just started says much that is over in a moment.
 */
function teller(troubles: TroubleLog): (error: unknown) => void {
  let met = { what: "", sinceMs: 0 };
  return (error) => {
    const isSilent = error instanceof NoAnswerError;
    const what = isSilent ? "silence" : describeError(error);
    const nowMs = systemClock.elapsedMs();
    if (what !== met.what) {
      troubles.left(STARTING);
      met = { what, sinceMs: nowMs };
    }
    const isClear = isSilent || error instanceof MissingError;
    if (isClear || nowMs - met.sinceMs >= PASSING_MS) troubles.met([STARTING], error, met);
  };
}
