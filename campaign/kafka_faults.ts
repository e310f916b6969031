/**
 * What can happen to brokers and to the topic. Each fault begins with all copies in sync, so that
 * it is a single one.
 *
 * @module
 */
import { ensureTopic } from "../lib/kafka/kafkajs_topic_writer.ts";
import { openRawCluster } from "../lib/kafka/raw_cluster.ts";
import { readTopicIdentity } from "../lib/kafka/topic_identity.ts";
import type { Random } from "../lib/producer/random.ts";
import { type Server, signalServer, startServer, stopServer } from "../tools/stack/server.ts";
import type { Bed } from "./bed.ts";
import {
  asKafkaAdmin,
  drawLeader,
  IN_SYNC_MIN,
  keepCopies,
  openDirectly,
  partitionStates,
  setInSyncMin,
  untilWhole,
  untilWritable,
} from "./cluster.ts";
import { NotPossibleError } from "./not_possible.ts";
import {
  EVENT,
  nothingToHeal,
  type OffsetRange,
  type ServerFault,
  type ServerStage,
} from "./fault.ts";
import { waitUntil } from "./wait_until.ts";

/** A silent broker loses its partitions after 9 s. */
const UNNOTICED_MS = 9_000;

/** How long a dead leader may go unnoticed, and then other partitions may stand still, ms. */
const FLOW_MS_MAX = 40_000;

/** How long a stage may take to be ready for a fault, ms. Nothing is promised of that, so it is long. */
const READY_MS_MAX = 60_000;

/** So many of them make a truncation. */
const BACKLOG_MIN = 10;

/** Faults of Kafka that are not faults of a link. */
export const KAFKA_FAULTS: readonly ServerFault[] = [
  {
    name: "Leader of a partition killed",
    party: "Kafka",
    holdMs: { short: UNNOTICED_MS + 3_000, long: UNNOTICED_MS + 20_000 },
    inject: async ({ bed }, random) => {
      const broker = await leader(bed, random);
      await stopServer(broker, "SIGKILL");
      return { heal: () => start(bed, [broker]) };
    },
  },
  {
    name: "Leader of a partition frozen",
    party: "Kafka",
    holdMs: { short: UNNOTICED_MS + 6_000, long: UNNOTICED_MS + 30_000 },
    inject: async ({ bed }, random) => {
      const broker = await leader(bed, random);
      await signalServer(broker, "SIGSTOP");
      return {
        heal: async () => {
          await signalServer(broker, "SIGCONT");
          await untilWritable(bed);
        },
      };
    },
  },
  {
    name: "A broker restarted in good order",
    party: "Kafka",
    holdMs: EVENT,
    inject: async ({ bed }, random) => {
      await untilWhole(bed);
      const broker = random.pick(bed.brokers);
      await stopServer(broker);
      return { heal: () => start(bed, [broker]) };
    },
  },
  {
    name: "Two brokers of three away: nothing is acknowledged",
    party: "Kafka",
    holdMs: { short: 10_000, long: 30_000 },
    inject: async ({ bed }, random) => {
      await untilWhole(bed);
      const spared = random.pick(bed.brokers);
      const gone = bed.brokers.filter((broker) => broker !== spared);
      if (gone.length < 2) {
        throw new NotPossibleError(`it takes three brokers, not ${gone.length + 1}`);
      }
      // One after the other and in good order: so the last one leads everything, and refuses.
      for (const broker of gone) await stopServer(broker);
      return { heal: () => start(bed, gone) };
    },
  },
  {
    name: "All brokers away",
    party: "Kafka",
    holdMs: { short: 15_000, long: 60_000 },
    inject: async ({ bed }) => {
      await untilWhole(bed);
      await Promise.all(bed.brokers.map((broker) => stopServer(broker, "SIGKILL")));
      return { heal: () => start(bed, bed.brokers) };
    },
  },
  {
    name: "Broker with the only copy of a partition killed: the others flow",
    party: "Kafka",
    holdMs: { short: 5_000, long: 30_000 },
    inject: async ({ bed }, random) => {
      await untilWhole(bed);
      const { partition, leader } = random.pick(await partitionStates(bed));
      // Below the minimum, those that lose their copy stay eligible to lead (KIP-966), and the one that
      // has it would never be elected after it was killed.
      await setInSyncMin(bed, 1);
      await keepCopies(bed, partition, [leader]);
      const broker = bed.brokers[leader - 1]!;
      await stopServer(broker, "SIGKILL");
      await untilOthersFlow(bed, partition);
      return {
        heal: async () => {
          await startServer(broker);
          await untilLed(bed, partition);
          await keepCopies(bed, partition, bed.brokers.map((_, index) => index + 1));
          await setInSyncMin(bed, IN_SYNC_MIN);
          await untilWritable(bed);
        },
      };
    },
  },
  {
    name: "Messages deleted before they were read",
    party: "Kafka",
    holdMs: EVENT,
    needs: "consumers frozen",
    inject: async (stage, random) => {
      const { bed } = stage;
      await untilWhole(bed);
      const range = await chooseUnread(stage, random);
      await asKafkaAdmin(bed, async (admin) => {
        // Only to make the library learn who leads the partition.
        await admin.fetchTopicOffsets(bed.topic);
        const partitions = [{ partition: range.partition, offset: String(range.to) }];
        await admin.deleteTopicRecords({ topic: bed.topic, partitions });
      });
      return { deleted: [range], heal: nothingToHeal };
    },
  },
  {
    name: "Topic deleted and made again",
    party: "Kafka",
    holdMs: EVENT,
    needs: "topic drained",
    inject: async ({ bed }) => {
      await untilWhole(bed);
      await asKafkaAdmin(bed, async (admin) => {
        await admin.deleteTopics({ topics: [bed.topic] });
        await waitUntil(
          "the topic is gone",
          READY_MS_MAX,
          async () => !(await admin.listTopics()).includes(bed.topic),
        );
      });
      return {
        heal: async () => {
          await ensureTopic(openDirectly(bed), bed.topic, bed.partitions);
          await untilWritable(bed);
        },
      };
    },
  },
];

