/**
 * A batch, and what can be decided about it by looking at it alone: which messages repeat each
 * other, and which reading is the newest of its sensor.
 *
 * @module
 */
import type { RowDataError } from "../errors.ts";
import type { Message } from "../kafka/message.ts";
import type { Messages } from "../kafka/messages.ts";
import type { LastValue } from "../redis/cache.ts";
import { INDEX_NAME } from "../redis/scripts.ts";
import { messageText, type ParsedReading, sameContent } from "../reading/reading.ts";
import { ReadingColumns } from "../reading/reading_columns.ts";
import type { PlaceScope } from "./place.ts";

/** Consecutive messages of one partition, stored in one transaction. */
export interface Batch extends PlaceScope {
  /** The partition of all messages. */
  readonly partition: number;
  /** Where the ledger stands, and thus the first offset of this batch. */
  readonly fromOffset: number;
  /** Where the ledger goes: one past the last offset covered. */
  readonly nextOffset: number;
  /** The leader epoch that the ledger has, see `LedgerLine.leaderEpoch`. */
  readonly fromEpoch: number;
  /** The leader epoch that the ledger gets. */
  readonly nextEpoch: number;
  /** Ascending by offset; offsets without a message are counted as skipped. */
  readonly messages: Messages;
  /** Why PostgreSQL refused the data of the batch's one message, which becomes a dead letter. */
  readonly refusal?: RowDataError;
}

/** Offsets of the batch without a message. */
export function skippedIn({ nextOffset, fromOffset, messages }: Batch): number {
  return nextOffset - fromOffset - messages.length;
}

/** A valid message of a batch. */
export interface Candidate {
  /** The message as it came. */
  readonly message: Message;
  /** The reading in it. */
  readonly parsed: ParsedReading;
  /** Digest of the content, all but the id. */
  readonly digest: string;
}

/** Readings of one batch that carry the same id; mostly there is one. */
export interface IdGroup {
  /** The one with the lowest offset. */
  readonly first: Candidate;
  /** Later messages with the same id, by rising offset, whatever their content. */
  readonly repeats: readonly Candidate[];
}

const NO_REPEATS: readonly Candidate[] = [];

/** One row, for the digests. */
const columns = new ReadingColumns(1);

/** Pairs a valid message with the digest of its content. */
export function candidateOf(message: Message, parsed: ParsedReading): Candidate {
  columns.begin(new Uint8Array());
  columns.put(0, parsed);
  return { message, parsed, digest: columns.digestText(0) };
}

/**
 * Groups candidates by id, in the order of the ids: the order in which the store needs them, so
 * that nobody has to sort again.
 */
export function groupById(candidates: readonly Candidate[]): readonly IdGroup[] {
  const sorted = candidates.toSorted(byIdAndOffset);
  const groups: IdGroup[] = [];
  for (let start = 0; start < sorted.length;) {
    const first = sorted[start]!;
    let end = start + 1;
    while (end < sorted.length && idOf(sorted[end]!) === idOf(first)) end++;
    groups.push({ first, repeats: end === start + 1 ? NO_REPEATS : sorted.slice(start + 1, end) });
    start = end;
  }
  return groups;
}

/** The id that all messages of a group carry. */
export function groupId(group: IdGroup): string {
  return idOf(group.first);
}

function idOf(candidate: Candidate): string {
  return candidate.parsed.reading.unique_reading_id;
}

function byIdAndOffset(a: Candidate, b: Candidate): number {
  const idA = idOf(a);
  const idB = idOf(b);
  return idA < idB ? -1 : idA > idB ? 1 : a.message.offset - b.message.offset;
}

/** True if all messages of the group say the same. */
export function isUnanimous(group: IdGroup): boolean {
  return group.repeats.every((repeat) => sameContent(repeat.parsed, group.first.parsed));
}

/** The newest reading of each sensor by (event time, id), whose place is `last:<sensor_id>`. */
export function newestBySensor(candidates: Iterable<Candidate>): readonly LastValue[] {
  const newest = new Map<string, Candidate>();
  for (const candidate of candidates) {
    const sensorId = candidate.parsed.reading.sensor_id;
    const known = newest.get(sensorId);
    if (known === undefined || isNewer(candidate.parsed, known.parsed)) {
      newest.set(sensorId, candidate);
    }
  }
  // The key of a sensor with this name would be that of the index itself.
  newest.delete(INDEX_NAME);
  return Array.from(newest.values(), ({ message, parsed }) => ({
    sensorId: parsed.reading.sensor_id,
    eventTimeUs: parsed.eventTimeUs,
    id: parsed.reading.unique_reading_id,
    text: messageText(message.value ?? new Uint8Array()),
  }));
}

function isNewer(candidate: ParsedReading, known: ParsedReading): boolean {
  if (candidate.eventTimeUs !== known.eventTimeUs) return candidate.eventTimeUs > known.eventTimeUs;
  return candidate.reading.unique_reading_id > known.reading.unique_reading_id;
}
