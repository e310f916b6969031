/**
 * Faults of the program that others have made, put in from outside, one at a time. The simulation
 * has to find each of them; else its silence about the real program would mean nothing.
 *
 * A bug stands between the program and its wires, so calls of the bug go wrong like any other.
 *
 * @module
 */
import { TooMuchError, TransientError } from "../lib/errors.ts";
import type { FetchedBatch, GroupHandlers, GroupMember } from "../lib/kafka/group_member.ts";
import type { MemoryPartition } from "../lib/kafka/memory.ts";
import {
  type Message,
  type MessageToSend,
  offlineOf,
  onlineOf,
  type TopicIdentity,
  UNKNOWN_EPOCH,
  type Watermarks,
} from "../lib/kafka/message.ts";
import { Messages } from "../lib/kafka/messages.ts";
import type { TopicWriter } from "../lib/kafka/topic_writer.ts";
import {
  type BatchToStore,
  type DeadLetter,
  linesOf,
  type Store,
  type StoreOutcome,
} from "../lib/postgres/store.ts";
import type { Cache, OwnLastValues } from "../lib/redis/cache.ts";
import { idsOf, marksOf, markTexts } from "../lib/redis/marks.ts";
import { readingRows, readingsOf } from "../lib/reading/reading_columns.ts";
import { sentBatch } from "./faults.ts";
import { GROUP } from "./servers.ts";
import type { BugContext, ConsumerPorts, PlantedBug } from "./world.ts";

/** A store that does one thing otherwise. */
function withStore(
  change: (store: Store, ports: ConsumerPorts, context: BugContext) => Partial<Store>,
): NonNullable<PlantedBug["consumer"]> {
  return (ports, context) => {
    const { storeBatch = ports.store.storeBatch, ...others } = change(ports.store, ports, context);
    return {
      ...ports,
      store: {
        ...ports.store,
        ...others,
        storeBatch: (batch, way) => storeBatch(sentBatch(batch), way),
      },
    };
  };
}

/** A cache that does one thing otherwise. */
function withCache(
  change: (cache: Cache, ports: ConsumerPorts, context: BugContext) => Partial<Cache>,
): NonNullable<PlantedBug["consumer"]> {
  return (ports, context) => ({
    ...ports,
    cache: { ...ports.cache, ...change(ports.cache, ports, context) },
  });
}

/** A member that does one thing otherwise. */
function withMember(
  change: (member: GroupMember, ports: ConsumerPorts, context: BugContext) => Partial<GroupMember>,
): NonNullable<PlantedBug["consumer"]> {
  return (ports, context) => ({
    ...ports,
    member: { ...ports.member, ...change(ports.member, ports, context) },
  });
}

/** A member whose batches are others than those that were fetched. */
function withBatches(
  change: (batch: FetchedBatch) => Partial<FetchedBatch>,
): NonNullable<PlantedBug["consumer"]> {
  return withMember((member) => ({
    start: (handlers: GroupHandlers) =>
      member.start({
        assigned: (partitions) => handlers.assigned(partitions),
        batch: (batch) => handlers.batch({ ...batch, ...change(batch) }),
        refused: (error) => handlers.refused(error),
        crashed: (error) => handlers.crashed(error),
      }),
  }));
}

/** Marks that are believed though one of their parts says that they must not be. */
function withMarks(
  change: (parts: string[], batch: FetchedBatch, lineage: string) => void,
): NonNullable<PlantedBug["consumer"]> {
  return (ports) => {
    let lastBatch: FetchedBatch | undefined;
    let lineage = "";
    const member = withBatches((batch) => {
      lastBatch = batch;
      return {};
    })(ports, undefined as never).member;
    const cache: Cache = {
      ...ports.cache,
      remember: (marks, last) => {
        lineage = markTexts(marks).at(-1)?.value.split(":")[0] ?? lineage;
        return ports.cache.remember(marks, last);
      },
      marks: async (ids) => {
        const marks = await ports.cache.marks(ids);
        return marks.map((mark) => {
          const parts = mark?.split(":");
          if (parts === undefined || parts[3] === "" || lastBatch === undefined) return mark;
          change(parts, lastBatch, lineage);
          return parts.join(":");
        });
      },
    };
    return { ...ports, member, cache };
  };
}

/** The place that a mark names, in the same epoch and before all others. */
function atBeginning(parts: readonly string[]): string {
  return `${parts[2]?.split("/")[0]}/-1`;
}

/** A line of the ledger beside the real ones, through which rows can be stored without one. */
const SIDE_TOPIC: TopicIdentity = {
  clusterId: "side",
  topic: "side",
  topicId: "00000000-0000-4000-8000-ffffffffffff",
};

