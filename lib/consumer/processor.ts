/**
 * What happens to one batch: parse, dedupe, look up, store, mark, commit - in this order, which is
 * the whole of the delivery guarantee.
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
  type Candidate,
  candidateOf,
  groupById,
  groupId,
  type IdGroup,
  isUnanimous,
  newestBySensor,
} from "./batch.ts";
import type { Clock } from "../clock.ts";
import { deadLetterOf } from "./dead_letter.ts";
import { describeError, RowDataError, TransientError } from "../errors.ts";
import type { Message, TopicIdentity } from "../kafka/message.ts";
import { judgeMark, type MarkScope, markValue } from "./mark.ts";
import type { FlowObserver, Stage } from "./observer.ts";
import type { DeadLetter, Store, StoreOutcome } from "../postgres/store.ts";
import { parseReading } from "../reading/reading.ts";
import type { Breaker } from "../redis/breaker.ts";
import type { Cache, Mark, Remembered } from "../redis/cache.ts";
import { reject, type Rejection, type RejectionReason } from "../reading/rejection.ts";

/** Consecutive messages of one partition, stored in one transaction. */
export interface Batch {
  /** The life of the topic that the messages belong to. */
  readonly topic: TopicIdentity;
  /** The data set that the partition was placed for. */
  readonly dataSetId: string;
  /** The partition of all messages. */
  readonly partition: number;
  /** Marks of another one are not believed, see `mark.ts`. */
  readonly lineage: string;
  /** Where the ledger stands, and thus the first offset of this batch. */
  readonly fromOffset: number;
  /** Where the ledger goes: one past the last offset covered. */
  readonly nextOffset: number;
  /** The leader epoch that the ledger has, see `LedgerLine.leaderEpoch`. */
  readonly fromEpoch: number;
  /** The leader epoch that the ledger gets. */
  readonly nextEpoch: number;
  /** Ascending by offset; offsets without a message are counted as skipped. */
  readonly messages: readonly Message[];
}

/** What became of a batch. */
export type BatchOutcome =
  | {
    readonly kind: "stored";
    readonly inserted: number;
    readonly duplicates: number;
    readonly deadLetters: number;
    readonly skipped: number;
    /** False if the marks and last values of this batch could not be written. */
    readonly marked: boolean;
    /** How the data set's last values stand in Redis; undefined: no answer. */
    readonly lastValues: Remembered["lastValues"] | undefined;
  }
  | Exclude<StoreOutcome, { kind: "stored" } | { kind: "conflicts" }>;

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
  /** Notes that the Kafka commit of a partition may go to `nextOffset`. Sends nothing on its own. */
  readonly noteCommit: (partition: number, nextOffset: number) => void;
  /** Is notified of each batch that was stored. */
  readonly observer?: Pick<FlowObserver, "stored"> | undefined;
}

/**
 * Takes one batch through all steps.
 *
 * @throws {TransientError} if the database is away or the outcome is unknown: place the partition
 * again, the ledger tells.
 * @throws {ConfigurationError} if it needs manual correction.
 */
