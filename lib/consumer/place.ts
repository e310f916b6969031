/**
 * Where a partition is read from. `placer.ts` makes places, the intake moves them on.
 *
 * @module
 */
import type { FetchedBatch } from "../kafka/group_member.ts";
import type { TopicIdentity } from "../kafka/message.ts";
import { Messages } from "../kafka/messages.ts";
import type { LedgerLine } from "../postgres/store.ts";
import type { Batch } from "./batch.ts";

/** Most fetches that wait for the one that is worked on, if they are small. */
const WAITING_FETCHES_MAX = 16;

/** A small fetch: it and all that came in the same answer, bytes. A backlog comes in larger ones. */
const SMALL_FETCH_BYTES = 128 * 1_024;

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
  #waiting: FetchedBatch[] = [];

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

  /**
   * Whether a fetch can be taken over now. While one is worked on, only small ones can: they will be
   * one batch, and until then nothing else has to wait for them.
   */
  hasRoomFor({ messages, firstEpoch }: FetchedBatch): boolean {
    if (this.#working === undefined) return true;
    const last = this.#waiting.at(-1);
    return messages.bytes.length <= SMALL_FETCH_BYTES &&
      this.#waiting.length < WAITING_FETCHES_MAX &&
      // Where the epoch changes, the brokers may have to be asked between the two.
      (last === undefined || last.lastEpoch === firstEpoch);
  }

  /**
   * Takes a fetch over. If nothing is worked on, `work` begins, which never rejects and says when it
   * ends, see {@linkcode workEnded}.
   */
  takeOver(fetched: FetchedBatch, work: () => Promise<void>): void {
    this.#fetchPosition = fetched.nextOffset;
    this.#waiting.push(fetched);
    this.#working ??= work();
  }

  /** Whether something waits. */
  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /**
   * The work ends. To be called in the step that has found nothing waiting: what was taken over in
   * between would wait for ever.
   */
  workEnded(): void {
    this.#working = undefined;
  }

  /** All that waits, as one fetch; undefined if nothing does. */
  takeWaiting(): FetchedBatch | undefined {
    const waiting = this.#waiting;
    this.#waiting = [];
    const [first, last] = [waiting[0], waiting.at(-1)];
    if (first === undefined || last === undefined || first === last) return first;
    // Each as an object: they are few, and their bytes lie between those of other partitions.
    const messages = Messages.of(waiting.flatMap((fetched) => [...fetched.messages]));
    const { fetchedOffset, firstEpoch } = first;
    return { ...last, fetchedOffset, firstEpoch, messages };
  }

  /** A batch is stored: the ledger stands at its end. */
  advance({ nextOffset, nextEpoch }: Pick<Batch, "nextOffset" | "nextEpoch">): void {
    this.#position = nextOffset;
    this.#leaderEpoch = nextEpoch;
  }
}
