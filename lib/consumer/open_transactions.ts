/**
 * Says when messages wait behind a transaction that another producer has left open. Nothing else is done
 * about it: nobody may read them before it has ended, and a new process could not either.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { GroupMember } from "../kafka/group_member.ts";
import { type HeldBack, heldBackCure, heldBackText } from "../kafka/message.ts";
import type { Log } from "../log.ts";
import type { Place } from "./place.ts";

/** Who is asked, and who hears of it. */
export interface OpenTransactionsParts {
  /** Knows what is held back. */
  readonly member: Pick<GroupMember, "heldBack">;
  /** Says for how long. */
  readonly clock: Clock;
  /** Hears of it. */
  readonly log: Log;
}

/** Most producers end their transactions sooner, or the brokers do, ms. */
export const OPEN_MS_MAX = 60_000;

interface Seen {
  readonly offset: number;
  readonly sinceMs: number;
  isTold: boolean;
}

/** Tells of each transaction that stays open, and of its end, once. */
export class OpenTransactions {
  readonly #parts: OpenTransactionsParts;
  readonly #seen = new Map<number, Seen>();

  /** None is known. */
  constructor(parts: OpenTransactionsParts) {
    this.#parts = parts;
  }

  /**
   * Looks at the partitions that we read.
   *
   * @param givenUp aborts when nobody waits for the answer any more
   */
  async look(
    places: ReadonlyMap<number, Pick<Place, "scope">>,
    givenUp: AbortSignal,
  ): Promise<void> {
    const heldBack = await this.#parts.member.heldBack();
    if (givenUp.aborted) return;
    // Those of others are told of by others.
    for (const partition of this.#seen.keys()) {
      if (!places.has(partition)) this.#seen.delete(partition);
    }
    for (const [partition, { scope }] of places) {
      this.#note(partition, scope.topic.topic, heldBack.get(partition));
    }
  }

  #note(partition: number, topic: string, held: HeldBack | undefined): void {
    const { clock, log } = this.#parts;
    const before = this.#seen.get(partition);
    if (before !== undefined && before.offset !== held?.offset) {
      this.#seen.delete(partition);
      if (before.isTold) {
        log.info("a transaction has ended; its partition is read again", { partition });
      }
    }
    if (held === undefined) return;
    const seen = this.#seen.get(partition) ??
      { offset: held.offset, sinceMs: clock.elapsedMs(), isTold: false };
    this.#seen.set(partition, seen);
    if (seen.isTold || clock.elapsedMs() - seen.sinceMs < OPEN_MS_MAX) return;
    seen.isTold = true;
    log.warn(heldBackText(partition, held), { cure: heldBackCure(topic, partition, held) });
  }
}
