/**
 * What the brokers say about themselves, the topic and the group, for `doctor`. Nothing is judged
 * here, and nothing is changed.
 *
 * @module
 */
import type * as kafkajs from "kafkajs";
import { systemClock } from "../clock.ts";
import { asError, TransientError } from "../errors.ts";
import type { Log } from "../log.ts";
import { type KafkaConnectionSettings, openKafka } from "./connection.ts";
import { CONSUMER_CLIENT_ID, type GroupSight } from "./group_member.ts";
import type { HeldBack, PartitionRange, TopicIdentity } from "./message.ts";
import { patiently } from "./patiently.ts";
import { ask, ASK_RETRIES, closeAll, COMMIT_METADATA, readTopicSettings } from "./questions.ts";
import { readGroupSight } from "./group_sight.ts";
import { readHeldBack, readOffsetsAtTime, readWatermarks } from "./offsets_reader.ts";
import { openRawCluster, type RawCluster } from "./raw_cluster.ts";
import { readTopicIdentity } from "./topic_identity.ts";

/** What was asked for, or the error that stands for the answer. */
export type Answer<T> = T | Error;

/** All that is known. */
export interface KafkaFacts {
  /** How many brokers the cluster has. */
  readonly brokers: number;
  /** The topic. */
  readonly topic: Answer<TopicFacts>;
  /** The consumer group. */
  readonly group: Answer<GroupFacts>;
}

/** What is known of the topic. */
export interface TopicFacts {
  /** Its present life. */
  readonly identity: Answer<TopicIdentity>;
  /** By rising number. */
  readonly partitions: readonly PartitionFacts[];
  /** Settings by name, as they are in force. */
  readonly settings: Answer<ReadonlyMap<string, string>>;
  /** The readable range of each partition. */
  readonly watermarks: Answer<ReadonlyMap<number, PartitionRange>>;
  /** What transactions held back that were open at two looks. */
  readonly heldBack: Answer<ReadonlyMap<number, HeldBack>>;
  /**
   * Per partition the first offset that has been there for less than half of `retention.ms`;
   * undefined: the topic keeps its messages forever, or does not tell.
   */
  readonly youngOffsets: Answer<ReadonlyMap<number, number>> | undefined;
}

/** What is known of one partition. */
export interface PartitionFacts {
  /** Its number. */
  readonly partition: number;
  /** False: nobody can read from it or write to it now. */
  readonly hasLeader: boolean;
  /** Copies that there should be. */
  readonly replicas: number;
  /** Copies that have everything. */
  readonly inSync: number;
}

/** What is known of the group. */
export interface GroupFacts {
  /** Who is in it. */
  readonly sight: GroupSight;
  /** Offsets that another program committed, see `GroupMember.committedByOthers`. */
  readonly committedByOthers: ReadonlyMap<number, number>;
}

/** Settings of the topic that are judged. */
const SETTING_NAMES = [
  "cleanup.policy",
  "max.message.bytes",
  "message.timestamp.type",
  "min.insync.replicas",
  "retention.bytes",
  "retention.ms",
  "unclean.leader.election.enable",
];

/** A transaction that is still open after this long is told of, ms. */
const OPEN_MS = 3_000;

/** How long closing the connections may take, ms. */
const CLOSE_MS = 2_000;

/**
 * Asks the brokers on a connection of its own.
 *
 * @throws {TransientError} if no broker answers.
 * @throws {ConfigurationError} if the brokers refuse this user.
 */
export async function readKafkaFacts(
  connection: KafkaConnectionSettings,
  { topic, groupId }: { readonly topic: string; readonly groupId: string },
  log: Log,
): Promise<KafkaFacts> {
  const kafka = openKafka({ ...connection, retries: ASK_RETRIES }, log);
  const admin = kafka.admin();
  const cluster = openRawCluster(kafka);
  try {
    const { brokers } = await ask("reach the brokers", async () => {
      await admin.connect();
      return await admin.describeCluster();
    });
    const known = await answerOf(() => topicFacts(admin, cluster, topic));
    const topics = known instanceof Error ? [] : [topic];
    return {
      brokers: brokers.length,
      topic: known,
      group: await answerOf(() =>
        patiently(() => groupFacts({ admin, cluster }, { groupId, topic }, topics), {
          passes: (error) => error instanceof TransientError,
        })
      ),
    };
  } finally {
    await closeAll([admin, cluster], { log, limitMs: CLOSE_MS });
  }
}

