/**
 * Transactions of the Kafka in memory, as a partition's leader knows of them.
 *
 * @module
 */
import { type AbortedTransaction, AbortedTransactions } from "../lib/kafka/aborted_transactions.ts";
import type { Message } from "../lib/kafka/message.ts";

/** How a transaction ends. */
export type Outcome = "commit" | "abort";

/** A record of the log. */
export type MemoryRecord =
  /** A message, and whose transaction it belongs to. */
  | Message & { readonly producerId?: bigint }
  /** Takes an offset and carries no message: the end of a producer's transaction, or of nobody's. */
  | {
    readonly offset: number;
    readonly leaderEpoch: number;
    readonly control: true;
    readonly ends?: TransactionEnd;
  };

/** What a marker says. */
export interface TransactionEnd {
  /** Whose transaction ends. */
  readonly producerId: bigint;
  /** How. */
  readonly outcome: Outcome;
}

/** What the leader of a partition knows of transactions. It can always be read off the log. */
export class LogTransactions {
  /** Where the open transaction of a producer began. */
  readonly #open = new Map<bigint, number>();
  readonly #aborted: (AbortedTransaction & { readonly lastOffset: number })[] = [];

  /**
   * Reads a log.
   *
   * @param records what is in it already
   */
  constructor(records: readonly MemoryRecord[]) {
    for (const record of records) this.note(record);
  }

  /** Producers whose transactions are open, and where they began. */
  get open(): ReadonlyMap<bigint, number> {
    return this.#open;
  }

  /** A record was appended. */
  note(record: MemoryRecord): void {
    if ("value" in record) {
      const { producerId, offset } = record;
      if (producerId !== undefined && !this.#open.has(producerId)) {
        this.#open.set(producerId, offset);
      }
      return;
    }
    if (record.ends === undefined) return;
    const { producerId, outcome } = record.ends;
    const firstOffset = this.#open.get(producerId);
    this.#open.delete(producerId);
    if (outcome === "abort" && firstOffset !== undefined) {
      this.#aborted.push({ producerId, firstOffset, lastOffset: record.offset });
    }
  }

  /** Aborted transactions that touch a range of offsets, by their ends, as brokers list them. */
  abortedWithin(firstOffset: number, lastOffset: number): AbortedTransaction[] {
    return this.#aborted.filter((one) =>
      one.lastOffset >= firstOffset && one.firstOffset <= lastOffset
    );
  }

  /**
   * The messages among consecutive records of this log that are no part of an aborted transaction: the
   * leader lists those, and the reader's part is that of readers of real brokers.
   */
  messagesOf(records: readonly MemoryRecord[]): readonly Message[] {
    const [first, last] = [records[0]?.offset ?? 0, records.at(-1)?.offset ?? 0];
    const aborted = new AbortedTransactions(this.abortedWithin(first, last));
    return records.filter((record): record is Message => {
      const isControl = "control" in record;
      const producerId = (isControl ? record.ends?.producerId : record.producerId) ?? -1n;
      const batch = { lastOffset: record.offset, producerId, isControl };
      const isLeftOut = aborted.leavesOut({ ...batch, isTransactional: producerId >= 0n });
      if (isControl && record.ends?.outcome === "abort") aborted.end(producerId);
      return !isControl && !isLeftOut;
    });
  }
}
