import assert from "node:assert/strict";
import { MemoryMember } from "../../fakes/group_member.ts";
import { MemoryKafka } from "../../fakes/kafka_cluster.ts";
import { TransientError } from "../../lib/errors.ts";
import { groupMemberContract, type TopicUnderTest } from "../contracts/group_member.ts";
import { FakeClock } from "../fake_clock.ts";

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
      kafka.groups.committed.set(
        groupId,
        new Map(kafka.groups.committed.get(groupId)).set(partition, nextOffset),
      );
      return Promise.resolve();
    },
    committedOffsets: (groupId) => Promise.resolve(new Map(kafka.groups.committed.get(groupId))),
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