/** Stores the rows of a batch in a transaction of their own. */
async function storeRowsApart(store: Store, batch: BatchToStore): Promise<StoreOutcome> {
  const topic = { ...SIDE_TOPIC, topicId: batch.topic.topicId };
  const fromOffset = await store.openLedgerLine(topic, batch.partition, 0);
  const nextOffset = fromOffset + batch.nextOffset - batch.fromOffset;
  const [fromEpoch, nextEpoch] = [UNKNOWN_EPOCH, UNKNOWN_EPOCH];
  return await store.storeBatch(
    { ...batch, topic, fromOffset, nextOffset, fromEpoch, nextEpoch },
    "compare",
  );
}

const NONE = readingRows([]);

function idTextsOf({ readings: { columns, rows } }: BatchToStore): readonly string[] {
  return Array.from(rows, (row) => columns.idText(row));
}

/** The batch as if it had held no message. */
function emptied(batch: BatchToStore): BatchToStore {
  const skipped = batch.nextOffset - batch.fromOffset;
  return { ...batch, readings: NONE, deadLetters: [], suspects: [], duplicates: 0, skipped };
}

function storedAsIf(batch: BatchToStore): StoreOutcome {
  const { readings, deadLetters, duplicates } = batch;
  const counts = { inserted: readings.rows.length, duplicates, deadLetters: deadLetters.length };
  return { kind: "stored", ...counts, conflictOffsets: [] };
}

/** The dead letter that a careless program would make of any message. */
function carelessLetter(offset: number): DeadLetter {
  return {
    offset,
    reason: "json",
    detail: "the batch was bad",
    payload: new Uint8Array(),
    payloadBytes: 0,
    payloadSha256: "0".repeat(64),
    key: null,
    headersJson: "{}",
  };
}

/** No last values. */
function noneOf({ dataSetId }: BatchToStore): OwnLastValues {
  return { dataSetId, values: [] };
}

const ORDER_BUGS: readonly PlantedBug[] = [
  {
    name: "the Kafka commit goes before the store",
    consumer: withStore((store, { member }) => ({
      storeBatch: async (batch, way) => {
        await member.commit(new Map([[batch.partition, batch.nextOffset]])).catch(() => {});
        return await store.storeBatch(batch, way);
      },
    })),
  },
  {
    name: "the ledger moves before the rows, in a transaction of its own",
    consumer: withStore((store) => ({
      storeBatch: async (batch, way) => {
        const outcome = await store.storeBatch(emptied(batch), way);
        return outcome.kind === "stored" ? await storeRowsApart(store, batch) : outcome;
      },
    })),
  },
  {
    name: "a reading is claimed in Redis before it is stored",
    consumer: withStore((store, { cache }) => ({
      storeBatch: async (batch, way) => {
        const ids = idTextsOf(batch);
        const claims = await cache.marks(idsOf(ids));
        const claimed = marksOf(ids.map((id) => ({ id, value: "claimed" })));
        await cache.remember(claimed, noneOf(batch));
        const free = readingsOf(batch.readings).filter((_, index) => claims[index] === null);
        const duplicates = batch.duplicates + ids.length - free.length;
        return await store.storeBatch({ ...batch, readings: readingRows(free), duplicates }, way);
      },
    })),
  },
  {
    name: "marks are written before the store",
    consumer: withStore((store, { cache }) => ({
      storeBatch: async (batch, way) => {
        const ids = idTextsOf(batch);
        const early = marksOf(ids.map((id) => ({ id, value: "early" })));
        await cache.remember(early, noneOf(batch)).catch(() => {});
        return await store.storeBatch(batch, way);
      },
    })),
  },
];

