/** The laws of a group member on a real broker, seen from outside by kafkajs's own admin and producer. */
import { ConfigResourceTypes, Kafka, logLevel } from "kafkajs";
import { type OpenGroupMember, openGroupMember } from "../../lib/kafka/kafkajs_group_member.ts";
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
