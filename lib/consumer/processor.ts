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
  type Candidate,
  candidateOf,
  groupById,
  groupId,
  type IdGroup,
  isUnanimous,
  newestBySensor,
  skippedIn,
} from "./batch.ts";
import type { Clock } from "../clock.ts";
import { deadLetterOf } from "./dead_letter.ts";
import { describeError, RowDataError, TransientError } from "../errors.ts";
import { judgeMark, markValue } from "./mark.ts";
import type { Stage } from "./observer.ts";
import type { DeadLetter, Store, StoreOutcome, StoreWay } from "../postgres/store.ts";
import { parseReading } from "../reading/reading.ts";
import { readingRows } from "../reading/reading_columns.ts";
import type { Breaker } from "../redis/breaker.ts";
import type { Cache, Remembered } from "../redis/cache.ts";
import { idsOf, marksOf, type MarkText } from "../redis/marks.ts";
import { reject, type Rejection, type RejectionReason } from "../reading/rejection.ts";

/** A batch whose transaction has been committed. */
export interface StoredBatch {
  /** Tells it from the other outcomes. */
  readonly kind: "stored";
  /** Readings that became rows. */
  readonly inserted: number;
  /** Readings that were stored already. */
  readonly duplicates: number;
  /** How many messages became dead letters, by reason. */
  readonly rejections: ReadonlyMap<RejectionReason, number>;
  /** How the data set's last values stand in Redis; undefined: it did not take those of this batch. */
  readonly lastValues: Remembered["lastValues"] | undefined;
  /** Duration of each stage, ms. */
  readonly stageMs: Readonly<Record<Stage, number>>;
  /** When the transaction had been committed, ms since 1970. */
  readonly storedAtMs: number;
}

/** What became of a batch. Only `stored` changed anything. */
export type BatchOutcome =
  | StoredBatch
  /** PostgreSQL refused the data of some row. */
  | { readonly kind: "refused"; readonly refusal: RowDataError }
  | Exclude<StoreOutcome, { kind: "stored" } | { kind: "conflicts" } | { kind: "repeated" }>;

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
  readonly limits: { readonly futureSkewSecondsMax: number; readonly pastDaysMax: number };
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
  const { candidates, deadLetters } = parse(batch, parts);
  const groups = groupById(candidates);
  times.end("parse");
  const verdicts = await lookUp(batch, groups, parts);
  times.end("redis");
  const work: BatchWork = { batch, groups, deadLetters, ...verdicts };
  const outcome = await store(work, parts.store);
  if (outcome.kind !== "stored") return outcome;
  times.end("store");
  const lastValues = await mark(work, outcome.conflictOffsets, parts);
  times.end("mark");
  return {
    kind: "stored",
    inserted: outcome.inserted,
    duplicates: outcome.duplicates,
    rejections: countRejections(deadLetters, outcome.conflictOffsets.length),
    lastValues,
    stageMs: times.ms,
    storedAtMs: times.storedAtMs,
  };
}

/** A batch between its steps. */
interface BatchWork {
  readonly batch: Batch;
  readonly groups: readonly IdGroup[];
  readonly deadLetters: readonly DeadLetter[];
  /** Ids that a trusted mark knows: their messages are not sent to the database. */
  readonly known: ReadonlySet<string>;
  /** Ids whose messages may conflict: all of them are sent, each with its dead letter prepared. */
  readonly suspected: ReadonlySet<string>;
}

function parse(
  batch: Batch,
  parts: ProcessorParts,
): { candidates: readonly Candidate[]; deadLetters: readonly DeadLetter[] } {
  const candidates: Candidate[] = [];
  const deadLetters: DeadLetter[] = [];
  const limits = { nowMs: parts.clock.now(), ...parts.limits };
  const { refusal } = batch;
  for (const message of batch.messages) {
    const parsed = refusal !== undefined
      ? reject("refused_by_database", describeError(refusal))
      : message.unreadable === undefined
      ? parseReading(message.value, limits)
      : reject("unreadable_batch", message.unreadable);
    if (parsed.kind === "reading") candidates.push(candidateOf(message, parsed));
    else deadLetters.push(deadLetterOf(message, parsed));
  }
  return { candidates, deadLetters };
}

async function lookUp(
  batch: Batch,
  groups: readonly IdGroup[],
  parts: ProcessorParts,
): Promise<{ known: Set<string>; suspected: Set<string> }> {
  const known = new Set<string>();
  const suspected = new Set<string>();
  const ids = groups.map(groupId);
  // Without an answer in time nothing is known, and the database decides alone.
  const marks = ids.length === 0
    ? []
    : await parts.breakers.read.attempt(() => parts.cache.marks(idsOf(ids)));
  const scope = batch;
  for (const [index, group] of groups.entries()) {
    const verdict = judgeMark(marks?.[index] ?? null, scope, group.first.digest);
    if (verdict === "suspect" || !isUnanimous(group)) suspected.add(groupId(group));
    else if (verdict === "duplicate") known.add(groupId(group));
  }
  return { known, suspected };
}

