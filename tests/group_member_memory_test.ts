import assert from "node:assert/strict";
import { TransientError } from "../lib/errors.ts";
import { MemoryKafka, MemoryMember } from "../lib/kafka/memory.ts";
import { onlineOf } from "../lib/kafka/message.ts";
import { groupMemberContract, type TopicUnderTest } from "./contracts/group_member.ts";
import { FakeClock } from "./fake_clock.ts";

const PASS_MS = 20;

function openTopic(): Promise<TopicUnderTest> {
  const clock = new FakeClock();
  const kafka = new MemoryKafka({ topic: "readings", partitions: 2, clock });
  const encoder = new TextEncoder();
  return Promise.resolve({
    topic: kafka.topic,
    append: (partition, values) => {
      kafka.append(partition, values.map((text) => ({ key: null, value: encoder.encode(text) })));
      return Promise.resolve();
    },
    begin: (partition, values) => {
      const producer = kafka.transactionalProducer();
      producer.append(
        partition,
        values.map((text) => ({ key: null, value: encoder.encode(text) })),
      );
      return Promise.resolve((outcome) => Promise.resolve(producer.end(outcome)));
    },
    deleteRecords: (partition, beforeOffset) => {
      kafka.deleteRecords(partition, beforeOffset);
      return Promise.resolve();
    },
    giveUp: (member) => {
      assert.ok(member instanceof MemoryMember);
      member.evict();
      return Promise.resolve();
    },
    commitAsAnother: (groupId, partition, nextOffset) => {
      kafka.committed.set(
        groupId,
        new Map(kafka.committed.get(groupId)).set(partition, nextOffset),
      );
      return Promise.resolve();
    },
    committedOffsets: (groupId) => Promise.resolve(new Map(kafka.committed.get(groupId))),
    recreate: () => {
      kafka.recreateTopic();
      return Promise.resolve();
    },
    setRetention: (retentionMs) => {
      kafka.retentionMs = retentionMs;
      return Promise.resolve();
    },
    member: (groupId) => Promise.resolve(kafka.member(groupId)),
    pass: () => clock.advance(PASS_MS),
    close: () => Promise.resolve(),
  });
}

groupMemberContract("the memory", openTopic);

Deno.test("MemoryMember drops an answer that was under way when its partition was paused", async () => {
  const clock = new FakeClock();
  const kafka = new MemoryKafka({ topic: "readings", partitions: 1, clock });
  kafka.append(0, [{ key: null, value: new Uint8Array([1]) }]);
  const member = kafka.member("g", { fetchMs: 50, fetchWaitMs: 10 });
  const fetched: number[] = [];
  await member.start({
    assigned: () => {},
    batch: (batch) => {
      fetched.push(clock.elapsedMs());
      batch.resolve(batch.nextOffset);
      return Promise.resolve();
    },
    refused: () => {},
    crashed: () => {},
  });
  await clock.advance(20);
  member.pause([0]);
  await clock.advance(100);
  assert.deepEqual(fetched, []);
  member.resume([0]);
  await clock.advance(100);
  assert.equal(fetched.length, 1);
  const stopped = member.stop();
  await clock.advance(100);
  await stopped;
});

Deno.test("MemoryKafka.recreateTopic() can go unnoticed, and can leave the group's offsets", async (t) => {
  for (const commits of ["gone", "kept"] as const) {
    await t.step(commits, async () => {
      const kafka = new MemoryKafka({ topic: "readings", partitions: 1, clock: new FakeClock() });
      const member = kafka.member("g");
      const before = await member.identity();
      kafka.committed.set("g", new Map([[0, 7]]));
      const generation = kafka.generation("g");
      kafka.recreateTopic("nobody notices", commits);
      assert.notEqual((await member.identity()).topicId, before.topicId);
      assert.equal(kafka.generation("g"), generation);
      assert.equal(kafka.committed.get("g")?.get(0), commits === "kept" ? 7 : undefined);
    });
  }
});

Deno.test("MemoryKafka.abortHanging() ends what lost its marker, and no transaction under way", async () => {
  const kafka = new MemoryKafka({ topic: "readings", partitions: 1, clock: new FakeClock() });
  const [ended, open] = [kafka.transactionalProducer(), kafka.transactionalProducer()];
  const high = async (): Promise<number> =>
    onlineOf(await kafka.member("g").watermarks()).get(0)!.high;
  for (const producer of [ended, open]) {
    producer.append(0, [{ key: null, value: new Uint8Array([1]) }]);
  }
  ended.end("commit");
  assert.equal(await high(), 1);
  kafka.truncate(0, 2);
  assert.equal(await high(), 0, "open again");
  kafka.abortHanging(0);
  assert.equal(await high(), 1);
  open.end("commit");
  assert.equal(await high(), 4);
  const { records, transactions } = kafka.partition(0);
  assert.deepEqual(transactions.messagesOf(records).map(({ offset }) => offset), [1]);
});

Deno.test("MemoryTransactionalProducer ends nothing in a topic that was made again", () => {
  const kafka = new MemoryKafka({ topic: "readings", partitions: 1, clock: new FakeClock() });
  const producer = kafka.transactionalProducer();
  producer.append(0, [{ key: null, value: new Uint8Array([1]) }]);
  kafka.recreateTopic();
  producer.end("commit");
  assert.equal(kafka.partition(0).next, 0);
});

Deno.test("MemoryMember that was stopped does not join again", async () => {
  const kafka = new MemoryKafka({ topic: "readings", partitions: 1, clock: new FakeClock() });
  const member = kafka.member("g");
  member.crash(new TransientError("dead"));
  const handlers = {
    assigned: () => {},
    batch: () => Promise.resolve(),
    refused: () => {},
    crashed: () => {},
  };
  await assert.rejects(member.start(handlers), { name: "TransientError", message: /was stopped/ });
  assert.deepEqual(await member.liveMembers(), []);
});
