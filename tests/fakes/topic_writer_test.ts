/** The laws of a topic writer in memory. */
import assert from "node:assert/strict";
import { MemoryKafka } from "../../fakes/kafka_cluster.ts";
import { TransientError } from "../../lib/errors.ts";
import type { Message } from "../../lib/kafka/message.ts";
import {
  PARTITIONS,
  topicWriterContract,
  type WriterUnderTest,
} from "../contracts/topic_writer.ts";
import { FakeClock } from "../fake_clock.ts";

function openKafka(): MemoryKafka {
  return new MemoryKafka({ topic: "t", partitions: PARTITIONS, clock: new FakeClock() });
}

function messagesOf(kafka: MemoryKafka, partition: number): Message[] {
  return kafka.partition(partition).records.filter((record) => "value" in record);
}

topicWriterContract("MemoryKafka.writer()", () => {
  const kafka = openKafka();
  const decoder = new TextDecoder();
  const topic: WriterUnderTest = {
    writer: kafka.writer(),
    read: (partition, count) =>
      Promise.resolve(
        messagesOf(kafka, partition).slice(0, count).map(({ key, value }) => ({
          key: key && decoder.decode(key),
          value,
        })),
      ),
    close: () => Promise.resolve(),
  };
  return Promise.resolve(topic);
});

Deno.test("MemoryKafka.writer() fails while the brokers are away, and writes nothing", async () => {
  const kafka = openKafka();
  const writer = kafka.writer();
  kafka.setBrokersAway(true);
  await assert.rejects(writer.send(0, [{ key: null, value: null }]), TransientError);
  kafka.setBrokersAway(false);
  assert.equal(messagesOf(kafka, 0).length, 0);
  await writer.send(0, [{ key: null, value: null }]);
  assert.equal(messagesOf(kafka, 0).length, 1);
});
