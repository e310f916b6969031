/**
 * What Kafka carries, in this project's words. No Kafka library is named here.
 *
 * @module
 */
import { counted } from "../quantities.ts";

/**
 * Headers of a message, in the order of their first appearance. A header that appears more than
 * once has more than one value; a value can be null.
 */
export type MessageHeaders = Readonly<Record<string, readonly (Uint8Array | null)[]>>;

/** Stands for a leader epoch that is not known, as in Kafka's own messages. */
export const UNKNOWN_EPOCH: number = -1;

/**
 * One record of the topic as the consumer receives it.
 *
 * Offsets are plain numbers here: exact up to 2^53, which a partition that takes a million
 * messages a second reaches after 285 years. The adapter refuses a larger one.
 */
export interface Message {
  /** Its place in the partition. */
  readonly offset: number;
  /** Null: the message has none. */
  readonly key: Uint8Array | null;
  /** Null: a tombstone. */
  readonly value: Uint8Array | null;
  /** Empty if there are none. */
  readonly headers: MessageHeaders;
  /** The record's own time (log append or create time, as the topic is set), ms since 1970. */
  readonly timestampMs: number;
  /** The epoch of the leader that wrote it; {@linkcode UNKNOWN_EPOCH} if the brokers do not say. */
  readonly leaderEpoch: number;
  /**
   * Why the batch that this message came in could not be read: a codec, a size. The message then
   * stands for all of them, at the offset of the last, and its value is the batch as it came.
   * Absent from every message that is one.
   */
  readonly unreadable?: string;
}

/** One record on its way to the topic. */
export interface MessageToSend {
  /** Decides the partition. Without one, messages go round the partitions. */
  readonly key: string | null;
  /** Null: a tombstone. */
  readonly value: Uint8Array | null;
}

/**
 * Names one life of a topic. A topic that is deleted and recreated under its old name has another
 * `topicId`, and offsets of the two have nothing to do with each other.
 */
export interface TopicIdentity {
  /** Names the cluster. */
  readonly clusterId: string;
  /** Name of the topic. */
  readonly topic: string;
  /** UUID, lower case with dashes. */
  readonly topicId: string;
}

/** True if both are the same life of the same topic. */
export function isSameTopic(a: TopicIdentity, b: TopicIdentity): boolean {
  return a.topicId === b.topicId && a.clusterId === b.clusterId && a.topic === b.topic;
}

/**
 * The readable range of a partition: `low` is the first offset kept, `high` is last + 1. What lies
 * behind an open transaction can't be read yet: there `high` is the transaction's first offset.
 */
export interface Watermarks {
  /** The first offset kept. */
  readonly low: number;
  /** One past the last offset that can be read. */
  readonly high: number;
}

/**
 * Where the messages of a leader epoch end in the log that a partition has now. Each epoch has one
 * leader, and a log that keeps a message of its keeps all before it.
 */
export interface EpochEnd {
  /**
   * The largest epoch in the log that is not above the one in question. A smaller one: nothing of
   * that one is left.
   */
  readonly leaderEpoch: number;
  /** One past its last offset. */
  readonly endOffset: number;
}

/** The end of a partition that cannot be read yet: it lies behind the beginning of a transaction. */
export interface HeldBack {
  /** Where the first open transaction begins. */
  readonly offset: number;
  /** Offsets from there to the end of the log. */
  readonly messages: number;
}

/** In words: which messages wait, behind what. */
export function heldBackText(partition: number, { offset, messages }: HeldBack): string {
  return `partition ${partition}: ${
    counted(messages, "message waits", "messages wait")
  } behind a transaction that has been open since ` +
    `offset ${offset}`;
}

/** What a person does about a transaction that stays open. */
export function heldBackCure(topic: string, partition: number, { offset }: HeldBack): string {
  return "Its producer ends it, or the brokers do after its transaction.timeout.ms. If it stays open: " +
    `kafka-transactions.sh --bootstrap-server … abort --topic ${topic} --partition ${partition} ` +
    `--start-offset ${offset}`;
}

/** A partition that cannot be asked now: no broker leads it, or the one that does is silent. */
export interface OfflinePartition {
  /** Why, in words. */
  readonly offline: string;
}

/** What the brokers say of one partition. */
export type PartitionRange = Watermarks | OfflinePartition;

/** Whether a partition cannot be asked now. */
export function isOffline(range: PartitionRange): range is OfflinePartition {
  return "offline" in range;
}

/** Those that answered. */
export function onlineOf(
  ranges: ReadonlyMap<number, PartitionRange>,
): ReadonlyMap<number, Watermarks> {
  const online = new Map<number, Watermarks>();
  for (const [partition, range] of ranges) if (!isOffline(range)) online.set(partition, range);
  return online;
}

/** Those that did not, each with the reason. */
export function offlineOf(
  ranges: ReadonlyMap<number, PartitionRange>,
): ReadonlyMap<number, string> {
  const offline = new Map<number, string>();
  for (const [partition, range] of ranges) {
    if (isOffline(range)) offline.set(partition, range.offline);
  }
  return offline;
}
