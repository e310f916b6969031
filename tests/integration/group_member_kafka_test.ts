/** The laws of a group member on a real broker, seen from outside by kafkajs's own admin and producer. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { AssignerProtocol, ConfigResourceTypes, Kafka, logLevel } from "kafkajs";
import { openKafka } from "../../lib/kafka/connection.ts";
import { type OpenGroupMember, openGroupMember } from "../../lib/kafka/kafkajs_group_member.ts";
import { openRawCluster, type RawBroker } from "../../lib/kafka/raw_cluster.ts";
import { createLog } from "../../lib/log.ts";
import { systemClock } from "../../lib/clock.ts";
import { retryForever } from "../../lib/retry.ts";
import { groupMemberContract, type TopicUnderTest } from "../contracts/group_member.ts";
import { testSettings } from "./test_stack.ts";

const PASS_MS = 50;
const PARTITIONS = 2;
/** How long a new setting of a topic takes to be in force everywhere, or a marker to be written, ms. */
const SETTING_MS = 500;

async function openTopic(): Promise<TopicUnderTest> {
  const { brokers } = testSettings().kafka;
  const kafka = new Kafka({
    brokers: [...brokers],
    clientId: "contract",
    logLevel: logLevel.NOTHING,
  });
  const admin = kafka.admin();
  await admin.connect();
  const topic = `contract-${crypto.randomUUID()}`;
  // After a deletion, which is done in the background, the name is free a little later. A broker
  // that has not heard of the new topic yet makes kafkajs throw, and the topic is there all the same.
  const createTopic = async (): Promise<void> => {
    for (let tries = 0; tries < 100; tries++) {
      try {
        await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }] });
        await admin.fetchTopicOffsets(topic);
        return;
      } catch {
        await systemClock.sleep(PASS_MS);
      }
    }
    throw new Error(`Cannot make topic ${topic}`);
  };
  await createTopic();
  const log = createLog({ level: "error", format: "text", write: () => {}, clock: systemClock });
  const opened: OpenGroupMember[] = [];

  const begin: TopicUnderTest["begin"] = async (partition, values) => {
    const producer = kafka.producer({
      transactionalId: `${topic}-${crypto.randomUUID()}`,
      maxInFlightRequests: 1,
      idempotent: true,
    });
    await producer.connect();
    const transaction = await producer.transaction();
    const messages = values.map((value) => ({ key: "k", value, partition }));
    await transaction.send({ topic, messages });
    return async (outcome) => {
      await (outcome === "commit" ? transaction.commit() : transaction.abort());
      await producer.disconnect();
      // The brokers write the marker a little later.
      await systemClock.sleep(SETTING_MS);
    };
  };

  const append = async (partition: number, values: readonly string[]): Promise<void> => {
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic, messages: values.map((value) => ({ value, partition })) });
    await producer.disconnect();
  };

  return {
    topic,
    append,
    begin,
    deleteRecords: async (partition, beforeOffset) => {
      // Only to make the admin learn who leads the partitions.
      await admin.fetchTopicOffsets(topic);
      const partitions = [{ partition, offset: String(beforeOffset) }];
      await admin.deleteTopicRecords({ topic, partitions });
    },
    // The brokers do, when the session is over.
    giveUp: () => Promise.resolve(),
    commitAsAnother: async (groupId, partition, nextOffset) => {
      await admin.setOffsets({
        groupId: `${topic}-${groupId}`,
        topic,
        partitions: [{ partition, offset: String(nextOffset) }],
      });
    },
    committedOffsets: async (groupId) => {
      const [answer] = await admin.fetchOffsets({
        groupId: `${topic}-${groupId}`,
        topics: [topic],
      });
      return new Map(
        answer!.partitions.map((row) => [row.partition, Number(row.offset)] as const)
          .filter(([_, offset]) => offset >= 0),
      );
    },
    recreate: async () => {
      await admin.deleteTopics({ topics: [topic] });
      await createTopic();
    },
    setRetention: async (retentionMs) => {
      const value = retentionMs === Infinity ? "-1" : String(retentionMs);
      await admin.alterConfigs({
        validateOnly: false,
        resources: [{
          type: ConfigResourceTypes.TOPIC,
          name: topic,
          configEntries: [{ name: "retention.ms", value }],
        }],
      });
      // The broker that is asked hears of it a little later than the one that was told.
      await systemClock.sleep(SETTING_MS);
    },
    member: async (groupId) => {
      const settings = {
        topic,
        groupId: `${topic}-${groupId}`,
        sessionTimeoutMs: 6_000,
        fetchWaitMs: 20,
        fetchPartitionBytes: 1_048_576,
      };
      // A new cluster's first group has to wait for its coordinator. The program tries again, too.
      const member = await retryForever(
        () => openGroupMember({ brokers, clientId: "member" }, settings, log),
        { clock: systemClock, signal: new AbortController().signal, minMs: PASS_MS, maxMs: 500 },
      );
      opened.push(member);
      return member;
    },
    pass: () => systemClock.sleep(PASS_MS),
    close: async () => {
      for (const member of opened) await member[Symbol.asyncDispose]();
      await admin.disconnect();
    },
  };
}

groupMemberContract("Apache Kafka", openTopic);

