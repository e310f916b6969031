/**
 * The worker of `topic_reader.ts`: kafkajs as it comes. It imports nothing of ours, above all not
 * the corrections of kafkajs, which change how messages are decoded.
 *
 * @module
 */
import { CompressionCodecs, CompressionTypes, Kafka, logLevel } from "kafkajs";
import type { Buffer } from "node:buffer";
import process from "node:process";
import { zstdDecompressSync } from "node:zlib";
import type { TopicMessage } from "./topic_reader.ts";

/** What is sent to the worker, once. */
export interface ReaderQuestion {
  /** `host:port` of one broker or more. */
  readonly brokers: readonly string[];
  /** Name of the topic. */
  readonly topic: string;
  /** Where to begin, by partition. */
  readonly from: ReadonlyMap<number, number>;
}

/** What the worker sends, until it is ended. */
export type ReaderAnswer =
  | { readonly kind: "messages"; readonly messages: readonly TopicMessage[] }
  | { readonly kind: "failed"; readonly text: string };

/** The part of a worker's scope that is used here. */
interface WorkerScope {
  onmessage: (event: MessageEvent<ReaderQuestion>) => void;
  postMessage(answer: ReaderAnswer): void;
}

// The codec that the producer uses unless it is told otherwise. kafkajs knows gzip alone.
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: () => Promise.reject(new Error("Cannot compress: this only reads")),
  decompress: (buffer: Buffer) => Promise.resolve(zstdDecompressSync(buffer)),
});

const scope = self as unknown as WorkerScope;

scope.onmessage = ({ data }) => {
  read(data).catch((error) => scope.postMessage({ kind: "failed", text: String(error) }));
};

async function read({ brokers, topic, from }: ReaderQuestion): Promise<void> {
  // A timer of kafkajs warns of a negative wait again and again.
  process.emitWarning = () => {};
  const kafka = new Kafka({ brokers: [...brokers], clientId: "r", logLevel: logLevel.NOTHING });
  const consumer = kafka.consumer({ groupId: crypto.randomUUID(), maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatch: ({ batch: { partition, messages } }) => {
      const first = from.get(partition) ?? 0;
      const read = messages
        .map(({ offset, key, value }) => ({ partition, offset: Number(offset), key, value }))
        .filter(({ offset }) => offset >= first);
      scope.postMessage({ kind: "messages", messages: read });
      return Promise.resolve();
    },
  });
  for (const [partition, offset] of from) {
    consumer.seek({ topic, partition, offset: String(offset) });
  }
}
