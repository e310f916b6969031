/**
 * The consumer loop: places partitions where the ledger stands, feeds batches to the processor,
 * and stops cleanly. It knows the ports and no library.
 *
 * The rules that keep it safe:
 *
 * - Place, then consume. A new assignment is paused before its first fetch; only when the ledger
 *   has been read, the partition sought there and resumed, its messages count.
 * - A placement is an object. Work begun under an older placement of the same partition sees that
 *   the object has changed, and ends. Whatever it still sends, the ledger's compare-and-set refuses.
 * - Trouble means placing anew. After an error, a refused compare-and-set or an unexpected offset
 *   nobody guesses what was stored: the ledger is read again.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { PendingCommits } from "./commits.ts";
import { describeError, TransientError } from "../errors.ts";
import { FloodGuard, type FloodSettings } from "./flood_guard.ts";
import type { FetchedBatch, GroupMember } from "../kafka/group_member.ts";
import { isSameTopic, type TopicIdentity, type Watermarks } from "../kafka/message.ts";
import { repairLastValues } from "./last_values.ts";
import { type Log, sayOnChange } from "../log.ts";
import type { FlowObserver, TroubledStep } from "./observer.ts";
import { decidePlacement, type Placement, type StartFrom } from "./placement.ts";
import { lineageOf } from "./mark.ts";
import { type LedgerLine, linesOf, type Store } from "../postgres/store.ts";
import { type Batch, type BatchOutcome, processBatch, type ProcessorParts } from "./processor.ts";
import type { Cache } from "../redis/cache.ts";
import { backoffMs } from "../retry.ts";
import { Slots } from "./slots.ts";
import { withTimeLimit } from "../time_limit.ts";
import { type Standing, type Stuck, Watchdog } from "./watchdog.ts";

/** What the loop works with. Opening and closing them is the caller's. */
export interface ConsumerParts {
  /** Reads the topic. */
  readonly member: GroupMember;
  /** Decides and keeps. */
  readonly store: Store;
  /** Saves the store work. */
  readonly cache: Cache;
  /** See {@linkcode ProcessorParts.breakers}. */
  readonly breakers: ProcessorParts["breakers"];
  /** Paces ticks, waits and deadlines. */
  readonly clock: Clock;
  /** Hears of assignments, trouble and progress. */
  readonly log: Log;
  /** Is told of every step, for statistics. */
  readonly observer?: FlowObserver;
  /**
   * Spreads the waits of several members; from 0 up to but not including 1.
   *
   * @default Math.random
   */
  readonly random?: () => number;
}

/** How the loop works. */
export interface ConsumerOptions extends FloodSettings {
  /** Most messages in one transaction. */
  readonly batchMessagesMax: number;
  /** Most transactions at the same time, each of another partition. */
  readonly batchesConcurrent: number;
  /** What a reading may be. */
  readonly limits: ProcessorParts["limits"];
  /** Where to begin a topic that the ledger does not know. */
  readonly startFrom: StartFrom;
  /** `end`: return once the end offsets seen at the start are stored. `never`: only by signal. */
  readonly until: "end" | "never";
  /** How long stopping may take, ms. */
  readonly shutdownDeadlineMs: number;
  /** No progress for this long although messages wait ends the loop, seconds; 0: never. */
  readonly watchdogSeconds: number;
  /** Ends the loop: the batch under way is finished, offsets are committed, the group is left. */
  readonly signal: AbortSignal;
}

/** What one run of the loop did. */
export interface ConsumeSummary {
  /** Readings that became rows. */
  readonly inserted: number;
  /** Readings that were stored already. */
  readonly duplicates: number;
  /** Messages that became dead letters. */
  readonly deadLetters: number;
  /** Offsets without a message. */
  readonly skipped: number;
  /**
   * `cleanly`: nothing was left undone. `late`: stopping took longer than it may, so that work was
   * left for the next owner. `stuck`: there was no progress, and only a new process can help.
   */
  readonly ended: "cleanly" | "late" | "stuck";
}

