/**
 * The brokers of a bed as an administrator sees them, on connections that no fault of a link touches.
 *
 * @module
 */
import { systemClock } from "../lib/clock.ts";
import { type KafkaClient, openKafka } from "../lib/kafka/connection.ts";
import { createLog } from "../lib/log.ts";
import type { Random } from "../lib/producer/random.ts";
import type { Bed } from "./bed.ts";
import { waitUntil } from "./wait_until.ts";

/** Where a partition's copies are. */
export interface PartitionState {
  /** Number of the partition. */
  readonly partition: number;
  /** Node id of the broker that leads it; -1: none. */
  readonly leader: number;
  /** How many brokers have all of it. */
  readonly inSync: number;
}

/** The administrator's client of the library. */
export type KafkaAdmin = ReturnType<KafkaClient["admin"]>;

/** Copies that a message needs before it is acknowledged. */
export const IN_SYNC_MIN = 2;

/** Copying what was missed, and electing, take some seconds each. */
const SETTLE_MS_MAX = 90_000;

/** Makes a client that goes straight to the brokers. It gives up soon. */
export function openDirectly({ direct }: Bed): KafkaClient {
  const log = createLog({ level: "error", format: "json", write: () => {}, clock: systemClock });
  return openKafka({ brokers: direct.brokers, clientId: "campaign", retries: 5 }, log);
}

/** Runs `work` with a connection of an administrator. */
export async function asKafkaAdmin<T>(
  bed: Bed,
  work: (admin: KafkaAdmin) => Promise<T>,
): Promise<T> {
  const admin = openDirectly(bed).admin();
  try {
    await admin.connect();
    return await work(admin);
  } finally {
    await admin.disconnect().catch(() => {});
  }
}

/** Where the copies of the topic's partitions are. */
export async function partitionStates(bed: Bed): Promise<readonly PartitionState[]> {
  return await asKafkaAdmin(bed, async (admin) => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [bed.topic] });
    return topics.flatMap(({ partitions }) => partitions).map((state) => ({
      partition: state.partitionId,
      leader: state.leader,
      inSync: state.isr.length,
    }));
  });
}

/** Waits until every partition takes messages: it has a leader and enough copies. */
export async function untilWritable(bed: Bed): Promise<void> {
  await untilCopies(bed, Math.min(IN_SYNC_MIN, bed.brokers.length));
}

/** Waits until every broker has all of every partition, so that a fault now is a single one. */
export async function untilWhole(bed: Bed): Promise<void> {
  await untilCopies(bed, bed.brokers.length);
}

/**
 * Draws a partition and gives the index, among the bed's brokers, of the one that leads it. After a
 * restart a broker can lead nothing for minutes, and then hardly anybody talks to it.
 */
export async function drawLeader(bed: Bed, random: Random): Promise<number> {
  await untilWhole(bed);
  return random.pick(await partitionStates(bed)).leader - 1;
}

/** The protocol's number for a topic where settings are asked for, and for a value that is its own. */
const TOPIC = 2;
const OF_TOPIC = 1;

/** Sets `min.insync.replicas` of the topic. What else was set stays: the request replaces all of it. */
export async function setInSyncMin(bed: Bed, copies: number): Promise<void> {
  await asKafkaAdmin(bed, async (admin) => {
    const resource = { type: TOPIC, name: bed.topic };
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [resource],
    });
    const own = (resources[0]?.configEntries ?? [])
      .filter(({ configSource }) => Number(configSource) === OF_TOPIC)
      .map(({ configName, configValue }): [string, string] => [configName, configValue]);
    const values = new Map(own).set("min.insync.replicas", String(copies));
    const configEntries = Array.from(values, ([name, value]) => ({ name, value }));
    await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries }] });
  });
}

/** Moves a partition's copies to these brokers, by node id, and waits until they have all of it. */
export async function keepCopies(
  bed: Bed,
  partition: number,
  nodeIds: readonly number[],
): Promise<void> {
  const what = `the copies of partition ${partition} on brokers ${nodeIds.join(", ")}`;
  await asKafkaAdmin(bed, async (admin) => {
    await admin.alterPartitionReassignments({
      topics: [{
        topic: bed.topic,
        partitionAssignment: [{ partition, replicas: [...nodeIds] }],
      }],
    });
  });
  await waitUntil(what, SETTLE_MS_MAX, async () => {
    const states = await partitionStates(bed);
    return states.some((one) =>
      one.partition === partition && one.leader > 0 && one.inSync === nodeIds.length
    );
  });
}

async function untilCopies(bed: Bed, inSyncMin: number): Promise<void> {
  await waitUntil(`${inSyncMin} copies in sync of each partition`, SETTLE_MS_MAX, async () => {
    const states = await partitionStates(bed);
    return states.length === bed.partitions &&
      states.every(({ leader, inSync }) => leader > 0 && inSync >= inSyncMin);
  });
}
