/**
 * Corrections to kafkajs 2.2.4, which is no longer maintained. Importing this module applies
 * them, once. `tests/kafkajs_patches_test.ts` fails when a patched method changes or disappears.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import BrokerPool from "kafkajs/src/cluster/brokerPool.js";
import Cluster from "kafkajs/src/cluster/index.js";
import ConsumerGroup from "kafkajs/src/consumer/consumerGroup.js";
import ProduceRequests from "kafkajs/src/protocol/requests/produce/index.js";
import MetadataResponse from "kafkajs/src/protocol/requests/metadata/v6/response.js";
import { createErrorFromCode } from "kafkajs/src/protocol/error.js";
import FetchResponse from "kafkajs/src/protocol/requests/fetch/v11/response.js";
import Encoder from "kafkajs/src/protocol/encoder.js";
import Connection from "kafkajs/src/network/connection.js";
import RequestQueue from "kafkajs/src/network/requestQueue/index.js";
import { KafkaJSBrokerNotFound } from "kafkajs/src/errors.js";
import { decodeFetchAnswer } from "./fetch_answer.ts";

/** The part of kafkajs's request queue that is touched. */
interface PatchedRequestQueue {
  throttleCheckTimeoutId: ReturnType<typeof setTimeout> | null;
  throttledUntil: number;
  pending: readonly unknown[];
  checkPendingRequests(): void;
}

const THROTTLE_CHECK_MS_MIN = 10;

/**
 * The original arms a timer of 1 ms forever, even with nothing to send, and prints
 * TimeoutNegativeWarning. An idle consumer used 3.7 % of a core; with this, 0.75 %.
 */
RequestQueue.prototype.scheduleCheckPendingRequests = function (this: PatchedRequestQueue): void {
  if (this.throttleCheckTimeoutId !== null || this.pending.length === 0) return;
  const waitMs = Math.max(this.throttledUntil - Date.now(), THROTTLE_CHECK_MS_MIN);
  this.throttleCheckTimeoutId = setTimeout(() => {
    this.throttleCheckTimeoutId = null;
    this.checkPendingRequests();
  }, waitMs);
};

/** The part of kafkajs's connection that is touched. */
interface PatchedConnection {
  chunks: readonly unknown[];
  bytesBuffered: number;
  bytesNeeded: number;
  isConnected(): boolean;
  connect(): Promise<unknown>;
}

/** An answer begins with its length. */
const LENGTH_BYTES = 4;

/**
 * The original keeps the half of an answer that came before the connection broke, and reads the
 * answers of the next connection as its other half: none finds its request, and of this broker's
 * partitions nothing is fetched any more.
 */
const originalConnect = Connection.prototype.connect;
Connection.prototype.connect = function (this: PatchedConnection): Promise<unknown> {
  if (!this.isConnected()) {
    this.chunks = [];
    this.bytesBuffered = 0;
    this.bytesNeeded = LENGTH_BYTES;
  }
  return originalConnect.call(this);
};

/** The part of kafkajs's pool of brokers that is touched. */
interface PatchedBrokerPool {
  brokers: Readonly<Record<string, unknown>>;
  metadata: Metadata | null;
  metadataExpireAt: number | null;
  findBroker(question: { readonly nodeId: string }): Promise<unknown>;
}

/**
 * Asks one broker after the other, until one answers. The original drops what they say: whoever has
 * no right to the group is told that no coordinator was found. And it gives up at the first broker
 * that cannot be reached.
 *
 * @throws what the last one said
 */
BrokerPool.prototype.withBroker = async function (
  this: PatchedBrokerPool,
  ask: (asked: { readonly nodeId: string; readonly broker: unknown }) => Promise<unknown>,
): Promise<unknown> {
  // From a random one on: the same broker must not have to answer everybody.
  const nodeIds = Object.keys(this.brokers);
  const first = Math.floor(Math.random() * nodeIds.length);
  let said: unknown = new KafkaJSBrokerNotFound("No brokers in the broker pool");
  for (const nodeId of [...nodeIds.slice(first), ...nodeIds.slice(0, first)]) {
    try {
      return await ask({ nodeId, broker: await this.findBroker({ nodeId }) });
    } catch (error) {
      said = error;
    }
  }
  throw said;
};

/** The original ends the consumer at a codec that it does not know, and has no bound for any. */
FetchResponse.decode = decodeFetchAnswer;

/** A record batch that is encoded already; to kafkajs it is the value of its only message. */
export class EncodedBatch {
  /** The batch, see `record_batch.ts`. */
  readonly bytes: Buffer;

  /** Nothing is copied. */
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}

/** What kafkajs puts into a request to write, as far as it is looked at. */
interface ProduceRequest {
  readonly acks: number;
  readonly timeout: number;
  readonly topicData: readonly {
    readonly topic: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly messages: readonly { readonly value: unknown }[];
    }[];
  }[];
}

/** The first version whose requests carry record batches. They have had one form since. */
const RECORD_BATCH_VERSION = 3;

/** The original encodes messages one by one, with dozens of objects for each. */
const originalProduce = ProduceRequests.protocol;
ProduceRequests.protocol = (asked: { readonly version: number }) => (request: ProduceRequest) => {
  const made = originalProduce(asked)(request);
  const [topic] = request.topicData;
  const [lane] = topic?.partitions ?? [];
  const [message] = lane?.messages ?? [];
  if (!(message?.value instanceof EncodedBatch)) return made;
  if (asked.version < RECORD_BATCH_VERSION) {
    throw new Error("Cannot write to brokers before 0.11: they take no record batches");
  }
  const { bytes } = message.value;
  // The length of an array stands before it.
  const encode = (): Promise<unknown> =>
    Promise.resolve(
      new Encoder(bytes.length + topic!.topic.length + PRODUCE_FRAMING_BYTES)
        .writeString(null).writeInt16(request.acks).writeInt32(request.timeout)
        .writeInt32(1).writeString(topic!.topic).writeInt32(1).writeInt32(lane!.partition)
        .writeInt32(bytes.length).writeBuffer(bytes),
    );
  return { ...made, request: { ...made.request, encode } };
};

