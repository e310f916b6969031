/**
 * Faults around Kafka: where partitions are read from, what is fetched, commits, and the producer.
 *
 * @module
 */
import type { MemoryPartition } from "../fakes/kafka_topic.ts";
import { TransientError } from "../lib/errors.ts";
import type { FetchedBatch } from "../lib/kafka/group_member.ts";
import {
  type Message,
  type MessageToSend,
  offlineOf,
  onlineOf,
  type Watermarks,
} from "../lib/kafka/message.ts";
import { Messages } from "../lib/kafka/messages.ts";
import type { TopicWriter } from "../lib/kafka/topic_writer.ts";
import { withBatches, withMember, withStore } from "./bug_tools.ts";
import { GROUP } from "./servers.ts";
import type { PlantedBug } from "./world.ts";

/** Where partitions are read from. */
export const PLACE_BUGS: readonly PlantedBug[] = [
  {
    name: "the end of a fetch is off by one",
    consumer: withBatches(({ nextOffset }) => ({ nextOffset: nextOffset + 1 })),
  },
  {
    name: "a partition is opened one past its beginning",
    consumer: withStore((store) => ({
      openLedgerLine: (topic, partition, first) =>
        store.openLedgerLine(topic, partition, first + 1),
    })),
  },
  {
    name: "a fetch ends with its last message, whatever control records follow",
    consumer: withBatches((batch) => ({
      nextOffset: (batch.messages.offsets.at(-1) ?? batch.fetchedOffset - 1) + 1,
    })),
  },
  {
    name: "a partition is sought when it is assigned and never again",
    consumer: withMember((member) => {
      const sought = new Set<number>();
      return {
        start: (handlers) =>
          member.start({
            assigned: (partitions) => {
              sought.clear();
              handlers.assigned(partitions);
            },
            batch: (batch) => handlers.batch(batch),
            refused: (error) => handlers.refused(error),
            crashed: (error) => handlers.crashed(error),
          }),
        seek: (partition, offset) => {
          if (!sought.has(partition)) member.seek(partition, offset);
          sought.add(partition);
        },
      };
    }),
  },
  {
    name: "a group without a position starts at the end",
    consumer: withMember((member) => ({
      watermarks: async () => {
        const marks = onlineOf(await member.watermarks());
        return new Map(
          Array.from(marks, ([partition, { high }]): [number, Watermarks] => [
            partition,
            { low: high, high },
          ]),
        );
      },
    })),
  },
  {
    name: "the group's offsets are believed when the ledger has been lost",
    consumer: withMember((member, _, { servers }) => ({
      committedByOthers: async () => {
        await member.committedByOthers();
        return new Map(servers.kafka.groups.committed.get(GROUP));
      },
    })),
  },
  {
    name: "the group's offsets of a former life of the topic are believed",
    consumer: (ports, { servers }) => ({
      ...ports,
      store: {
        ...ports.store,
        readLedger: async () => {
          const lines = await ports.store.readLedger();
          const { topicId } = servers.kafka.identity();
          const present = lines.filter((line) => line.topic.topicId === topicId);
          // Without any line at all, the database was lost, and that is another bug.
          return present.length > 0 || lines.length === 0 ? lines : present;
        },
      },
      member: {
        ...ports.member,
        committedByOthers: async () => {
          await ports.member.committedByOthers();
          const isKnown = servers.store.ledger.length > 0;
          return new Map(isKnown ? servers.kafka.groups.committed.get(GROUP) : []);
        },
      },
    }),
  },
];

/**
 * As kafkajs filters: of the list of aborted transactions one begins with each record, in the order of
 * the list, and whatever has the key of an abort marker ends one.
 */
function withAbortedOneByOne(
  { records, transactions }: MemoryPartition,
  { fetchedOffset, nextOffset }: FetchedBatch,
): Message[] {
  const fetched = records.filter(({ offset }) => offset >= fetchedOffset && offset < nextOffset);
  const ahead = transactions.abortedWithin(fetchedOffset, nextOffset - 1);
  const open = new Set<bigint | undefined>();
  return fetched.filter((record): record is Message => {
    const next = ahead[0];
    if (next !== undefined && record.offset >= next.firstOffset) {
      open.add(next.producerId);
      ahead.shift();
    }
    if ("control" in record) {
      if (record.ends?.outcome === "abort") open.delete(record.ends.producerId);
      return false;
    }
    if (record.key?.length !== 4 || record.key.some((byte) => byte !== 0)) {
      return !open.has(record.producerId);
    }
    open.delete(record.producerId);
    return true;
  });
}

