/**
 * Kafka in memory: one topic, its partitions and its consumer groups, with the same laws as the
 * brokers as far as `tests/contracts/` states them. It serves tests, and it serves where no broker
 * is wanted.
 *
 * A rebalance is harsher than a real one: a new owner starts at once, while the member that loses
 * the partition may still be at work on it. What holds here holds with real brokers.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { ConfigurationError, NoAnswerError, TransientError } from "../errors.ts";
import type {
  FetchedBatch,
  GroupAdmin,
  GroupHandlers,
  GroupMember,
  GroupShare,
  GroupSight,
} from "./group_member.ts";
import {
  type EpochEnd,
  type HeldBack,
  type MessageHeaders,
  type MessageToSend,
  type PartitionRange,
  type TopicIdentity,
  type Watermarks,
} from "./message.ts";
import { Messages } from "./messages.ts";
import { LogLeaders } from "./memory_leaders.ts";
import {
  LogTransactions,
  type MemoryRecord,
  MemoryTransactionalProducer,
  type TransactionEnd,
} from "./memory_transactions.ts";
import type { TopicWriter } from "./topic_writer.ts";

/** One partition's log. */
export interface MemoryPartition {
  /** The first offset kept. */
  low: number;
  /** The offset that the next record gets. */
  next: number;
  /** Ascending by offset, without holes but those that a test makes. */
  records: MemoryRecord[];
  /** Whose transactions the records belong to. */
  transactions: LogTransactions;
  /** Who wrote the records, and who leads. */
  leaders: LogLeaders;
}

/** How to make a {@linkcode MemoryKafka}. */
export interface MemoryKafkaOptions {
  /** Name of the topic. */
  readonly topic: string;
  /** Number of partitions. */
  readonly partitions: number;
  /** Dates the messages and paces the members. */
  readonly clock: Clock;
  /**
   * Name of the cluster.
   * @default "memory-cluster"
   */
  readonly clusterId?: string;
}

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

/** A message as a test may want it: with headers, a binary key, or a time of its own. */
export interface RecordToAppend {
  /** The key; a text is encoded as UTF-8. */
  readonly key: string | Uint8Array | null;
  /** The value; null is a tombstone. */
  readonly value: Uint8Array | null;
  /** Headers, none if absent. */
  readonly headers?: MessageHeaders;
  /**
   * Time of the record, ms since 1970.
   * @default the clock's time
   */
  readonly timestampMs?: number;
}

/** Calls that can be made to fail. */
export type MemoryKafkaCall =
  | "identity"
  | "watermarks"
  | "epochEnds"
  | "committed"
  | "commit"
  | "send";

/** A cluster with one topic. */
export class MemoryKafka {
  /** Dates the messages and paces the members. */
  readonly clock: Clock;
  /** Name of the cluster. */
  readonly clusterId: string;
  /** Name of the topic. */
  readonly topic: string;
  /** Committed offsets by group and partition. */
  readonly committed = new Map<string, Map<number, number>>();
  /** Of these, the partitions that a {@linkcode MemoryMember} committed last, by group. */
  readonly committedByMembers = new Map<string, Set<number>>();
  /** What the topic says about how long it keeps a message, ms. Nothing is deleted on its own. */
  retentionMs: number = 7 * 86_400_000;
  #topicLives = 1;
  #partitions: MemoryPartition[];
  #brokersAway = false;
  readonly #leaderless = new Set<number>();
  readonly #members: MemoryMember[] = [];
  readonly #producers: MemoryTransactionalProducer[] = [];
  /** Names of other programs' members by group. */
  readonly #strangers = new Map<string, string[]>();
  /** How often each group has dealt out its partitions. */
  readonly #generations = new Map<string, number>();
  readonly #faults = new Map<MemoryKafkaCall, Error[]>();
  readonly #wrongHighs = new Map<number, number>();

  /** An empty topic. */
  constructor(options: MemoryKafkaOptions) {
    this.clock = options.clock;
    this.clusterId = options.clusterId ?? "memory-cluster";
    this.topic = options.topic;
    this.#partitions = Array.from({ length: options.partitions }, emptyPartition);
  }

  /** The next `call` rejects with `error`, once. */
  failNext(call: MemoryKafkaCall, error: Error): void {
    const queue = this.#faults.get(call) ?? [];
    queue.push(error);
    this.#faults.set(call, queue);
  }

  /** While the brokers are away nothing is fetched and every call fails. */
  setBrokersAway(away: boolean): void {
    this.#brokersAway = away;
  }

  /** True while nothing can be fetched. */
  get brokersAway(): boolean {
    return this.#brokersAway;
  }

  /** A partition without a leader is neither read nor written, and has no watermarks. */
  setLeader(partition: number, leader: "there" | "none"): void {
    this.partition(partition);
    if (leader === "none") this.#leaderless.add(partition);
    else this.#leaderless.delete(partition);
  }

