/**
 * The topic as the campaign asks for it, on connections that no fault hurts: where it ends, and which
 * messages stand in it above the ledger.
 *
 * @module
 */
import type { Bed } from "./bed.ts";
import { asKafkaAdmin } from "./cluster.ts";
import { openDatabase, readPositions } from "./database.ts";
import { nameOf } from "./oracle.ts";
import { readTopic } from "./topic_reader.ts";

/** A message that nobody has stored yet. */
export interface UnreadMessage {
  /** Where it stands. */
  readonly partition: number;
  /** Where it stands. */
  readonly offset: number;
  /** See {@linkcode nameOf}. */
  readonly name: string;
}

/** Longest time to read them, ms. */
const READ_MS_MAX = 60_000;

/** One past the last offset of each partition. */
export async function readEnds(bed: Bed): Promise<ReadonlyMap<number, number>> {
  const ends = await asKafkaAdmin(bed, (admin) => admin.fetchTopicOffsets(bed.topic));
  return new Map(ends.map(({ partition, high }) => [partition, Number(high)]));
}

/** Reads every partition from where the ledger stands up to its end. The consumers must not run. */
export async function readUnread(
  bed: Bed,
  ends: ReadonlyMap<number, number>,
): Promise<readonly UnreadMessage[]> {
  await using database = await openDatabase(bed);
  const next = await readPositions(database.query);
  const waiting = new Map([...ends].filter(([partition, end]) => (next.get(partition) ?? 0) < end));
  const unread: UnreadMessage[] = [];
  if (waiting.size === 0) return [];
  const { direct: { brokers }, topic } = bed;
  await readTopic({ brokers, topic, from: next, limitMs: READ_MS_MAX }, (message) => {
    const { partition, offset } = message;
    unread.push({ partition, offset, name: nameOf(message.value) });
    if (offset + 1 >= (waiting.get(partition) ?? Infinity)) waiting.delete(partition);
    return waiting.size === 0;
  });
  return unread;
}
