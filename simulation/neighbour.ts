/**
 * Another data set on the same Redis: consumers of another installation, with sensors of the same
 * names. It keeps to the rules, and sees whether ours do.
 *
 * @module
 */
import type { MemoryCache } from "../fakes/cache.ts";
import type { Clock } from "../lib/clock.ts";
import { NO_MARKS } from "../lib/redis/marks.ts";
import type { Oracle } from "./oracle.ts";

/** How often it acts, ms. */
export const NEIGHBOUR_MS = 2_000;

/** Begins the names of sensors that only the neighbour has. */
export const NEIGHBOUR_PREFIX = "neighbour-";

const DATA_SET = "neighbour";

/** Later than all that our sensors say. */
const LATE_US = Date.UTC(2200, 0, 1) * 1_000;

/** A living neighbour as long as it acts. */
export class Neighbour {
  readonly #redis: MemoryCache;
  readonly #clock: Clock;
  readonly #oracle: Oracle;
  #heldUntilMs = 0;

  /** It has not come yet. */
  constructor(redis: MemoryCache, clock: Clock, oracle: Oracle) {
    this.#redis = redis;
    this.#clock = clock;
    this.#oracle = oracle;
  }

  /** Redis was emptied: whoever comes first has it. */
  forget(): void {
    this.#heldUntilMs = 0;
  }

  /** Takes the last values if nobody has them, keeps them, and writes some. */
  async act(): Promise<void> {
    const nowMs = this.#clock.elapsedMs();
    const { size } = this.#redis.lastValues;
    const claim = await this.#redis.claimLastValues({ dataSetId: DATA_SET });
    if (this.#redis.lastValues.size < size) this.#oracle.lastValuesCleared();
    if (claim.kind === "foreign") {
      if (nowMs < this.#heldUntilMs) {
        this.#oracle.complain("I11 the last values of a living neighbour were taken");
      }
      return;
    }
    this.#heldUntilMs = nowMs + (this.#redis.lease?.leaseMs ?? 0);
    const values = ["sensor-0", `${NEIGHBOUR_PREFIX}0`].map((sensorId) => ({
      sensorId,
      eventTimeUs: LATE_US,
      id: "ffffffff-0000-4000-8000-000000000000",
      text: "{}",
    }));
    await this.#redis.remember(NO_MARKS, { dataSetId: DATA_SET, values });
  }
}