/**
 * One transaction, and again where its rows must be compared, and with more suspects while the
 * database reports conflicts that came without a dead letter. A refused attempt has stored nothing.
 */
async function store(
  work: BatchWork,
  target: ProcessorParts["store"],
): Promise<
  | Exclude<StoreOutcome, { kind: "conflicts" } | { kind: "repeated" }>
  | Extract<BatchOutcome, { kind: "refused" }>
> {
  let way: StoreWay = work.suspected.size === 0 ? "copy" : "compare";
  const suspected = new Set(work.suspected);
  const groupIdByOffset = new Map<number, string>();
  try {
    for (;;) {
      const outcome = await target.storeBatch(batchToStore({ ...work, suspected }), way);
      way = "compare";
      if (outcome.kind === "repeated") continue;
      if (outcome.kind !== "conflicts") return outcome;
      if (groupIdByOffset.size === 0) {
        for (const group of work.groups) {
          groupIdByOffset.set(group.first.message.offset, groupId(group));
        }
      }
      const before = suspected.size;
      for (const offset of outcome.offsets) {
        const id = groupIdByOffset.get(offset);
        if (id !== undefined) suspected.add(id);
      }
      // Each round adds an id, so there are at most as many rounds as ids.
      if (suspected.size === before) {
        throw new TransientError("Cannot settle conflicts of a batch");
      }
    }
  } catch (error) {
    // Of a dead letter nothing is left that could be refused.
    if (!(error instanceof RowDataError) || work.batch.refusal !== undefined) throw error;
    return { kind: "refused", refusal: error };
  }
}

function batchToStore(work: BatchWork): Parameters<Store["storeBatch"]>[0] {
  const { batch } = work;
  const sent: Candidate[] = [];
  const suspects: DeadLetter[] = [];
  let duplicates = 0;
  for (const group of work.groups) {
    if (work.suspected.has(groupId(group))) {
      for (const candidate of [group.first, ...group.repeats]) {
        sent.push(candidate);
        suspects.push(deadLetterOf(candidate.message, CONFLICT));
      }
    } else if (work.known.has(groupId(group))) {
      duplicates += 1 + group.repeats.length;
    } else {
      // The repeats say the same as the first. Should the database call the first a conflict, then
      // the whole group comes again as suspects.
      sent.push(group.first);
      duplicates += group.repeats.length;
    }
  }
  return {
    dataSetId: batch.dataSetId,
    topic: batch.topic,
    partition: batch.partition,
    fromOffset: batch.fromOffset,
    nextOffset: batch.nextOffset,
    fromEpoch: batch.fromEpoch,
    nextEpoch: batch.nextEpoch,
    readings: readingRows(sent.map(({ message, parsed }) => ({
      offset: message.offset,
      reading: parsed.reading,
      eventTimeUs: parsed.eventTimeUs,
    }))),
    duplicates,
    skipped: skippedIn(batch),
    deadLetters: work.deadLetters,
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
  parts: ProcessorParts,
): Promise<Remembered["lastValues"] | undefined> {
  const scope = work.batch;
  const conflicts = new Set(conflictOffsets);
  const marks: MarkText[] = [];
  const stored: Candidate[] = [];
  for (const group of work.groups) {
    if (conflicts.size === 0 && group.repeats.length === 0) {
      stored.push(group.first);
      if (!work.known.has(groupId(group))) marks.push(markOf(scope, group.first));
      continue;
    }
    const equalToStored = [group.first, ...group.repeats]
      .filter((candidate) => !conflicts.has(candidate.message.offset));
    stored.push(...equalToStored);
    const first = equalToStored[0];
    // A mark without content makes the next message with this id a suspect from the start.
    if (first === undefined) marks.push({ id: groupId(group), value: `${scope.lineage}:::` });
    else if (!work.known.has(groupId(group))) marks.push(markOf(scope, first));
  }
  // Nothing to write is nothing new.
  if (stored.length === 0 && marks.length === 0) return "complete";
  const { dataSetId } = work.batch;
  const last = { dataSetId, values: newestBySensor(stored) };
  const answer = await parts.breakers.write.attempt(() =>
    parts.cache.remember(marksOf(marks), last)
  );
  return answer?.lastValues;
}

function markOf(scope: Batch, candidate: Candidate): MarkText {
  return {
    id: candidate.parsed.reading.unique_reading_id,
    value: markValue(scope, candidate.message, candidate.digest),
  };
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
