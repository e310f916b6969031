/**
 * Questions to brokers that are about to be able to answer.
 *
 * A cluster that nobody has asked for a group before takes some seconds to make the topic that holds the
 * groups, and knows of none until then.
 *
 * @module
 */
import { type Clock, systemClock } from "../clock.ts";
import { isAnswer } from "./connection.ts";

/** How long one is patient, ms. */
export const PATIENCE_MS = 10_000;

/** Pause between two questions, ms. */
const PAUSE_MS = 250;

/** What brokers say while a group's place is being made, or moves to another broker. */
const GROUP_IS_COMING: readonly string[] = [
  "GROUP_COORDINATOR_NOT_AVAILABLE",
  "GROUP_LOAD_IN_PROGRESS",
  "NOT_COORDINATOR_FOR_GROUP",
];

/** Whether the brokers will know the group in a moment. */
export function isGroupComing(error: unknown): boolean {
  return GROUP_IS_COMING.some((type) => isAnswer(error, type));
}

/** When to ask again. */
export interface PatienceOptions {
  /** Whether a failure passes by itself. */
  readonly passes: (error: unknown) => boolean;
  /** Ends the patience. */
  readonly signal?: AbortSignal;
  /**
   * Measures it.
   *
   * @default systemClock
   */
  readonly clock?: Clock;
}

/** Asks again for as long as {@linkcode PATIENCE_MS} if what went wrong passes by itself. */
export async function patiently<T>(
  question: () => Promise<T>,
  { passes, signal, clock = systemClock }: PatienceOptions,
): Promise<T> {
  const startMs = clock.elapsedMs();
  while (true) {
    try {
      return await question();
    } catch (error) {
      const isOver = clock.elapsedMs() - startMs >= PATIENCE_MS || signal?.aborted;
      if (isOver || !passes(error)) throw error;
      await clock.sleep(PAUSE_MS, signal);
    }
  }
}
