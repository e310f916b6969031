/**
 * Asks the leaders of a topic's partitions what open transactions hold back. kafkajs's own question for
 * offsets is always that of a reader of committed messages.
 *
 * @module
 */
import type { HeldBack } from "./message.ts";
import type { RawCluster } from "./raw_cluster.ts";

/** How the protocol asks for the end of a log, and which end it is. */
const END = -1;
const READ_UNCOMMITTED = 0;
const READ_COMMITTED = 1;

/** See `GroupMember.heldBack`; partitions without a leader are absent. */
export async function readHeldBack(
  cluster: RawCluster,
  topic: string,
): Promise<ReadonlyMap<number, HeldBack>> {
  await cluster.connect();
  await cluster.addTargetTopic(topic);
  await cluster.refreshMetadataIfNecessary();
  // In this order: what comes in between must not look as if it were held back.
  const ends = await readEnds(cluster, topic, READ_UNCOMMITTED);
  const readable = await readEnds(cluster, topic, READ_COMMITTED);
  const heldBack = new Map<number, HeldBack>();
  for (const [partition, end] of ends) {
    const offset = readable.get(partition) ?? end;
    if (offset < end) heldBack.set(partition, { offset, messages: end - offset });
  }
  return heldBack;
}

async function readEnds(
  cluster: RawCluster,
  topic: string,
  isolationLevel: number,
): Promise<ReadonlyMap<number, number>> {
  const led = cluster.findTopicPartitionMetadata(topic).filter(({ leader }) => leader >= 0);
  const answers = await Promise.all(
    Array.from(Map.groupBy(led, ({ leader }) => leader), async ([nodeId, partitions]) => {
      const broker = await cluster.findBroker({ nodeId });
      const asked = partitions.map(({ partitionId }) => ({
        partition: partitionId,
        timestamp: END,
      }));
      return await broker.listOffsets({ isolationLevel, topics: [{ topic, partitions: asked }] });
    }),
  );
  return new Map(
    answers.flatMap(({ responses }) => responses.flatMap(({ partitions }) => partitions))
      .map(({ partition, offset }) => [partition, Number(offset)]),
  );
}
