/**
 * The laws of a topic writer, run on the memory and on real brokers.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { MessageToSend } from "../../lib/kafka/message.ts";
import type { TopicWriter } from "../../lib/kafka/topic_writer.ts";

/** A new topic of {@linkcode PARTITIONS} partitions, and a writer to it. */
export interface WriterUnderTest {
  readonly writer: TopicWriter;
  /** The first `count` messages of a partition, with keys as text. */
  read(partition: number, count: number): Promise<MessageToSend[]>;
  close(): Promise<void>;
}

/** How many partitions the topic has. */
export const PARTITIONS = 3;

const encoder = new TextEncoder();

function numbered(from: number, to: number): MessageToSend[] {
  return Array.from({ length: to - from }, (_, at) => ({
    key: `key-${from + at}`,
    value: encoder.encode(String(from + at)),
  }));
}

/** Registers the laws as tests of `name`. */
export function topicWriterContract(name: string, open: () => Promise<WriterUnderTest>): void {
  const law = (text: string, check: (topic: WriterUnderTest) => Promise<void>): void => {
    Deno.test(`${name} ${text}`, async () => {
      const topic = await open();
      try {
        await check(topic);
      } finally {
        await topic.close();
      }
    });
  };

  law("knows the number of partitions", async ({ writer }) => {
    assert.equal(writer.partitions, PARTITIONS);
    await Promise.resolve();
  });

  law("writes to the partition it is told, whatever the keys, in order", async (topic) => {
    const batches = [numbered(0, 700), numbered(700, 701), numbered(701, 900)];
    for (const batch of batches) await topic.writer.send(1, batch);
    assert.deepEqual(await topic.read(1, 900), batches.flat());
  });

  law("leaves keys and bytes as they are", async (topic) => {
    const messages: MessageToSend[] = [
      { key: null, value: null },
      { key: null, value: new Uint8Array() },
      { key: "", value: Uint8Array.of(0xff, 0xfe, 0, 10) },
      { key: "Zürich 温度", value: Uint8Array.of(1, 2, 3, 4, 5).subarray(1, 4) },
      { key: "large", value: new Uint8Array(200_000).fill(7) },
    ];
    await topic.writer.send(0, messages);
    assert.deepEqual(await topic.read(0, messages.length), messages);
  });

  law("writes to several partitions at the same time", async (topic) => {
    await Promise.all(
      [0, 1, 2].map((partition) =>
        topic.writer.send(partition, numbered(partition * 10, partition * 10 + 5))
      ),
    );
    for (const partition of [0, 1, 2]) {
      const want = numbered(partition * 10, partition * 10 + 5);
      assert.deepEqual(await topic.read(partition, 5), want);
    }
  });

  law("refuses a second send under way in one partition, and takes the next one", async (topic) => {
    const first = topic.writer.send(2, numbered(0, 3));
    await assert.rejects(topic.writer.send(2, numbered(3, 6)), {
      name: "Error",
      message: /partition 2: a send is under way/,
    });
    await first;
    await topic.writer.send(2, numbered(6, 9));
    assert.deepEqual(await topic.read(2, 6), [...numbered(0, 3), ...numbered(6, 9)]);
  });

  law("acknowledges nothing for a partition that does not exist", async (topic) => {
    for (let attempt = 0; attempt < 2; attempt++) {
      await assert.rejects(topic.writer.send(PARTITIONS, numbered(0, 1)), {
        name: /^(TransientError|ConfigurationError)$/,
        // The second is a word for the brokers' own partitions too, when they have no leader.
        message: /partition 3|no broker leads the partition/,
      });
    }
  });
}