async function topicFacts(
  admin: kafkajs.Admin,
  cluster: RawCluster,
  topic: string,
): Promise<TopicFacts> {
  const of = { topic, clock: systemClock };
  const { topics } = await ask(
    `look at topic ${topic}`,
    () => admin.fetchTopicMetadata({ topics: [topic] }),
  );
  const partitions = (topics[0]?.partitions ?? []).map((one) => ({
    partition: one.partitionId,
    hasLeader: one.leader >= 0,
    replicas: one.replicas.length,
    inSync: one.isr.length,
  }));
  const settings = await answerOf(() => readTopicSettings(admin, topic, SETTING_NAMES));
  return {
    partitions: partitions.toSorted((a, b) => a.partition - b.partition),
    settings,
    identity: await answerOf(() =>
      ask("read the topic's identity", () => readTopicIdentity(cluster, topic))
    ),
    watermarks: await answerOf(() =>
      ask("read the topic's offsets", () => readWatermarks(cluster, of))
    ),
    heldBack: await answerOf(() =>
      ask("look for open transactions", () => stayingBack(() => readHeldBack(cluster, of)))
    ),
    youngOffsets: await youngOffsets(cluster, topic, settings),
  };
}

/** Where producers have transactions, one is open at almost any moment: two looks tell if it stays. */
async function stayingBack(
  look: () => Promise<ReadonlyMap<number, HeldBack>>,
): Promise<ReadonlyMap<number, HeldBack>> {
  const before = await look();
  if (before.size === 0) return before;
  await systemClock.sleep(OPEN_MS);
  const after = await look();
  return new Map(
    [...after].filter(([partition, { offset }]) => before.get(partition)?.offset === offset),
  );
}

async function youngOffsets(
  cluster: RawCluster,
  topic: string,
  settings: Answer<ReadonlyMap<string, string>>,
): Promise<TopicFacts["youngOffsets"]> {
  const retentionMs = settings instanceof Error ? NaN : Number(settings.get("retention.ms"));
  if (!(retentionMs > 0)) return undefined;
  const halfMs = systemClock.now() - Math.floor(retentionMs / 2);
  return await answerOf(() =>
    ask("find offsets by time", () =>
      readOffsetsAtTime(cluster, {
        topic,
        clock: systemClock,
        timestampMs: Math.max(0, halfMs),
      }))
  );
}

/** @param topics the topic; empty if it is not there, for kafkajs cannot be asked for it then */
async function groupFacts(
  { admin, cluster }: { readonly admin: kafkajs.Admin; readonly cluster: RawCluster },
  { groupId, topic }: { readonly groupId: string; readonly topic: string },
  topics: string[],
): Promise<GroupFacts> {
  const question = { groupId, topic, ownClientId: CONSUMER_CLIENT_ID };
  const sight = await ask(
    `look at group ${groupId}`,
    () => readGroupSight(admin, cluster, question),
  );
  const offsets = topics.length === 0
    ? []
    : await ask("read the group's offsets", () => admin.fetchOffsets({ groupId, topics }));
  return {
    sight,
    committedByOthers: new Map(
      offsets.flatMap(({ partitions }) => partitions)
        .filter(({ metadata, offset }) => metadata !== COMMIT_METADATA && Number(offset) >= 0)
        .map(({ partition, offset }) => [partition, Number(offset)]),
    ),
  };
}

/** One refused question must not hide the answers to the others. */
function answerOf<T>(question: () => Promise<T>): Promise<Answer<T>> {
  return question().catch(asError);
}
