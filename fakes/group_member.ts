/**
 * A group member in memory, with switches for the faults that a real one meets.
 *
 * @module
 */
import type { Clock } from "../lib/clock.ts";
import { TransientError } from "../lib/errors.ts";
import type {
  FetchedBatch,
  GroupAdmin,
  GroupHandlers,
  GroupMember,
  GroupSight,
} from "../lib/kafka/group_member.ts";
import type { EpochEnd, HeldBack, PartitionRange, TopicIdentity } from "../lib/kafka/message.ts";
import { Messages } from "../lib/kafka/messages.ts";
import type { MemoryGroups } from "./kafka_groups.ts";
import { type MemoryTopic, stableEnd } from "./kafka_topic.ts";

/** How a member of a group in memory fetches. */
export interface MemoryMemberOptions {
  /**
   * Most records in one fetch.
   * @default 500
   */
  readonly fetchMessagesMax?: number;
  /** How often an idle member looks for messages, ms. @default 10 */
  readonly fetchWaitMs?: number;
  /** How long an answer with messages is under way, ms. @default 0 */
  readonly fetchMs?: number;
  /**
   * Paces this member alone: the clock of its process, which can stop.
   * @default the cluster's clock
   */
  readonly clock?: Clock;
}

/** The topic together with its groups: where a member is at home. */
export interface MemoryCluster extends MemoryTopic {
  /** Who reads the topic. */
  readonly groups: MemoryGroups;
  /** Keeps a group's offsets. */
  commit(groupId: string, nextOffsets: ReadonlyMap<number, number>): void;
}

/** Thrown out of a handler's heartbeat when the group rebalances. */
export class MemoryRebalanceError extends Error {
  /** Tells the class in a log. */
  override name = "MemoryRebalanceError";
}

/** A group member in memory, with switches for the faults that a real one meets. */
export class MemoryMember implements GroupMember, GroupAdmin {
  /** The group to join. */
  readonly groupId: string;
  readonly #kafka: MemoryCluster;
  readonly #fetchMessagesMax: number;
  readonly #fetchWaitMs: number;
  readonly #fetchMs: number;
  readonly #clock: Clock;
  readonly #paused = new Set<number>();
  readonly #positions = new Map<number, number>();
  readonly #seeks = new Map<number, number>();
  readonly #stop = new AbortController();
  #assigned: readonly number[] = [];
  #generation = 0;
  #rebalanceDue = false;
  #handlers: GroupHandlers | undefined;
  #loop: Promise<void> = Promise.resolve();
  #evicted = false;
  /** The brokers refuse it: it is not a zombie, for nothing is fetched any more. */
  #refused = false;

  /** Made by `MemoryKafka.member`. */
  constructor(kafka: MemoryCluster, groupId: string, options: MemoryMemberOptions) {
    this.#kafka = kafka;
    this.groupId = groupId;
    this.#fetchMessagesMax = options.fetchMessagesMax ?? 500;
    this.#fetchWaitMs = options.fetchWaitMs ?? 10;
    this.#fetchMs = options.fetchMs ?? 0;
    this.#clock = options.clock ?? kafka.clock;
  }

  start(handlers: GroupHandlers): Promise<void> {
    if (this.#stop.signal.aborted) {
      return Promise.reject(new TransientError("Cannot join the group: this member was stopped"));
    }
    this.#handlers = handlers;
    this.#kafka.groups.changeMembership(this, "join");
    this.#loop = this.#run(handlers);
    return Promise.resolve();
  }

  /** Which of the group's assignments this member knows of; a commit names it. */
  get generation(): number {
    return this.#generation;
  }

  /** The group's membership changed: this member takes note at its next heartbeat or fetch. */
  rebalance(): void {
    this.#rebalanceDue = true;
  }

  /** The group gives this member's partitions away without its knowledge: it is a zombie now. */
  evict(): void {
    this.#evicted = true;
    this.#kafka.groups.changeMembership(this, "leave");
  }

  /** The zombie finds out, at its next heartbeat, and joins again. */
  readmit(): void {
    this.#evicted = false;
    this.#refused = false;
    this.#kafka.groups.changeMembership(this, "join");
  }

