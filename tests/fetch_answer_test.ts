import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { gzipSync, zstdCompressSync } from "node:zlib";
import Response from "kafkajs/src/protocol/requests/fetch/v11/response.js";
import {
  BATCH_BYTES_MAX,
  BATCH_RECORDS_MAX,
  decodeFetchAnswer,
} from "../lib/kafka/fetch_answer.ts";
import "../lib/kafka/kafkajs_patches.ts";
import {
  answerBytes,
  batchBytes,
  bytesOf,
  decode,
  decodeOne,
  fetchOne,
  kafkajsBatches,
  messagesOf,
  recordsBytes,
  type SampleBatch,
  type SampleRecord,
  textOf,
} from "./fetch_answer_bytes.ts";
import { onAFullStack } from "./full_stack.ts";

const GZIP = 1;
const ZSTD = 4;

Deno.test("decodeFetchAnswer() takes the place of kafkajs's own decoder", () => {
  assert.equal(Response.decode, decodeFetchAnswer);
});

Deno.test("decodeFetchAnswer() reads the answer's head, topics and partitions", async () => {
  const nothing = { bytes: Buffer.alloc(0) };
  const answer = await decodeFetchAnswer(answerBytes(nothing, nothing));
  const { clientSideThrottleTime, throttleTime, responses } = answer;
  assert.deepEqual([clientSideThrottleTime, throttleTime], [7, 0]);
  assert.equal(responses[0]!.topicName, "t");
  assert.deepEqual(
    responses[0]!.partitions.map((each) => (each as { partition: number }).partition),
    [0, 1],
  );
  assert.equal((responses[0]!.partitions[1] as { highWatermark: string }).highWatermark, "1000");
});

Deno.test("decodeFetchAnswer() reads records", async (t) => {
  await t.step("offsets, times, keys, values", async () => {
    const messages = await decodeOne({
      first: 40,
      records: [
        { delta: 0, value: null, timestampDelta: -5 },
        { delta: 70_000, key: "k", value: "v", timestampDelta: 5_000_000_000 },
      ],
    });
    assert.deepEqual(
      messages.map(({ offset, timestampMs, key, value }) => [
        ...[offset, timestampMs, textOf(key), textOf(value)],
      ]),
      [
        [40, 1_699_999_999_995, undefined, undefined],
        [70_040, 1_705_000_000_000, "k", "v"],
      ],
    );
  });
  await t.step("the broker's time where the topic is set so", async () => {
    const [message] = await decodeOne({ first: 0, records: [{ delta: 0 }], attributes: 8 });
    assert.equal(message!.timestampMs, 1_700_000_000_999);
  });
  await t.step("from the offset that was asked for, in the middle of a batch", async () => {
    const batch = { first: 10, records: [{ delta: 0 }, { delta: 1 }, { delta: 2 }] };
    assert.deepEqual(await fetchOne(11, [], batch), {
      values: ["value 1", "value 2"],
      nextOffset: 13,
    });
  });
  await t.step("headers, repeated and null ones, and names that objects know", async () => {
    const headers = [["a", "1"], ["a", null], ["constructor", "x"]] as const;
    const [message] = await decodeOne({ first: 0, records: [{ delta: 0, headers }] });
    assert.deepEqual(
      Object.entries(message!.headers).map(([name, values]) => [name, values.map(textOf)]),
      [["a", ["1", undefined]], ["constructor", ["x"]]],
    );
    assert.deepEqual(
      Object.keys((await decodeOne({ first: 0, records: [{ delta: 0 }] }))[0]!.headers),
      [],
    );
  });
  await t.step("headers when they are asked for, and not before", async () => {
    const headers = [["a", "1"], ["b", "2"]] as const;
    const bytes = bytesOf({ first: 0, records: [{ delta: 0, headers }] });
    const [answer] = await kafkajsBatches(0, { bytes });
    const messages = messagesOf(answer!, 0);
    // Of names that were decoded before, this would change nothing.
    messages.bytes[messages.headersAt[0]! + 2] = 0x7a;
    assert.deepEqual(Object.keys(messages.at(0).headers), ["z", "b"]);
  });
  await t.step("a megabyte of headers, in time that grows with their number", async () => {
    const bestMs = async (count: number): Promise<number> => {
      const headers = Array.from({ length: count }, (_, index) => [`${index}`, "x"] as const);
      const runsMs: number[] = [];
      for (let run = 0; run < 3; run++) {
        const startMs = performance.now();
        const [message] = await decodeOne({ first: 0, records: [{ delta: 0, headers }] });
        assert.equal(Object.keys(message!.headers).length, count);
        runsMs.push(performance.now() - startMs);
      }
      return Math.min(...runsMs);
    };
    // Ten times as many take ten times as long; copying all of them for each one, a hundred times.
    const few = await bestMs(10_000);
    assert((await bestMs(100_000)) < 40 * few);
  });
  await t.step("compressed ones", async () => {
    const records = [{ delta: 0 }, { delta: 1 }];
    const data = gzipSync(recordsBytes(records));
    const read = await decodeOne({ first: 7, records, attributes: GZIP, data });
    assert.deepEqual(read.map(({ value }) => textOf(value)), ["value 0", "value 1"]);
  });
  await t.step(
    "plain and compressed batches and one that nobody can read, in one memory",
    async () => {
      const plain = (first: number): SampleBatch => ({
        first,
        records: [{
          delta: 0,
          key: `key ${first}`,
          value: `plain ${first}`,
          headers: [["h", "1"]],
        }],
      });
      const gzip = (first: number): SampleBatch => {
        const records = [{ delta: 0, value: `gzip ${first}`, headers: [["h", "2"]] as const }];
        return { first, records, attributes: GZIP, data: gzipSync(recordsBytes(records)) };
      };
      const broken = { ...gzip(2), data: Buffer.from("broken") };
      const batches = [plain(0), gzip(1), broken, gzip(3), plain(4)];
      const read = await decodeOne(...batches);
      assert.deepEqual(
        read.map(({ offset, key, value, headers }) => [
          ...[offset, textOf(key), textOf(value), headers.h && textOf(headers.h[0]!)],
        ]),
        [
          [0, "key 0", "plain 0", "1"],
          [1, undefined, "gzip 1", "2"],
          [2, undefined, "broken", undefined],
          [3, undefined, "gzip 3", "2"],
          [4, "key 4", "plain 4", "1"],
        ],
      );
      assert.equal(new Set(read.map(({ value }) => value!.buffer)).size, 1);
    },
  );
  await t.step("several batches, the last one cut off", async () => {
    const whole = batchBytes({ first: 0, records: [{ delta: 0 }] });
    const next = batchBytes({ first: 1, records: [{ delta: 0 }] });
    for (const length of [0, 16, 40, next.length - 1]) {
      const [messages] = await decode(Buffer.concat([whole, next.subarray(0, length)]));
      assert.deepEqual(messages!.map(({ offset }) => offset), [0], `${length} bytes`);
    }
  });
  await t.step("nothing, which is an empty fetch to kafkajs", async () => {
    const cutOff = batchBytes({ first: 0, records: [{ delta: 0 }] }).subarray(0, 40);
    for (const bytes of [Buffer.alloc(0), cutOff]) {
      const [batch] = await kafkajsBatches(0, { bytes });
      assert.equal(batch!.isEmpty(), true);
    }
  });
});

