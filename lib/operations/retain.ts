/**
 * The end of old rows: in bounded batches with pauses, so that the flow goes on beside it, and
 * counted, so that `verify` still adds up. It can be stopped at any time and started again.
 *
 * A reading goes when its own time and its arrival are both older than the window. Arrival counts,
 * because its message must have left the topic by then: else reading the topic again would bring the
 * row back. Its own time counts, because that is what people mean by old.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { ConfigurationError } from "../errors.ts";
import type { GroupAdmin } from "../kafka/group_member.ts";
import type { SqlPool } from "../postgres/pool.ts";
import {
  countBlocks,
  countOldDeadLetters,
  countOldReadings,
  deleteOldDeadLetters,
  deleteOldReadings,
  momentAgo,
} from "../postgres/retention.ts";
import { counted } from "../quantities.ts";

/** Blocks that one batch may look at: 32 MiB, a fraction of a second. */
export const BATCH_BLOCKS = 4_096;

/** Most rows of one batch. */
export const BATCH_ROWS_MAX = 50_000;

/** Most dead letters of one batch: each can have 64 KiB. */
export const BATCH_LETTERS_MAX = 1_000;

/** Pause after each batch that deleted something, ms. */
export const PAUSE_MS = 100;

/** What retention works with. */
export interface RetainParts {
  /** Holds the rows. */
  readonly pool: SqlPool;
  /** Knows how long the topic keeps its messages. */
  readonly member: Pick<GroupAdmin, "retentionMs">;
  /** Paces the batches. */
  readonly clock: Clock;
}

/** What may go, and how. */
export interface RetainOptions {
  /** Readings older than this go, ms; undefined: none. */
  readonly readingsOlderThanMs: number | undefined;
  /** Resolved dead letters older than this go, ms; undefined: none. */
  readonly deadLettersOlderThanMs: number | undefined;
  /** Most rows of one batch, 1 to {@linkcode BATCH_ROWS_MAX}. */
  readonly batchRowsMax: number;
  /** `count`: change nothing. */
  readonly mode: "delete" | "count";
  /** Ends the work after the batch under way. */
  readonly signal: AbortSignal;
  /** Is notified after each batch. */
  readonly onProgress?: (progress: RetainProgress) => void;
}

/** How far it is. */
export interface RetainProgress {
  /** Readings deleted or counted. */
  readonly readings: number;
  /** Resolved dead letters deleted or counted. */
  readonly deadLetters: number;
  /** Percent of the table that has been looked at. */
  readonly percent: number;
}

/** What {@linkcode retain} did, or would do. */
export interface RetainSummary {
  /** Readings deleted, or to be deleted. */
  readonly readings: number;
  /** Dead letters deleted, or to be deleted. */
  readonly deadLetters: number;
  /** Dead letters that are old and stay, because nobody has dealt with them. */
  readonly deadLettersOpen: number;
  /** False if it was stopped before the end. */
  readonly isComplete: boolean;
}

const UNIT_MS = new Map([["s", 1_000], ["m", 60_000], ["h", 3_600_000], ["d", 86_400_000]]);

/** Longest window: a hundred years. */
const AGE_MS_MAX = 36_525 * 86_400_000;

/**
 * Reads a window such as `90d`, `12h`, `30m` or `45s`, in ms.
 *
 * @throws {ConfigurationError} if it is none
 */
export function parseAge(flag: string, text: string): number {
  const [, number, unit = ""] = text.match(/^(\d{1,10})([smhd])$/) ?? [];
  const ageMs = Number(number) * (UNIT_MS.get(unit) ?? NaN);
  if (ageMs > 0 && ageMs <= AGE_MS_MAX) return ageMs;
  throw new ConfigurationError(
    `Cannot use ${flag} "${text}": give a number of days (90d), hours (12h), minutes or seconds`,
  );
}

/**
 * Deletes, or counts, what is older than the windows.
 *
 * @throws {ConfigurationError} if a window is shorter than the topic keeps its messages.
 * @throws {TransientError} if a server is away; what was deleted is counted, and the rest goes next
 * time.
 */