  /** Whether a broker leads the partition. */
  hasLeader(partition: number): boolean {
    return !this.#leaderless.has(partition);
  }

  /**
   * Called by members and writers before each call.
   *
   * @throws {Error} the fault that was planned for this call, if any
   */
  check(call: MemoryKafkaCall): void {
    const fault = this.#faults.get(call)?.shift();
    if (fault !== undefined) throw fault;
    if (this.#brokersAway) {
      throw new NoAnswerError(`Cannot ${call}: brokers away`, { server: "kafka" });
    }
  }

  /** The partitions' numbers. */
  partitionNumbers(): readonly number[] {
    return [...this.#partitions.keys()];
  }

  /**
   * The log of one partition.
   *
   * @throws {ConfigurationError} if there is no such partition
   */
  partition(number: number): MemoryPartition {
    const partition = this.#partitions[number];
    if (partition === undefined) {
      throw new ConfigurationError(`Cannot find partition ${number} of ${this.topic}`);
    }
    return partition;
  }

  /** This life of the topic. */
  identity(): TopicIdentity {
    const life = String(this.#topicLives).padStart(12, "0");
    return {
      clusterId: this.clusterId,
      topic: this.topic,
      topicId: `00000000-0000-4000-8000-${life}`,
    };
  }

  /**
   * Appends messages and returns their offsets.
   *
   * @param producerId whose transaction they belong to; undefined: nobody's
   */
  append(number: number, messages: readonly RecordToAppend[], producerId?: bigint): number[] {
    return messages.map((message) =>
      this.#append(number, {
        key: typeof message.key === "string" ? new TextEncoder().encode(message.key) : message.key,
        value: message.value,
        headers: message.headers ?? {},
        timestampMs: message.timestampMs ?? this.clock.now(),
        ...producerId !== undefined && { producerId },
      })
    );
  }

  /** Appends control records, as transactions leave them that wrote to other partitions. */
  appendControl(number: number, count: number): void {
    for (let added = 0; added < count; added++) this.#append(number, { control: true });
  }

  /** A producer with a transactional id of its own. */
  transactionalProducer(): MemoryTransactionalProducer {
    const producer = new MemoryTransactionalProducer(this, BigInt(this.#producers.length));
    this.#producers.push(producer);
    return producer;
  }

  /** Appends the marker that ends a producer's transaction, and returns its offset. */
  endTransaction(number: number, ends: TransactionEnd): number {
    return this.#append(number, { control: true, ends });
  }

  /**
   * Aborts transactions in a partition that their producers have ended: the log lost their markers.
   * The brokers leave that to an operator.
   */
  abortHanging(number: number): void {
    for (const producerId of [...this.partition(number).transactions.open.keys()]) {
      const isAlive = this.#producers.some((one) =>
        one.producerId === producerId && one.isIn(number)
      );
      if (!isAlive) this.endTransaction(number, { producerId, outcome: "abort" });
    }
  }

  #append(number: number, record: WithoutPlace<MemoryRecord>): number {
    const partition = this.partition(number);
    const offset = partition.next++;
    const kept = { ...record, offset, leaderEpoch: partition.leaders.epoch };
    partition.records.push(kept);
    partition.transactions.note(kept);
    return offset;
  }

  /** Deletes everything below `offset`, as retention does. */
  deleteRecords(number: number, offset: number): void {
    const partition = this.partition(number);
    partition.low = Math.min(Math.max(offset, partition.low), partition.next);
    partition.records = partition.records.filter((record) => record.offset >= partition.low);
    partition.leaders.keepFrom(partition.low);
  }

  /** Another broker leads the partition. Nothing is lost. */
  electLeader(number: number): void {
    const { leaders, next } = this.partition(number);
    leaders.elect(next);
  }

  /**
   * The next answer of `watermarks` says that the partition's log ends at `high`, once: a broker that
   * slept, and does not know yet that others lead.
   */
  answerWronglyNext(number: number, high: number): void {
    this.#wrongHighs.set(number, high);
  }

  /** Called by members: what brokers say of a partition. */
  watermarksOf(number: number): Watermarks {
    const partition = this.partition(number);
    const high = this.#wrongHighs.get(number) ?? stableEnd(partition);
    this.#wrongHighs.delete(number);
    return { low: partition.low, high };
  }

  /** Loses everything from `offset` on, as an unclean leader election does. */
  truncate(number: number, offset: number): void {
    const partition = this.partition(number);
    partition.next = Math.max(partition.low, Math.min(offset, partition.next));
    partition.records = partition.records.filter((record) => record.offset < partition.next);
    partition.transactions = new LogTransactions(partition.records);
    this.electLeader(number);
  }

