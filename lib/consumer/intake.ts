/**
 * What happens to a fetch: it is taken over while the one before is stored, cut into batches, and
 * each batch is processed and moves its partition on, or the partition is placed again.
 *
 * @module
 */
import type { FetchedBatch } from "../kafka/group_member.ts";
import type { LedgerLine, Store } from "../postgres/store.ts";
import { TooMuchError } from "../errors.ts";
import { BatchSize } from "./batch_size.ts";
import type { FlowObserver } from "./observer.ts";
import { type Batch, skippedIn } from "./batch.ts";
import { Cutter } from "./cutter.ts";
import type { Place } from "./place.ts";
import type { Placer, SharedParts } from "./placer.ts";
import {
  type BatchOutcome,
  processBatch,
  type ProcessorParts,
  type StoredBatch,
} from "./processor.ts";
import { CopyChoice } from "./copy_choice.ts";
import { ReadingColumns } from "../reading/reading_columns.ts";
import { Slots } from "./slots.ts";

/** What the intake works with. */
export interface IntakeParts
  extends SharedParts, Omit<ProcessorParts, "store" | "columns" | "copyChoice"> {
  /** Is notified of each batch. */
  readonly observer: FlowObserver;
  /** Knows where partitions are read from, and is told when one is in doubt. */
  readonly placer: Placer;
  /** Most messages in one transaction. */
  readonly batchMessagesMax: number;
  /** Most transactions at the same time, each of another partition. */
  readonly batchesConcurrent: number;
  /** Is called after each batch that moved its partition on. */
  readonly onAdvance: () => void;
}

/** Messages and offsets by what became of them. */
export type FlowCounts = Pick<
  LedgerLine,
  "inserted" | "duplicates" | "deadLetters" | "skipped"
>;

/** How often a handler that waits for the batch before it shows that it lives, ms. */
const HEARTBEAT_MS = 1_000;

/** Takes fetches and stores what is in them. */
export class Intake {
  readonly #parts: IntakeParts;
  /** Columns are what a batch needs most memory for, so each slot has its own, used again and again. */
  readonly #slots: Slots<ReadingColumns>;
  readonly #running = new Set<Promise<void>>();
  /** By partition: one can hold what is hard to store while the others do not. */
  readonly #sizes = new Map<number, BatchSize>();
  /** By partition: so can repeats. */
  readonly #copyChoices = new Map<number, CopyChoice>();
  readonly #totals = { inserted: 0, duplicates: 0, deadLetters: 0, skipped: 0 };

  /** Nothing is under way. */
  constructor(parts: IntakeParts) {
    this.#parts = parts;
    const { batchesConcurrent, batchMessagesMax } = parts;
    this.#slots = new Slots(batchesConcurrent, () => new ReadingColumns(batchMessagesMax));
  }

  /** What became of everything so far. */
  get totals(): FlowCounts {
    return this.#totals;
  }

