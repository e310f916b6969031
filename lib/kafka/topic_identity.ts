/**
 * Asks the brokers which life of which topic this is, and whether its logs still are what they were.
 *
 * kafkajs speaks version 6 of the Metadata request, which carries neither the topic's UUID nor leader
 * epochs. Offsets alone cannot tell a topic that was deleted and recreated and has grown past where
 * we were; nor a log that lost its end and has grown past where we were. So one request of version 12 is
 * written here by hand. The fields are those of the protocol guide,
 * https://kafka.apache.org/protocol#The_Messages_Metadata
 *
 * @module
 */
import { Buffer } from "node:buffer";
import Decoder from "kafkajs/src/protocol/decoder.js";
import { createErrorFromCode } from "kafkajs/src/protocol/error.js";
import {
  type EpochEndsQuestion,
  epochEndsRequest,
  parseEpochEnds,
  type PartitionLeader,
} from "./epoch_ends.ts";
import type { EpochEnd, TopicIdentity } from "./message.ts";
import {
  askRaw,
  compactText,
  flexibleRequest,
  type RawBroker,
  type RawCluster,
} from "./raw_cluster.ts";

/** Asks for the topic's present life. */
export async function readTopicIdentity(
  cluster: RawCluster,
  topic: string,
): Promise<TopicIdentity> {
  const { clusterId, topicId } = await readMetadata(cluster, topic);
  return { clusterId, topic, topicId };
}

/** See `GroupMember.epochEnds`. */
export async function readEpochEnds(
  cluster: RawCluster,
  topic: string,
  epochs: ReadonlyMap<number, number>,
): Promise<ReadonlyMap<number, EpochEnd | undefined>> {
  if (epochs.size === 0) return new Map();
  await cluster.connect();
  await cluster.addTargetTopic(topic);
  // So that another broker is asked who leads than the last time, perhaps.
  await cluster.refreshMetadata();
  const { leaders } = await readMetadata(cluster, topic);
  const shares = Map.groupBy(epochs, ([partition]) => leaders.get(partition)?.leaderId ?? -1);
  const answers = await Promise.all(
    Array.from(
      shares,
      ([leaderId, share]) =>
        leaderId < 0
          ? []
          : askLeader(cluster, leaderId, { topic, epochs: new Map(share), leaders }),
    ),
  );
  return new Map(answers.flatMap((answer) => [...answer]));
}

async function readMetadata(cluster: RawCluster, topic: string): Promise<MetadataAnswer> {
  const answer = await askAnyBroker(
    cluster,
    topic,
    (broker) => askRaw(broker, metadataRequest(topic), parseMetadata),
  );
  // In kafkajs's words, so that an answer is classified the same whoever asked.
  if (answer.errorCode !== 0) throw createErrorFromCode(answer.errorCode);
  return answer;
}

/** A leader that does not answer has nothing to say of its partitions; others may. */
async function askLeader(
  cluster: RawCluster,
  nodeId: number,
  question: EpochEndsQuestion,
): Promise<ReadonlyMap<number, EpochEnd | undefined>> {
  try {
    const broker = await cluster.findBroker({ nodeId });
    return await askRaw(broker, epochEndsRequest(question), parseEpochEnds);
  } catch {
    return new Map();
  }
}

/** Brokers that are asked before nobody is there. */
const BROKERS_ASKED_MAX = 3;

/**
 * Asks the broker that the others name; one that cannot be reached makes way for another one. For
 * some seconds they can name one that has just died.
 */
async function askAnyBroker<T>(
  cluster: RawCluster,
  topic: string,
  ask: (broker: RawBroker) => Promise<T>,
): Promise<T> {
  await cluster.connect();
  await cluster.addTargetTopic(topic);
  for (let asked = 1;; asked++) {
    try {
      return await ask(await cluster.findControllerBroker());
    } catch (error) {
      const isUnreached = error instanceof Error && error.name.startsWith("KafkaJSConnection");
      if (!isUnreached || asked >= BROKERS_ASKED_MAX) throw error;
      await cluster.refreshMetadata();
    }
  }
}

/** One topic by name. */
function metadataRequest(topic: string): object {
  return flexibleRequest({ apiKey: 3, apiVersion: 12, apiName: "Metadata" }, [
    Buffer.from([2]), // topics: compact array of length 1, written as length + 1
    Buffer.alloc(16), // topic_id: zero, for we ask by name
    compactText(topic),
    Buffer.from([0]), // tagged fields of the topic
    Buffer.from([0]), // allow_auto_topic_creation: no
    Buffer.from([0]), // include_topic_authorized_operations: no
    Buffer.from([0]), // tagged fields
  ]);
}

interface MetadataAnswer {
  readonly clusterId: string;
  readonly topicId: string;
  readonly errorCode: number;
  /** By partition. */
  readonly leaders: ReadonlyMap<number, PartitionLeader>;
}

/** Reads the answer as far as the first topic's partitions and no further. */
function parseMetadata(raw: Buffer): MetadataAnswer {
  const decoder = new Decoder(raw);
  decoder.readTaggedFields(); // of the header
  decoder.readInt32(); // throttle_time_ms
  decoder.readUVarIntArray((broker: typeof decoder) => {
    broker.readInt32(); // node_id
    broker.readUVarIntString(); // host
    broker.readInt32(); // port
    broker.readUVarIntString(); // rack
    broker.readTaggedFields();
  });
  const clusterId = decoder.readUVarIntString() ?? "";
  decoder.readInt32(); // controller_id
  decoder.readUVarInt(); // topics: we asked for one
  const errorCode = decoder.readInt16();
  decoder.readUVarIntString(); // name
  const hex = Buffer.from(decoder.readBytes(16)).toString("hex");
  decoder.readInt8(); // is_internal
  const partitions = decoder.readUVarIntArray((partition: typeof decoder) => {
    partition.readInt16(); // error_code
    const number = partition.readInt32();
    const leader = { leaderId: partition.readInt32(), leaderEpoch: partition.readInt32() };
    for (const _ of ["replicas", "in sync", "offline"]) {
      partition.readUVarIntArray((node: typeof decoder) => node.readInt32());
    }
    partition.readTaggedFields();
    return [number, leader] as const;
  });
  return { clusterId, errorCode, topicId: uuidOf(hex), leaders: new Map(partitions) };
}

function uuidOf(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