/** A broker that answers is not yet taken for alive by the others, and gets no copies before. */
async function untilLed(bed: Bed, partition: number): Promise<void> {
  await waitUntil(
    `partition ${partition} has a leader again`,
    FLOW_MS_MAX,
    async () =>
      (await partitionStates(bed)).some((one) => one.partition === partition && one.leader > 0),
  );
}

/** Waits until the partition has no leader, and then until all others have new rows. */
async function untilOthersFlow(bed: Bed, lost: number): Promise<void> {
  await waitUntil(
    "the brokers notice that a leader is dead",
    FLOW_MS_MAX,
    async () =>
      (await partitionStates(bed)).some((one) => one.partition === lost && one.leader < 0),
  );
  const before = await ledgerPositions(bed);
  await waitUntil("the other partitions flow", FLOW_MS_MAX, async () => {
    const now = await ledgerPositions(bed);
    return [...before].every(([partition, next]) =>
      partition === lost || (now.get(partition) ?? 0) > next
    );
  });
}

async function start(bed: Bed, brokers: readonly Server[]): Promise<void> {
  await Promise.all(brokers.map((broker) => startServer(broker)));
  await untilWritable(bed);
}

async function leader(bed: Bed, random: Random): Promise<Server> {
  return bed.brokers[await drawLeader(bed, random)]!;
}

/**
 * Three of four offsets that the ledger has not passed, in one partition: more than the consumers
 * have already fetched, if they were frozen for a while.
 */
async function chooseUnread(stage: ServerStage, random: Random): Promise<OffsetRange> {
  let found: readonly OffsetRange[] = [];
  await waitUntil(`${BACKLOG_MIN} unread messages`, READY_MS_MAX, async () => {
    found = (await unreadRanges(stage)).filter(({ from, to }) => to - from >= BACKLOG_MIN);
    return found.length > 0;
  });
  const { partition, from, to } = random.pick(found);
  return { partition, from, to: from + Math.floor((to - from) * 3 / 4) };
}

async function unreadRanges({ bed, notedEnds }: ServerStage): Promise<readonly OffsetRange[]> {
  const next = await ledgerPositions(bed);
  const offsets = await asKafkaAdmin(bed, (admin) => admin.fetchTopicOffsets(bed.topic));
  return offsets.map(({ partition, low, high }) => ({
    partition,
    from: Math.max(Number(low), next.get(partition) ?? 0),
    to: Math.min(Number(high), notedEnds?.get(partition) ?? Infinity),
  }));
}

async function ledgerPositions(bed: Bed): Promise<ReadonlyMap<number, number>> {
  const cluster = openRawCluster(openDirectly(bed));
  const { clusterId, topicId } = await readTopicIdentity(cluster, bed.topic)
    .finally(() => cluster.disconnect());
  return await bed.postgres.asSuperuser(bed.direct.postgres.database, async (session) => {
    const { rows } = await session.query(
      "SELECT kafka_partition, next_offset FROM ledger WHERE cluster_id = $1 AND topic_id = $2",
      [clusterId, topicId],
    );
    return new Map(rows.map((row) => [Number(row.kafka_partition), Number(row.next_offset)]));
  });
}