/** Session of the member that waits, ms. It is long beside what else a rebalance takes. */
const SESSION_MS = 8_000;

/** How soon the brokers forget a member that has left, ms. */
const FORGOTTEN_MS_MAX = 2_000;

/** The part of kafkajs's broker that looks after a group. */
interface Coordinator extends RawBroker {
  joinGroup(question: object): Promise<{
    readonly generationId: number;
    readonly memberId: string;
    readonly leaderId: string;
  }>;
  syncGroup(question: object): Promise<unknown>;
  describeGroups(question: object): Promise<{
    readonly groups: readonly { readonly members: readonly unknown[] }[];
  }>;
}

/** What a {@linkcode SilentGroup} is made of. */
interface SilentParts {
  readonly opened: AsyncDisposableStack;
  readonly coordinator: Coordinator;
  readonly groupId: string;
  /** What the silent one says when it joins. */
  readonly asking: object;
  readonly memberId: string;
  readonly member: OpenGroupMember;
}

/** A group with two members: one that says only what a test makes it say, and a real one. */
class SilentGroup implements AsyncDisposable {
  readonly #parts: SilentParts;

  private constructor(parts: SilentParts) {
    this.#parts = parts;
  }

  /** The real one; it has not asked to join yet. */
  get member(): OpenGroupMember {
    return this.#parts.member;
  }

  /** The silent one has joined, and leads the group. */
  static async open(): Promise<SilentGroup> {
    await using opened = new AsyncDisposableStack();
    const { brokers } = testSettings().kafka;
    const underTest = await openTopic();
    opened.defer(() => underTest.close());
    const { topic } = underTest;
    const groupId = `silent-${crypto.randomUUID()}`;
    const log = createLog({ level: "error", format: "text", write: () => {}, clock: systemClock });
    const timing = { sessionTimeoutMs: SESSION_MS, fetchWaitMs: 20 };
    const settings = { topic, groupId, ...timing, fetchPartitionBytes: 1_048_576 };
    const member = opened.use(
      await openGroupMember({ brokers, clientId: "member" }, settings, log),
    );
    const cluster = openRawCluster(openKafka({ brokers, clientId: "silent" }, log));
    await cluster.connect();
    opened.defer(() => cluster.disconnect());
    await cluster.addTargetTopic(topic);
    const coordinator = await cluster.findGroupCoordinator({ groupId }) as Coordinator;
    const userData = Buffer.alloc(0);
    const metadata = AssignerProtocol.MemberMetadata.encode({
      version: 1,
      topics: [topic],
      userData,
    });
    // Its session ends long after the test. A group waits as long as the most patient member asks for.
    const asking = {
      groupId,
      sessionTimeout: 60_000,
      rebalanceTimeout: 1_000,
      groupProtocols: [{ name: "RoundRobinAssigner", metadata }],
    };
    const { memberId, generationId } = await coordinator.joinGroup(asking);
    await coordinator.syncGroup({ groupId, memberId, generationId, groupAssignment: [] });
    const joined = { asking, memberId };
    return new SilentGroup({ opened: opened.move(), coordinator, groupId, ...joined, member });
  }

  /** The silent one asks to join again; resolves once everybody has. */
  async joinAgain(): Promise<void> {
    const { coordinator, asking, memberId } = this.#parts;
    const { leaderId } = await coordinator.joinGroup({ ...asking, memberId });
    assert.equal(leaderId, memberId);
  }

  /** Waits until the brokers know so many members. */
  async untilMembers(count: number, limitMs: number): Promise<void> {
    const { coordinator, groupId } = this.#parts;
    const startMs = systemClock.elapsedMs();
    for (;;) {
      const { groups } = await coordinator.describeGroups({ groupIds: [groupId] });
      const known = groups[0]!.members.length;
      if (known === count) return;
      assert.ok(systemClock.elapsedMs() - startMs < limitMs, `${known} members`);
      await systemClock.sleep(PASS_MS);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#parts.opened.disposeAsync();
  }
}

Deno.test("a leader that dies after it has asked to join is waited for half a session", async () => {
  await using group = await SilentGroup.open();
  const { member } = group;
  const assigned = Promise.withResolvers<readonly number[]>();
  const started = member.start({
    assigned: (partitions) => assigned.resolve(partitions),
    batch: () => Promise.resolve(),
    refused: () => {},
    crashed: (error) => assigned.reject(error),
  });
  await group.joinAgain();
  const beganMs = systemClock.elapsedMs();
  assert.equal((await assigned.promise).length, PARTITIONS);
  const tookMs = systemClock.elapsedMs() - beganMs;
  assert.ok(tookMs < SESSION_MS - 1_000, `${tookMs} ms`);
  await started;
  await member.stop();
});

Deno.test("a member that is stopped while it waits for others leaves the group", async () => {
  await using group = await SilentGroup.open();
  const { member } = group;
  const crashes: Error[] = [];
  const started = member.start({
    assigned: () => {},
    batch: () => Promise.resolve(),
    refused: () => {},
    crashed: (error) => crashes.push(error),
  });
  // Everybody waits for the silent one, half a session.
  await group.untilMembers(2, SESSION_MS);
  await member.stop();
  await group.untilMembers(1, FORGOTTEN_MS_MAX);
  await started;
  assert.deepEqual(crashes, []);
});
