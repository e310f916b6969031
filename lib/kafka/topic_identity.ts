/**
 * Asks the brokers which life of which topic this is, and whether its logs still are what they were.
 *
 * kafkajs speaks version 6 of the Metadata request, which carries neither the topic's UUID nor leader
 * epochs. Offsets alone cannot tell a topic that was deleted and made again and has grown past where
 * we were; nor a log that lost its end and has grown past where we were. So one request of version 12 is written here by hand and sent over a connection of kafkajs, which
 * keeps authentication and TLS as they are. The fields are those of the protocol guide,
 * https://kafka.apache.org/protocol#The_Messages_Metadata
 *
 * @module
 */
import { Buffer } from "node:buffer";
import Decoder from "kafkajs/src/protocol/decoder.js";
import Encoder from "kafkajs/src/protocol/encoder.js";
import type { KafkaClient } from "./connection.ts";
import {
  type EpochEndsQuestion,
  epochEndsRequest,
  parseEpochEnds,
  type PartitionLeader,
} from "./epoch_ends.ts";
import type { EpochEnd, TopicIdentity } from "./message.ts";

const METADATA_API_KEY = 3;
const METADATA_API_VERSION = 12;

/** What this file uses of kafkajs's cluster, which has no public type. */
interface Cluster {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  addTargetTopic(topic: string): Promise<void>;
  refreshMetadata(): Promise<void>;
  findBroker(broker: { nodeId: number }): Promise<Broker>;
  findControllerBroker(): Promise<Broker>;
}

interface Broker {
  readonly connectionPool: { send(request: unknown): Promise<unknown> };
  findGroupCoordinator(question: { groupId: string }): Promise<unknown>;
}

/** Asks what kafkajs does not, over a connection of its own. */
export interface IdentityReader {
  /** Asks for the topic's present life. */
  read(topic: string): Promise<TopicIdentity>;
  /**
   * Asks for the group's coordinator. kafkajs asks this, too, before it joins, and keeps the answer
   * to itself: whoever has no right to the group is told that no coordinator was found.
   *
   * @param topic one that exists, for without any the brokers are not known
   */
  findCoordinator(groupId: string, topic: string): Promise<void>;
  /** See `GroupMember.epochEnds`. */
  epochEnds(
    topic: string,
    epochs: ReadonlyMap<number, number>,
  ): Promise<ReadonlyMap<number, EpochEnd | undefined>>;
  /** Closes the connection. */
  close(): Promise<void>;
}

/** Opens a connection for {@linkcode IdentityReader.read}. It connects at the first question. */
export function openIdentityReader(kafka: KafkaClient): IdentityReader {
  const createCluster = Object.getOwnPropertySymbols(kafka)
    .find((symbol) => symbol.description === "private:Kafka:createCluster");
  if (createCluster === undefined) {
    throw new Error("Cannot reach kafkajs's connections: this needs kafkajs 2.2.4");
  }
  const factory = kafka as unknown as Record<symbol, (options: object) => Cluster>;
  const cluster = factory[createCluster]!({
    allowAutoTopicCreation: false,
    metadataMaxAge: 30_000,
  });
  return {
    async read(topic: string): Promise<TopicIdentity> {
      const { clusterId, topicId } = await readMetadata(cluster, topic);
      return { clusterId, topic, topicId };
    },
    async epochEnds(
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
    },
    async findCoordinator(groupId: string, topic: string): Promise<void> {
      await cluster.connect();
      await cluster.addTargetTopic(topic);
      await (await cluster.findControllerBroker()).findGroupCoordinator({ groupId });
    },
    close: () => cluster.disconnect(),
  };
}

async function readMetadata(cluster: Cluster, topic: string): Promise<MetadataAnswer> {
  await cluster.connect();
  await cluster.addTargetTopic(topic);
  const broker = await cluster.findControllerBroker();
  const answer = await send(broker, metadataRequest(topic), parseMetadata);
  const { errorCode } = answer;
  // 3: UNKNOWN_TOPIC_OR_PARTITION. The next target-topic refresh of kafkajs names it in words.
  if (errorCode !== 0) {
    throw Object.assign(new Error(`Kafka answers error ${errorCode} for topic ${topic}`), {
      type: errorCode === 3 ? "UNKNOWN_TOPIC_OR_PARTITION" : `ERROR_${errorCode}`,
    });
  }
  return answer;
}

/** A leader that does not answer has nothing to say of its partitions; others may. */
async function askLeader(
  cluster: Cluster,
  nodeId: number,
  question: EpochEndsQuestion,
): Promise<ReadonlyMap<number, EpochEnd | undefined>> {
  try {
    const broker = await cluster.findBroker({ nodeId });
    return await send(broker, epochEndsRequest(question), parseEpochEnds);
  } catch {
    return new Map();
  }
}

async function send<T>(broker: Broker, request: object, parse: (raw: Buffer) => T): Promise<T> {
  const answer = await broker.connectionPool.send({
    request,
    response: {
      decode: (raw: Buffer) => Promise.resolve(raw),
      parse: (raw: Buffer) => Promise.resolve(parse(raw)),
    },
  });
  return answer as T;
}

/** One topic by name; this header version ends in an empty list of tagged fields, the first byte. */
function metadataRequest(topic: string): object {
  return {
    apiKey: METADATA_API_KEY,
    apiVersion: METADATA_API_VERSION,
    apiName: "Metadata",
    encode: (): Promise<unknown> => {
      const name = Buffer.from(topic);
      const bytes = Buffer.concat([
        Buffer.from([0]), // tagged fields of the header
        Buffer.from([2]), // topics: compact array of length 1, written as length + 1
        Buffer.alloc(16), // topic_id: zero, for we ask by name
        unsignedVarint(name.length + 1),
        name,
        Buffer.from([0]), // tagged fields of the topic
        Buffer.from([0]), // allow_auto_topic_creation: no
        Buffer.from([0]), // include_topic_authorized_operations: no
        Buffer.from([0]), // tagged fields
      ]);
      const encoder = new Encoder();
      encoder.writeBufferInternal(bytes);
      return Promise.resolve(encoder);
    },
  };
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

function unsignedVarint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return Buffer.from([...bytes, rest]);
}
