/**
 * The topic as the campaign asks for it, on connections that no fault hurts: where it ends, and which
 * messages stand in it above the ledger.
 *
 * @module
 */
import type { Bed } from "./bed.ts";
import { asKafkaAdmin, openDirectly } from "./cluster.ts";
import { openDatabase, readPositions } from "./database.ts";
import { nameOf } from "./oracle.ts";

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
const READ_MS_MAX = 20_000;

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
  const consumer = openDirectly(bed).consumer({ groupId: `campaign-${crypto.randomUUID()}` });
  const { promise: allRead, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error("Cannot read the topic in time")), READ_MS_MAX);
  try {
    if (waiting.size === 0) return [];
    await consumer.connect();
    await consumer.subscribe({ topics: [bed.topic], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachMessage: ({ partition, message }) => {
        const offset = Number(message.offset);
        if (offset >= (next.get(partition) ?? 0)) {
          unread.push({ partition, offset, name: nameOf(message.value) });
        }
        if (offset + 1 >= (waiting.get(partition) ?? Infinity)) waiting.delete(partition);
        if (waiting.size === 0) resolve();
        return Promise.resolve();
      },
    });
    for (const [partition, offset] of next) {
      consumer.seek({ topic: bed.topic, partition, offset: String(offset) });
    }
    await allRead;
    return unread;
  } finally {
    clearTimeout(timer);
    await consumer.disconnect();
  }
}
