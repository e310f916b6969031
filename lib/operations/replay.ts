/**
 * Dead letters tried again: through the same parser as every message, and into the table together
 * with the dead letter's resolution.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { describeError, RowDataError, TransientError } from "../errors.ts";
import type { Log } from "../log.ts";
import {
  compareWithStored,
  type DeadLetterFilter,
  type KeptDeadLetter,
  noteFailedReplay,
  readDeadLetters,
  replayReading,
} from "../postgres/dead_letters.ts";
import type { SqlPool } from "../postgres/pool.ts";
import {
  messageText,
  type ParsedReading,
  type ParseLimits,
  parseReading,
} from "../reading/reading.ts";
import type { Store } from "../postgres/store.ts";
import type { Cache } from "../redis/cache.ts";
import { NO_MARKS } from "../redis/marks.ts";
import { INDEX_NAME } from "../redis/scripts.ts";
import { reject, type Rejection } from "../reading/rejection.ts";

/** What a replay works with. */
export interface ReplayParts {
  /** Keeps readings and dead letters. */
  readonly pool: SqlPool;
  /** Is notified of last values. */
  readonly cache: Pick<Cache, "remember">;
  /** Names the data set that last values are of. */
  readonly store: Pick<Store, "dataSetId">;
  /** Tells now, by which a timestamp lies in the future. */
  readonly clock: Clock;
  /** Bounds of a timestamp, as the consumer has them. */
  readonly limits: Omit<ParseLimits, "nowMs">;
  /** Hears that Redis could not be told. */
  readonly log: Log;
}

/** How to replay. */
export interface ReplayOptions {
  /** `try`: say what would happen and change nothing. */
  readonly mode: "do" | "try";
  /** The fixed message in place of the one that was kept. */
  readonly edited?: Uint8Array | undefined;
}

/** What became of a dead letter, or would. */
export type ReplayOutcome =
  /** Resolved: it is a row now, or it repeats one. */
  | { readonly kind: "inserted" | "duplicate"; readonly readingId: string }
  /** Still open: its id is stored with other content. */
  | { readonly kind: "conflict"; readonly readingId: string }
  /** Still open: the message breaks a rule, or PostgreSQL refuses it. */
  | { readonly kind: "rejected"; readonly rejection: Rejection }
  /** It had been resolved before. Nothing was changed. */
  | { readonly kind: "resolved" }
  /** It has been deleted meanwhile. */
  | { readonly kind: "absent" };

/** How many full dead letters are in memory at a time: 64 KiB each at most. */
const PAGE_LETTERS = 100;

/**
 * Goes through dead letters by rising id, a page at a time, up to the newest one of now: those that
 * come meanwhile are left for the next time.
 */
export async function* deadLetterPages(
  pool: SqlPool,
  filter: DeadLetterFilter,
): AsyncGenerator<readonly KeptDeadLetter[]> {
  const [newest] = await readDeadLetters(pool, filter, { order: "newest", limit: 1 });
  let afterId = 0;
  // Bound: each page starts after the last letter of the one before.
  while (newest !== undefined && afterId < newest.id) {
    const page = await readDeadLetters(pool, filter, {
      order: "oldest",
      afterId,
      limit: PAGE_LETTERS,
    });
    const letters = page.filter((letter) => letter.id <= newest.id);
    if (letters.length > 0) yield letters;
    afterId = page.at(-1)?.id ?? newest.id;
  }
}

/** What the parser says today to the message of a dead letter. */
export function judgeMessage(
  letter: KeptDeadLetter,
  limits: ParseLimits,
): ParsedReading | Rejection {
  const { payload, payloadBytes, reason, detail } = letter;
  // Nobody has seen this message: it is not a tombstone.
  if (payload === null && reason === "unreadable_batch") return reject(reason, detail);
  // The beginning of a message can look whole.
  if (payload !== null && payload.length < payloadBytes) {
    return reject("size", `only the first ${payload.length} of ${payloadBytes} bytes are kept`);
  }
  return parseReading(payload, limits);
}

/**
 * Replays one dead letter. Done again it changes nothing, so that whoever does not know how a replay
 * ended repeats it.
 *
 * @throws {TransientError} if PostgreSQL is away; the outcome can be unknown.
 * @throws {ConfigurationError} if it needs manual correction.
 */
export async function replayDeadLetter(
  letter: KeptDeadLetter,
  parts: ReplayParts,
  { mode, edited }: ReplayOptions,
): Promise<ReplayOutcome> {
  if (letter.resolution !== null) return { kind: "resolved" };
  const limits = { nowMs: parts.clock.now(), ...parts.limits };
  const parsed = edited === undefined ? judgeMessage(letter, limits) : parseReading(edited, limits);
  if (mode === "try") return await foresee(parsed, parts.pool);
  if (parsed.kind === "rejection") return await refuse(letter, parsed, parts.pool);

  const { reading } = parsed;
  const note = edited === undefined ? "" : "edited";
  try {
    const verdict = await replayReading(parts.pool, letter.id, { reading, note });
    if (verdict === "resolved" || verdict === "absent") return { kind: verdict };
    if (verdict === "inserted") {
      const bytes = edited ?? letter.payload ?? new Uint8Array();
      await tellCache(parsed, messageText(bytes), parts);
    }
    return { kind: verdict, readingId: reading.unique_reading_id };
  } catch (error) {
    if (!(error instanceof RowDataError)) throw error;
    return await refuse(letter, reject("refused_by_database", describeError(error)), parts.pool);
  }
}

async function foresee(parsed: ParsedReading | Rejection, pool: SqlPool): Promise<ReplayOutcome> {
  if (parsed.kind === "rejection") return { kind: "rejected", rejection: parsed };
  const verdict = await compareWithStored(pool, parsed.reading);
  return {
    kind: verdict === "new" ? "inserted" : verdict,
    readingId: parsed.reading.unique_reading_id,
  };
}

async function refuse(
  letter: KeptDeadLetter,
  rejection: Rejection,
  pool: SqlPool,
): Promise<ReplayOutcome> {
  await noteFailedReplay(pool, letter.id, `${rejection.reason}: ${rejection.detail}`);
  return { kind: "rejected", rejection };
}

/** After COMMIT, and best effort, as in the flow. No mark: the database decides about a repeat. */
async function tellCache(
  { reading, eventTimeUs }: ParsedReading,
  text: string,
  { cache, store, log }: ReplayParts,
): Promise<void> {
  if (reading.sensor_id === INDEX_NAME) return;
  try {
    const last = { sensorId: reading.sensor_id, eventTimeUs, id: reading.unique_reading_id, text };
    const dataSetId = await store.dataSetId();
    const { lastValues } = await cache.remember(NO_MARKS, { dataSetId, values: [last] });
    if (lastValues === "not ours") {
      throw new TransientError("Redis has no last values of this data set");
    }
  } catch (error) {
    if (!(error instanceof TransientError)) throw error;
    log.warn("a last value could not be written to Redis; run rebuild-last later", {
      sensorId: reading.sensor_id,
      cause: describeError(error),
    });
  }
}
