/**
 * The messages that stand in the topic above the ledger: read as any program would, so that those
 * which are about to be deleted are known by name.
 *
 * @module
 */
import { Kafka, logLevel } from "kafkajs";
import type { Bed } from "./bed.ts";
import { openDatabase, readPositions } from "./database.ts";
import { nameOf } from "./oracle.ts";

/** A message that nobody has stored yet. */
export interface UnreadMessage {
  readonly partition: number;
  readonly offset: number;
  /** See {@linkcode nameOf}. */
  readonly name: string;
}

/** Longest time to read them, ms. */
const READ_MS_MAX = 20_000;

/** Reads every partition from where the ledger stands to its end. The consumers must not run. */
export async function readUnread(bed: Bed): Promise<readonly UnreadMessage[]> {
  const { direct, topic } = bed;
  const kafka = new Kafka({ brokers: [...direct.brokers], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(topic).finally(() => admin.disconnect());
  await using database = await openDatabase(bed);
  const next = await readPositions(database.query);
  const waiting = new Map(
    ends.map(({ partition, high }) => [partition, Number(high)] as const)
      .filter(([partition, high]) => (next.get(partition) ?? 0) < high),
  );
  const unread: UnreadMessage[] = [];
  const consumer = kafka.consumer({ groupId: `campaign-${crypto.randomUUID()}` });
  const { promise: allRead, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error("Cannot read the topic in time")), READ_MS_MAX);
  try {
    if (waiting.size === 0) return [];
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
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
      consumer.seek({ topic, partition, offset: String(offset) });
    }
    await allRead;
    return unread;
  } finally {
    clearTimeout(timer);
    await consumer.disconnect();
  }
}
