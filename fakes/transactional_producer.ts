/**
 * A producer of the Kafka in memory that has transactions.
 *
 * @module
 */
import type { MemoryPartition, MemoryTopic, RecordToAppend } from "./kafka_topic.ts";
import type { Outcome } from "./kafka_transactions.ts";

/** A producer with a transactional id, whose transactions come one after the other. */
export class MemoryTransactionalProducer {
  /** Names it in the log. */
  readonly producerId: bigint;
  readonly #topic: MemoryTopic;
  /** What the transaction has written to. */
  readonly #touched = new Map<number, MemoryPartition>();

  /** Made by `MemoryKafka.transactionalProducer`. */
  constructor(topic: MemoryTopic, producerId: bigint) {
    this.#topic = topic;
    this.producerId = producerId;
  }

  /** Whether its transaction has written to a partition and not ended. */
  isIn(partition: number): boolean {
    return this.#touched.get(partition) === this.#topic.partition(partition);
  }

  /** Appends messages in its transaction, and returns their offsets. */
  append(partition: number, messages: readonly RecordToAppend[]): number[] {
    const offsets = this.#topic.append(partition, messages, this.producerId);
    this.#touched.set(partition, this.#topic.partition(partition));
    return offsets;
  }

  /** Ends the transaction in all partitions that it has written to and that are still there. */
  end(outcome: Outcome): void {
    const partitions = [...this.#touched.keys()].filter((partition) => this.isIn(partition));
    this.#touched.clear();
    for (const partition of partitions) {
      this.#topic.endTransaction(partition, { producerId: this.producerId, outcome });
    }
  }
}
