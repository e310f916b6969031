/**
 * A {@linkcode TopicWriter} on real brokers, and the making of the topic. The options that decide
 * whether an acknowledged message can be lost stand here, each with its reason.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Admin, Message as KafkajsMessage, Producer } from "kafkajs";
import { systemClock } from "../clock.ts";
import { TransientError } from "../errors.ts";
import { withTimeLimit } from "../time_limit.ts";
import type { Compression } from "./compression.ts";
import { classifyKafkaError, type KafkaClient, KAFKAJS_RETRY } from "./connection.ts";
import { EncodedBatch } from "./kafkajs_patches.ts";
import type { MessageToSend } from "./message.ts";
import { encodeRecordBatch } from "./record_batch.ts";
import type { TopicWriter } from "./topic_writer.ts";

/**
 * How long the leader waits for the other replicas, ms. Shorter than the 10 s after which the
 * connection takes the leader for dead, so that a slow replica is not mistaken for that.
 */
const REPLICAS_MS = 8_000;

/**
 * Tries inside kafkajs before a send fails: about seven seconds. The caller sends the same
 * messages again for as long as it takes, and until then nobody is told what is wrong.
 */
const SEND_RETRY = { ...KAFKAJS_RETRY, retries: 10 };

/** Few tries: whoever asks has a loop of its own, and wants to say what it waits for. */
const QUESTION_RETRY = { ...KAFKAJS_RETRY, retries: 1 };

/** How long closing the connections may take, ms. */
const CLOSE_MS = 500;

/** How a writer sends. */
export interface TopicWriterOptions {
  /**
   * How each batch is compressed. The brokers keep it that way.
   *
   * @default "none"
   */
  readonly compression?: Compression;
}

/** A writer whose connections are open. */
export type OpenTopicWriter = TopicWriter & AsyncDisposable;

/**
 * Connects a writer to `topic` and asks for the number of its partitions.
 *
 * @throws {TransientError} If no broker answers now.
 * @throws {ConfigurationError} If the topic does not exist or the brokers refuse this user.
 */
export async function openTopicWriter(
  kafka: KafkaClient,
  topic: string,
  { compression = "none" }: TopicWriterOptions = {},
): Promise<OpenTopicWriter> {
  const partitions = await countPartitions(kafka, topic);
  const producer = kafka.producer({
    // kafkajs gives the sequence numbers of a failed send to the next one; the broker then takes
    // new messages for known ones and acknowledges without writing them. Sending the same batch
    // again is safe either way, and repeats are removed by id, so idempotence would gain nothing
    // that is needed. It also lets only one send at a time go to a broker (a third slower).
    idempotent: false,
    // Every message names its partition. Left to kafkajs, a retry could choose another one.
    createPartitioner: () => ({ message }) => message.partition!,
    allowAutoTopicCreation: false,
    // A moved leader is noticed by its answer; this is for partitions that are added.
    metadataMaxAge: 30_000,
    retry: SEND_RETRY,
  });
  const writer = new KafkajsTopicWriter(producer, { topic, partitions, compression });
  try {
    await producer.connect();
  } catch (error) {
    await writer.close();
    throw classifyKafkaError(`write to topic ${topic}`, error);
  }
  return writer;
}

class KafkajsTopicWriter implements OpenTopicWriter {
  readonly partitions: number;
  readonly #producer: Producer;
  readonly #topic: string;
  readonly #compression: Compression;
  readonly #underway = new Set<number>();

  constructor(
    producer: Producer,
    { topic, partitions, compression }: Required<TopicWriterOptions> & {
      readonly topic: string;
      readonly partitions: number;
    },
  ) {
    this.#producer = producer;
    this.#topic = topic;
    this.#compression = compression;
    this.partitions = partitions;
  }

