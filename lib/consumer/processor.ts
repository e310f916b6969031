/**
 * What happens to one batch: parse, dedupe, look up, store, mark - in this order, which is the whole of
 * the delivery guarantee. Then the intake moves the partition on.
 *
 * Every reading that the brokers acknowledged ends in `sensor_events` once, or, if it cannot be
 * stored, in `dead_letters`; delivery is at least once and the effect is exactly once. The ledger
 * moves in the transaction that stores everything below it, so nothing can be skipped; the primary
 * key decides what is a repeat, so nothing can be doubled. Marks and the Kafka commit come after
 * COMMIT and decide nothing: losing them costs work. The stronger promise, one effect over Kafka
 * and PostgreSQL together, would need a transaction that spans both, which Kafka does not offer.
 *
 * @module
 */
import {
  type Batch,
  firstOf,
  groupById,
  type Groups,
  idsOf,
  isUnanimous,
  newestBySensor,
  rowsOf,
  skippedIn,
} from "./batch.ts";
import type { Clock } from "../clock.ts";
import type { CopyChoice } from "./copy_choice.ts";
import { deadLetterOf } from "./dead_letter.ts";
import { describeError, RowDataError, TransientError } from "../errors.ts";
import { judgeMark, MarkWriter } from "./mark.ts";
import type { BatchReport, Stage } from "./observer.ts";
import type { BatchToStore, DeadLetter, Store, StoreOutcome } from "../postgres/store.ts";
import { messageText, type ParseLimits, parseReading } from "../reading/reading.ts";
import type { ReadingColumns } from "../reading/reading_columns.ts";
import { readInto } from "../reading/reading_pass.ts";
import { SENSOR_ID } from "../reading/reading_schema.ts";
import type { Breaker } from "../redis/breaker.ts";
import type { Cache, LastValue, Remembered } from "../redis/cache.ts";
import { INDEX_NAME } from "../redis/scripts.ts";
import { reject, type Rejection, type RejectionReason } from "../reading/rejection.ts";

/** A batch whose transaction has been committed. */
export interface StoredBatch extends
  Pick<
    BatchReport,
    "inserted" | "duplicates" | "rejections" | "stageMs" | "storedAtMs"
  > {
  /** Tells it from the other outcomes. */
  readonly kind: "stored";
  /** How the data set's last values stand in Redis; undefined: it did not take those of this batch. */
  readonly lastValues: Remembered["lastValues"] | undefined;
}

/** What became of a batch. Only `stored` changed anything. */
export type BatchOutcome =
  | StoredBatch
  /** PostgreSQL refused the data of some row. */
  | { readonly kind: "refused"; readonly refusal: RowDataError }
  | Exclude<StoreOutcome, { kind: "stored" | "conflicts" | "repeated" }>;

/** What the processor works with. */
export interface ProcessorParts {
  /** Decides and keeps. */
  readonly store: Pick<Store, "storeBatch">;
  /** Saves the store work. */
  readonly cache: Cache;
  /** Keep Redis within its time budget; apart, because it can refuse writes and answer reads. */
  readonly breakers: { readonly read: Breaker; readonly write: Breaker };
  /** Tells now, by which a timestamp lies in the future. */
  readonly clock: Clock;
  /** Bounds of a timestamp, see {@linkcode parseReading}. */
  readonly limits: Omit<ParseLimits, "nowMs">;
  /** Is filled with the readings of the batch, and nobody else's until the batch has ended. */
  readonly columns: ReadingColumns;
  /** Chooses how the partition's batches are stored. */
  readonly copyChoice: CopyChoice;
}

/**
 * Takes one batch through all steps.
 *
 * @throws {TransientError} if the database is away or the outcome is unknown: place the partition
 * again, the ledger tells.
 * @throws {ConfigurationError} if it needs manual correction.
 * @throws {RowDataError} if the database refuses the dead letter of a message that it refused.
 */
export async function processBatch(batch: Batch, parts: ProcessorParts): Promise<BatchOutcome> {
  const times = new StageTimes(parts.clock);
  const parsed = parse(batch, parts);
  times.end("parse");
  const known = await lookUp(batch, parsed.groups, parts);
  times.end("redis");
  const work: BatchWork = { batch, columns: parts.columns, ...parsed, ...known };
  const outcome = await store(work, parts);
  if (outcome.kind !== "stored") return outcome;
  times.end("store");
  const lastValues = await mark(work, outcome.conflictOffsets, parts);
  times.end("mark");
  return {
    kind: "stored",
    inserted: outcome.inserted,
    duplicates: outcome.duplicates,
    rejections: countRejections(work.deadLetters, outcome.conflictOffsets.length),
    lastValues,
    stageMs: times.ms,
    storedAtMs: times.storedAtMs,
  };
}

