/**
 * A writer to a topic in memory.
 *
 * @module
 */
import { TransientError } from "../lib/errors.ts";
import type { MessageToSend } from "../lib/kafka/message.ts";
import type { TopicWriter } from "../lib/kafka/topic_writer.ts";
import type { MemoryTopic } from "./kafka_topic.ts";

/** A {@linkcode TopicWriter} that fails when its topic is told to. */
export class MemoryWriter implements TopicWriter {
  readonly partitions: number;
  readonly #topic: MemoryTopic;
  readonly #busy = new Set<number>();

  /** Made by `MemoryKafka.writer`. */
  constructor(topic: MemoryTopic) {
    this.#topic = topic;
    this.partitions = topic.partitionNumbers().length;
  }

  async send(partition: number, messages: readonly MessageToSend[]): Promise<void> {
    if (this.#busy.has(partition)) {
      throw new Error(`Cannot send to partition ${partition}: a send is under way`);
    }
    this.#busy.add(partition);
    try {
      await Promise.resolve();
      this.#topic.check("send");
      if (!this.#topic.hasLeader(partition)) {
        throw new TransientError("Cannot send: no broker leads the partition");
      }
      this.#topic.append(partition, messages);
    } finally {
      this.#busy.delete(partition);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