  /** Resolves when nothing of what is under way now is under way any more. */
  async drained(): Promise<void> {
    await Promise.all(this.#running);
  }

  /**
   * Takes a fetch over.
   *
   * @throws {Error} if the group rebalances; the member must hear of it.
   */
  take(fetched: FetchedBatch): Promise<void> {
    return this.#track(this.#take(fetched));
  }

  /** Stopping waits for this work. */
  #track(work: Promise<void>): Promise<void> {
    const settled = work.catch(() => {});
    this.#running.add(settled);
    settled.finally(() => this.#running.delete(settled));
    return work;
  }

  /**
   * Returns before the fetch is stored, so that the next one is under way meanwhile. Of each partition
   * one batch is worked on. What comes meanwhile waits and will be one batch, as long as it is small: a
   * handler that waits stops the fetching of all partitions. A large fetch waits in its handler.
   */
  async #take(fetched: FetchedBatch): Promise<void> {
    const { placer, signal, clock } = this.#parts;
    const { partition } = fetched;
    const place = placer.places.get(partition);
    // Not placed, or stopping: nothing is resolved, so the fetch will come again.
    if (place === undefined || signal.aborted || !fetched.isCurrent()) return;
    if (fetched.fetchedOffset !== place.fetchPosition) return placer.placeAnew([partition]);
    while (!place.hasRoomFor(fetched)) {
      const waited = new AbortController();
      const beat = clock.sleep(HEARTBEAT_MS, waited.signal);
      await Promise.race([place.working, beat]);
      waited.abort();
      // Throws if the group rebalances, and Kafka must see that: it ends this fetch.
      await fetched.heartbeat();
      if (!placer.stands(partition, place) || signal.aborted) return;
    }
    if (!fetched.isCurrent()) return;
    fetched.resolve(fetched.nextOffset);
    place.takeOver(fetched, () => this.#track(this.#workThrough(partition, place)));
    await fetched.heartbeat();
  }

  async #workThrough(partition: number, place: Place): Promise<void> {
    const { placer, signal } = this.#parts;
    let cutter: Cutter | undefined;
    let batch: Batch | undefined;
    try {
      do {
        const next = await this.#slots.use(async (columns) => {
          // The wait for a slot can have been long.
          if (signal.aborted || !placer.stands(partition, place)) return "stop";
          if (batch === undefined || cutter === undefined) {
            // Only now: what has come during the wait belongs to the batch.
            const fetched = place.takeWaiting();
            if (fetched === undefined || !placer.goesOn(partition, place, fetched.firstEpoch)) {
              return "stop";
            }
            cutter = new Cutter(fetched, place, this.#sizeOf(partition));
            batch = cutter.next()!;
          }
          return await this.#process(batch, place, { cutter, columns });
        });
        if (next === "stop") return;
        batch = cutter?.next();
      } while (batch !== undefined || place.hasWaiting);
    } finally {
      place.workEnded();
    }
  }

  /** Takes one batch from its beginning to its end, and says whether the next one can follow. */
  async #process(
    batch: Batch,
    place: Place,
    { cutter, columns }: { readonly cutter: Cutter; readonly columns: ReadingColumns },
  ): Promise<"go on" | "stop"> {
    const { placer, trouble, watchdog, observer, store, clock } = this.#parts;
    const { partition } = batch;
    using work = watchdog.watch(partition);
    let slowestMs = 0;
    // A batch can take more than one statement, and each answer shows that it goes on.
    const storeBatch: Store["storeBatch"] = (part, way) => {
      const startMs = clock.elapsedMs();
      return store.storeBatch(part, way).finally(() => {
        slowestMs = Math.max(slowestMs, clock.elapsedMs() - startMs);
        work.goesOn();
      });
    };
    const failuresBefore = trouble.failuresOf(partition);
    observer.batchBegan(partition);
    try {
      const outcome = await processBatch(batch, {
        ...this.#parts,
        store: { storeBatch },
        columns,
        copyChoice: this.#copyChoices.getOrInsertComputed(partition, () => new CopyChoice()),
      });
      if (outcome.kind === "refused") cutter.halve(batch, outcome.refusal);
      if (outcome.kind === "stored") {
        this.#account(batch, outcome);
        // A batch that was under way when the trouble began says nothing about its end.
        if (trouble.failuresOf(partition) === failuresBefore) trouble.ended(partition);
        this.#enlarge(batch, slowestMs);
      }
      return this.#move(batch, place, outcome);
    } catch (error) {
      // Whatever it is, the offset stays. A transient error passes, a setting is fixed by a
      // person, and a fault of our own is seen in the log instead of losing a reading.
      if (error instanceof TooMuchError) this.#halve(batch, slowestMs);
      trouble.failed("storing", [partition], error);
      if (placer.stands(partition, place)) placer.placeAnew([partition]);
      return "stop";
    } finally {
      observer.batchEnded(partition);
    }
  }

  #sizeOf(partition: number): BatchSize {
    const { batchMessagesMax } = this.#parts;
    return this.#sizes.getOrInsertComputed(partition, () => new BatchSize(batchMessagesMax));
  }

  /** As it was, the next try would end as this one. */
  #halve({ partition, messages }: Batch, tookMs: number): void {
    const size = this.#sizeOf(partition);
    const wasWhole = size.isWhole;
    size.wasTooMuch(messages.length, tookMs);
    if (!wasWhole) return;
    this.#parts.log.warn("a batch was too large for the database: using smaller ones for now", {
      partition,
      messages: messages.length,
      seconds: Math.round(tookMs / 1_000),
    });
  }

  #enlarge({ partition, messages }: Batch, tookMs: number): void {
    const size = this.#sizeOf(partition);
    const wasWhole = size.isWhole;
    size.wasStored(messages.length, tookMs);
    if (size.isWhole && !wasWhole) {
      this.#parts.log.info("batches have their full size again", { partition });
    }
  }

  /** Counts a stored batch, whoever has its partition now. */
  #account(batch: Batch, outcome: StoredBatch): void {
    const { upkeep, observer } = this.#parts;
    const { partition, nextOffset, messages: { length: messages, timestampsMs } } = batch;
    const { kind: _, lastValues, ...counts } = outcome;
    const skipped = skippedIn(batch);
    const totals = this.#totals;
    totals.inserted += counts.inserted;
    totals.duplicates += counts.duplicates;
    totals.skipped += skipped;
    for (const count of counts.rejections.values()) totals.deadLetters += count;
    upkeep.note(lastValues, batch.dataSetId);
    observer.stored({ ...counts, partition, nextOffset, messages, timestampsMs, skipped });
  }

  /** Moves the partition on to where the ledger stands after a batch, or has it placed again. */
  #move(batch: Batch, place: Place, outcome: BatchOutcome): "go on" | "stop" {
    const { placer, upkeep, commits, log, onAdvance } = this.#parts;
    const { partition, fromOffset, nextOffset } = batch;
    // Placed again while we worked, here or elsewhere: the ledger has what we stored, if anything, and
    // the partition can have been committed further.
    if (!placer.stands(partition, place)) return "stop";
    if (outcome.kind === "refused") return "go on";
    if (outcome.kind !== "stored") {
      if (outcome.kind !== "fenced" || outcome.ledgerNext !== nextOffset) {
        log.warn("the ledger refused a batch: placing the partition again", {
          partition,
          fromOffset,
          ...outcome,
        });
        placer.placeAnew([partition]);
        return "stop";
      }
      // Our own COMMIT whose answer was lost, or somebody who stored just the same. Whoever it was
      // may not have come to the last values and the Kafka commit.
      upkeep.want();
    }
    commits.note(partition, nextOffset);
    place.advance(batch);
    onAdvance();
    return "go on";
  }
}