/** What stands around one batch in a request to write, at most, beside the topic's name. */
const PRODUCE_FRAMING_BYTES = 64;

/** What the brokers say of the topics that were asked for. */
interface Metadata {
  readonly topicMetadata: readonly {
    readonly topic: string;
    readonly topicErrorCode: number;
    readonly partitionMetadata: readonly PartitionMetadata[];
  }[];
}

/** A leader below 0: none. */
interface PartitionMetadata {
  readonly partitionId: number;
  readonly leader: number;
}

/** A topic and some of its partitions, as kafkajs asks for their offsets. */
interface TopicToAsk {
  readonly topic: string;
  readonly partitions: readonly { readonly partition: number }[];
}

/** The part of kafkajs's cluster that is touched. */
interface PatchedCluster {
  findTopicPartitionMetadata(topic: string): readonly PartitionMetadata[];
  findLeaderForPartitions(
    topic: string,
    partitions: readonly (number | string)[],
  ): Record<string, number[]>;
  refreshMetadata(): Promise<void>;
}

/** The part of kafkajs's consumer group that is touched. */
interface PatchedConsumerGroup {
  cluster: PatchedCluster;
}

/** With a partition without a leader, what is known of the brokers is old after this long, ms. */
const LEADERLESS_METADATA_MS = 1_000;

/** Pause of a broker's fetcher after it could not be reached, ms. */
const UNREACHED_PAUSE_MS = 500;

/**
 * The original throws the whole answer away when one partition has no leader, and asks again until
 * it has: nothing of the topic is read or written meanwhile. An error of the topic still counts.
 */
MetadataResponse.parse = (metadata: Metadata): Promise<Metadata> => {
  const refused = metadata.topicMetadata.find(({ topicErrorCode }) => topicErrorCode !== 0);
  return refused === undefined
    ? Promise.resolve(metadata)
    : Promise.reject(createErrorFromCode(refused.topicErrorCode));
};

/** Whoever waits for a leader looks often, and not when the metadata has grown old on its own. */
const originalRefreshMetadata = BrokerPool.prototype.refreshMetadata;
BrokerPool.prototype.refreshMetadata = async function (
  this: PatchedBrokerPool,
  topics: readonly string[],
): Promise<void> {
  await originalRefreshMetadata.call(this, topics);
  const partitions = this.metadata?.topicMetadata.flatMap((topic) => topic.partitionMetadata) ?? [];
  if (partitions.every(({ leader }) => leader >= 0)) return;
  const soonMs = Date.now() + LEADERLESS_METADATA_MS;
  this.metadataExpireAt = Math.min(this.metadataExpireAt ?? soonMs, soonMs);
};

/** The original takes "no leader" for a broker with the number -1, and looks for it in vain. */
const originalFindLeaders = Cluster.prototype.findLeaderForPartitions;
Cluster.prototype.findLeaderForPartitions = function (
  this: PatchedCluster,
  topic: string,
  partitions: readonly (number | string)[],
): Record<string, number[]> {
  const { ["-1"]: _, ...led } = originalFindLeaders.call(this, topic, partitions);
  return led;
};

/**
 * The original fails for all partitions when the leader of one cannot be reached. Only what has to
 * be known before a first fetch is asked here: a partition that is left out is asked for again before
 * the next fetch.
 */
const originalFetchTopicsOffset = Cluster.prototype.fetchTopicsOffset;
Cluster.prototype.fetchTopicsOffset = async function (
  this: PatchedCluster,
  topics: readonly TopicToAsk[],
): Promise<readonly { topic: string; partitions: unknown[] }[]> {
  return await Promise.all(topics.map(async (asked) => {
    const found: unknown[] = [];
    const numbers = asked.partitions.map(({ partition }) => partition);
    const leaders = Object.values(this.findLeaderForPartitions(asked.topic, numbers));
    await Promise.all(leaders.map(async (led) => {
      const partitions = led.map((partition) => ({ partition }));
      try {
        const answers = await originalFetchTopicsOffset.call(this, [{ ...asked, partitions }]);
        for (const answer of answers) found.push(...answer.partitions);
      } catch (error) {
        if (!isUnreached(error)) throw error;
      }
    }));
    return { topic: asked.topic, partitions: found };
  }));
};

/**
 * The original lets the failure of one broker's fetcher end those of all others, and drops what they
 * have just fetched. While a broker is away that happens again and again, and nothing is read.
 */
const originalRecoverFromFetch = ConsumerGroup.prototype.recoverFromFetch;
ConsumerGroup.prototype.recoverFromFetch = async function (
  this: PatchedConsumerGroup,
  error: Error,
): Promise<void> {
  if (!isUnreached(error) || error.name === "KafkaJSConnectionClosedError") {
    return await originalRecoverFromFetch.call(this, error);
  }
  // With no broker left to ask, this throws, and everything ends and begins again as it should.
  await this.cluster.refreshMetadata();
  await new Promise((resolve) => setTimeout(resolve, UNREACHED_PAUSE_MS));
};

/** Whether one broker is meant, and nothing that it has said. */
function isUnreached(error: unknown): boolean {
  const { name } = error as { readonly name?: string };
  return name === "KafkaJSConnectionError" || name === "KafkaJSConnectionClosedError" ||
    name === "KafkaJSRequestTimeoutError" || name === "KafkaJSBrokerNotFound";
}
