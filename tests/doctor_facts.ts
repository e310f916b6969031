/**
 * Facts of servers with which nothing is wrong, to be changed in one point.
 *
 * @module
 */
import type { GroupSight } from "../lib/kafka/group_member.ts";
import type { GroupFacts, KafkaFacts, TopicFacts } from "../lib/kafka/kafka_facts.ts";
import type { LedgerLine } from "../lib/postgres/store.ts";
import type { PostgresFacts } from "../lib/postgres/postgres_facts.ts";
import type { RedisFacts } from "../lib/redis/redis_facts.ts";
import { sampleLine } from "./sample_line.ts";

export const IDENTITY = { clusterId: "c", topic: "t", topicId: "i" };

/** Settings of a topic as the brokers tell them. */
export const TOPIC_SETTINGS: ReadonlyMap<string, string> = new Map([
  ["cleanup.policy", "delete"],
  ["max.message.bytes", "1048576"],
  ["message.timestamp.type", "LogAppendTime"],
  ["min.insync.replicas", "2"],
  ["retention.bytes", "-1"],
  ["retention.ms", String(7 * 86_400_000)],
  ["unclean.leader.election.enable", "false"],
]);

export const TOPIC: TopicFacts = {
  identity: IDENTITY,
  partitions: [0, 1].map((partition) => ({ partition, hasLeader: true, replicas: 3, inSync: 3 })),
  settings: TOPIC_SETTINGS,
  watermarks: new Map([[0, { low: 10, high: 100 }], [1, { low: 0, high: 5 }]]),
  heldBack: new Map(),
  youngOffsets: new Map([[0, 50], [1, 0]]),
};

export const GROUP: GroupFacts = {
  sight: sightOf(2),
  committedByOthers: new Map(),
};

export const KAFKA: KafkaFacts = { brokers: 3, topic: TOPIC, group: GROUP };

export const POSTGRES: PostgresFacts = {
  server: {
    version: "15.4",
    versionMajor: 15,
    isStandby: false,
    isReadOnly: false,
    isSuperuser: false,
    synchronousCommit: "on",
    hasFsync: true,
    hasFullPageWrites: true,
    schema: "public",
    searchPath: '"$user", public',
    encoding: "UTF8",
    connections: 10,
    connectionsMax: 97,
    roleConnectionsMax: -1,
    databaseBytes: 3 * 1_024 ** 3,
  },
  schema: {
    missingRights: [],
    missingKeys: [],
    unloggedTables: [],
    renewsDataSet: true,
    readingsBytes: 2.5 * 1_024 ** 3,
  },
  time: { aheadMs: 2, toleranceMs: 1 },
};

export const REDIS: RedisFacts = {
  version: "7.0.15",
  role: "master",
  lastValues: { owner: "data-set", lease: "data-set", refusedKey: null },
  evictionPolicy: "noeviction",
  memoryBytes: 50 * 1_024 ** 2,
  memoryBytesMax: 100 * 1_024 ** 2,
  evictedKeys: 0,
  time: { aheadMs: -3, toleranceMs: 1 },
};

/** A line of the ledger of {@linkcode IDENTITY} that stands at `next`. */
export function lineAt(partition: number, next: number): LedgerLine {
  return sampleLine(next, { topic: IDENTITY, partition });
}

/** A group of so many of our own members, which share the two partitions. */
export function sightOf(count: number): GroupSight {
  return {
    isSettled: true,
    state: count === 0 ? "Empty" : "Stable",
    protocolType: count === 0 ? "" : "consumer",
    protocol: count === 0 ? "" : "RoundRobinAssigner",
    members: Array.from({ length: count }, (_, at) => ({
      name: `sensor-ledger-consumer at 127.0.0.${at + 1}`,
      kind: "ours",
      partitions: [0, 1].filter((partition) => partition % count === at),
    })),
  };
}
