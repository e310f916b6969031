/**
 * When last values in Redis have to be repaired, and whose they are. How they are repaired is in
 * `last_values.ts`.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { type Log, sayOnChange } from "../log.ts";
import type { Store } from "../postgres/store.ts";
import type { Breaker } from "../redis/breaker.ts";
import { type Cache, type Claim, PROBE_ID, type Remembered } from "../redis/cache.ts";
import { withTimeLimit } from "../time_limit.ts";
import { ANSWER_MS_MAX, repairLastValues } from "./last_values.ts";
import type { FlowObserver } from "./observer.ts";

/** What the upkeep works with. */
export interface UpkeepParts {
  /** Has every reading. */
  readonly store: Store;
  /** Can have lost last values, or hold those of somebody else. */
  readonly cache: Cache;
  /** Keep calls to Redis within their time. */
  readonly breakers: { readonly read: Breaker; readonly write: Breaker };
  /** Bounds the waits. */
  readonly clock: Clock;
  /** Hears of repairs, and of a neighbour. */
  readonly log: Log;
  /** Is notified of a neighbour. */
  readonly observer?: Pick<FlowObserver, "neighboured"> | undefined;
}

/** What this process knows of the last values in Redis. `dataSetId` is always our own. */
export type LastValuesState =
  /** Nothing: it has just started. */
  | { readonly kind: "unknown" }
  /** They are ours, or can be; some may be missing. */
  | { readonly kind: "incomplete"; readonly dataSetId: string }
  /** They are ours, and none is missing. */
  | { readonly kind: "complete"; readonly dataSetId: string }
  /** They are another data set's, whose lease still lasted so long when we heard of it. */
  | {
    readonly kind: "foreign";
    readonly dataSetId: string;
    readonly owner: string;
    readonly leaseMs: number;
    readonly heardAtMs: number;
  };

/** Clocks of two computers can differ by this much within the time of a lease, ms. */
const DRIFT_MS = 500;

const CURE = "Give each data set its own REDIS_PREFIX or REDIS_DATABASE";

/** Keeps possession of the last values, and repairs them when it is told to and there is reason. */
export class LastValuesUpkeep {
  readonly #parts: UpkeepParts;
  readonly #sayNeighbour: (owner: string) => void;
  #state: LastValuesState = { kind: "unknown" };
  /** The data set that was in our database before: whatever Redis says, nobody has it any more. */
  #formerly: string | undefined;

  /** A process that has just started knows nothing. */
  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    this.#sayNeighbour = sayOnChange("", (owner) => this.#tellNeighbour(owner));
  }

  /** What is known. */
  get state(): LastValuesState {
    return this.#state;
  }

  /** Last values may be missing. */
  want(): void {
    const { kind } = this.#state;
    // A new object even if it says the same: a repair that is under way has not seen this.
    if (kind === "complete" || kind === "incomplete") {
      this.#state = { ...this.#state, kind: "incomplete" };
    }
  }

  /**
   * Notes what Redis said about the last values of a data set when it was told something.
   *
   * @param answer undefined: there was none
   */
  note(answer: Remembered["lastValues"] | undefined, dataSetId: string): void {
    if (answer === undefined) return this.want();
    if (answer === "complete") return;
    if (this.#state.kind === "complete" && this.#state.dataSetId === dataSetId) this.want();
  }

  /** Keeps what is ours from being taken for that of a data set that is gone. Cheap. */
  async renew(): Promise<void> {
    const { cache, breakers, clock } = this.#parts;
    const before = this.#state;
    if (before.kind === "unknown") return;
    const { dataSetId } = before;
    const claimant = { dataSetId, formerly: this.#formerly };
    const askedAtMs = clock.elapsedMs();
    const claim = await breakers.write.attempt(() => cache.claimLastValues(claimant));
    if (claim === undefined || this.#ownId !== dataSetId) return;
    if (claim.kind === "foreign") return this.#refused(claim, { before, askedAtMs });
    const { kind } = this.#state;
    // Redis can have been emptied while no message came to tell. What is incomplete stays the same
    // object: a repair that is under way knows.
    const isLost = kind === "complete" && claim.kind !== "complete";
    if (isLost || kind === "foreign") this.#state = { kind: "incomplete", dataSetId };
  }

  /** Finds out whether Redis answers look-ups again, for where no message comes nobody else does. */
  async probe(): Promise<void> {
    const { cache, breakers } = this.#parts;
    if (breakers.read.isOpen) await breakers.read.attempt(() => cache.marks(PROBE_ID));
  }

  /**
   * Repairs if there is reason to, until the signal aborts.
   *
   * @throws {TransientError} if a server is away; the next call does it again.
   */
  async repair(signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.#parts;
    const limit = { clock, limitMs: ANSWER_MS_MAX, signal };
    const dataSetId = await withTimeLimit(() => store.dataSetId(), limit);
    if (this.#ownId !== dataSetId) {
      this.#formerly = this.#ownId;
      this.#state = { kind: "incomplete", dataSetId };
    }
    if (this.#state.kind === "complete" || signal.aborted) return;
    const before = this.#state;
    const underWay = this.#state = { kind: "incomplete", dataSetId } as const;
    const claimant = { dataSetId, formerly: this.#formerly };
    const askedAtMs = clock.elapsedMs();
    const repaired = await repairLastValues(this.#parts, claimant, signal);
    if (repaired.kind === "foreign") return this.#refused(repaired, { before, askedAtMs });
    this.#sayNeighbour("");
    // Stopped on the way, or something was lost meanwhile: it is done again.
    if (signal.aborted || this.#state !== underWay) return;
    this.#state = { kind: "complete", dataSetId };
    log.debug("last values repaired", { sensors: repaired.sensors });
  }

  get #ownId(): string | undefined {
    return this.#state.kind === "unknown" ? undefined : this.#state.dataSetId;
  }

  /**
   * The lease of a data set that is gone, or of which no consumer runs now, only gets shorter until
   * it ends. One that does not has been renewed: somebody is there.
   */
  #refused(
    { dataSetId: owner, leaseMs }: Extract<Claim, { kind: "foreign" }>,
    { before, askedAtMs }: { readonly before: LastValuesState; readonly askedAtMs: number },
  ): void {
    if (this.#state.kind === "unknown") return;
    const heardAtMs = this.#parts.clock.elapsedMs();
    const { dataSetId } = this.#state;
    this.#state = { kind: "foreign", dataSetId, owner, leaseMs, heardAtMs };
    if (before.kind !== "foreign" || before.owner !== owner) return;
    const leftMs = before.leaseMs - (askedAtMs - before.heardAtMs);
    if (leaseMs > leftMs + DRIFT_MS) this.#sayNeighbour(owner);
  }

  #tellNeighbour(owner: string): void {
    const { log, observer } = this.#parts;
    observer?.neighboured(owner === "" ? undefined : owner);
    if (owner === "") {
      log.info("last values are being written again: Redis no longer holds another data set's");
    } else {
      log.error(
        "last values are not being written: Redis holds those of another data set in use",
        {
          dataSetId: this.#ownId,
          owner,
          cure: CURE,
        },
      );
    }
  }
}
