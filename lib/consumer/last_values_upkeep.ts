/**
 * When last values in Redis have to be repaired. How they are is in `last_values.ts`.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Store } from "../postgres/store.ts";
import type { Breaker } from "../redis/breaker.ts";
import type { Cache } from "../redis/cache.ts";
import { repairLastValues } from "./last_values.ts";

/** What the upkeep works with. */
export interface UpkeepParts {
  /** Has every reading. */
  readonly store: Store;
  /** Can have lost last values. */
  readonly cache: Cache;
  /** Keeps writes to Redis within their time. */
  readonly breakers: { readonly write: Breaker };
  /** Bounds the waits. */
  readonly clock: Clock;
  /** Hears of repairs. */
  readonly log: Log;
}

/** Remembers whether there is reason to repair, and does it when it is told to. */
export class LastValuesUpkeep {
  readonly #parts: UpkeepParts;
  #isWanted = true;
  #completeFor: string | null = null;

  /** A process that has just started knows nothing, so there is reason. */
  constructor(parts: UpkeepParts) {
    this.#parts = parts;
  }

  /** Last values may be missing. */
  want(): void {
    this.#isWanted = true;
  }

  /**
   * Notes what Redis said about itself.
   *
   * @param answer the data set of which it has all last values; null: of none, undefined: no answer
   */
  note(answer: string | null | undefined, dataSetId: string): void {
    if (answer === undefined) return;
    this.#completeFor = answer;
    if (answer !== dataSetId) this.#isWanted = true;
  }

  /**
   * Repairs if there is reason to, until the signal aborts.
   *
   * @param dataSetId the present data set; undefined: not known yet
   * @throws {TransientError} if a server is away; the next call does it again.
   */
  async repair(dataSetId: string | undefined, signal: AbortSignal): Promise<void> {
    const { cache, breakers, log } = this.#parts;
    if (!this.#isWanted && dataSetId !== undefined) {
      // Redis can have been emptied while no message came to tell.
      const answer = await breakers.write.attempt(() => cache.remember([], []));
      this.note(answer, dataSetId);
    }
    if (!this.#isWanted) return;
    this.#isWanted = false;
    try {
      const sensors = await repairLastValues(this.#parts, this.#completeFor, signal);
      if (signal.aborted) this.#isWanted = true;
      else log.debug("last values repaired", { sensors });
    } catch (error) {
      this.#isWanted = true;
      throw error;
    }
  }
}