  async send(partition: number, messages: readonly MessageToSend[]): Promise<void> {
    // Two at once could arrive in either order, and a retry of the first would come after the
    // second.
    if (this.#underway.has(partition)) {
      throw new Error(`Cannot send to partition ${partition}: a send is under way`);
    }
    this.#underway.add(partition);
    try {
      const batch = await encodeRecordBatch(messages, {
        timestampMs: Date.now(),
        compression: this.#compression,
      });
      const answers = await this.#producer.send({
        topic: this.#topic,
        // Acknowledged means: every in-sync replica has it.
        acks: -1,
        timeout: REPLICAS_MS,
        // One partition a send. After a change of leader, kafkajs's retry of a send to several can
        // leave one out and still report success.
        messages: [messageOf(partition, batch)],
      });
      // A partition that kafkajs does not know is left out, and the send succeeds without it.
      if (!answers.some((answer) => answer.partition === partition)) {
        // Named by whoever asked: several that say the same are told as one.
        throw new TransientError("Cannot send: no broker leads the partition");
      }
    } catch (error) {
      throw classifyKafkaError(`send to topic ${this.#topic}`, error);
    } finally {
      this.#underway.delete(partition);
    }
  }

  /** Closes the connections, or gives up on brokers that do not answer. */
  async close(): Promise<void> {
    const limit = { clock: systemClock, limitMs: CLOSE_MS };
    // What was acknowledged is safe, and nothing else is of interest any more.
    await withTimeLimit(() => this.#producer.disconnect(), limit).catch(() => {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** To kafkajs the whole batch is one message, so that it touches none of those in it. */
function messageOf(partition: number, batch: Buffer): KafkajsMessage {
  return { partition, value: new EncodedBatch(batch) as unknown as Buffer };
}

/** How long the brokers may take to agree on a new topic, and how often they are asked, ms. */
const AGREED_MS_MAX = 10_000;
const AGREED_POLL_MS = 100;

/** Waits until every partition of a topic that was just made has a leader. */
async function untilLed(admin: Admin, topic: string): Promise<void> {
  const deadlineMs = systemClock.elapsedMs() + AGREED_MS_MAX;
  for (;;) {
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      if (topics[0]!.partitions.every(({ leader }) => leader >= 0)) return;
    } catch (error) {
      // A broker that has not heard of it says that it does not exist.
      if (systemClock.elapsedMs() > deadlineMs) throw error;
    }
    if (systemClock.elapsedMs() > deadlineMs) {
      throw new TransientError(`Cannot write to topic ${topic}: a partition has no leader`);
    }
    await systemClock.sleep(AGREED_POLL_MS);
  }
}

async function countPartitions(kafka: KafkaClient, topic: string): Promise<number> {
  const admin = kafka.admin({ retry: QUESTION_RETRY });
  try {
    await admin.connect();
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0]!.partitions.length;
  } catch (error) {
    throw classifyKafkaError(`write to topic ${topic}`, error);
  } finally {
    await admin.disconnect().catch(() => {});
  }
}

/** Longest message that a topic made here takes, in bytes: 1 MiB. */
const TOPIC_MESSAGE_BYTES_MAX = 1_048_576;

/** A topic that exists. */
export interface EnsuredTopic {
  /** Whether it was made now or found. */
  readonly outcome: "created" | "found";
  /** How many partitions it has, which need not be how many were asked for. */
  readonly partitions: number;
}

/**
 * Makes `topic` if it does not exist. One that exists is left as it is, whatever its settings.
 *
 * @throws {TransientError} If no broker answers now.
 * @throws {ConfigurationError} If the brokers refuse to make it.
 */
export async function ensureTopic(
  kafka: KafkaClient,
  topic: string,
  partitions: number,
): Promise<EnsuredTopic> {
  const admin = kafka.admin({ retry: QUESTION_RETRY });
  try {
    await admin.connect();
    const { brokers } = await admin.describeCluster();
    const replicationFactor = Math.min(3, brokers.length);
    const created = await admin.createTopics({
      // It would fail on the first broker that has not heard of the topic yet.
      waitForLeaders: false,
      topics: [{
        topic,
        numPartitions: partitions,
        replicationFactor,
        configEntries: [
          { name: "max.message.bytes", value: String(TOPIC_MESSAGE_BYTES_MAX) },
          // The broker's time: a producer's clock can be wrong, and Kafka refuses some that are.
          { name: "message.timestamp.type", value: "LogAppendTime" },
          // An acknowledgement of one replica alone could die with it.
          { name: "min.insync.replicas", value: String(Math.min(2, replicationFactor)) },
        ],
      }],
    });
    if (created) {
      await untilLed(admin, topic);
      return { outcome: "created", partitions };
    }
  } catch (error) {
    throw classifyKafkaError(`create topic ${topic}`, error);
  } finally {
    await admin.disconnect().catch(() => {});
  }
  return { outcome: "found", partitions: await countPartitions(kafka, topic) };
}
