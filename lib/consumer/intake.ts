/**
 * What happens to a fetch: it is taken over while the one before is stored, cut into batches, and
 * each batch is processed and moves its partition on, or the partition is placed again.
 *
 * @module
 */
import type { FetchedBatch } from "../kafka/group_member.ts";
import type { Log } from "../log.ts";
import type { Store } from "../postgres/store.ts";
import { TooMuchError } from "../errors.ts";
import { BatchSize } from "./batch_size.ts";
import type { PendingCommits } from "./commits.ts";
import type { LastValuesUpkeep } from "./last_values_upkeep.ts";
import type { FlowObserver } from "./observer.ts";
import type { Place, Placer } from "./placer.ts";
import { type Batch, type BatchOutcome, processBatch, type ProcessorParts } from "./processor.ts";
import { Slots } from "./slots.ts";
import type { Trouble } from "./trouble.ts";
import type { Watchdog } from "./watchdog.ts";

/** What the intake works with. */
export interface IntakeParts extends Omit<ProcessorParts, "store" | "noteCommit" | "observer"> {
  /** Decides and keeps. */
  readonly store: Store;
  /** Hears of refused batches. */
  readonly log: Log;
  /** Is notified of each batch. */
  readonly observer: FlowObserver;
  /** Knows where partitions are read from, and is told when one is in doubt. */
  readonly placer: Placer;
  /** Takes note of what may be committed. */
  readonly commits: PendingCommits;
  /** Takes note of last values that may be missing. */
  readonly upkeep: LastValuesUpkeep;
  /** Hears of failures. */
  readonly trouble: Trouble;
  /** Expects each batch to come to an end. */
  readonly watchdog: Watchdog;
  /** Most messages in one transaction. */
  readonly batchMessagesMax: number;
  /** Most transactions at the same time, each of another partition. */
  readonly batchesConcurrent: number;
  /** Ends the work after the batch under way. */
  readonly signal: AbortSignal;
  /** Is called after each batch that moved its partition on. */
  readonly onAdvance: () => void;
}

/** Messages and offsets by what became of them. */
export interface FlowCounts {
  /** Readings that became rows. */
  readonly inserted: number;
  /** Readings that were stored already. */
  readonly duplicates: number;
  /** Messages that became dead letters. */
  readonly deadLetters: number;
  /** Offsets without a message. */
  readonly skipped: number;
}

/** How often a handler that waits for the batch before it shows that it lives, ms. */
const HEARTBEAT_MS = 1_000;

/** Takes fetches and stores what is in them. */
export class Intake {
  readonly #parts: IntakeParts;
  readonly #slots: Slots;
  readonly #running = new Set<Promise<void>>();
  /** By partition: one can hold what is hard to store while the others do not. */
  readonly #sizes = new Map<number, BatchSize>();
  readonly #totals = { inserted: 0, duplicates: 0, deadLetters: 0, skipped: 0 };