/** What becomes of transactions of others. */
export const TRANSACTION_BUGS: readonly PlantedBug[] = [
  {
    name: "aborted transactions are left out one by one, and messages can end them",
    consumer: withMember((member, _, { servers }) => ({
      start: (handlers) =>
        member.start({
          assigned: (partitions) => handlers.assigned(partitions),
          batch: (batch) => {
            const messages = withAbortedOneByOne(servers.kafka.partition(batch.partition), batch);
            return handlers.batch({ ...batch, messages: Messages.of(messages) });
          },
          refused: (error) => handlers.refused(error),
          crashed: (error) => handlers.crashed(error),
        }),
    })),
  },
  {
    name: "what lies behind an open transaction is taken for messages that wait",
    consumer: withMember((member, _, { servers }) => ({
      watermarks: async () => {
        const marks = onlineOf(await member.watermarks());
        return new Map(
          Array.from(marks, ([partition, { low }]): [number, Watermarks] => [
            partition,
            { low, high: servers.kafka.partition(partition).next },
          ]),
        );
      },
    })),
  },
];

/** Logs that lose their ends. */
export const EPOCH_BUGS: readonly PlantedBug[] = [
  {
    name: "nobody asks where leader epochs end",
    consumer: withMember(() => ({
      epochEnds: (epochs) =>
        Promise.resolve(new Map(Array.from(epochs, ([partition]) => [partition, undefined]))),
    })),
  },
  {
    name: "the epoch of a fetch is not compared with the ledger's",
    consumer: (ports, context) => {
      const last = new Map<number, number>();
      return withBatches(({ partition, firstEpoch, lastEpoch }) => {
        const stated = last.get(partition) ?? firstEpoch;
        last.set(partition, lastEpoch);
        return { firstEpoch: stated };
      })(ports, context);
    },
  },
  {
    name: "what one broker says of the end of a log is believed",
    consumer: withMember((member) => {
      let said: ReadonlyMap<number, Watermarks> = new Map();
      let asked = 0;
      return {
        // As often as a line must be found too far ahead.
        watermarks: async () => {
          const marks = onlineOf(await member.watermarks());
          if (asked++ % 3 === 0) said = marks;
          return new Map(
            Array.from(marks, ([partition, { low }]) => {
              return [partition, { low, high: Math.max(low, said.get(partition)?.high ?? 0) }];
            }),
          );
        },
        epochEnds: async (epochs) => {
          const ends = await member.epochEnds(epochs);
          return new Map(
            Array.from(ends, ([partition, end]) => {
              const high = said.get(partition)?.high ?? Infinity;
              return [partition, end && { ...end, endOffset: Math.min(end.endOffset, high) }];
            }),
          );
        },
      };
    }),
  },
];

/** Commits, and calls that hang. */
export const COMMIT_BUGS: readonly PlantedBug[] = [
  {
    name: "a call that hangs is waited for",
    watchdogSeconds: 0,
  },
  {
    name: "a commit that fails is not tried again while nothing comes",
    consumer: withMember((member) => ({
      commit: (nextOffsets) => member.commit(nextOffsets).catch(() => {}),
    })),
  },
  {
    name: "pending commits are replaced by the next one and not merged",
    consumer: withMember((member) => ({
      commit: (nextOffsets) => member.commit(new Map([...nextOffsets].slice(-1))),
    })),
  },
];

/** Sends of several partitions go out together, and the answer of one is taken for all. */
class MergedWriter implements TopicWriter {
  readonly partitions: number;
  readonly #writer: TopicWriter;
  #together: Promise<unknown> | undefined;

  constructor(writer: TopicWriter) {
    this.#writer = writer;
    this.partitions = writer.partitions;
  }

  async send(partition: number, messages: readonly MessageToSend[]): Promise<void> {
    const own = this.#writer.send(partition, messages);
    const others = this.#together;
    this.#together = own;
    try {
      await own;
    } catch (error) {
      // The retry goes to the partitions that a changed leader still answers for.
      if (others === undefined || await others.then(() => false, () => true)) throw error;
    }
  }

  close(): Promise<void> {
    return this.#writer.close();
  }
}

/** What the producer is told. */
export const PRODUCER_BUGS: readonly PlantedBug[] = [
  {
    name: "a send to several partitions drops one and still resolves",
    writer: (writer) => new MergedWriter(writer),
  },
  {
    name: "one partition without a leader hides what is known of all",
    consumer: withMember((member) => ({
      watermarks: async () => {
        const ranges = await member.watermarks();
        if (offlineOf(ranges).size > 0) throw new TransientError("Cannot read: no leader");
        return ranges;
      },
    })),
  },
  {
    name: "one partition without a leader stops the sends to all",
    writer: (writer, { servers: { kafka } }) => ({
      partitions: writer.partitions,
      send: (partition, messages) =>
        kafka.partitionNumbers().every((each) => kafka.hasLeader(each))
          ? writer.send(partition, messages)
          : Promise.reject(new TransientError("Cannot send: no leader")),
      close: () => writer.close(),
    }),
  },
  {
    name: "a send that failed is reported as acknowledged",
    writer: (writer) => ({
      partitions: writer.partitions,
      send: (partition, messages) => writer.send(partition, messages).catch(() => {}),
      close: () => writer.close(),
    }),
  },
];
