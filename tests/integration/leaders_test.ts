/** Partitions without a leader on real brokers: the laws of the ports, and the two programs. */
import assert from "node:assert/strict";
import { systemClock } from "../../lib/clock.ts";
import { openKafka } from "../../lib/kafka/connection.ts";
import { type OpenGroupMember, openGroupMember } from "../../lib/kafka/kafkajs_group_member.ts";
import { type OpenTopicWriter, openTopicWriter } from "../../lib/kafka/kafkajs_topic_writer.ts";
import { createLog } from "../../lib/log.ts";
import { retryForever } from "../../lib/retry.ts";
import { leaderContract, LOST } from "../contracts/leaders.ts";
import { pass, Program } from "./processes.ts";
import { RealPipeline } from "./real_pipeline.ts";
import { ThreeBrokers } from "./three_brokers.ts";

/** The broker that is killed. */
const VICTIM = 3;

/** A first start waits for the topic that keeps the groups to be made. */
const START_MS_MAX = 60_000;

/** What must flow flows within this time, ms; the brokers take 9 s to notice a death. */
const FLOW_MS_MAX = 45_000;

const SIGNAL = new AbortController().signal;

leaderContract("Apache Kafka", async () => {
  const brokers = await ThreeBrokers.start();
  const topic = await brokers.createTopic([1, VICTIM]);
  const log = createLog({ level: "error", format: "text", write: () => {}, clock: systemClock });
  const connection = { brokers: brokers.addresses.split(","), clientId: "leaders" };
  const opened: (OpenGroupMember | OpenTopicWriter)[] = [];
  const patiently = async <T extends OpenGroupMember | OpenTopicWriter>(
    open: () => Promise<T>,
  ): Promise<T> => {
    const pace = { clock: systemClock, signal: SIGNAL, minMs: 200, maxMs: 1_000 };
    const one = await retryForever(open, pace);
    opened.push(one);
    return one;
  };
  return {
    setLeader: (leader) =>
      brokers.setBroker(VICTIM, leader === "there" ? "there" : "killed", {
        topic,
        partition: LOST,
      }),
    member: (groupId) => {
      const settings = {
        topic,
        groupId: `${topic}-${groupId}`,
        sessionTimeoutMs: 6_000,
        fetchWaitMs: 20,
        fetchPartitionBytes: 1_048_576,
      };
      return patiently(() => openGroupMember(connection, settings, log));
    },
    writer: () => patiently(() => openTopicWriter(openKafka(connection, log), topic)),
    pass: () => pass(100),
    close: async () => {
      for (const one of opened) await one[Symbol.asyncDispose]();
      await brokers[Symbol.asyncDispose]();
    },
  };
});

Deno.test("producer and consumer with a broker killed that has the only copy of a partition", async (t) => {
  await using brokers = await ThreeBrokers.start();
  await using pipeline = await RealPipeline.open();
  const topic = await brokers.createTopic([1, 2, VICTIM]);
  const place = { topic, partition: 2 };
  const env = { ...pipeline.env, KAFKA_BROKER: brokers.addresses, TOPIC_NAME: topic };
  const ledger = async (): Promise<ReadonlyMap<number, number>> => {
    await using status = Program.consumer(["verify", "--json"], env);
    const { partitions } = JSON.parse((await status.ended(FLOW_MS_MAX)).stdout);
    return new Map(
      partitions.map((one: { partition: number; next: string }) => [
        one.partition,
        Number(one.next),
      ]),
    );
  };
  const flows = async (by: Program, partitions: readonly number[]): Promise<void> => {
    const before = await ledger();
    await by.until(`partitions ${partitions} flow`, async () => {
      const after = await ledger();
      return partitions.every((each) => (after.get(each) ?? 0) > (before.get(each) ?? 0));
    }, FLOW_MS_MAX);
  };
  await using producer = Program.producer(["--rate", "60", "--sensors", "60"], env);
  await using consumer = Program.consumer(["run"], env);
  await consumer.until("all flow", async () => (await ledger()).size === 3, START_MS_MAX);
  await flows(consumer, [0, 1, 2]);
  await brokers.setBroker(VICTIM, "killed", place);
  await t.step("the others flow, and both say which one does not", async () => {
    await flows(consumer, [0, 1]);
    await consumer.until(
      "it says so",
      () => consumer.said(/^partitions cannot be read/) > 0,
      FLOW_MS_MAX,
    );
    const [said] = consumer.log.filter(({ message }) =>
      message.startsWith("partitions cannot be read")
    );
    assert.equal(said?.partitions, "2");
    const says = (): boolean =>
      producer.log.some(({ message, partition }) =>
        /^waiting: Cannot send/.test(message) && partition === 2
      );
    await producer.until("it says so", says, FLOW_MS_MAX);
  });
  await t.step("status and doctor name it", async () => {
    await using status = Program.consumer(["status"], env);
    assert.match(
      (await status.succeeded(FLOW_MS_MAX)).stdout,
      /partition 2 cannot be read or written: no broker leads it/,
    );
    await using doctor = Program.consumer(["doctor"], env);
    assert.match(
      (await doctor.ended(FLOW_MS_MAX)).stdout,
      /partitions 2 cannot be read or written: they have no leader/,
    );
  });
  consumer.signal("SIGTERM");
  await consumer.succeeded(FLOW_MS_MAX);
  await using second = Program.consumer(["run"], env);
  await t.step("a consumer that starts now begins", async () => {
    await flows(second, [0, 1]);
    assert.equal(second.said(/^partitions cannot be read/), 1);
  });
  await t.step("a run until the end waits for it, and says so", async () => {
    await using toEnd = Program.consumer(
      ["run", "--until-end"],
      { ...env, KAFKA_GROUP_ID: `${topic}-to-end` },
    );
    await toEnd.until("it says so", () => toEnd.said(/the run ends once/) > 0, FLOW_MS_MAX);
    toEnd.signal("SIGTERM");
    await toEnd.ended(FLOW_MS_MAX);
  });
  await brokers.setBroker(VICTIM, "there", place);
  await t.step("when it is back all flow, and nothing is missing", async () => {
    await flows(second, [0, 1, 2]);
    await second.until("it says so", () => second.said(/can be read again/) > 0, FLOW_MS_MAX);
    producer.signal("SIGTERM");
    const { stdout, stderr } = await producer.succeeded(FLOW_MS_MAX);
    const [, sent, acknowledged] = /^sent +([\d,]+)\n(?: .*\n)*acknowledged +([\d,]+)\nfailed +0$/m
      .exec(stdout + stderr)!;
    assert.equal(sent, acknowledged);
    await second.until("all is stored", async () => {
      let stored = 0;
      for (const next of (await ledger()).values()) stored += next;
      return stored >= Number(acknowledged!.replaceAll(",", ""));
    }, FLOW_MS_MAX);
    second.signal("SIGTERM");
    await second.succeeded(FLOW_MS_MAX);
    await using verify = Program.consumer(["verify"], env);
    await verify.succeeded(FLOW_MS_MAX);
  });
});