export async function processBatch(batch: Batch, parts: ProcessorParts): Promise<BatchOutcome> {
  const times = new StageTimes(parts.clock);
  const { candidates, deadLetters } = parse(batch, parts);
  const groups = groupById(candidates);
  times.end("parse");
  const verdicts = await lookUp(batch, groups, parts);
  times.end("redis");
  const work: BatchWork = { batch, groups, deadLetters, ...verdicts };
  let outcome: StoreOutcome;
  try {
    outcome = await store(work, parts.store);
  } catch (error) {
    if (error instanceof RowDataError) return await isolateRefusedRow(batch, parts, error);
    throw error;
  }
  if (outcome.kind === "conflicts") throw new TransientError("Cannot settle conflicts of a batch");
  if (outcome.kind !== "stored") return outcome;
  times.end("store");
  const lastValues = await mark(work, outcome.conflictOffsets, parts);
  times.end("mark");
  parts.noteCommit(batch.partition, batch.nextOffset);
  report(work, outcome, { times, parts });
  return {
    kind: "stored",
    inserted: outcome.inserted,
    duplicates: outcome.duplicates,
    deadLetters: outcome.deadLetters,
    skipped: skippedIn(batch),
    marked: lastValues !== undefined,
    lastValues,
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
  for (const message of batch.messages) {
    const parsed = message.unreadable === undefined
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
    : await parts.breakers.read.attempt(() => parts.cache.marks(ids));
  const scope = scopeOf(batch);
  for (const [index, group] of groups.entries()) {
    const verdict = judgeMark(marks?.[index] ?? null, scope, group.first.digest);
    if (verdict === "suspect" || !isUnanimous(group)) suspected.add(groupId(group));
    else if (verdict === "duplicate") known.add(groupId(group));
  }
  return { known, suspected };
}

/**
 * One statement, and again with more suspects while the database reports conflicts that came
 * without a dead letter. A refused attempt has stored nothing.
 */
async function store(work: BatchWork, target: ProcessorParts["store"]): Promise<StoreOutcome> {
  const suspected = new Set(work.suspected);
  const groupIdByOffset = new Map<number, string>();
  for (;;) {
    const outcome = await target.storeBatch(batchToStore({ ...work, suspected }));
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
    if (suspected.size === before) return outcome;
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
    readings: sent.map(({ message, parsed }) => ({
      offset: message.offset,
      reading: parsed.reading,
      eventTimeUs: parsed.eventTimeUs,
    })),
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
  const scope = scopeOf(work.batch);
  const conflicts = new Set(conflictOffsets);
  const marks: Mark[] = [];
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
  const answer = await parts.breakers.write.attempt(() => parts.cache.remember(marks, last));
  return answer?.lastValues;
}

function markOf(scope: MarkScope, candidate: Candidate): Mark {
  return {
    id: candidate.parsed.reading.unique_reading_id,
    value: markValue(scope, candidate.message, candidate.digest),
  };
}

/**
 * PostgreSQL refused the data of some row: the batch is halved until the row stands alone, and that
 * one becomes a dead letter. Each half is a batch of its own, so what is good is stored on the way.
 */
async function isolateRefusedRow(
  batch: Batch,
  parts: ProcessorParts,
  refusal: RowDataError,
): Promise<BatchOutcome> {
  const middle = batch.messages[Math.floor(batch.messages.length / 2)];
  if (batch.messages.length < 2 || middle === undefined) {
    return await storeRefused(batch, parts, refusal);
  }
  const { offset, leaderEpoch } = middle;
  const left = {
    ...batch,
    nextOffset: offset,
    nextEpoch: leaderEpoch,
    messages: before(batch, middle),
  };
  const right = {
    ...batch,
    fromOffset: offset,
    fromEpoch: leaderEpoch,
    messages: from(batch, middle),
  };
  const first = await processBatch(left, parts);
  if (first.kind !== "stored") return first;
  const second = await processBatch(right, parts);
  if (second.kind !== "stored") return second;
  return {
    kind: "stored",
    inserted: first.inserted + second.inserted,
    duplicates: first.duplicates + second.duplicates,
    deadLetters: first.deadLetters + second.deadLetters,
    skipped: first.skipped + second.skipped,
    marked: first.marked && second.marked,
    lastValues: second.lastValues,
  };
}

async function storeRefused(
  batch: Batch,
  parts: ProcessorParts,
  refusal: RowDataError,
): Promise<BatchOutcome> {
  const rejection = reject("refused_by_database", describeError(refusal));
  const deadLetters = batch.messages.map((message) => deadLetterOf(message, rejection));
  const work = { batch, groups: [], deadLetters, known: EMPTY, suspected: EMPTY };
  const times = new StageTimes(parts.clock);
  const outcome = await store(work, parts.store);
  if (outcome.kind === "conflicts") throw new TransientError("Cannot store a lone dead letter");
  if (outcome.kind !== "stored") return outcome;
  times.end("store");
  parts.noteCommit(batch.partition, batch.nextOffset);
  report(work, outcome, { times, parts });
  const { inserted, duplicates, deadLetters: kept } = outcome;
  return {
    kind: "stored",
    inserted,
    duplicates,
    deadLetters: kept,
    skipped: skippedIn(batch),
    marked: true,
    lastValues: "complete",
  };
}

const EMPTY: ReadonlySet<string> = new Set();

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

function report(
  { batch, deadLetters }: BatchWork,
  outcome: Extract<StoreOutcome, { kind: "stored" }>,
  { times, parts }: { readonly times: StageTimes; readonly parts: ProcessorParts },
): void {
  if (parts.observer === undefined) return;
  const rejections = new Map<RejectionReason, number>();
  for (const { reason } of deadLetters) rejections.set(reason, (rejections.get(reason) ?? 0) + 1);
  const conflicts = outcome.conflictOffsets.length;
  if (conflicts > 0) rejections.set(CONFLICT.reason, conflicts);
  parts.observer.stored({
    partition: batch.partition,
    nextOffset: batch.nextOffset,
    messages: batch.messages,
    inserted: outcome.inserted,
    duplicates: outcome.duplicates,
    rejections,
    skipped: skippedIn(batch),
    stageMs: times.ms,
    storedAtMs: times.storedAtMs,
  });
}

function before(batch: Batch, middle: Message): readonly Message[] {
  return batch.messages.filter((message) => message.offset < middle.offset);
}

function from(batch: Batch, middle: Message): readonly Message[] {
  return batch.messages.filter((message) => message.offset >= middle.offset);
}

function skippedIn(batch: Batch): number {
  return batch.nextOffset - batch.fromOffset - batch.messages.length;
}

function scopeOf(batch: Batch): MarkScope {
  return {
    lineage: batch.lineage,
    partition: batch.partition,
    fromOffset: batch.fromOffset,
    fromEpoch: batch.fromEpoch,
  };
}