/** What is known of an id before the database is asked. Bytes, because a batch has thousands. */
const UNKNOWN = 0;
/** A trusted mark knows it: its messages are not sent to the database. */
const STORED = 1;
/** Its messages may conflict: all of them are sent, each with its dead letter prepared. */
const SUSPECT = 2;

/** A batch between its steps. */
interface BatchWork {
  readonly batch: Batch;
  readonly columns: ReadingColumns;
  readonly groups: Groups;
  readonly deadLetters: readonly DeadLetter[];
  /** One of the three above for each group. */
  readonly verdicts: Uint8Array;
  /** Whether Redis answered in time. */
  readonly areMarksKnown: boolean;
}

/** The row of a reading is the index of its message. */
function parse(
  batch: Batch,
  { columns, clock, limits }: ProcessorParts,
): Pick<BatchWork, "groups" | "deadLetters"> {
  const { messages } = batch;
  const target = { columns, bounds: { nowMs: clock.now(), ...limits } };
  const rows = new Uint32Array(messages.length);
  const deadLetters: DeadLetter[] = [];
  let readings = 0;
  columns.begin(messages.bytes);
  for (let row = 0; row < messages.length; row++) {
    columns.offsets[row] = messages.offsets[row]!;
    const rejection = readRow(batch, row, target);
    if (rejection === undefined) rows[readings++] = row;
    else deadLetters.push(deadLetterOf(messages.at(row), rejection));
  }
  return { groups: groupById(columns, rows.subarray(0, readings)), deadLetters };
}

/** Fills the row of a message, or says why it is not a reading. */
function readRow(
  { messages, refusal }: Batch,
  row: number,
  { columns, bounds }: { readonly columns: ReadingColumns; readonly bounds: ParseLimits },
): Rejection | undefined {
  if (refusal !== undefined) return reject("refused_by_database", describeError(refusal));
  const unreadable = messages.unreadable(row);
  if (unreadable !== undefined) return reject("unreadable_batch", unreadable);
  const { bytes } = messages;
  const from = messages.valuesFrom[row]!;
  const to = messages.valuesTo[row]!;
  const isTombstone = from < 0;
  if (!isTombstone && readInto(columns, row, bytes, from, to, bounds)) return undefined;
  const parsed = parseReading(isTombstone ? null : bytes.subarray(from, to), bounds);
  if (parsed.kind === "rejection") return parsed;
  columns.put(row, parsed);
  return undefined;
}

async function lookUp(
  batch: Batch,
  groups: Groups,
  { columns, breakers, cache }: ProcessorParts,
): Promise<Pick<BatchWork, "verdicts" | "areMarksKnown">> {
  // Without an answer in time nothing is known, and the database decides alone.
  const marks = groups.count === 0
    ? []
    : await breakers.read.attempt(() => cache.marks(idsOf(columns, groups)));
  const verdicts = new Uint8Array(groups.count);
  for (let group = 0; group < groups.count; group++) {
    const mark = marks?.[group] ?? null;
    const verdict = mark === null
      ? "unknown"
      : judgeMark(mark, batch, columns.digestText(firstOf(groups, group)));
    if (verdict === "suspect" || !isUnanimous(columns, groups, group)) verdicts[group] = SUSPECT;
    else if (verdict === "duplicate") verdicts[group] = STORED;
  }
  return { verdicts, areMarksKnown: marks !== undefined };
}

/**
 * One transaction; and again, row by row, after a copy in vain, and with more suspects while the
 * database reports conflicts that came without a dead letter. A refused attempt has stored nothing.
 */
async function store(
  work: BatchWork,
  { store, copyChoice }: ProcessorParts,
): Promise<
  | Exclude<StoreOutcome, { kind: "conflicts" | "repeated" }>
  | Extract<BatchOutcome, { kind: "refused" }>
> {
  const { verdicts, areMarksKnown } = work;
  let way = copyChoice.next({ hasSuspects: verdicts.includes(SUSPECT), areMarksKnown });
  try {
    for (;;) {
      const outcome = await store.storeBatch(batchToStore(work), way);
      if (outcome.kind === "repeated") {
        copyChoice.wasInVain();
        way = "compare";
      } else if (outcome.kind === "conflicts") {
        suspect(work, outcome.offsets);
      } else {
        if (outcome.kind === "stored") copyChoice.wasStored(way, outcome);
        return outcome;
      }
    }
  } catch (error) {
    // A dead letter that is refused stays a fault of ours.
    if (!(error instanceof RowDataError) || work.batch.refusal !== undefined) throw error;
    return { kind: "refused", refusal: error };
  }
}

/**
 * Makes suspects of the ids whose readings conflict. Each time there is a new one, so nobody asks more
 * often than there are ids.
 */
