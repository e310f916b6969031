/**
 * How a planted bug gets between a program and its wires: so calls of the bug go wrong like any other.
 *
 * @module
 */
import { readingRows } from "../fakes/reading_rows.ts";
import type { FetchedBatch, GroupHandlers, GroupMember } from "../lib/kafka/group_member.ts";
import { type TopicIdentity, UNKNOWN_EPOCH } from "../lib/kafka/message.ts";
import type { BatchToStore, Store, StoreOutcome, StoreWay } from "../lib/postgres/store.ts";
import type { Cache, OwnLastValues } from "../lib/redis/cache.ts";
import type { ReadingRows } from "../lib/reading/reading_columns.ts";
import { sentBatch } from "./faults.ts";
import type { BugContext, ConsumerPorts, PlantedBug } from "./world.ts";

/** A store that does one thing otherwise. */
export function withStore(
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
export function withCache(
  change: (cache: Cache, ports: ConsumerPorts, context: BugContext) => Partial<Cache>,
): NonNullable<PlantedBug["consumer"]> {
  return (ports, context) => ({
    ...ports,
    cache: { ...ports.cache, ...change(ports.cache, ports, context) },
  });
}

/** A member that does one thing otherwise. */
export function withMember(
  change: (member: GroupMember, ports: ConsumerPorts, context: BugContext) => Partial<GroupMember>,
): NonNullable<PlantedBug["consumer"]> {
  return (ports, context) => ({
    ...ports,
    member: { ...ports.member, ...change(ports.member, ports, context) },
  });
}

/** A member whose batches are others than those that were fetched. */
export function withBatches(
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

/** A line of the ledger beside the real ones, through which rows can be stored without one. */
const SIDE_TOPIC: TopicIdentity = {
  clusterId: "side",
  topic: "side",
  topicId: "00000000-0000-4000-8000-ffffffffffff",
};

/** Stores the rows of a batch in a transaction of their own. */
export async function storeRowsApart(
  store: Store,
  batch: BatchToStore,
  way: StoreWay,
): Promise<StoreOutcome> {
  const topic = { ...SIDE_TOPIC, topicId: batch.topic.topicId };
  const fromOffset = await store.openLedgerLine(topic, batch.partition, 0);
  const nextOffset = fromOffset + batch.nextOffset - batch.fromOffset;
  const [fromEpoch, nextEpoch] = [UNKNOWN_EPOCH, UNKNOWN_EPOCH];
  return await store.storeBatch(
    { ...batch, topic, fromOffset, nextOffset, fromEpoch, nextEpoch },
    way,
  );
}

/** No rows. */
export const NONE: ReadingRows = readingRows([]);

/** The ids of the readings, in their order. */
export function idTextsOf({ readings: { columns, rows } }: BatchToStore): readonly string[] {
  return Array.from(rows, (row) => columns.idText(row));
}

/** The batch as if it had held no message. */
export function emptied(batch: BatchToStore): BatchToStore {
  const skipped = batch.nextOffset - batch.fromOffset;
  return { ...batch, readings: NONE, deadLetters: [], suspects: [], duplicates: 0, skipped };
}

/** What the store would answer if all had gone well. */
export function storedAsIf(batch: BatchToStore): StoreOutcome {
  const { readings, deadLetters, duplicates } = batch;
  const counts = { inserted: readings.rows.length, duplicates, deadLetters: deadLetters.length };
  return { kind: "stored", ...counts, conflictOffsets: [] };
}

/** No last values. */
export function noneOf({ dataSetId }: BatchToStore): OwnLastValues {
  return { dataSetId, values: [] };
}
