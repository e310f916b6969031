/**
 * The Kafka commit: advisory, for tools that show a group's lag. Nothing is read from it once the
 * ledger has a line.
 *
 * @module
 */
import type { GroupMember } from "../kafka/group_member.ts";

/**
 * Offsets that wait to be committed, the newest per partition. A commit that fails is kept and
 * tried again, also when no more messages come: else the group would show a lag forever.
 */
export class PendingCommits {
  readonly #member: Pick<GroupMember, "commit">;
  readonly #pending = new Map<number, number>();
  #sending: Promise<void> | undefined;

  /** Commits through this member. */
  constructor(member: Pick<GroupMember, "commit">) {
    this.#member = member;
  }

  /** Offsets that are not committed yet. */
  get pending(): ReadonlyMap<number, number> {
    return this.#pending;
  }

  /** Notes that everything of the partition below `nextOffset` is stored. */
  note(partition: number, nextOffset: number): void {
    this.#pending.set(partition, nextOffset);
  }

  /** Forgets a partition until it is noted again: its ledger is read again, here or elsewhere. */
  forget(partition: number): void {
    this.#pending.delete(partition);
  }

  /** Sends what waits; one commit is under way at a time. Never rejects. */
  flush(): Promise<void> {
    if (this.#sending === undefined && this.#pending.size > 0) {
      this.#sending = this.#send().finally(() => {
        this.#sending = undefined;
      });
    }
    return this.#sending ?? Promise.resolve();
  }

  async #send(): Promise<void> {
    const sent = new Map(this.#pending);
    try {
      await this.#member.commit(sent);
    } catch {
      // Kept in #pending; the next flush sends it again, or a newer one.
      return;
    }
    for (const [partition, nextOffset] of sent) {
      if (this.#pending.get(partition) === nextOffset) this.#pending.delete(partition);
    }
  }
}