  /**
   * Deletes the topic and makes it again, empty. Members can notice, or go on as if nothing was;
   * the groups' offsets go with the topic, or somebody was late and committed them again.
   */
  recreateTopic(
    notice: "members rejoin" | "nobody notices" = "members rejoin",
    commits: "gone" | "kept" = "gone",
  ): void {
    this.#topicLives++;
    this.#partitions = this.#partitions.map(emptyPartition);
    if (commits === "gone") this.committed.clear();
    if (notice === "nobody notices") return;
    for (const groupId of new Set(this.#members.map((member) => member.groupId))) {
      this.#dealOut(groupId);
    }
  }

  /** A writer to the topic. */
  writer(): TopicWriter {
    return new MemoryWriter(this);
  }

  /** A member of a group, not joined yet. */
  member(groupId: string, options: MemoryMemberOptions = {}): MemoryMember {
    return new MemoryMember(this, groupId, options);
  }

  /** Called by members: a group's partitions are dealt out again. */
  changeMembership(member: MemoryMember, change: "join" | "leave"): void {
    const index = this.#members.indexOf(member);
    if ((change === "join") === (index >= 0)) return;
    if (change === "join") this.#members.push(member);
    else this.#members.splice(index, 1);
    this.#dealOut(member.groupId);
  }

  /** Called by members: keeps their offsets. */
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
  sight(asking: MemoryMember): GroupSight {
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
  assignment(member: MemoryMember): readonly number[] {
    const group = this.#members.filter((other) => other.groupId === member.groupId);
    const place = group.indexOf(member);
    return place < 0 ? [] : this.#share(member.groupId, place);
  }

  #share(groupId: string, place: number): readonly number[] {
    const members = this.#members.filter((member) => member.groupId === groupId).length;
    const count = members + (this.#strangers.get(groupId)?.length ?? 0);
    return this.partitionNumbers().filter((partition) => partition % count === place);
  }
}

type WithoutPlace<Record> = Record extends unknown ? Omit<Record, "offset" | "leaderEpoch"> : never;

function emptyPartition(): MemoryPartition {
  return {
    low: 0,
    next: 0,
    records: [],
    transactions: new LogTransactions([]),
    leaders: new LogLeaders(),
  };
}

/** The last stable offset: nothing from here on is shown, for a transaction is open. */
function stableEnd({ low, next, transactions }: MemoryPartition): number {
  return Math.max(low, Math.min(next, ...transactions.open.values()));
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
  readonly #kafka: MemoryKafka;
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

  /** Made by {@linkcode MemoryKafka.member}. */
  constructor(kafka: MemoryKafka, groupId: string, options: MemoryMemberOptions) {
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
    this.#kafka.changeMembership(this, "join");
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
    this.#kafka.changeMembership(this, "leave");
  }

  /** The zombie finds out, at its next heartbeat, and joins again. */
  readmit(): void {
    this.#evicted = false;
    this.#refused = false;
    this.#kafka.changeMembership(this, "join");
  }

  /** The brokers refuse this member until somebody lets it in again, by {@linkcode MemoryMember.readmit}. */
  refuse(error: Error): void {
    this.evict();
    this.#refused = true;
    this.#handlers?.refused(error);
  }

  /** Dies as kafkajs does on an error that it does not retry. */
  crash(error: Error): void {
    this.#kafka.changeMembership(this, "leave");
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
    const own = this.#kafka.committedByMembers.get(this.groupId);
    const all = [...this.#kafka.committed.get(this.groupId) ?? []];
    return new Map(all.filter(([partition]) => !own?.has(partition)));
  }

  // deno-lint-ignore require-await -- see above
  async group(): Promise<GroupSight> {
    this.#kafka.check("committed");
    return this.#kafka.sight(this);
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
    if (this.#evicted || generation !== this.#kafka.generation(this.groupId)) {
      throw new TransientError("Cannot commit offsets: the group has gone on without this member");
    }
    this.#kafka.commit(this.groupId, nextOffsets);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    this.#kafka.changeMembership(this, "leave");
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
    this.#generation = this.#kafka.generation(this.groupId);
    this.#assigned = this.#kafka.assignment(this);
    this.#positions.clear();
    this.#seeks.clear();
    for (const partition of this.#assigned) {
      const committed = this.#kafka.committed.get(this.groupId)?.get(partition);
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

class MemoryWriter implements TopicWriter {
  readonly partitions: number;
  readonly #kafka: MemoryKafka;
  readonly #busy = new Set<number>();

  constructor(kafka: MemoryKafka) {
    this.#kafka = kafka;
    this.partitions = kafka.partitionNumbers().length;
  }

  async send(partition: number, messages: readonly MessageToSend[]): Promise<void> {
    if (this.#busy.has(partition)) {
      throw new Error(`Cannot send to partition ${partition}: a send is under way`);
    }
    this.#busy.add(partition);
    try {
      await Promise.resolve();
      this.#kafka.check("send");
      if (!this.#kafka.hasLeader(partition)) {
        throw new TransientError("Cannot send: no broker leads the partition");
      }
      this.#kafka.append(partition, messages);
    } finally {
      this.#busy.delete(partition);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
