import { MemoryKafka } from "../lib/kafka/memory.ts";
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
    appendAborted: (partition, values) => {
      // What an aborted transaction leaves: its messages and the marker, none of them readable.
      kafka.appendControl(partition, values.length + 1);
      return Promise.resolve();
    },
    deleteRecords: (partition, beforeOffset) => {
      kafka.deleteRecords(partition, beforeOffset);
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