function suspect({ columns, groups, verdicts }: BatchWork, offsets: readonly number[]): void {
  const conflicts = new Set(offsets);
  let found = 0;
  for (let group = 0; group < groups.count; group++) {
    const isSent = verdicts[group] === UNKNOWN;
    if (!isSent || !conflicts.has(columns.offsets[firstOf(groups, group)]!)) continue;
    verdicts[group] = SUSPECT;
    found++;
  }
  if (found === 0) throw new TransientError("Cannot settle conflicts of a batch");
}

function batchToStore(work: BatchWork): BatchToStore {
  const { batch, columns, groups, verdicts, deadLetters } = work;
  const sent = new Uint32Array(groups.rows.length);
  const suspects: DeadLetter[] = [];
  let readings = 0;
  for (let group = 0; group < groups.count; group++) {
    if (verdicts[group] === STORED) continue;
    // The repeats say the same as the first. Should the database call the first a conflict, then
    // the whole group comes again as suspects.
    if (verdicts[group] === UNKNOWN) sent[readings++] = firstOf(groups, group);
    else {
      for (const row of rowsOf(groups, group)) {
        sent[readings++] = row;
        suspects.push(deadLetterOf(batch.messages.at(row), CONFLICT));
      }
    }
  }
  const { dataSetId, topic, partition, fromOffset, nextOffset, fromEpoch, nextEpoch } = batch;
  return {
    dataSetId,
    topic,
    partition,
    fromOffset,
    nextOffset,
    fromEpoch,
    nextEpoch,
    readings: { columns, rows: sent.subarray(0, readings) },
    duplicates: groups.rows.length - readings,
    skipped: skippedIn(batch),
    deadLetters,
    suspects,
  };
}

const CONFLICT: Rejection = reject(
  "id_conflict",
  "unique_reading_id is already stored with other content",
);

/** Returns what Redis answered, or undefined if nothing was written. */
async function mark(
  work: BatchWork,
  conflictOffsets: readonly number[],
  { breakers, cache }: ProcessorParts,
): Promise<Remembered["lastValues"] | undefined> {
  const { batch, columns, groups, verdicts } = work;
  const conflicts = new Set(conflictOffsets);
  const isStored = (row: number): boolean => !conflicts.has(columns.offsets[row]!);
  const isAllStored = conflicts.size === 0;
  const writer = new MarkWriter(batch, columns, groups.count);
  for (let group = 0; group < groups.count; group++) {
    if (verdicts[group] === STORED) continue;
    const first = isAllStored ? firstOf(groups, group) : rowsOf(groups, group).find(isStored);
    if (first === undefined) writer.conflicting(firstOf(groups, group));
    else writer.stored(first, batch.messages.leaderEpochs[first]!);
  }
  const rows = isAllStored ? groups.rows : groups.rows.filter(isStored);
  const values = lastValuesOf(batch, columns, rows);
  // Nothing to write is nothing new.
  if (values.length === 0 && writer.marks.count === 0) return "complete";
  const { dataSetId } = batch;
  const answer = await breakers.write.attempt(() =>
    cache.remember(writer.marks, { dataSetId, values })
  );
  return answer?.lastValues;
}

function lastValuesOf(
  { messages: { bytes, valuesFrom, valuesTo } }: Batch,
  columns: ReadingColumns,
  rows: Uint32Array,
): readonly LastValue[] {
  const values = newestBySensor(columns, rows).map((row) => ({
    sensorId: columns.text(row, SENSOR_ID),
    eventTimeUs: columns.eventTimesUs[row]!,
    id: columns.idText(row),
    text: messageText(bytes.subarray(valuesFrom[row], valuesTo[row])),
  }));
  // The key of a sensor with this name would be that of the index itself.
  return values.filter(({ sensorId }) => sensorId !== INDEX_NAME);
}

/** How long each stage of a batch took. */
class StageTimes {
  readonly ms: Record<Stage, number> = { parse: 0, redis: 0, store: 0, mark: 0 };
  /** When the transaction had been committed, ms since 1970. */
  storedAtMs = 0;
  readonly #clock: Clock;
  #sinceMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMs = clock.elapsedMs();
  }

  /** What has passed since the last stage ended belongs to this one. */
  end(stage: Stage): void {
    const nowMs = this.#clock.elapsedMs();
    this.ms[stage] += nowMs - this.#sinceMs;
    this.#sinceMs = nowMs;
    if (stage === "store") this.storedAtMs = this.#clock.now();
  }
}

function countRejections(
  deadLetters: readonly DeadLetter[],
  conflicts: number,
): ReadonlyMap<RejectionReason, number> {
  const counts = new Map<RejectionReason, number>();
  for (const { reason } of deadLetters) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  if (conflicts > 0) counts.set(CONFLICT.reason, conflicts);
  return counts;
}