Deno.test("decodeFetchAnswer() moves over a batch whose end was compacted away", async (t) => {
  const rows: [string, readonly SampleRecord[]][] = [["some left", [{ delta: 3 }]], ["none", []]];
  for (const [name, records] of rows) {
    await t.step(name, async () => {
      const batch = { first: 10, records, lastDelta: 9 };
      const values = records.map(({ delta }) => `value ${delta}`);
      assert.deepEqual(await fetchOne(10, [], batch), { values, nextOffset: 20 });
      // A fetch from behind the last record gets the same batch again.
      assert.deepEqual(await fetchOne(15, [], batch), { values: [], nextOffset: 20 });
    });
  }
});

Deno.test("decodeFetchAnswer() makes one message of a batch that it cannot read", async (t) => {
  const bomb = gzipSync(Buffer.alloc(BATCH_BYTES_MAX + 1));
  const twoDeltas = recordsBytes([{ delta: 1 }, { delta: 1 }]);
  const long = Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]), Buffer.alloc(9, 0xff)]);
  const longHeader = recordsBytes([{ delta: 0, headers: [["h", "1"]] }, { delta: 1 }]);
  const longerHeader = Buffer.from(longHeader);
  // In place of a name of one byte: one of 4, one of 63.
  longHeader[longHeader.indexOf("h") - 1] = 8;
  longerHeader[longerHeader.indexOf("h") - 1] = 126;
  const rows: [string, Partial<SampleBatch>, RegExp][] = [
    ["a bomb", { attributes: GZIP, data: bomb }, /: gzip, at most 33554432 bytes: /],
    ["garbage", { attributes: GZIP, data: Buffer.from("hello") }, /: gzip, .* bytes: /],
    ["an unknown codec", { attributes: 5 }, /: codec 5 is unknown$/],
    ["too many records", { count: BATCH_RECORDS_MAX + 1 }, /: 100001 records; at most 100000/],
    ["a negative number of records", { count: -1 }, /: -1 records/],
    ["fewer records than it says", { count: 3 }, /: a record is cut off$/],
    ["a record behind the last offset", { lastDelta: 0 }, /: the offsets .* out of order$/],
    ["the same offset twice", { data: twoDeltas }, /: the offsets .* out of order$/],
    ["a number without an end", { data: long }, /: a number in a record is too long$/],
    ["a record with a tail", { data: Buffer.from([30, ...Buffer.alloc(15)]) }, /end where it says/],
    ["headers beyond the record", { data: longHeader }, /: a record does not end where it says$/],
    ["headers beyond the batch", { data: longerHeader }, /: a record is cut off$/],
    ["an old format", { magic: 1 }, /message format 1$/],
  ];
  for (const [name, change, want] of rows) {
    await t.step(name, async () => {
      const records = [{ delta: 0 }, { delta: 1 }];
      const next: SampleBatch = { first: 12, records: [{ delta: 0 }] };
      const read = await decodeOne({ first: 10, records, ...change }, next);
      const [message, after] = read;
      assert.match(message!.unreadable!, want);
      assert(message!.value!.length > 0);
      assert.deepEqual(message!.headers, {});
      assert.equal(after!.offset, 12, "it goes on behind it");
      assert.equal(read.length, 2);
      if (change.magic !== undefined || change.lastDelta !== undefined) return;
      assert.match(message!.unreadable!, /^offsets 10 to 11: /);
      assert.equal(message!.offset, 11);
    });
  }
});