const TICK_MS = 250;
/** How often a handler that waits for the batch before it shows that it lives. */
const HEARTBEAT_MS = 1_000;
const PROGRESS_LOG_MS = 10_000;
/** How soon servers that lost something are noticed if no message comes to tell. */
const CHECK_MS = 10_000;
/** Last values are repaired at most this often: a repair looks at every sensor. */
const REPAIR_INTERVAL_MS = 5_000;
/** How long a run that ends by itself may take to repair last values before it does. */
const REPAIR_AT_END_MS = 5_000;
/** How long the last commit and leaving the group may take: what a person at a terminal waits for. */
const LEAVE_MS = 2_000;
const BACKOFF = { minMs: 100, maxMs: 2_000 } as const;

/**
 * Runs until the signal aborts or, with `until: "end"`, everything seen at the start is stored.
 *
 * @throws {ConfigurationError} if the group cannot be joined because of a setting or a right.
 * @throws {TransientError} if the group member died for good; a new process can start over.
 */
export async function consume(
  parts: ConsumerParts,
  options: ConsumerOptions,
): Promise<ConsumeSummary> {
  return await new Consumer(parts, options).run();
}

/** Where a partition is read from, and for which life of the topic and of the database. */
interface Place {
  readonly topic: TopicIdentity;
  readonly dataSetId: string;
  /** Marks of another one are not believed, see `mark.ts`. */
  readonly lineage: string;
  /** The ledger's `next` as we know it. */
  position: number;
  /** The offset that the next fetch must ask for: the end of what was taken over. */
  fetchPosition: number;
  /** Settles when what was taken over is stored or given up; never rejects. */
  working: Promise<void> | undefined;
}

class Consumer {
  readonly #parts: ConsumerParts;
  readonly #options: ConsumerOptions;
  readonly #commits: PendingCommits;
  readonly #watchdog: Watchdog;
  readonly #processor: Omit<ProcessorParts, "store" | "noteCommit">;
  /** Partitions that are placed. Replaced, never changed, when a partition is placed anew. */
  readonly #places = new Map<number, Place>();
  /** Assigned partitions that wait to be placed. */
  readonly #unplaced = new Set<number>();
  readonly #slots: Slots;
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  readonly #background = new Map<string, Promise<void>>();
  readonly #sayTrouble: (trouble: string) => void;
  readonly #totals = { inserted: 0, duplicates: 0, deadLetters: 0, skipped: 0 };
  /** Undefined before the group has let us in. */
  #assigned: readonly number[] | undefined;
  #isPlacing = false;
  /** Failures in a row, which make the waiting longer, and the step that fails. */
  #failures = 0;
  #failing: TroubledStep | undefined;
  /** Failures ever. */
  #troubles = 0;
  #crash: Error | undefined;
  #stuck: Stuck | undefined;
  #end: ReadonlyMap<number, number> | undefined;
  #repairWanted = true;
  #lastCompleteFor: string | null = null;
  #messagesLogged = 0;