  /** The brokers refuse this member until somebody lets it in again, by {@linkcode MemoryMember.readmit}. */
  refuse(error: Error): void {
    this.evict();
    this.#refused = true;
    this.#handlers?.refused(error);
  }

  /** Dies as kafkajs does on an error that it does not retry. */
  crash(error: Error): void {
    this.#kafka.groups.changeMembership(this, "leave");
    this.#stop.abort();
    this.#handlers?.crashed(error);
  }

  /** See {@linkcode GroupMember.pause}. */
  pause(partitions: readonly number[]): void {
    for (const partition of partitions) this.#paused.add(partition);
  }

  /** See {@linkcode GroupMember.resume}. */
  resume(partitions: readonly number[]): void {
    for (const partition of partitions) this.#paused.delete(partition);
  }

  seek(partition: number, offset: number): void {
    if (this.#assigned.includes(partition)) this.#seeks.set(partition, offset);
  }

  // The answers are computed inside async functions so that a planned fault becomes a rejection.

  // deno-lint-ignore require-await -- see above
  async identity(): Promise<TopicIdentity> {
    this.#kafka.check("identity");
    return this.#kafka.identity();
  }

  // deno-lint-ignore require-await -- see above
  async watermarks(): Promise<ReadonlyMap<number, PartitionRange>> {
    this.#kafka.check("watermarks");
    return new Map(
      this.#kafka.partitionNumbers().map((number): [number, PartitionRange] => [
        number,
        this.#kafka.hasLeader(number)
          ? this.#kafka.watermarksOf(number)
          : { offline: "no broker leads it" },
      ]),
    );
  }

  // deno-lint-ignore require-await -- see above
  async epochEnds(
    epochs: ReadonlyMap<number, number>,
  ): Promise<ReadonlyMap<number, EpochEnd | undefined>> {
    this.#kafka.check("epochEnds");
    const led = [...epochs].filter(([number]) => this.#kafka.hasLeader(number));
    const ends = led.map(([number, epoch]) => {
      const { leaders, next } = this.#kafka.partition(number);
      return [number, leaders.endOf(epoch, next)] as const;
    });
    return new Map(ends.filter(([, end]) => end !== undefined));
  }

  // deno-lint-ignore require-await -- see above
  async heldBack(): Promise<ReadonlyMap<number, HeldBack>> {
    this.#kafka.check("watermarks");
    const heldBack = new Map<number, HeldBack>();
    for (const number of this.#kafka.partitionNumbers()) {
      if (!this.#kafka.hasLeader(number)) continue;
      const partition = this.#kafka.partition(number);
      const offset = stableEnd(partition);
      if (offset < partition.next) {
        heldBack.set(number, { offset, messages: partition.next - offset });
      }
    }
    return heldBack;
  }

  // deno-lint-ignore require-await -- see above
  async committedByOthers(): Promise<ReadonlyMap<number, number>> {
    this.#kafka.check("committed");
    const own = this.#kafka.groups.committedByMembers.get(this.groupId);
    const all = [...this.#kafka.groups.committed.get(this.groupId) ?? []];
    return new Map(all.filter(([partition]) => !own?.has(partition)));
  }

  // deno-lint-ignore require-await -- see above
  async group(): Promise<GroupSight> {
    this.#kafka.check("committed");
    return this.#kafka.groups.sight(this);
  }

  async liveMembers(): Promise<readonly string[]> {
    return (await this.group()).members.map(({ name }) => name);
  }

  // deno-lint-ignore require-await -- see above
  async retentionMs(): Promise<number> {
    this.#kafka.check("identity");
    return this.#kafka.retentionMs;
  }

  // deno-lint-ignore require-await -- see above
  async offsetsAtTime(timestampMs: number): Promise<ReadonlyMap<number, number>> {
    this.#kafka.check("watermarks");
    const led = this.#kafka.partitionNumbers().filter((number) => this.#kafka.hasLeader(number));
    return new Map(
      led.map((number) => {
        const partition = this.#kafka.partition(number);
        const end = stableEnd(partition);
        const first = partition.records.find((record) =>
          "value" in record && record.timestampMs >= timestampMs && record.offset < end
        );
        return [number, first?.offset ?? end];
      }),
    );
  }

  // deno-lint-ignore require-await -- see above
  async commit(
    nextOffsets: ReadonlyMap<number, number>,
    generation: number = this.#generation,
  ): Promise<void> {
    this.#kafka.check("commit");
    // As brokers do: a member that does not know of the newest assignment commits nothing.
    if (this.#evicted || generation !== this.#kafka.groups.generation(this.groupId)) {
      throw new TransientError("Cannot commit offsets: the group has gone on without this member");
    }
    this.#kafka.commit(this.groupId, nextOffsets);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    this.#kafka.groups.changeMembership(this, "leave");
  }

  async #run(handlers: GroupHandlers): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      if (this.#rebalanceDue && !this.#evicted) this.#join(handlers);
      const fetches = (this.#refused ? [] : this.#assigned).map((partition) =>
        this.#fetch(partition, handlers)
      );
      const fetched = await Promise.all(fetches);
      if (fetched.every((records) => records === 0)) {
        await this.#clock.sleep(this.#fetchWaitMs, signal);
      }
    }
  }

  #join(handlers: GroupHandlers): void {
    this.#rebalanceDue = false;
    this.#generation = this.#kafka.groups.generation(this.groupId);
    this.#assigned = this.#kafka.groups.assignment(this);
    this.#positions.clear();
    this.#seeks.clear();
    for (const partition of this.#assigned) {
      const committed = this.#kafka.groups.committed.get(this.groupId)?.get(partition);
      this.#positions.set(partition, committed ?? this.#kafka.partition(partition).low);
    }
    handlers.assigned(this.#assigned);
  }

  /** Fetches once from a partition and hands it over; returns the number of records fetched. */
  async #fetch(number: number, handlers: GroupHandlers): Promise<number> {
    const sought = this.#seeks.get(number);
    if (sought !== undefined) this.#positions.set(number, sought);
    this.#seeks.delete(number);
    if (this.#paused.has(number) || this.#kafka.brokersAway) return 0;
    if (!this.#kafka.hasLeader(number)) return 0;
    const partition = this.#kafka.partition(number);
    const { low, next, records } = partition;
    const end = stableEnd(partition);
    let position = this.#positions.get(number) ?? low;
    // Out of range: the brokers send a reader back to the earliest message.
    if (position < low || position > next) position = low;
    const from = records.findIndex((record) => record.offset >= position);
    const slice = from < 0
      ? []
      : records.slice(from, from + this.#fetchMessagesMax).filter(({ offset }) => offset < end);
    const last = slice.at(-1);
    this.#positions.set(number, position);
    if (last === undefined) return 0;
    const messages = Messages.of(partition.transactions.messagesOf(slice));
    if (this.#fetchMs > 0) {
      await this.#clock.sleep(this.#fetchMs, this.#stop.signal);
      // An answer that was under way when its partition was paused or sought is dropped.
      if (this.#stop.signal.aborted || this.#paused.has(number) || this.#seeks.has(number)) {
        return slice.length;
      }
    }
    try {
      await handlers.batch(this.#batchOf({
        partition: number,
        fetchedOffset: position,
        nextOffset: last.offset + 1,
        firstEpoch: slice[0]!.leaderEpoch,
        lastEpoch: last.leaderEpoch,
        messages,
      }));
    } catch (error) {
      if (!(error instanceof MemoryRebalanceError)) throw error;
    }
    return slice.length;
  }

  #batchOf(fetched: Omit<FetchedBatch, "isCurrent" | "resolve" | "heartbeat">): FetchedBatch {
    const { partition } = fetched;
    return {
      ...fetched,
      isCurrent: () => !this.#stop.signal.aborted && !this.#seeks.has(partition),
      resolve: (offset) => this.#positions.set(partition, offset),
      // deno-lint-ignore require-await -- a rebalance must come as a rejection
      heartbeat: async () => {
        if (this.#rebalanceDue && !this.#evicted) {
          throw new MemoryRebalanceError("The group is rebalancing");
        }
      },
    };
  }
}
