/**
 * Cuts a fetch into batches that leave no offset between them.
 *
 * @module
 */
import type { RowDataError } from "../errors.ts";
import type { FetchedBatch } from "../kafka/group_member.ts";
import type { Batch } from "./batch.ts";
import type { BatchSize } from "./batch_size.ts";
import type { Place } from "./place.ts";

/** The batches of one fetch, one after the other. */
export class Cutter {
  readonly #size: BatchSize;
  /** Batches that come before what is not cut yet, the next one last. */
  readonly #ahead: Batch[] = [];
  /** What is not cut yet. */
  #rest: Batch | undefined;

  /**
   * Nothing is cut yet.
   *
   * @param fetched what to cut; without a message it is one batch all the same
   * @param place where the partition stands; the fetch begins there
   * @param size asked before each cut, because it changes on the way
   */
  constructor(fetched: FetchedBatch, place: Place, size: BatchSize) {
    this.#size = size;
    this.#rest = {
      ...place.scope,
      partition: fetched.partition,
      fromOffset: fetched.fetchedOffset,
      nextOffset: fetched.nextOffset,
      fromEpoch: place.leaderEpoch,
      nextEpoch: fetched.lastEpoch,
      messages: fetched.messages,
    };
  }

  /** The next batch; undefined: there is none left. */
  next(): Batch | undefined {
    const ahead = this.#ahead.pop();
    if (ahead !== undefined || this.#rest === undefined) return ahead;
    const [batch, rest] = cut(this.#rest, this.#size.messages);
    this.#rest = rest;
    return batch;
  }

  /**
   * PostgreSQL refused the data of some row of the batch: its halves come next, each a batch of its
   * own, so what is good is stored on the way. A lone message comes again with its refusal.
   */
  halve(batch: Batch, refusal: RowDataError): void {
    const [left, right] = cut(batch, Math.floor(batch.messages.length / 2));
    if (right === undefined || left.messages.length === 0) this.#ahead.push({ ...batch, refusal });
    else this.#ahead.push(right, left);
  }
}

/** The first messages of a batch, and what remains of it. */
function cut(batch: Batch, count: number): [Batch, Batch | undefined] {
  const { messages } = batch;
  if (count >= messages.length) return [batch, undefined];
  // In between can be records without a message. Their epoch is not above that of what follows.
  const offset = messages.offsets[count]!;
  const epoch = messages.leaderEpochs[count]!;
  return [
    { ...batch, nextOffset: offset, nextEpoch: epoch, messages: messages.slice(0, count) },
    { ...batch, fromOffset: offset, fromEpoch: epoch, messages: messages.slice(count) },
  ];
}
