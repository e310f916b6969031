import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Types } from "kafkajs/src/protocol/message/compression/index.js";
import ProduceRequests from "kafkajs/src/protocol/requests/produce/index.js";
import KafkajsRecord from "kafkajs/src/protocol/recordBatch/record/v0/index.js";
import { RecordBatch } from "kafkajs/src/protocol/recordBatch/v0/index.js";
import fc from "fast-check";
import { COMPRESSIONS } from "../lib/kafka/compression.ts";
import { crc32c } from "../lib/kafka/crc32c.ts";
import { EncodedBatch } from "../lib/kafka/kafkajs_patches.ts";
import type { MessageToSend } from "../lib/kafka/message.ts";
import { encodeRecordBatch } from "../lib/kafka/record_batch.ts";
import { decode } from "./fetch_answer_bytes.ts";

const TIMESTAMP_MS = 1_764_000_000_123;

function encode(
  messages: readonly MessageToSend[],
  compression: typeof COMPRESSIONS[number] = "none",
): Promise<Buffer> {
  return encodeRecordBatch(messages, { timestampMs: TIMESTAMP_MS, compression });
}

/** The same batch as kafkajs makes it; it says 0 where a producer without an id should say -1. */
async function byKafkajs(messages: readonly MessageToSend[]): Promise<Buffer> {
  const records = messages.map(({ key, value }, offsetDelta) =>
    KafkajsRecord({ key, value: value && Buffer.from(value), offsetDelta, timestampDelta: 0 })
  );
  const { buffer } = await RecordBatch({
    compression: Types.None,
    records,
    firstTimestamp: TIMESTAMP_MS,
    maxTimestamp: TIMESTAMP_MS,
    lastOffsetDelta: messages.length - 1,
    partitionLeaderEpoch: -1,
    producerEpoch: -1,
    firstSequence: -1,
  });
  return buffer;
}

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.integer({ min: 0, max: 70_000 }).map((length) => new Uint8Array(length).fill(length)),
);
const message = fc.record({
  key: fc.option(fc.oneof(fc.string({ maxLength: 80 }), fc.string({ unit: "grapheme" }))),
  value: fc.option(bytes),
});

Deno.test("encodeRecordBatch() makes the bytes that kafkajs makes", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 40 }), async (messages) => {
      assert(Buffer.compare(await encode(messages), await byKafkajs(messages)) === 0);
    }),
    { numRuns: 100 },
  );
});

Deno.test("encodeRecordBatch() makes what a consumer reads, whatever the codec", async (t) => {
  const messages: MessageToSend[] = [
    { key: "sensor", value: new TextEncoder().encode("a".repeat(20_000)) },
    { key: null, value: null },
    { key: "", value: new Uint8Array() },
    ...Array.from({ length: 300 }, (_, index) => ({
      key: `Zürich ${index}`,
      value: Uint8Array.of(index & 0xff, 0xff, 0),
    })),
  ];
  for (const [codec, compression] of COMPRESSIONS.entries()) {
    await t.step(compression, async () => {
      const batch = await encode(messages, compression);
      assert.equal(batch.readInt16BE(21), [0, 1, 4][codec]);
      const [read] = await decode(batch);
      assert.deepEqual(
        read!.map(({ key, value }) => [key && key.toString(), value && [...value]]),
        messages.map(({ key, value }) => [key, value && [...value]]),
      );
      assert.deepEqual(read!.map(({ offset }) => offset), messages.map((_, index) => index));
      assert.equal(read![0]!.timestampMs, TIMESTAMP_MS);
    });
  }
});

Deno.test("encodeRecordBatch() never makes a batch larger than it is without a codec", async (t) => {
  const noise = crypto.getRandomValues(new Uint8Array(60_000));
  const small = [{
    key: "k",
    value: new TextEncoder().encode('{"a": "aaaaaaaaaaaaaaaaaaaaaaaaa"}'),
  }];
  for (const compression of COMPRESSIONS) {
    await t.step(compression, async () => {
      for (const messages of [[{ key: null, value: noise }], small]) {
        const batch = await encode(messages, compression);
        assert.equal(batch.length, (await encode(messages)).length);
        assert.equal(batch.readInt16BE(21), 0);
      }
    });
  }
});

Deno.test("crc32c() agrees with the published sums", async (t) => {
  // RFC 3720, B.4.
  const cases: readonly [name: string, input: Uint8Array, want: number][] = [
    ["nothing", new Uint8Array(), 0],
    ["123456789", new TextEncoder().encode("123456789"), 0xe3069283],
    ["32 zeros", new Uint8Array(32), 0x8a9136aa],
    ["32 ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ["rising", Uint8Array.from({ length: 32 }, (_, at) => at), 0x46dd794e],
  ];
  for (const [name, input, want] of cases) {
    await t.step(name, () => {
      assert.equal(crc32c(input), want);
      assert.equal(crc32c(Uint8Array.of(1, 2, ...input, 3), 2, 2 + input.length), want);
    });
  }
});

Deno.test("a request to write takes an encoded batch as it is, and leaves others to kafkajs", async () => {
  const batch = await encode([{ key: "k", value: Uint8Array.of(1, 2, 3) }]);
  const request = (value: unknown): Record<string, unknown> => ({
    acks: -1,
    timeout: 8_000,
    topicData: [{ topic: "readings", partitions: [{ partition: 5, messages: [{ value }] }] }],
  });
  const bodyOf = async (value: unknown, version = 7): Promise<Buffer> => {
    const { request: made } = ProduceRequests.protocol({ version })(request(value));
    assert.deepEqual([made.apiKey, made.apiVersion, made.expectResponse()], [0, version, true]);
    return (await made.encode()).buffer;
  };
  const body = await bodyOf(new EncodedBatch(batch));
  // No transaction, all replicas, 8,000 ms, one topic, its name, one partition, its number, a length.
  const head = "ffff" + "ffff" + "00001f40" + "00000001" + "0008" +
    Buffer.from("readings").toString("hex") + "00000001" + "00000005" +
    batch.length.toString(16).padStart(8, "0");
  assert.equal(body.toString("hex"), head + batch.toString("hex"));
  assert((await bodyOf(Buffer.from("plain"))).includes("plain"));
  assert.throws(() => ProduceRequests.protocol({ version: 2 })(request(new EncodedBatch(batch))), {
    message: /before 0\.11/,
  });
});