const STORE_BUGS: readonly PlantedBug[] = [
  {
    name: "an error of the store is logged and passed over",
    consumer: withStore((store) => ({
      storeBatch: (batch, way) => store.storeBatch(batch, way).catch(() => storedAsIf(batch)),
    })),
  },
  {
    name: "a batch that is too much for the database is tried again as it is",
    consumer: withStore((store) => ({
      storeBatch: (batch, way) =>
        store.storeBatch(batch, way).catch((error) => {
          throw error instanceof TooMuchError
            ? new TransientError("again", { cause: error })
            : error;
        }),
    })),
  },
  {
    name: "an error of the store is passed over for the last batch of a partition",
    consumer: withStore((store, _, { servers }) => ({
      storeBatch: (batch, way) =>
        store.storeBatch(batch, way).catch((error) => {
          if (batch.nextOffset < servers.kafka.partition(batch.partition).next) throw error;
          return storedAsIf(batch);
        }),
    })),
  },
  {
    name: "the ledger is set whatever it says",
    consumer: withStore((store) => ({
      storeBatch: async (batch, way) => {
        const outcome = await store.storeBatch(batch, way);
        if (outcome.kind !== "fenced" || outcome.ledgerNext === undefined) return outcome;
        const { fromOffset: toOffset, fromEpoch: toEpoch } = batch;
        const move = { fromOffset: outcome.ledgerNext, toOffset, toEpoch };
        await store.moveLedgerLine(batch.topic, batch.partition, move);
        return await store.storeBatch(batch, way);
      },
    })),
  },
  {
    name: "a refused batch is taken for a stored one",
    consumer: withStore((store) => ({
      storeBatch: async (batch, way) => {
        const outcome = await store.storeBatch(batch, way);
        return outcome.kind === "fenced" ? storedAsIf(batch) : outcome;
      },
    })),
  },
  {
    name: "one bad message makes dead letters of its whole batch",
    consumer: withStore((store) => ({
      storeBatch: (batch, way) => {
        if (batch.deadLetters.length === 0) return store.storeBatch(batch, way);
        const others = readingsOf(batch.readings).map(({ offset }) => carelessLetter(offset));
        const deadLetters = [...batch.deadLetters, ...others];
        return store.storeBatch({ ...batch, readings: NONE, suspects: [], deadLetters }, way);
      },
    })),
  },
  {
    name: "a dead letter is dropped when writing it fails",
    consumer: withStore((store) => ({
      storeBatch: (batch, way) =>
        store.storeBatch(batch, way).catch((error) => {
          if (batch.deadLetters.length === 0 || !(error instanceof TransientError)) throw error;
          const skipped = batch.skipped + batch.deadLetters.length;
          return store.storeBatch({ ...batch, deadLetters: [], skipped }, way);
        }),
    })),
  },
  {
    name: "a conflict is called a duplicate",
    consumer: withStore((store) => ({
      storeBatch: async (batch, way) => {
        const outcome = await store.storeBatch({ ...batch, suspects: [] }, way);
        if (outcome.kind !== "conflicts") return outcome;
        const refused = new Set(outcome.offsets);
        const readings = readingsOf(batch.readings).filter(({ offset }) => !refused.has(offset));
        const duplicates = batch.duplicates + refused.size;
        const others = { readings: readingRows(readings), duplicates, suspects: [] };
        return await store.storeBatch({ ...batch, ...others }, way);
      },
    })),
  },
  {
    name: "a gap is passed over without being counted",
    consumer: withStore((store) => ({
      moveLedgerLine: async (topic, partition, move) => {
        if (move.toOffset < move.fromOffset) {
          return await store.moveLedgerLine(topic, partition, move);
        }
        const { fromOffset, toOffset: nextOffset, toEpoch: nextEpoch } = move;
        const lines = await store.readLedger();
        const fromEpoch = linesOf(lines, topic).get(partition)?.leaderEpoch ?? UNKNOWN_EPOCH;
        const outcome = await store.storeBatch({
          dataSetId: await store.dataSetId(),
          topic,
          partition,
          fromOffset,
          nextOffset,
          fromEpoch,
          nextEpoch,
          readings: NONE,
          duplicates: 0,
          skipped: nextOffset - fromOffset,
          deadLetters: [],
          suspects: [],
        }, "copy");
        return outcome.kind === "stored";
      },
    })),
  },
];

const PLACE_BUGS: readonly PlantedBug[] = [
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
        return new Map(servers.kafka.committed.get(GROUP));
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
          return new Map(isKnown ? servers.kafka.committed.get(GROUP) : []);
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

const TRANSACTION_BUGS: readonly PlantedBug[] = [
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

const EPOCH_BUGS: readonly PlantedBug[] = [
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

const REDIS_BUGS: readonly PlantedBug[] = [
  {
    name: "marks of another history are believed",
    consumer: withMarks((parts, _, lineage) => parts[0] = lineage),
  },
  {
    name: "marks ahead of the ledger are believed",
    consumer: withMarks((parts) => parts[2] = atBeginning(parts)),
  },
  {
    name: "marks of another partition are believed",
    consumer: withMarks((parts, batch) => {
      if (parts[1] !== String(batch.partition)) parts[2] = `${batch.firstEpoch}/-1`;
      parts[1] = String(batch.partition);
    }),
  },
  {
    name: "a last value is set whatever is there",
    consumer: withCache((cache, _, { servers }) => ({
      remember: (marks, last) => {
        for (const { sensorId } of last.values) servers.redis.lastValues.delete(sensorId);
        return cache.remember(marks, last);
      },
    })),
  },
  {
    name: "the last values of a living neighbour are taken",
    consumer: withCache((cache, _, { servers }) => ({
      claimLastValues: (claimant) =>
        cache.claimLastValues({ ...claimant, formerly: servers.redis.lease?.dataSetId }),
    })),
  },
  {
    name: "last values are not repaired",
    consumer: withStore((store) => ({
      lastReadings: async (after) => await store.lastReadings(after, 0),
    })),
  },
];

const COMMIT_BUGS: readonly PlantedBug[] = [
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

const PRODUCER_BUGS: readonly PlantedBug[] = [
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

/** All of them. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  ...ORDER_BUGS,
  ...STORE_BUGS,
  ...PLACE_BUGS,
  ...TRANSACTION_BUGS,
  ...EPOCH_BUGS,
  ...REDIS_BUGS,
  ...COMMIT_BUGS,
  ...PRODUCER_BUGS,
];
