/**
 * Which batches of a fetch belong to transactions that were aborted. The brokers send them along, and
 * with them a list of those transactions; it is for the reader to leave them out.
 *
 * @module
 */

/** A transaction whose messages nobody is to see. */
export interface AbortedTransaction {
  /** Whose it is. */
  readonly producerId: bigint;
  /** Where its first message lies, be it before the beginning of the fetch. */
  readonly firstOffset: number;
}

/** What is asked of a batch. */
export interface BatchInTransaction {
  /** Its end. */
  readonly lastOffset: number;
  /** Who wrote it; -1: nobody in particular. */
  readonly producerId: bigint;
  /** Whether it belongs to a transaction. */
  readonly isTransactional: boolean;
  /** Whether it holds a marker and no messages. */
  readonly isControl: boolean;
}

/**
 * The aborted transactions of one fetch of one partition. Several producers' transactions can be open
 * at the same place; one producer has one at a time, so its id names it. It begins at the offset that
 * the broker lists, or before the fetch, and ends with its own abort marker: a control batch, for a
 * message can have any key. A commit marker ends another transaction than these.
 */
export class AbortedTransactions {
  /** Those that the batches have not come to, the first one last. */
  readonly #ahead: AbortedTransaction[];
  /** Producers whose transaction is open here. */
  readonly #open = new Set<bigint>();

  /**
   * Begins at the beginning of the fetch.
   *
   * @param listed in any order: brokers list them by their ends
   */
  constructor(listed: readonly AbortedTransaction[]) {
    this.#ahead = listed.toSorted((a, b) => b.firstOffset - a.firstOffset);
  }

  /** Whether the messages of a batch are aborted. Batches come by their offsets. */
  leavesOut({ lastOffset, producerId, isTransactional, isControl }: BatchInTransaction): boolean {
    for (let next = this.#ahead.at(-1); next !== undefined; next = this.#ahead.at(-1)) {
      if (next.firstOffset > lastOffset) break;
      this.#ahead.pop();
      this.#open.add(next.producerId);
    }
    return isTransactional && !isControl && this.#open.has(producerId);
  }

  /** The abort marker of a producer's transaction was met. */
  end(producerId: bigint): void {
    this.#open.delete(producerId);
  }
}
