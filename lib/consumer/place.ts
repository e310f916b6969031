/**
 * Where a partition is read from. `placer.ts` makes places, the intake moves them on.
 *
 * @module
 */
import type { TopicIdentity } from "../kafka/message.ts";
import type { LedgerLine } from "../postgres/store.ts";
import type { Batch } from "./batch.ts";

/** For which life of the topic and of the database a partition is read. */
export interface PlaceScope {
  /** The topic's life. */
  readonly topic: TopicIdentity;
  /** The database's. */
  readonly dataSetId: string;
  /** Marks of another one are not believed, see `mark.ts`. */
  readonly lineage: string;
}

/**
 * Where a partition is read from. It is replaced, never reset, when its partition is placed again:
 * work begun under an older one sees that the object has changed, and ends.
 */
export class Place {
  /** For which lives it was made. */
  readonly scope: PlaceScope;
  /**
   * Another epoch that may follow: its messages had been seen before the brokers said that the log
   * still has what the ledger stands on.
   */
  readonly followingEpoch: number | undefined;
  #position: number;
  #leaderEpoch: number;
  #fetchPosition: number;
  #working: Promise<void> | undefined;

  /**
   * Nothing is under way.
   *
   * @param line where the ledger stands
   */
  constructor(
    scope: PlaceScope,
    line: Pick<LedgerLine, "next" | "leaderEpoch">,
    { followingEpoch }: Pick<Place, "followingEpoch">,
  ) {
    this.scope = scope;
    this.followingEpoch = followingEpoch;
    this.#position = line.next;
    this.#leaderEpoch = line.leaderEpoch;
    this.#fetchPosition = line.next;
  }

  /** The ledger's `next` as we know it. */
  get position(): number {
    return this.#position;
  }

  /** The ledger's leader epoch as we know it. */
  get leaderEpoch(): number {
    return this.#leaderEpoch;
  }

  /** The offset that the next fetch must ask for: the end of what was taken over. */
  get fetchPosition(): number {
    return this.#fetchPosition;
  }

  /** Settles when what was taken over is stored or given up; never rejects. */
  get working(): Promise<void> | undefined {
    return this.#working;
  }

  /** A fetch up to `nextOffset` was taken over, and `work` on it, which never rejects, is under way. */
  takeOver(nextOffset: number, work: Promise<void>): void {
    this.#fetchPosition = nextOffset;
    this.#working = work.finally(() => {
      this.#working = undefined;
    });
  }

  /** A batch is stored: the ledger stands at its end. */
  advance({ nextOffset, nextEpoch }: Pick<Batch, "nextOffset" | "nextEpoch">): void {
    this.#position = nextOffset;
    this.#leaderEpoch = nextEpoch;
  }
}
