/**
 * What the consumer loop and the processor tell about their work, once per batch and never per
 * message. Whoever listens makes statistics of it; the flow knows no metrics.
 *
 * @module
 */
import type { Flood } from "./flood_guard.ts";
import type { NoticeKind } from "./notices.ts";
import type { RejectionReason } from "../reading/rejection.ts";

/** The steps of a batch that take time. */
export const STAGES = ["parse", "redis", "store", "mark"] as const;

/** One of {@linkcode STAGES}. */
export type Stage = typeof STAGES[number];

/** A batch whose transaction has been committed. */
export interface BatchReport {
  /** Number of the partition. */
  readonly partition: number;
  /** Where the ledger stands now. */
  readonly nextOffset: number;
  /** Messages of the batch, readings or not. */
  readonly messages: number;
  /** The times of the messages, in their order, ms since 1970. To be read at once. */
  readonly timestampsMs: Float64Array;
  /** Readings that became rows. */
  readonly inserted: number;
  /** Readings that were stored already. */
  readonly duplicates: number;
  /** How many messages became dead letters, by reason. */
  readonly rejections: ReadonlyMap<RejectionReason, number>;
  /** Offsets without a message. */
  readonly skipped: number;
  /** Duration of each stage, ms. */
  readonly stageMs: Readonly<Record<Stage, number>>;
  /** When the transaction had been committed, ms since 1970. */
  readonly storedAtMs: number;
}

/** Where the flow can be in trouble. */
export type TroubledStep = "placing" | "storing";

/** Is notified of what happens, as it happens. No method may throw or take long. */
export interface FlowObserver {
  /** The loop is alive: called several times a second. */
  ticked(): void;
  /** The group gave this member these partitions, and no others. */
  assigned(partitions: readonly number[]): void;
  /** Reading of a partition starts at this offset. */
  placed(partition: number, nextOffset: number): void;
  /** Work on a batch of a partition began. */
  batchBegan(partition: number): void;
  /** Work on a batch of a partition ended, whatever came of it. */
  batchEnded(partition: number): void;
  /** A batch was stored. */
  stored(report: BatchReport): void;
  /** A step failed for these partitions and will be tried again. */
  failed(step: TroubledStep, partitions: readonly number[], error: unknown): void;
  /** The trouble of a partition is over. */
  wentOn(partition: number): void;
  /** Redis holds last values of this other data set, which is alive; undefined: not any more. */
  neighboured(owner: string | undefined): void;
  /** A person should know of this; undefined: not any more. */
  noticed(kind: NoticeKind, text: string | undefined): void;
  /** Partitions that no member of ours has, of which this member shall tell; often none. */
  orphaned(partitions: readonly number[]): void;
  /** Many of the last messages are dead letters; undefined: not any more. */
  flooded(flood: Flood | undefined): void;
}

/** An observer that tells several, each what it wants to hear. */
export function tellAll(observers: readonly Partial<FlowObserver>[]): FlowObserver {
  const tell = (told: (observer: Partial<FlowObserver>) => void): void => observers.forEach(told);
  return {
    ticked: () => tell((each) => each.ticked?.()),
    assigned: (partitions) => tell((each) => each.assigned?.(partitions)),
    placed: (partition, nextOffset) => tell((each) => each.placed?.(partition, nextOffset)),
    batchBegan: (partition) => tell((each) => each.batchBegan?.(partition)),
    batchEnded: (partition) => tell((each) => each.batchEnded?.(partition)),
    stored: (report) => tell((each) => each.stored?.(report)),
    failed: (step, partitions, error) => tell((each) => each.failed?.(step, partitions, error)),
    wentOn: (partition) => tell((each) => each.wentOn?.(partition)),
    neighboured: (owner) => tell((each) => each.neighboured?.(owner)),
    noticed: (kind, text) => tell((each) => each.noticed?.(kind, text)),
    orphaned: (partitions) => tell((each) => each.orphaned?.(partitions)),
    flooded: (flood) => tell((each) => each.flooded?.(flood)),
  };
}
