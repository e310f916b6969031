/**
 * The port through which the producer writes: one topic, one partition per send.
 *
 * Two implementations: `kafkajs_topic_writer.ts` translates kafkajs, `fakes/topic_writer.ts` writes to a
 * cluster in memory.
 * `tests/contracts/topic_writer.ts` states the laws and runs on both.
 *
 * @module
 */
import type { MessageToSend } from "./message.ts";

/** Writes messages to one topic. */
export interface TopicWriter {
  /** The number of partitions, asked once when the writer was opened. */
  readonly partitions: number;
  /**
   * Writes `messages` to `partition` in order and resolves when every in-sync replica has them.
   * At most one send per partition may be under way; a second one throws at once.
   *
   * @throws {TransientError} if the outcome is unknown or a retry can succeed: send the SAME
   * messages again, in the same order.
   * @throws {ConfigurationError} if no retry can help: no such topic, no right to write.
   */
  send(partition: number, messages: readonly MessageToSend[]): Promise<void>;
  /** Closes the connections. */
  close(): Promise<void>;
}
