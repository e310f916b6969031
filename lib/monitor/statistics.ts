/**
 * What this process has done since it started, as the flow's observer saw it.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { describeError } from "../errors.ts";
import type { Flood } from "../consumer/flood_guard.ts";
import {
  type BatchReport,
  type FlowObserver,
  type Stage,
  STAGES,
  type TroubledStep,
} from "../consumer/observer.ts";
import type { NoticeKind } from "../consumer/notices.ts";
import type { RejectionReason } from "../reading/rejection.ts";
import { SlidingHistogram } from "./histogram.ts";

/** Counts since the start of the process. */
export interface FlowTotals {
  /** Messages in stored batches. */
  messages: number;
  /** Readings that became rows. */
  inserted: number;
  /** Readings that were stored already. */
  duplicates: number;
  /** Messages that became dead letters. */
  deadLetters: number;
  /** Offsets without a message. */
  skipped: number;
  /** Batches stored. */
  batches: number;
  /** Assignments, the first one included. */
  rebalances: number;
  /** Failures of the two steps, each tried again. */
  readonly retries: Record<TroubledStep, number>;
}

/** A partition that this member reads. */
export interface PartitionPosition {
  /** One past the last offset that is stored. */
  readonly nextOffset: number;
  /** The time of the last message stored since the partition was placed, ms since 1970. */
  readonly lastMessageAtMs: number | undefined;
}

/** What keeps the flow of some partitions from going on. */
export interface Trouble {
  /** The step that fails. */
  readonly step: TroubledStep;
  /** Those that meet it, ascending. */
  readonly partitions: readonly number[];
  /** What it says. */
  readonly text: string;
  /** When it first failed, ms since 1970. */
  readonly sinceMs: number;
}

/** What a person should know. */
export interface Notice {
  /** What it is about. */
  readonly kind: NoticeKind;
  /** What is wrong, and what to do. */
  readonly text: string;
  /** When it was noticed, ms since 1970. */
  readonly sinceMs: number;
}

/** Offsets that were set are over at once; they are told for this long, ms. */
const OFFSETS_TOLD_MS = 3_600_000;

/** What {@linkcode FlowStatistics} needs. */
export interface FlowStatisticsOptions {
  /** Dates and measures. */
  readonly clock: Clock;
  /** Is notified of each stored batch as well. */
  readonly onStored?: (report: BatchReport) => void;
}

/** Collects what the flow tells. Everything in it is for reading; only the flow's calls write. */
export class FlowStatistics implements FlowObserver {
  /** Counts since the start. */
  readonly totals: FlowTotals = {
    messages: 0,
    inserted: 0,
    duplicates: 0,
    deadLetters: 0,
    skipped: 0,
    batches: 0,
    rebalances: 0,
    retries: { placing: 0, storing: 0 },
  };
  /** Dead letters since the start, by reason. */
  readonly rejections: Map<RejectionReason, number> = new Map();
  /** From the time of a message in Kafka to the commit of its transaction, last minute. */
  readonly delay: SlidingHistogram;
  /** Durations of the stages of a batch, last minute. */
  readonly stages: Readonly<Record<Stage, SlidingHistogram>>;
  /** When the process started, ms since 1970. */
  readonly startedAtMs: number;
  readonly #clock: Clock;
  readonly #onStored: ((report: BatchReport) => void) | undefined;
  readonly #positions = new Map<number, PartitionPosition>();
  readonly #working = new Map<number, number>();
  #assigned: readonly number[] = [];
  #lastTickMs: number | undefined;
  #lastProgressAtMs: number | undefined;
  readonly #troubles = new Map<number, Omit<Trouble, "partitions">>();
  readonly #notices = new Map<NoticeKind, Notice>();
  #orphans: readonly number[] = [];
  #flood: Flood | undefined;
  #neighbour: string | undefined;

  /** Starts to count. */
  constructor({ clock, onStored }: FlowStatisticsOptions) {
    this.#clock = clock;
    this.#onStored = onStored;
    this.startedAtMs = clock.now();
    this.delay = new SlidingHistogram(clock);
    this.stages = Object.fromEntries(
      STAGES.map((stage) => [stage, new SlidingHistogram(clock)]),
    ) as Record<Stage, SlidingHistogram>;
  }

  /** The partitions of the present assignment. */
  get assignedPartitions(): readonly number[] {
    return this.#assigned;
  }

  /** Where the assigned partitions stand that have been placed. */
  get positions(): ReadonlyMap<number, PartitionPosition> {
    return this.#positions;
  }

  /** When a batch was stored last, ms since 1970; undefined: none yet. */
  get lastProgressAtMs(): number | undefined {
    return this.#lastProgressAtMs;
  }