  constructor(parts: ConsumerParts, options: ConsumerOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#commits = new PendingCommits(parts.member);
    this.#watchdog = new Watchdog({
      clock: parts.clock,
      member: parts.member,
      standing: (topic) => this.#standing(topic),
      quietMsMax: options.watchdogSeconds * 1_000,
    });
    this.#slots = new Slots(options.batchesConcurrent);
    const floodGuard = new FloodGuard(options, parts);
    this.#processor = {
      cache: parts.cache,
      breakers: parts.breakers,
      clock: parts.clock,
      limits: options.limits,
      observer: {
        stored: (report) => {
          floodGuard.stored(report);
          parts.observer?.stored(report);
        },
      },
    };
    this.#sayTrouble = sayOnChange("", (trouble, previous) => {
      if (trouble !== "") parts.log.warn(`waiting: ${trouble}`);
      else parts.log.info("going on", { after: previous });
    });
  }

  async run(): Promise<ConsumeSummary> {
    const abort = (): void => this.#stop.abort();
    this.#options.signal.addEventListener("abort", abort, { once: true });
    if (this.#options.signal.aborted) abort();
    try {
      if (this.#options.until === "end") this.#end = await this.#endOffsets();
      if (this.#options.watchdogSeconds > 0) void this.#keepWatch();
      if (!this.#stop.signal.aborted) await this.#join();
      await this.#tickUntilStopped();
    } finally {
      this.#options.signal.removeEventListener("abort", abort);
    }
    const ended = await this.#shutDown();
    if (this.#crash !== undefined) throw this.#crash;
    return { ...this.#totals, ended };
  }

  /** Joins the group, or gives it up when told to stop. */
  async #join(): Promise<void> {
    const stopped = Promise.withResolvers<void>();
    this.#stop.signal.addEventListener("abort", () => stopped.resolve(), { once: true });
    await Promise.race([
      stopped.promise,
      this.#parts.member.start({
        assigned: (partitions) => this.#onAssigned(partitions),
        batch: (batch) => this.#onBatch(batch),
        crashed: (error) => this.#onCrashed(error),
      }),
    ]);
  }

  async #keepWatch(): Promise<void> {
    this.#stuck = await this.#watchdog.run(this.#stop.signal);
    if (this.#stuck === undefined) return;
    const { what, partitions, lagMessages, quietMs } = this.#stuck;
    this.#parts.log.error(
      "stuck: no progress although messages wait; it ends so that its supervisor starts it anew",
      { what, seconds: Math.round(quietMs / 1_000), lagMessages, partitions: partitions.join(",") },
    );
    this.#stop.abort();
  }

  /** Until the group has let us in, every partition can be ours. */
  #standing(topic: Iterable<number>): Standing {
    const ours = this.#assigned ?? [...topic];
    return new Map(ours.map((partition) => [partition, this.#places.get(partition)?.position]));
  }

  async #endOffsets(): Promise<ReadonlyMap<number, number>> {
    const watermarks = await this.#parts.member.watermarks();
    return new Map(Array.from(watermarks, ([partition, { high }]) => [partition, high]));
  }

  #onAssigned(partitions: readonly number[]): void {
    this.#parts.log.info("partitions assigned", { partitions: partitions.join(",") });
    this.#parts.observer?.assigned(partitions);
    this.#watchdog.sign();
    this.#assigned = partitions;
    this.#places.clear();
    this.#unplaced.clear();
    for (const partition of this.#commits.pending.keys()) this.#commits.forget(partition);
    this.#placeAnew(partitions);
  }

  #onCrashed(error: Error): void {
    this.#crash = error;
    this.#stop.abort();
  }

  /** Stops reading these partitions until the ledger has been read again. */
  #placeAnew(partitions: readonly number[]): void {
    this.#parts.member.pause(partitions);
    for (const partition of partitions) {
      this.#places.delete(partition);
      this.#unplaced.add(partition);
      // The offset can be one of the topic's former life.
      this.#commits.forget(partition);
    }
    if (!this.#isPlacing) void this.#placeAll();
  }

  async #placeAll(): Promise<void> {
    // Set and reset here, at the two ends of the loop: a partition that comes in between would wait
    // for a loop that has ended.
    this.#isPlacing = true;
    while (this.#unplaced.size > 0 && !this.#stop.signal.aborted) {
      if (this.#failures > 0) {
        const { clock, random = Math.random } = this.#parts;
        await clock.sleep(backoffMs(this.#failures, { ...BACKOFF, random }), this.#stop.signal);
      }
      try {
        using _ = this.#watchdog.watch("placing");
        await this.#placeOnce();
        // If storing fails, only a stored batch shows that the trouble is over. Stopped, it may have
        // ended before it met it.
        if (this.#failing === "placing" && !this.#stop.signal.aborted) this.#succeeded();
      } catch (error) {
        this.#failed("placing", error);
      }
    }
    this.#isPlacing = false;
  }

  #failed(step: TroubledStep, error: unknown): void {
    this.#parts.observer?.failed(step, error);
    this.#failures++;
    this.#troubles++;
    this.#failing = step;
    this.#sayTrouble(describeError(error));
  }

  #succeeded(): void {
    this.#failures = 0;
    this.#failing = undefined;
    this.#sayTrouble("");
  }

  async #placeOnce(): Promise<void> {
    const { member, store } = this.#parts;
    const topic = await member.identity();
    const dataSetId = await store.dataSetId();
    // The ledger before the watermarks, see decidePlacement().
    const lines = await store.readLedger();
    const watermarks = await member.watermarks();
    const lineOf = linesOf(lines, topic);
    const { startFrom } = this.#options;
    if (startFrom.kind === "time" && !lineOf.has(0) && !isMadeAgain(topic, lines)) {
      await this.#openLinesAtTime(topic, watermarks, startFrom.timestampMs);
      // Nothing is placed. The next round reads the lines, also those that others opened.
      return;
    }
    const starts = await this.#startOffsets(topic, lines);
    for (const partition of [...this.#unplaced]) {
      // Resumed now, a partition would be fetched again and again, and nobody would take it.
      if (this.#stop.signal.aborted) return;
      const marks = watermarks.get(partition);
      if (marks === undefined) throw new TransientError(`Cannot find partition ${partition}`);
      const line = lineOf.get(partition);
      const placement = decidePlacement(line, marks, starts.get(partition));
      if (line === undefined || placement.kind !== "continue") {
        // It stays unplaced. The next round reads what came of this, and what others did meanwhile.
        await this.#moveLine(topic, partition, placement);
        continue;
      }
      // It can have been taken away from us meanwhile.
      if (!this.#unplaced.delete(partition)) continue;
      const position = placement.offset;
      const lineage = lineageOf(dataSetId, line);
      const ends = { position, fetchPosition: position, working: undefined };
      this.#places.set(partition, { topic, dataSetId, lineage, ...ends });
      // The owner before us may have died, and we may have lost an answer, after COMMIT and before
      // the last value and the Kafka commit. Neither may wait for the next message.
      this.#repairWanted = true;
      this.#commits.note(partition, position);
      this.#parts.observer?.placed(partition, position);
      member.seek(partition, position);
      member.resume([partition]);
    }
  }

  /** Where to begin partitions that have no line in the ledger; absent: at the beginning. */
  async #startOffsets(
    topic: TopicIdentity,
    lines: readonly LedgerLine[],
  ): Promise<ReadonlyMap<number, number>> {
    if (this.#options.startFrom.kind !== "committed" || isMadeAgain(topic, lines)) return new Map();
    return await this.#parts.member.committedByOthers();
  }

  /**
   * Begins a topic at a time: all its partitions, whoever reads them. The time was given for a topic
   * that is met for the first time; with lines for some partitions only, nobody could tell the others
   * from partitions that were added later. The line of partition 0 comes last and says that all of
   * them are there.
   */
  async #openLinesAtTime(
    topic: TopicIdentity,
    watermarks: ReadonlyMap<number, Watermarks>,
    timestampMs: number,
  ): Promise<void> {
    const starts = await this.#parts.member.offsetsAtTime(timestampMs);
    for (const [partition, marks] of [...watermarks].sort(([a], [b]) => b - a)) {
      const placement = decidePlacement(undefined, marks, starts.get(partition));
      await this.#moveLine(topic, partition, placement);
    }
  }

  /** Brings the ledger to where reading starts, unless somebody else has moved it. */
  async #moveLine(
    topic: TopicIdentity,
    partition: number,
    placement: Placement,
  ): Promise<void> {
    const { store, log } = this.#parts;
    const { offset } = placement;
    if (placement.kind === "continue") return;
    if (placement.kind === "open") {
      await store.openLedgerLine(topic, partition, offset);
      return;
    }
    const { fromOffset } = placement;
    const moved = await store.moveLedgerLine(topic, partition, { fromOffset, toOffset: offset });
    if (!moved) return;
    if (placement.kind === "gap") {
      log.error("messages were deleted by the brokers before they were read", {
        partition,
        fromOffset,
        toOffset: offset,
        messages: offset - fromOffset,
      });
    } else {
      log.error("the brokers' log ends before the ledger: reading it again from its beginning", {
        partition,
        ledgerOffset: fromOffset,
        toOffset: offset,
      });
    }
  }

  #onBatch(fetched: FetchedBatch): Promise<void> {
    return this.#track(this.#takeFetched(fetched));
  }

  /** Stopping waits for this work. */
  #track(work: Promise<void>): Promise<void> {
    const settled = work.catch(() => {});
    this.#running.add(settled);
    settled.finally(() => this.#running.delete(settled));
    return work;
  }

  /**
   * Takes a fetch over and returns, so that the next one is under way while this one is stored. Of
   * each partition one fetch is worked on and one waits; then its handler waits, and fetching stops.
   */
  async #takeFetched(fetched: FetchedBatch): Promise<void> {
    const { partition } = fetched;
    const place = this.#places.get(partition);
    // Not placed, or stopping: nothing is resolved, so the fetch will come again.
    if (place === undefined || this.#stop.signal.aborted || !fetched.isCurrent()) return;
    if (fetched.fetchedOffset !== place.fetchPosition) return this.#placeAnew([partition]);
    while (place.working !== undefined) {
      const waited = new AbortController();
      const beat = this.#parts.clock.sleep(HEARTBEAT_MS, waited.signal);
      await Promise.race([place.working, beat]);
      waited.abort();
      // Throws if the group rebalances, and Kafka must see that: it ends this fetch.
      await fetched.heartbeat();
      if (this.#places.get(partition) !== place || this.#stop.signal.aborted) return;
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
    const { partition } = fetched;
    for (const batch of cut(fetched, place, this.#options.batchMessagesMax)) {
      const outcome = await this.#slots.use(async () => {
        // The wait for a slot can have been long.
        if (this.#stop.signal.aborted || this.#places.get(partition) !== place) return undefined;
        return await this.#process(batch, place) ?? "failed";
      });
      // Stopped, or placed anew while we worked: the ledger has what we stored, if anything.
      if (outcome === undefined || this.#places.get(partition) !== place) return;
      if (outcome === "failed" || !this.#advances(outcome, batch)) {
        return this.#placeAnew([partition]);
      }
      place.position = batch.nextOffset;
      this.#stopAtEnd();
    }
  }

  async #process(batch: Batch, place: Place): Promise<BatchOutcome | undefined> {
    using work = this.#watchdog.watch(batch.partition);
    const noteCommit = (partition: number, nextOffset: number): void => {
      // Placed anew meanwhile, here or elsewhere, the partition can have been committed further.
      if (this.#places.get(partition) === place) this.#commits.note(partition, nextOffset);
    };
    this.#parts.observer?.batchBegan(batch.partition);
    try {
      const troublesBefore = this.#troubles;
      // A batch can take many statements, and each answer shows that it goes on.
      const storeBatch: Store["storeBatch"] = (part) =>
        this.#parts.store.storeBatch(part).finally(work.goesOn);
      const parts = { ...this.#processor, store: { storeBatch }, noteCommit };
      const outcome = await processBatch(batch, parts);
      // A batch that was under way when the trouble began says nothing about its end.
      if (outcome.kind === "stored" && this.#troubles === troublesBefore) this.#succeeded();
      return outcome;
    } catch (error) {
      // Whatever it is, the offset stays. A transient error passes, a setting is mended by a
      // person, and a fault of our own is seen in the log instead of losing a reading.
      this.#failed("storing", error);
      return undefined;
    } finally {
      this.#parts.observer?.batchEnded(batch.partition);
    }
  }

  /** Counts what was stored. False if the ledger does not stand at the batch's end. */
  #advances(outcome: BatchOutcome, batch: Batch): boolean {
    if (outcome.kind === "stored") {
      this.#totals.inserted += outcome.inserted;
      this.#totals.duplicates += outcome.duplicates;
      this.#totals.deadLetters += outcome.deadLetters;
      this.#totals.skipped += outcome.skipped;
      this.#noteLastValues(outcome, batch);
      return true;
    }
    if (outcome.kind === "fenced" && outcome.ledgerNext === batch.nextOffset) {
      // Our own COMMIT whose answer was lost, or somebody who stored just the same. Whoever it was
      // may not have come to the last values and the Kafka commit.
      this.#repairWanted = true;
      this.#commits.note(batch.partition, batch.nextOffset);
      return true;
    }
    this.#parts.log.warn("batch refused by the ledger, placing the partition anew", {
      partition: batch.partition,
      fromOffset: batch.fromOffset,
      ...outcome,
    });
    return false;
  }

  #noteLastValues(outcome: BatchOutcome & { kind: "stored" }, batch: Batch): void {
    if (!outcome.marked) this.#repairWanted = true;
    this.#noteLastComplete(outcome.lastCompleteFor, batch.dataSetId);
  }

  #noteLastComplete(answer: string | null | undefined, dataSetId: string): void {
    if (answer === undefined) return;
    this.#lastCompleteFor = answer;
    if (answer !== dataSetId) this.#repairWanted = true;
  }

  /** Commits what waits, repairs last values, and looks whether the end is reached. */
  async #tickUntilStopped(): Promise<void> {
    const { clock } = this.#parts;
    const every = new Intervals(clock);
    while (!this.#stop.signal.aborted) {
      await clock.sleep(TICK_MS, this.#stop.signal);
      if (this.#stop.signal.aborted) return;
      this.#parts.observer?.ticked();
      void this.#commits.flush();
      if (every.passed("progress", PROGRESS_LOG_MS)) this.#logProgress();
      if (every.passed("repair", REPAIR_INTERVAL_MS)) {
        this.#start("repair", () => this.#repair(this.#stop.signal));
      }
      if (every.passed("check", CHECK_MS)) {
        this.#start("identity", () => this.#checkIdentity());
        this.#start("ledger", () => this.#checkLedger());
        this.#start("log", () => this.#checkLog());
      }
      this.#start("end", () => this.#stopIfAllEnded());
    }
  }

  /** Runs a task beside the ticks, which never wait for a server. One of each kind at a time. */
  #start(kind: string, task: () => Promise<void>): void {
    if (this.#background.has(kind)) return;
    const work = task()
      .catch((error) => this.#parts.log.debug(`${kind} check failed`, { error }))
      .finally(() => this.#background.delete(kind));
    this.#background.set(kind, work);
  }

  /** Says nothing on an idle topic. */
  #logProgress(): void {
    const { inserted, duplicates, deadLetters, skipped } = this.#totals;
    const messages = inserted + duplicates + deadLetters + skipped;
    if (messages === this.#messagesLogged) return;
    this.#messagesLogged = messages;
    this.#parts.log.info("progress", { ...this.#totals });
  }

  async #checkIdentity(): Promise<void> {
    const topic = await this.#parts.member.identity();
    const strangers = [...this.#places].filter(([, place]) => !isSameTopic(place.topic, topic));
    if (strangers.length === 0) return;
    this.#parts.log.error("the topic was deleted and made again: reading it from its beginning");
    this.#placeAnew(strangers.map(([partition]) => partition));
  }

  /** A database that went back to an older state is noticed also where no message comes. */
  async #checkLedger(): Promise<void> {
    const before = this.#positions();
    const lines = await this.#parts.store.readLedger();
    const lost = before.filter(({ partition, place, position }) => {
      const line = linesOf(lines, place.topic).get(partition);
      return this.#places.get(partition) === place && (line === undefined || line.next < position);
    });
    if (lost.length === 0) return;
    const partitions = lost.map(({ partition }) => partition);
    this.#parts.log.error("the database has lost what was stored: reading it again", {
      partitions: partitions.join(","),
    });
    this.#placeAnew(partitions);
  }

  /** Messages that the brokers lost are noticed also if they were the last. */
  async #checkLog(): Promise<void> {
    const before = this.#positions();
    const watermarks = await this.#parts.member.watermarks();
    const lost = before.filter(({ partition, place, position }) => {
      const { low = 0, high = Infinity } = watermarks.get(partition) ?? {};
      return this.#places.get(partition) === place && place.working === undefined &&
        (place.position < low || position > high);
    });
    if (lost.length === 0) return;
    // Placing says what was lost, and moves the ledger.
    this.#placeAnew(lost.map(({ partition }) => partition));
  }

  /**
   * Where the places stand now, to be compared with what a server answers afterwards: what is stored
   * in between lies above an older answer.
   */
  #positions(): readonly { partition: number; place: Place; position: number }[] {
    return Array.from(this.#places, ([partition, place]) => {
      return { partition, place, position: place.position };
    });
  }

  /** Repairs last values if there is reason to, until the signal aborts. */
  async #repair(signal: AbortSignal): Promise<void> {
    const { cache, breakers } = this.#parts;
    const [place] = this.#places.values();
    if (!this.#repairWanted && place !== undefined) {
      // Redis can have been emptied while no message came to tell.
      const answer = await breakers.write.attempt(() => cache.remember([], []));
      this.#noteLastComplete(answer, place.dataSetId);
    }
    if (!this.#repairWanted) return;
    this.#repairWanted = false;
    try {
      const sensors = await repairLastValues(this.#parts, this.#lastCompleteFor, signal);
      if (signal.aborted) this.#repairWanted = true;
      else this.#parts.log.debug("last values repaired", { sensors });
    } catch (error) {
      this.#repairWanted = true;
      throw error;
    }
  }

  /** Our own partitions alone: cheap enough to ask after each batch. */
  #ownPartitionsEnded(): boolean {
    const end = this.#end;
    return end !== undefined && this.#unplaced.size === 0 &&
      [...this.#places].every(([partition, { position }]) => position >= (end.get(partition) ?? 0));
  }

  /** With one member in the group there is no need to wait for the tick. */
  #stopAtEnd(): void {
    if (this.#places.size === this.#end?.size && this.#ownPartitionsEnded()) this.#stop.abort();
  }

  /** Other members may still be at work on theirs: the ledger tells of all of them. */
  async #stopIfAllEnded(): Promise<void> {
    const end = this.#end;
    if (end === undefined || !this.#ownPartitionsEnded()) return;
    const topic = await this.#parts.member.identity();
    const lines = await this.#parts.store.readLedger();
    const lineOf = linesOf(lines, topic);
    const ended = [...end].every(([partition, high]) =>
      (lineOf.get(partition)?.next ?? -1) >= high
    );
    if (ended) this.#stop.abort();
  }

  /** Lets batches finish, then commits and leaves the group. */
  async #shutDown(): Promise<ConsumeSummary["ended"]> {
    const { member, log } = this.#parts;
    member.pause(this.#assigned ?? []);
    // What is stuck does not finish.
    const drainMs = this.#stuck === undefined ? this.#options.shutdownDeadlineMs : 0;
    const drained = await this.#within(drainMs, async () => {
      await Promise.all(this.#running);
    });
    // Advisory, both: with the brokers away the group finds out by itself.
    const left = await this.#within(LEAVE_MS, async () => {
      // A flush that was under way can have missed the newest offsets.
      await this.#commits.flush();
      await this.#commits.flush();
      await member.stop();
    });
    if (!drained && this.#stuck === undefined) {
      log.error("a batch did not finish in time; its next owner repeats it");
    }
    if (!left) log.warn("the brokers did not answer in time to a commit or to leaving the group");
    await this.#repairAtEnd();
    log.info("stopped", { ...this.#totals });
    if (this.#stuck !== undefined) return "stuck";
    return drained ? "cleanly" : "late";
  }

  /** After a run that ends by itself no tick and perhaps no other run comes to repair anything. */
  async #repairAtEnd(): Promise<void> {
    const { until, signal } = this.#options;
    if (until !== "end" || signal.aborted || this.#crash || this.#stuck) return;
    const givingUp = new AbortController();
    const either = AbortSignal.any([signal, givingUp.signal]);
    const repaired = await this.#within(REPAIR_AT_END_MS, async () => {
      // A repair that was under way has ended with the ticks, before it was through.
      await this.#background.get("repair");
      await this.#repair(either);
    });
    givingUp.abort();
    if (!repaired) this.#parts.log.warn("last values are not up to date; a later run repairs them");
  }

  async #within(limitMs: number, work: () => Promise<void>): Promise<boolean> {
    try {
      await withTimeLimit(work(), { clock: this.#parts.clock, limitMs });
      return true;
    } catch (error) {
      this.#parts.log.debug("stopping", { error });
      return false;
    }
  }
}

