/**
 * Says which partitions of ours cannot be read because no broker leads them. Nothing else is done
 * about it: their messages wait in Kafka, and the others flow.
 *
 * @module
 */
import { offlineOf, type PartitionRange } from "../kafka/message.ts";
import type { Log } from "../log.ts";

/** Tells of each once, and of its end. */
export class OfflinePartitions {
  readonly #log: Log;
  readonly #told = new Set<number>();

  /** All can be read. */
  constructor(log: Log) {
    this.#log = log;
  }

  /** Compares what the brokers say of some of our partitions with what was told. */
  note(ranges: ReadonlyMap<number, PartitionRange>): void {
    const offline = offlineOf(ranges);
    const lost = [...offline.keys()].filter((partition) => !this.#told.has(partition));
    const back = [...ranges.keys()]
      .filter((partition) => !offline.has(partition) && this.#told.has(partition));
    for (const partition of lost) this.#told.add(partition);
    for (const partition of back) this.#told.delete(partition);
    if (lost.length > 0) {
      this.#log.warn(
        "partitions cannot be read: their messages wait in Kafka, and the others continue. " +
          "Start the brokers that host them",
        { partitions: lost.join(","), reason: offline.get(lost[0]!) },
      );
    }
    if (back.length > 0) {
      this.#log.info("partitions can be read again", { partitions: back.join(",") });
    }
  }

  /** The partitions of a new assignment: the others are somebody else's to tell of. */
  assign(partitions: readonly number[]): void {
    for (const partition of [...this.#told]) {
      if (!partitions.includes(partition)) this.#told.delete(partition);
    }
  }
}
