/**
 * Where a run ends that ends on its own: the end of each partition's log when it was first seen.
 *
 * @module
 */
import { isOffline, type PartitionRange } from "../kafka/message.ts";

/** The ends. Those of partitions without a leader are seen when they have one. */
export class EndOffsets {
  readonly #ends = new Map<number, number | undefined>();

  /** The partitions that were there at the first look. */
  get size(): number {
    return this.#ends.size;
  }

  /** Partitions whose end is not known yet, ascending. */
  get unseen(): readonly number[] {
    const unseen = [...this.#ends].filter(([, end]) => end === undefined);
    return unseen.map(([partition]) => partition).sort((a, b) => a - b);
  }

  /** Takes what the brokers say. Messages and partitions that came after the first look do not count. */
  see(ranges: ReadonlyMap<number, PartitionRange>): void {
    const isFirst = this.#ends.size === 0;
    for (const [partition, range] of ranges) {
      const isUnseen = this.#ends.has(partition) && this.#ends.get(partition) === undefined;
      if (isFirst || isUnseen) this.#ends.set(partition, isOffline(range) ? undefined : range.high);
    }
  }

  /** Whether everything is stored that has to be, if all below `nextOffset` is. */
  isReached(partition: number, nextOffset: number): boolean {
    return !this.#ends.has(partition) || nextOffset >= (this.#ends.get(partition) ?? Infinity);
  }

  /** Whether all partitions are stored, by their next offsets. */
  areReached(nextOffsets: ReadonlyMap<number, number>): boolean {
    return [...this.#ends.keys()]
      .every((partition) => this.isReached(partition, nextOffsets.get(partition) ?? -1));
  }
}
