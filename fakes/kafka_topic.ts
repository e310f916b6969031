/**
 * A topic in memory as its brokers keep it: the partitions' logs, and what can happen to them.
 *
 * @module
 */
import type { Clock } from "../lib/clock.ts";
import { ConfigurationError, NoAnswerError } from "../lib/errors.ts";
import type { MessageHeaders, TopicIdentity, Watermarks } from "../lib/kafka/message.ts";
import { LogLeaders } from "./kafka_leaders.ts";
import { LogTransactions, type MemoryRecord, type TransactionEnd } from "./kafka_transactions.ts";

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

/** How to make a {@linkcode MemoryTopic}. */
export interface MemoryTopicOptions {
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

/** One topic: what `MemoryKafka` is without those who read and write. */
export class MemoryTopic {
  /** Dates the messages and paces the members. */
  readonly clock: Clock;
  /** Name of the cluster. */
  readonly clusterId: string;
  /** Name of the topic. */
  readonly topic: string;
  /** What the topic says about how long it keeps a message, ms. Nothing is deleted on its own. */
  retentionMs: number = 7 * 86_400_000;
  #topicLives = 1;
  #partitions: MemoryPartition[];
  #brokersAway = false;
  readonly #leaderless = new Set<number>();
  readonly #faults = new Map<MemoryKafkaCall, Error[]>();
  readonly #wrongHighs = new Map<number, number>();

  /** An empty topic. */
  constructor(options: MemoryTopicOptions) {
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

  /** Appends the marker that ends a producer's transaction, and returns its offset. */
  endTransaction(number: number, ends: TransactionEnd): number {
    return this.#append(number, { control: true, ends });
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

  /** Deletes the topic and makes it again, empty. */
  protected makeAgain(): void {
    this.#topicLives++;
    this.#partitions = this.#partitions.map(emptyPartition);
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
export function stableEnd({ low, next, transactions }: MemoryPartition): number {
  return Math.max(low, Math.min(next, ...transactions.open.values()));
}