export async function retain(parts: RetainParts, options: RetainOptions): Promise<RetainSummary> {
  const { readingsOlderThanMs, deadLettersOlderThanMs, signal } = options;
  const windows = [readingsOlderThanMs, deadLettersOlderThanMs].filter((ms) => ms !== undefined);
  requireLongerThanTopic(Math.min(...windows), await parts.member.retentionMs());
  const readings = readingsOlderThanMs === undefined
    ? 0
    : await retainReadings(parts, options, readingsOlderThanMs);
  if (deadLettersOlderThanMs === undefined || signal.aborted) {
    return { readings, deadLetters: 0, deadLettersOpen: 0, isComplete: !signal.aborted };
  }
  const before = await momentAgo(parts.pool, deadLettersOlderThanMs);
  const old = await countOldDeadLetters(parts.pool, before);
  const deadLetters = options.mode === "count"
    ? old.resolved
    : await deleteDeadLetters(parts, { ...options, before, readings });
  return { readings, deadLetters, deadLettersOpen: old.open, isComplete: !signal.aborted };
}

function requireLongerThanTopic(windowMs: number, retentionMs: number): void {
  if (windowMs >= retentionMs) return;
  const kept = retentionMs === Infinity ? "for ever" : `for ${ageText(retentionMs)}`;
  throw new ConfigurationError(
    `Cannot delete what is older than ${ageText(windowMs)}: the topic keeps its messages ${kept} ` +
      "(retention.ms), and reading it again would bring the rows back. Choose a longer window, or " +
      "lower the topic's retention.ms",
  );
}

/** A window for people: in the largest unit that is exact. */
export function ageText(ms: number): string {
  for (const [unit, unitMs] of [...UNIT_MS].reverse()) {
    if (ms % unitMs === 0) return `${ms / unitMs}${unit}`;
  }
  return `${ms}ms`;
}

/**
 * Walks over the table from its end to its beginning. Backwards, because each DELETE asks whether a
 * row is left, and finds one at the beginning at once; forwards it would have to read over all that
 * has been deleted, again and again.
 */
async function retainReadings(
  { pool, clock }: RetainParts,
  options: RetainOptions,
  olderThanMs: number,
): Promise<number> {
  const { batchRowsMax: rowsMax, mode, signal, onProgress } = options;
  const before = await momentAgo(pool, olderThanMs);
  const blocks = await countBlocks(pool);
  let readings = 0;
  // Bound: either the range moves, or rows of it are gone.
  for (let toBlock = blocks; toBlock > 0 && !signal.aborted;) {
    const range = { fromBlock: Math.max(0, toBlock - BATCH_BLOCKS), toBlock };
    const found = mode === "count"
      ? await countOldReadings(pool, before, range)
      : await deleteOldReadings(pool, before, { ...range, rowsMax });
    readings += found;
    if (mode === "count" || found < rowsMax) toBlock = range.fromBlock;
    const percent = Math.floor((blocks - toBlock) * 100 / blocks);
    onProgress?.({ readings, deadLetters: 0, percent });
    if (mode === "delete" && found > 0) await clock.sleep(PAUSE_MS, signal);
  }
  return readings;
}

async function deleteDeadLetters(
  { pool, clock }: RetainParts,
  options: RetainOptions & { readonly before: string; readonly readings: number },
): Promise<number> {
  const { before, readings, signal, onProgress } = options;
  const rowsMax = Math.min(options.batchRowsMax, BATCH_LETTERS_MAX);
  let deadLetters = 0;
  let afterId: number | undefined = 0;
  // Bound: each batch starts after the last letter of the one before.
  while (afterId !== undefined && !signal.aborted) {
    const { deleted, lastId } = await deleteOldDeadLetters(pool, before, { afterId, rowsMax });
    deadLetters += deleted;
    afterId = lastId;
    onProgress?.({ readings, deadLetters, percent: 100 });
    if (deleted > 0) await clock.sleep(PAUSE_MS, signal);
  }
  return deadLetters;
}

/** The summary as a sentence or two. */
export function retainText(summary: RetainSummary, mode: RetainOptions["mode"]): string {
  const { readings, deadLetters, deadLettersOpen, isComplete } = summary;
  const verb = mode === "count" ? "would delete" : "deleted";
  return [
    `${verb} ${counted(readings, "reading")} and ${counted(deadLetters, "dead letter")}`,
    ...(deadLettersOpen === 0 ? [] : [
      `${
        counted(deadLettersOpen, "old dead letter is", "old dead letters are")
      } still open and kept: ` +
      "replay or discard them",
    ]),
    ...(isComplete ? [] : ["stopped before the end; run it again for the rest"]),
  ].join("\n");
}
