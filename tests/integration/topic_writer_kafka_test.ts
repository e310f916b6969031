/** The laws of a topic writer on a real broker, read back by kafkajs's own consumer. */
import assert from "node:assert/strict";
import { Kafka, logLevel } from "kafkajs";
import { systemClock } from "../../lib/clock.ts";
import { ConfigurationError, TransientError } from "../../lib/errors.ts";
import { type KafkaClient, openKafka } from "../../lib/kafka/connection.ts";
import { ensureTopic, openTopicWriter } from "../../lib/kafka/kafkajs_topic_writer.ts";
import type { MessageToSend } from "../../lib/kafka/message.ts";
import { createLog } from "../../lib/log.ts";
import { readTopic } from "../../campaign/topic_reader.ts";
import {
  PARTITIONS,
  topicWriterContract,
  type WriterUnderTest,
} from "../contracts/topic_writer.ts";
import { testSettings } from "./test_stack.ts";

const READ_MS = 20_000;

function client(brokers = testSettings().kafka.brokers): KafkaClient {
  const log = createLog({ level: "error", format: "text", write: () => {}, clock: systemClock });
  return openKafka({ brokers, clientId: "writer", retries: 1 }, log);
}

/** Reads the first `count` messages of a partition. */
async function read(topic: string, partition: number, count: number): Promise<MessageToSend[]> {
  const { brokers } = testSettings().kafka;
  const messages: MessageToSend[] = [];
  await readTopic({ brokers, topic, limitMs: READ_MS }, ({ partition: from, key, value }) => {
    if (from === partition) {
      messages.push({ key: key && new TextDecoder().decode(key), value });
    }
    return messages.length >= count;
  });
  return messages.slice(0, count);
}

for (const compression of ["none", "zstd"] as const) {
  topicWriterContract(`Kafka's writer (${compression})`, async (): Promise<WriterUnderTest> => {
    const topic = `writer-${crypto.randomUUID()}`;
    await ensureTopic(client(), topic, PARTITIONS);
    const writer = await openTopicWriter(client(), topic, { compression });
    return {
      writer,
      read: (partition, count) => read(topic, partition, count),
      close: () => writer.close(),
    };
  });
}

Deno.test("ensureTopic() makes a topic that is safe to acknowledge, and leaves one that exists", async () => {
  const topic = `made-${crypto.randomUUID()}`;
  assert.deepEqual(await ensureTopic(client(), topic, 4), { outcome: "created", partitions: 4 });
  assert.deepEqual(await ensureTopic(client(), topic, 6), { outcome: "found", partitions: 4 });

  const { brokers } = testSettings().kafka;
  const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: 2, name: topic }],
  });
  await admin.disconnect();
  const config = new Map(
    resources[0]!.configEntries.map(({ configName, configValue }) => [configName, configValue]),
  );
  assert.equal(config.get("max.message.bytes"), "1048576");
  assert.equal(config.get("message.timestamp.type"), "LogAppendTime");
});

Deno.test("openTopicWriter() says that a topic does not exist, and how to make it", async () => {
  await assert.rejects(openTopicWriter(client(), `missing-${crypto.randomUUID()}`), {
    name: ConfigurationError.name,
    message: /the topic does not exist; create it/,
  });
});

Deno.test("openTopicWriter() fails soon when no broker answers", async () => {
  const startMs = systemClock.elapsedMs();
  await assert.rejects(openTopicWriter(client(["127.0.0.1:1"]), "t"), TransientError);
  assert(systemClock.elapsedMs() - startMs < 5_000);
});

Deno.test("send() takes the largest message that fits, and refuses a larger one for good", async () => {
  const topic = `large-${crypto.randomUUID()}`;
  await ensureTopic(client(), topic, 1);
  const writer = await openTopicWriter(client(), topic);
  try {
    const key = "k".repeat(64);
    await writer.send(0, [{ key, value: new Uint8Array(1_048_576 - 1_024) }]);
    await assert.rejects(writer.send(0, [{ key, value: new Uint8Array(1_048_576) }]), {
      name: ConfigurationError.name,
      message: /max\.message\.bytes/,
    });
    assert.equal((await read(topic, 0, 1)).length, 1);
  } finally {
    await writer.close();
  }
});