/** Whether the ledger knows an earlier life of the topic. Of one made again, everything is unread. */
function isMadeAgain(topic: TopicIdentity, lines: readonly LedgerLine[]): boolean {
  return lines.some((line) => line.topic.topic === topic.topic && !isSameTopic(line.topic, topic));
}

/** Tells when something that is due every so often is due. */
class Intervals {
  readonly #clock: Clock;
  readonly #lastMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True, and the interval starts anew, if `everyMs` have passed; counted from the first call. */
  passed(name: string, everyMs: number): boolean {
    const now = this.#clock.elapsedMs();
    const last = this.#lastMs.get(name);
    if (last !== undefined && now - last < everyMs) return false;
    this.#lastMs.set(name, now);
    return last !== undefined;
  }
}

/** Cuts a fetch into batches of at most `messagesMax` messages that leave no offset between them. */
function* cut(fetched: FetchedBatch, place: Place, messagesMax: number): Generator<Batch> {
  const { partition, messages } = fetched;
  let fromOffset = fetched.fetchedOffset;
  for (let start = 0; start === 0 || start < messages.length; start += messagesMax) {
    const piece = messages.slice(start, start + messagesMax);
    const following = messages[start + messagesMax];
    const nextOffset = following?.offset ?? fetched.nextOffset;
    const { topic, dataSetId, lineage } = place;
    yield { topic, dataSetId, lineage, partition, fromOffset, nextOffset, messages: piece };
    fromOffset = nextOffset;
  }
}