  /** What keeps partitions of ours from going on, each trouble once; empty: nothing. */
  get troubles(): readonly Trouble[] {
    const found = new Map<string, Trouble>();
    for (const [partition, trouble] of [...this.#troubles].sort(([a], [b]) => a - b)) {
      const key = `${trouble.step} ${trouble.text}`;
      const { sinceMs, partitions } = found.get(key) ?? { ...trouble, partitions: [] };
      found.set(key, {
        ...trouble,
        sinceMs: Math.min(sinceMs, trouble.sinceMs),
        partitions: [...partitions, partition],
      });
    }
    return [...found.values()];
  }

  /** The data set whose last values Redis holds, while that is another one, and alive. */
  get neighbour(): string | undefined {
    return this.#neighbour;
  }

  /** What a person should know, the oldest first. */
  get notices(): readonly Notice[] {
    const nowMs = this.#clock.now();
    return [...this.#notices.values()]
      .filter(({ kind, sinceMs }) => kind !== "offsets" || nowMs - sinceMs < OFFSETS_TOLD_MS);
  }

  /** Partitions that no member of ours has, of which this member tells. */
  get orphans(): readonly number[] {
    return this.#orphans;
  }

  /** Set while many of the messages are dead letters. */
  get flood(): Flood | undefined {
    return this.#flood;
  }

  /** How long the loop has not ticked, ms; 0 before its first tick: it may wait for servers to begin. */
  get silentMs(): number {
    return this.#lastTickMs === undefined ? 0 : this.#clock.elapsedMs() - this.#lastTickMs;
  }

  /** How long the oldest batch under way has taken so far, ms; 0 if there is none. */
  get workingMs(): number {
    const oldest = Math.min(...this.#working.values());
    return oldest === Infinity ? 0 : this.#clock.elapsedMs() - oldest;
  }

  /** See {@linkcode FlowObserver.ticked}. */
  ticked(): void {
    this.#lastTickMs = this.#clock.elapsedMs();
  }

  /** See {@linkcode FlowObserver.assigned}. */
  assigned(partitions: readonly number[]): void {
    this.totals.rebalances++;
    this.#assigned = partitions;
    // What is not ours any more must not be told by us.
    this.#positions.clear();
    for (const partition of [...this.#troubles.keys()]) {
      if (!partitions.includes(partition)) this.#troubles.delete(partition);
    }
  }

  /** See {@linkcode FlowObserver.placed}. */
  placed(partition: number, nextOffset: number): void {
    this.#positions.set(partition, { nextOffset, lastMessageAtMs: undefined });
  }

  /** See {@linkcode FlowObserver.batchBegan}. */
  batchBegan(partition: number): void {
    this.#working.set(partition, this.#clock.elapsedMs());
  }

  /** See {@linkcode FlowObserver.batchEnded}. */
  batchEnded(partition: number): void {
    this.#working.delete(partition);
  }

  /** See {@linkcode FlowObserver.stored}. */
  stored(report: BatchReport): void {
    const { totals } = this;
    totals.batches++;
    totals.messages += report.messages;
    totals.inserted += report.inserted;
    totals.duplicates += report.duplicates;
    totals.skipped += report.skipped;
    for (const [reason, count] of report.rejections) {
      totals.deadLetters += count;
      this.rejections.set(reason, (this.rejections.get(reason) ?? 0) + count);
    }
    for (const stage of STAGES) this.stages[stage].record(report.stageMs[stage]);
    this.delay.recordAll(report.timestampsMs.map((ms) => report.storedAtMs - ms));
    const lastMessageAtMs = report.timestampsMs.at(-1);
    // A batch under way when the partition was taken away says nothing about what is ours now.
    if (this.#positions.has(report.partition)) {
      this.#positions.set(report.partition, { nextOffset: report.nextOffset, lastMessageAtMs });
    }
    this.#lastProgressAtMs = report.storedAtMs;
    this.#onStored?.(report);
  }

  /** See {@linkcode FlowObserver.failed}. */
  failed(step: TroubledStep, partitions: readonly number[], error: unknown): void {
    this.totals.retries[step]++;
    const text = describeError(error);
    for (const partition of partitions) {
      const sinceMs = this.#troubles.get(partition)?.sinceMs ?? this.#clock.now();
      this.#troubles.set(partition, { step, text, sinceMs });
    }
  }

  /** See {@linkcode FlowObserver.wentOn}. */
  wentOn(partition: number): void {
    this.#troubles.delete(partition);
  }

  /** See {@linkcode FlowObserver.neighboured}. */
  neighboured(owner: string | undefined): void {
    this.#neighbour = owner;
  }

  /** See {@linkcode FlowObserver.noticed}. */
  noticed(kind: NoticeKind, text: string | undefined): void {
    const sinceMs = this.#notices.get(kind)?.sinceMs ?? this.#clock.now();
    if (text === undefined) this.#notices.delete(kind);
    else this.#notices.set(kind, { kind, text, sinceMs });
  }

  /** See {@linkcode FlowObserver.orphaned}. */
  orphaned(partitions: readonly number[]): void {
    this.#orphans = partitions;
  }

  /** See {@linkcode FlowObserver.flooded}. */
  flooded(flood: Flood | undefined): void {
    this.#flood = flood;
  }
}