  /** Nothing is under way. */
  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#slots = new Slots(parts.batchesConcurrent);
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
   * Returns before the fetch is stored, so that the next one is under way meanwhile. Of each
   * partition one fetch is worked on and one waits; then its handler waits, and fetching stops.
   */
  async #take(fetched: FetchedBatch): Promise<void> {
    const { placer, signal, clock } = this.#parts;
    const { partition } = fetched;
    const place = placer.places.get(partition);
    // Not placed, or stopping: nothing is resolved, so the fetch will come again.
    if (place === undefined || signal.aborted || !fetched.isCurrent()) return;
    if (fetched.fetchedOffset !== place.fetchPosition) return placer.placeAnew([partition]);
    while (place.working !== undefined) {
      const waited = new AbortController();
      const beat = clock.sleep(HEARTBEAT_MS, waited.signal);
      await Promise.race([place.working, beat]);
      waited.abort();
      // Throws if the group rebalances, and Kafka must see that: it ends this fetch.
      await fetched.heartbeat();
      if (!placer.stands(partition, place) || signal.aborted) return;
    }
    if (!fetched.isCurrent()) return;
    place.fetchPosition = fetched.nextOffset;
    fetched.resolve(fetched.nextOffset);
    place.working = this.#track(this.#workThrough(fetched, place)).finally(() => {
      place.working = undefined;
    });
    await fetched.heartbeat();
  }

  async #workThrough(fetched: FetchedBatch, place: Place): Promise<void> {
    const { placer, signal, onAdvance } = this.#parts;
    const { partition } = fetched;
    if (!placer.goesOn(partition, place, fetched.firstEpoch)) return;
    const size = this.#sizeOf(partition);
    for (const batch of cut(fetched, place, size)) {
      const outcome = await this.#slots.use(async () => {
        // The wait for a slot can have been long.
        if (signal.aborted || !placer.stands(partition, place)) return undefined;
        return await this.#process(batch, place) ?? "failed";
      });
      // Stopped, or placed again while we worked: the ledger has what we stored, if anything.
      if (outcome === undefined || !placer.stands(partition, place)) return;
      if (outcome === "failed" || !this.#advances(outcome, batch)) {
        return placer.placeAnew([partition]);
      }
      place.position = batch.nextOffset;
      place.leaderEpoch = batch.nextEpoch;
      onAdvance();
    }
  }

  async #process(batch: Batch, place: Place): Promise<BatchOutcome | undefined> {
    const { placer, commits, trouble, watchdog, observer, store, clock } = this.#parts;
    using work = watchdog.watch(batch.partition);
    const noteCommit = (partition: number, nextOffset: number): void => {
      // Placed again meanwhile, here or elsewhere, the partition can have been committed further.
      if (placer.stands(partition, place)) commits.note(partition, nextOffset);
    };
    let slowestMs = 0;
    // A batch can take many statements, and each answer shows that it goes on.
    const storeBatch: Store["storeBatch"] = (part) => {
      const startMs = clock.elapsedMs();
      return store.storeBatch(part).finally(() => {
        slowestMs = Math.max(slowestMs, clock.elapsedMs() - startMs);
        work.goesOn();
      });
    };
    const failuresBefore = trouble.failuresOf(batch.partition);
    observer.batchBegan(batch.partition);
    try {
      const outcome = await processBatch(batch, {
        ...this.#parts,
        store: { storeBatch },
        noteCommit,
      });
      // A batch that was under way when the trouble began says nothing about its end.
      const isWell = trouble.failuresOf(batch.partition) === failuresBefore;
      if (outcome.kind === "stored" && isWell) trouble.ended(batch.partition);
      if (outcome.kind === "stored") this.#enlarge(batch, slowestMs);
      return outcome;
    } catch (error) {
      // Whatever it is, the offset stays. A transient error passes, a setting is fixed by a
      // person, and a fault of our own is seen in the log instead of losing a reading.
      if (error instanceof TooMuchError) this.#halve(batch, slowestMs);
      trouble.failed("storing", [batch.partition], error);
      return undefined;
    } finally {
      observer.batchEnded(batch.partition);
    }
  }

  #sizeOf(partition: number): BatchSize {
    const known = this.#sizes.get(partition);
    if (known !== undefined) return known;
    const size = new BatchSize(this.#parts.batchMessagesMax);
    this.#sizes.set(partition, size);
    return size;
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

  /** Counts what was stored. False if the ledger does not stand at the batch's end. */
  #advances(outcome: BatchOutcome, batch: Batch): boolean {
    const { upkeep, commits, log } = this.#parts;
    if (outcome.kind === "stored") {
      this.#totals.inserted += outcome.inserted;
      this.#totals.duplicates += outcome.duplicates;
      this.#totals.deadLetters += outcome.deadLetters;
      this.#totals.skipped += outcome.skipped;
      if (!outcome.marked) upkeep.want();
      upkeep.note(outcome.lastValues, batch.dataSetId);
      return true;
    }
    if (outcome.kind === "fenced" && outcome.ledgerNext === batch.nextOffset) {
      // Our own COMMIT whose answer was lost, or somebody who stored just the same. Whoever it was
      // may not have come to the last values and the Kafka commit.
      upkeep.want();
      commits.note(batch.partition, batch.nextOffset);
      return true;
    }
    log.warn("the ledger refused a batch: placing the partition again", {
      partition: batch.partition,
      fromOffset: batch.fromOffset,
      ...outcome,
    });
    return false;
  }
}

/** Cuts a fetch into batches that leave no offset between them; their size may change on the way. */
function* cut(fetched: FetchedBatch, place: Place, size: BatchSize): Generator<Batch> {
  const { partition, messages } = fetched;
  let fromOffset = fetched.fetchedOffset;
  let fromEpoch = place.leaderEpoch;
  let end: number;
  for (let start = 0; start === 0 || start < messages.length; start = end) {
    end = start + size.messages;
    const piece = messages.slice(start, end);
    const nextOffset = messages[end]?.offset ?? fetched.nextOffset;
    // In between can be records without a message. Their epoch is not above that of what follows.
    const nextEpoch = messages[end]?.leaderEpoch ?? fetched.lastEpoch;
    const { topic, dataSetId, lineage } = place;
    const scope = { topic, dataSetId, lineage, partition };
    yield { ...scope, fromOffset, nextOffset, fromEpoch, nextEpoch, messages: piece };
    fromOffset = nextOffset;
    fromEpoch = nextEpoch;
  }
}
