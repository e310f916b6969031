/**
 * Reads a topic as any other program would, for judges of what this one made of it.
 *
 * It runs in a worker: in our own process kafkajs decodes with `lib/kafka/fetch_answer.ts`, and a
 * judge shares no code with what it judges.
 *
 * @module
 */
import type { ReaderAnswer, ReaderQuestion } from "./topic_reader_worker.ts";

/** A message as it stands in the topic. */
export interface TopicMessage {
  /** Where it stands. */
  readonly partition: number;
  /** Where it stands. */
  readonly offset: number;
  /** Null: none. */
  readonly key: Uint8Array | null;
  /** Null: a tombstone. */
  readonly value: Uint8Array | null;
}

/** What to read. */
export interface TopicSpan {
  /** `host:port` of one broker or more. */
  readonly brokers: readonly string[];
  /** Name of the topic. */
  readonly topic: string;
  /** Where to begin, by partition; absent: at the beginning. */
  readonly from?: ReadonlyMap<number, number>;
  /** Longest time that it may take, ms. */
  readonly limitMs: number;
}

/**
 * Reads messages until somebody has enough of them.
 *
 * @param take gets each message, in order within its partition; true: that was the last one
 * @throws {Error} if it takes too long, or the brokers refuse.
 */
export async function readTopic(
  span: TopicSpan,
  take: (message: TopicMessage) => boolean,
): Promise<void> {
  const worker = new Worker(import.meta.resolve("./topic_reader_worker.ts"), { type: "module" });
  const enough = Promise.withResolvers<void>();
  let count = 0;
  worker.onmessage = ({ data }: MessageEvent<ReaderAnswer>) => {
    if (data.kind === "failed") return enough.reject(new Error(data.text));
    for (const message of data.messages) {
      count++;
      if (take(message)) return enough.resolve();
    }
  };
  worker.onerror = (event) => {
    event.preventDefault();
    enough.reject(new Error(event.message));
  };
  const timer = setTimeout(
    () => enough.reject(new Error(`Cannot read ${span.topic} in time: ${count} messages seen`)),
    span.limitMs,
  );
  try {
    const { brokers, topic, from = new Map() } = span;
    worker.postMessage({ brokers, topic, from } satisfies ReaderQuestion);
    await enough.promise;
  } finally {
    clearTimeout(timer);
    worker.terminate();
  }
}
