/**
 * The consumer groups of a topic in memory: who is in them, who has which partitions, and what is
 * committed.
 *
 * @module
 */
import type { GroupShare, GroupSight } from "../lib/kafka/group_member.ts";

/** A member as its group knows it. */
export interface Grouped {
  /** Its group. */
  readonly groupId: string;
  /** The group's membership changed. */
  rebalance(): void;
}

/** All groups that read one topic. */
export class MemoryGroups {
  /** Committed offsets by group and partition. */
  readonly committed = new Map<string, Map<number, number>>();
  /** Of these, the partitions that a member committed last, by group. */
  readonly committedByMembers = new Map<string, Set<number>>();
  readonly #members: Grouped[] = [];
  /** Names of other programs' members by group. */
  readonly #strangers = new Map<string, string[]>();
  /** How often each group has dealt out its partitions. */
  readonly #generations = new Map<string, number>();
  readonly #partitions: readonly number[];

  /**
   * No group yet.
   *
   * @param partitions numbers of the topic's partitions
   */
  constructor(partitions: readonly number[]) {
    this.#partitions = partitions;
  }

  /** Called by members: a group's partitions are dealt out again. */
  changeMembership(member: Grouped, change: "join" | "leave"): void {
    const index = this.#members.indexOf(member);
    if ((change === "join") === (index >= 0)) return;
    if (change === "join") this.#members.push(member);
    else this.#members.splice(index, 1);
    this.#dealOut(member.groupId);
  }

  /** Keeps the offsets of members. */
  commit(groupId: string, nextOffsets: ReadonlyMap<number, number>): void {
    const committed = this.committed.get(groupId) ?? new Map<number, number>();
    const byMembers = this.committedByMembers.get(groupId) ?? new Set<number>();
    for (const [partition, nextOffset] of nextOffsets) {
      committed.set(partition, nextOffset);
      byMembers.add(partition);
    }
    this.committed.set(groupId, committed);
    this.committedByMembers.set(groupId, byMembers);
  }

  /** Deals out a group's partitions again, and each member gets another share if there are several. */
  rebalance(groupId: string): void {
    const index = this.#members.findIndex((member) => member.groupId === groupId);
    if (index < 0) return;
    this.#members.push(...this.#members.splice(index, 1));
    this.#dealOut(groupId);
  }

  /** Called by members: a commit counts only if its sender has the newest assignment. */
  generation(groupId: string): number {
    return this.#generations.get(groupId) ?? 0;
  }

  /** Deals out the partitions of every group again. */
  rebalanceAll(): void {
    for (const groupId of new Set(this.#members.map((member) => member.groupId))) {
      this.#dealOut(groupId);
    }
  }

  #dealOut(groupId: string): void {
    this.#generations.set(groupId, this.generation(groupId) + 1);
    for (const member of this.#members) if (member.groupId === groupId) member.rebalance();
  }

  /** Members of other programs: they get partitions like any other, and store nothing. */
  setStrangers(groupId: string, names: readonly string[]): void {
    this.#strangers.set(groupId, [...names]);
    this.#dealOut(groupId);
  }

  /** Who is in the group, as one of its members sees it. */
  sight(asking: Grouped): GroupSight {
    const members = this.#members.filter((one) => one.groupId === asking.groupId);
    const strangers = this.#strangers.get(asking.groupId) ?? [];
    const ours = members.map((member, place): GroupShare => ({
      name: `member ${place}`,
      kind: member === asking ? "self" : "ours",
      partitions: this.assignment(member),
    }));
    const others = strangers.map((name, at): GroupShare => ({
      name,
      kind: "stranger",
      partitions: this.#share(asking.groupId, members.length + at),
    }));
    const isEmpty = ours.length + others.length === 0;
    return {
      isSettled: true,
      state: isEmpty ? "Empty" : "Stable",
      protocolType: isEmpty ? "" : "consumer",
      protocol: isEmpty ? "" : "memory",
      members: [...ours, ...others],
    };
  }

  /** The partitions of one member: dealt out round robin in the order of joining. */
  assignment(member: Grouped): readonly number[] {
    const group = this.#members.filter((other) => other.groupId === member.groupId);
    const place = group.indexOf(member);
    return place < 0 ? [] : this.#share(member.groupId, place);
  }

  #share(groupId: string, place: number): readonly number[] {
    const members = this.#members.filter((member) => member.groupId === groupId).length;
    const count = members + (this.#strangers.get(groupId)?.length ?? 0);
    return this.#partitions.filter((partition) => partition % count === place);
  }
}
