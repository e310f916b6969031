/**
 * The port through which the consumer loop reads: one member of a consumer group on one topic.
 *
 * Two implementations: `kafkajs_group_member.ts` translates kafkajs, `fakes/group_member.ts` reads a
 * cluster in memory.
 * `tests/contracts/group_member.ts` states the laws and runs on both.
 *
 * @module
 */
import type { EpochEnd, HeldBack, PartitionRange, TopicIdentity } from "./message.ts";
import type { Messages } from "./messages.ts";

/** Consecutive messages of one partition, as one fetch brought them. */
export interface FetchedBatch {
  /** Number of the partition. */
  readonly partition: number;
  /** The offset that the fetch asked for. */
  readonly fetchedOffset: number;
  /** One past the last offset that the fetch covered, control and aborted records included. */
  readonly nextOffset: number;
  /** Leader epoch of the first record, whatever kind it is of. */
  readonly firstEpoch: number;
  /** Leader epoch of the last record, whatever kind it is of. */
  readonly lastEpoch: number;
  /**
   * Ascending by offset. Offsets can be missing: control records, aborted or compacted messages.
   * Empty if the fetch covered nothing else; such a batch is handed over like any other.
   */
  readonly messages: Messages;
  /** False once the member stops, loses the partition, or seeks it elsewhere. */
  isCurrent(): boolean;
  /** Tells the member that every message below `nextOffset` is done; fetching goes on from there. */
  resolve(nextOffset: number): void;
  /**
   * Keeps the membership alive and lets a rebalance through.
   *
   * @throws {Error} if the group is rebalancing: the batch must be left at once, by rethrowing.
   */
  heartbeat(): Promise<void>;
}

/** What a member tells its owner. */
export interface GroupHandlers {
  /**
   * A new assignment. Called before anything of it is fetched; what the handler does
   * synchronously (pausing, above all) is in force before the first fetch.
   */
  assigned(partitions: readonly number[]): void;
  /** A batch was fetched. Batches of one partition never overlap. */
  batch(batch: FetchedBatch): Promise<void>;
  /**
   * The brokers refuse what they allowed before. The member tries again on its own, and tells of each
   * try that fails; an assignment says that it is over.
   */
  refused(error: Error): void;
  /** The member is dead for good and will not come back on its own. */
  crashed(error: Error): void;
}

/** What the consumers of this program call themselves towards the brokers. */
export const CONSUMER_CLIENT_ID = "sensor-ledger-consumer";

/** One member of a group. */
export interface GroupShare {
  /** What it calls itself, and where it runs. */
  readonly name: string;
  /**
   * `self`: the member that asks. `ours`: another one of this program that reads the topic.
   * `stranger`: anybody else.
   */
  readonly kind: "self" | "ours" | "stranger";
  /** The partitions of the topic that it has, ascending. */
  readonly partitions: readonly number[];
}

/** Who shares the partitions of the topic now. */
export interface GroupSight {
  /** False while they are being shared out: then the shares say nothing. */
  readonly isSettled: boolean;
  /** The brokers' word: Stable, Empty, Dead (there is none), PreparingRebalance, … */
  readonly state: string;
  /** `consumer`, or what other programs call themselves; "" if the group has no members. */
  readonly protocolType: string;
  /** The way in which partitions are shared out. */
  readonly protocol: string;
  /** In the same order for whoever asks. */
  readonly members: readonly GroupShare[];
}

/**
 * One member of the group. Pausing, resuming and seeking a partition that is not assigned does
 * nothing. All questions to the brokers throw `TransientError` when the brokers are away and
 * `ConfigurationError` for what needs manual correction.
 */
export interface GroupMember {
  /**
   * Joins the group and starts to fetch. Resolves when the member runs. Partitions without a leader
   * are assigned like the others, and fetched from as soon as they have one again.
   */
  start(handlers: GroupHandlers): Promise<void>;
  /** Stops fetching from these partitions; answers under way are dropped. */
  pause(partitions: readonly number[]): void;
  /** Fetches from these partitions again. */
  resume(partitions: readonly number[]): void;
  /** The next fetch of `partition` starts at `offset`; a batch under way stops being current. */
  seek(partition: number, offset: number): void;
  /** Which life of which topic this is, asked of the brokers again at each call. */
  identity(): Promise<TopicIdentity>;
  /**
   * The readable range of every partition of the topic. One without a leader says so, and hides
   * nothing of the others. `high` is what one broker says, and can be too low for a moment: one that
   * slept, and does not know yet that others lead.
   */
  watermarks(): Promise<ReadonlyMap<number, PartitionRange>>;
  /**
   * Where leader epochs end in the logs. Asked over a connection of its own of those who lead after
   * asking again who does; a broker that leads no more does not answer.
   *
   * @param epochs partitions and the epoch in question; `UNKNOWN_EPOCH`: that of the present leader, so
   * that the answer is the end of the log
   * @returns undefined for a partition whose brokers cannot tell; a partition that has no leader, or
   * none that answers, is absent
   */
  epochEnds(
    epochs: ReadonlyMap<number, number>,
  ): Promise<ReadonlyMap<number, EpochEnd | undefined>>;
  /**
   * What open transactions hold back now, by partition; absent: nothing. Transactions come and go:
   * only one that stays is worth a word.
   */
  heldBack(): Promise<ReadonlyMap<number, HeldBack>>;
  /**
   * The offsets that another program committed for the group; a partition without one is absent.
   * What {@linkcode GroupMember.commit} wrote is left out: it says that this program had stored
   * everything below, and if its ledger does not know of that any more, then the rows are gone, too.
   */
  committedByOthers(): Promise<ReadonlyMap<number, number>>;
  /** Who is in the group now, strangers included. */
  group(): Promise<GroupSight>;
  /**
   * Per partition the first offset whose message is not older than `timestampMs`, else the end. One
   * without a leader is absent.
   */
  offsetsAtTime(timestampMs: number): Promise<ReadonlyMap<number, number>>;
  /**
   * Commits next offsets for the group. Advisory: nothing in this project starts from it once a
   * ledger exists.
   */
  commit(nextOffsets: ReadonlyMap<number, number>): Promise<void>;
  /** Leaves the group after the running handlers have returned. */
  stop(): Promise<void>;
}

/** What operators ask about the topic and the group, and the loop does not. Throws the same. */
export interface GroupAdmin {
  /** The members that the group has now, a name and where it runs each. */
  liveMembers(): Promise<readonly string[]>;
  /** How long the topic keeps a message, ms; Infinity: forever, as a compacted one does. */
  retentionMs(): Promise<number>;
}