Deno.test("decodeFetchAnswer() calls no batch unreadable because the stack is full", async (t) => {
  const records = Array.from({ length: 20 }, (_, delta) => ({ delta }));
  const plain = recordsBytes(records);
  const rows: [string, number, Buffer][] = [
    ["uncompressed", 0, plain],
    ["gzip", GZIP, gzipSync(plain)],
    ["zstd", ZSTD, zstdCompressSync(plain)],
  ];
  for (const [name, attributes, data] of rows) {
    await t.step(name, async () => {
      const bytes = batchBytes({ first: 10, records, attributes, data });
      const answer = answerBytes({ bytes });
      const tries = onAFullStack(() => decodeFetchAnswer(answer));
      assert(tries.some((one) => one instanceof RangeError));
      const decoded = await Promise.all(tries.filter((one) => one instanceof Promise));
      assert(decoded.length > 0);
      assert.doesNotMatch(JSON.stringify(decoded), /unreadable/);
    });
  }
});

Deno.test("decodeFetchAnswer() makes no room for records that a batch cannot hold", async () => {
  const batches = [0, 1].map((first) => ({ first, records: [], count: BATCH_RECORDS_MAX }));
  const [answer] = await kafkajsBatches(0, { bytes: bytesOf(...batches) });
  const messages = messagesOf(answer!, 0);
  assert.equal(messages.length, 2);
  assert(messages.offsets.buffer.byteLength < 1_000);
});

Deno.test("decodeFetchAnswer() leaves the rest of an answer that becomes too large", async () => {
  const records = [{ delta: 0, value: "x".repeat(30 * 1_048_576) }];
  const data = gzipSync(recordsBytes(records), { level: 1 });
  const large = (first: number): Buffer => batchBytes({ first, records, attributes: GZIP, data });
  const read = await decode(large(0), large(1), large(2), large(3));
  // The third one goes over the bound; what comes behind it is fetched again.
  assert.deepEqual(read.map((each) => each.map(({ offset }) => offset)), [[0], [1], [2], []]);
  assert(read.flat().every(({ unreadable }) => unreadable === undefined));
});

Deno.test("decodeFetchAnswer() leaves the rest of compressed batches that become too large", async () => {
  const records = [{ delta: 0, value: "x".repeat(1_500_000) }];
  const data = gzipSync(recordsBytes(records), { level: 1 });
  const batches = Array.from({ length: 8 }, (_, first) => ({ first, records }));
  const compressed = batches.map((batch) => batchBytes({ ...batch, attributes: GZIP, data }));
  const plain = batches.map((batch) => batchBytes(batch));
  const read = await decode(...[compressed, compressed, plain].map((each) => Buffer.concat(each)));
  // Of 4 MiB the third one takes the rest; what is not compressed is in memory already.
  assert.deepEqual(read.map(({ length }) => length), [3, 3, 8]);
});
