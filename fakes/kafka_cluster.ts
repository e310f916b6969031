/**
 * Kafka in memory: one topic, its partitions and its consumer groups, with the same laws as the
 * brokers as far as `tests/contracts/` states them. It serves tests, simulations and the demo.
 *
 * A rebalance is harsher than a real one: a new owner starts at once, while the member that loses
 * the partition may still be at work on it. What holds here holds with real brokers.
 *
 * @module
 */
import type { TopicWriter } from "../lib/kafka/topic_writer.ts";
import { MemoryMember, type MemoryMemberOptions } from "./group_member.ts";
import { MemoryGroups } from "./kafka_groups.ts";
import { MemoryTopic, type MemoryTopicOptions } from "./kafka_topic.ts";
import { MemoryWriter } from "./topic_writer.ts";
import { MemoryTransactionalProducer } from "./transactional_producer.ts";

/** A cluster with one topic. */
export class MemoryKafka extends MemoryTopic {
  /** Who reads the topic. */
  readonly groups: MemoryGroups;
  readonly #producers: MemoryTransactionalProducer[] = [];

  /** An empty topic that nobody reads. */
  constructor(options: MemoryTopicOptions) {
    super(options);
    this.groups = new MemoryGroups(this.partitionNumbers());
  }

  /** A producer with a transactional id of its own. */
  transactionalProducer(): MemoryTransactionalProducer {
    const producer = new MemoryTransactionalProducer(this, BigInt(this.#producers.length));
    this.#producers.push(producer);
    return producer;
  }

  /**
   * Aborts transactions in a partition that their producers have ended: the log lost their markers.
   * The brokers leave that to an operator.
   */
  abortHanging(number: number): void {
    for (const producerId of [...this.partition(number).transactions.open.keys()]) {
      const isAlive = this.#producers.some((one) =>
        one.producerId === producerId && one.isIn(number)
      );
      if (!isAlive) this.endTransaction(number, { producerId, outcome: "abort" });
    }
  }

  /**
   * Deletes the topic and makes it again, empty. Members can notice, or go on as if nothing was;
   * the groups' offsets go with the topic, or somebody was late and committed them again.
   */
  recreateTopic(
    notice: "members rejoin" | "nobody notices" = "members rejoin",
    commits: "gone" | "kept" = "gone",
  ): void {
    this.makeAgain();
    if (commits === "gone") this.groups.committed.clear();
    if (notice === "members rejoin") this.groups.rebalanceAll();
  }

  /** Called by members: keeps their offsets. */
  commit(groupId: string, nextOffsets: ReadonlyMap<number, number>): void {
    this.groups.commit(groupId, nextOffsets);
  }

  /** A writer to the topic. */
  writer(): TopicWriter {
    return new MemoryWriter(this);
  }

  /** A member of a group, not joined yet. */
  member(groupId: string, options: MemoryMemberOptions = {}): MemoryMember {
    return new MemoryMember(this, groupId, options);
  }
}
