import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { gzipSync, zstdCompressSync } from "node:zlib";
import Batch from "kafkajs/src/consumer/batch.js";
import Response from "kafkajs/src/protocol/requests/fetch/v11/response.js";
import {
  BATCH_BYTES_MAX,
  BATCH_RECORDS_MAX,
  decodeFetchAnswer,
  type FetchedRecord,
} from "../lib/kafka/fetch_answer.ts";
import "../lib/kafka/kafkajs_patches.ts";
import { onAFullStack } from "./full_stack.ts";

interface SampleRecord {
  readonly delta: number;
  readonly value?: string | null;
  readonly key?: string | null;
  readonly headers?: readonly (readonly [string, string | null])[];
  readonly timestampDelta?: number;
}

interface SampleBatch {
  readonly first: number;
  readonly records: readonly SampleRecord[];
  /** @default the last record's */
  readonly lastDelta?: number;
  readonly attributes?: number;
  readonly count?: number;
  readonly magic?: number;
  /** In place of the records. */
  readonly data?: Buffer;
}

function varint(value: number): Buffer {
  let rest = value < 0 ? -2 * value - 1 : 2 * value;
  const bytes: number[] = [];
  while (rest > 127) {
    bytes.push(rest % 128 + 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}

function sized(text: string | null): Buffer {
  if (text === null) return varint(-1);
  const bytes = Buffer.from(text);
  return Buffer.concat([varint(bytes.length), bytes]);
}

function recordBytes(record: SampleRecord): Buffer {
  const { delta, value = `value ${delta}`, key = null, headers = [], timestampDelta = 0 } = record;
  const body = Buffer.concat([
    ...[Buffer.from([0]), varint(timestampDelta), varint(delta), sized(key), sized(value)],
    ...[varint(headers.length), ...headers.flatMap(([name, text]) => [sized(name), sized(text)])],
  ]);
  return Buffer.concat([varint(body.length), body]);
}

function recordsBytes(records: readonly SampleRecord[]): Buffer {
  return Buffer.concat(records.map(recordBytes));
}

function batchBytes(batch: SampleBatch): Buffer {
  const { first, records, attributes = 0, magic = 2 } = batch;
  const data = batch.data ?? recordsBytes(records);
  const header = Buffer.alloc(61);
  header.writeBigInt64BE(BigInt(first), 0);
  header.writeInt32BE(49 + data.length, 8);
  header.writeInt8(magic, 16);
  header.writeInt16BE(attributes, 21);
  header.writeInt32BE(batch.lastDelta ?? records.at(-1)?.delta ?? 0, 23);
  header.writeBigInt64BE(1_700_000_000_000n, 27);
  header.writeBigInt64BE(1_700_000_000_999n, 35);
  header.writeBigInt64BE(-1n, 43);
  header.writeInt32BE(batch.count ?? records.length, 57);
  return Buffer.concat([header, data]);
}

/** An answer with one topic and these bytes for each of its partitions. */
function answerBytes(...partitions: readonly Buffer[]): Buffer {
  const head = Buffer.concat([
    Buffer.from([0, 0, 0, 7, 0, 0, 0, 0, 0, 0]), // throttled 7 ms, no error, no session
    Buffer.from([0, 0, 0, 1, 0, 1, 0x74]), // one topic, "t"
    Buffer.from([0, 0, 0, partitions.length]),
  ]);
  const parts = partitions.flatMap((bytes, partition) => {
    const fields = Buffer.alloc(42);
    fields.writeInt32BE(partition, 0);
    fields.writeBigInt64BE(1_000n, 6); // high watermark
    fields.writeInt32BE(-1, 30); // aborted transactions
    fields.writeInt32BE(-1, 34); // preferred replica
    fields.writeInt32BE(bytes.length, 38);
    return [fields, bytes];
  });
  return Buffer.concat([head, ...parts]);
}

/** The records of each partition. */
async function decode(...partitions: readonly Buffer[]): Promise<(readonly FetchedRecord[])[]> {
  const { responses } = await decodeFetchAnswer(answerBytes(...partitions));
  return responses[0]!.partitions.map((partition) =>
    (partition as { messages: readonly FetchedRecord[] }).messages
  );
}

async function decodeOne(...batches: readonly SampleBatch[]): Promise<readonly FetchedRecord[]> {
  const [records] = await decode(Buffer.concat(batches.map(batchBytes)));
  return records!;
}

const GZIP = 1;
const ZSTD = 4;

Deno.test("decodeFetchAnswer() takes the place of kafkajs's own decoder", () => {
  assert.equal(Response.decode, decodeFetchAnswer);
});

Deno.test("decodeFetchAnswer() reads the answer's head, topics and partitions", async () => {
  const answer = await decodeFetchAnswer(answerBytes(Buffer.alloc(0), Buffer.alloc(0)));
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
    const records = await decodeOne({
      first: 40,
      records: [
        { delta: 0, value: null, timestampDelta: -5 },
        { delta: 70_000, key: "k", value: "v", timestampDelta: 5_000_000_000 },
      ],
    });
    assert.deepEqual(
      records.map(({ offset, timestamp, key, value }) => [
        ...[offset, timestamp, key?.toString(), value?.toString()],
      ]),
      [
        ["40", "1699999999995", undefined, undefined],
        ["70040", "1705000000000", "k", "v"],
      ],
    );
  });
  await t.step("the broker's time where the topic is set so", async () => {
    const [record] = await decodeOne({ first: 0, records: [{ delta: 0 }], attributes: 8 });
    assert.equal(record!.timestamp, "1700000000999");
  });
  await t.step("headers, repeated and null ones, and names that objects know", async () => {
    const headers = [["a", "1"], ["a", null], ["constructor", "x"]] as const;
    const [record] = await decodeOne({ first: 0, records: [{ delta: 0, headers }] });
    const pairs = Object.entries(record!.headers as Record<string, (Buffer | null)[]>);
    assert.deepEqual(
      pairs.map(([name, values]) => [name, values.map((value) => value?.toString())]),
      [["a", ["1", undefined]], ["constructor", ["x"]]],
    );
  });
  await t.step("a megabyte of headers, in time that grows with their number", async () => {
    const bestMs = async (count: number): Promise<number> => {
      const headers = Array.from({ length: count }, (_, index) => [`${index}`, "x"] as const);
      const runsMs: number[] = [];
      for (let run = 0; run < 3; run++) {
        const startMs = performance.now();
        const [record] = await decodeOne({ first: 0, records: [{ delta: 0, headers }] });
        runsMs.push(performance.now() - startMs);
        assert.equal(Object.keys(record!.headers).length, count);
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
    assert.deepEqual(read.map(({ value }) => value!.toString()), ["value 0", "value 1"]);
  });
  await t.step("control records, which are not shown", async () => {
    const [record] = await decodeOne({ first: 0, records: [{ delta: 0 }], attributes: 0x30 });
    assert.equal(record!.isControlRecord, true);
    assert.equal(record!.batchContext.inTransaction, true);
  });
  await t.step("several batches, the last one cut off", async () => {
    const whole = batchBytes({ first: 0, records: [{ delta: 0 }] });
    const next = batchBytes({ first: 1, records: [{ delta: 0 }] });
    for (const length of [0, 16, 40, next.length - 1]) {
      const [records] = await decode(Buffer.concat([whole, next.subarray(0, length)]));
      assert.deepEqual(records!.map(({ offset }) => offset), ["0"], `${length} bytes`);
    }
  });
});

Deno.test("decodeFetchAnswer() moves over a batch whose end was compacted away", async (t) => {
  const rows: [string, readonly SampleRecord[]][] = [["some left", [{ delta: 3 }]], ["none", []]];
  for (const [name, records] of rows) {
    await t.step(name, async () => {
      const messages = await decodeOne({ first: 10, records, lastDelta: 9 });
      const batch = new Batch("t", "10", {
        ...{ partition: 0, highWatermark: "1000", abortedTransactions: [], messages },
      });
      assert.equal(batch.messages.length, records.length);
      assert.equal(batch.lastOffset(), "19");
      // A fetch from behind the last record gets the same batch again.
      const again = new Batch("t", "15", {
        ...{ partition: 0, highWatermark: "1000", abortedTransactions: [], messages },
      });
      assert.equal(again.lastOffset(), "19");
    });
  }
});

Deno.test("decodeFetchAnswer() makes one record of a batch that it cannot read", async (t) => {
  const bomb = gzipSync(Buffer.alloc(BATCH_BYTES_MAX + 1));
  const twoDeltas = recordsBytes([{ delta: 1 }, { delta: 1 }]);
  const long = Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]), Buffer.alloc(8, 0xff)]);
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
    ["an old format", { magic: 1 }, /message format 1$/],
  ];
  for (const [name, change, want] of rows) {
    await t.step(name, async () => {
      const records = [{ delta: 0 }, { delta: 1 }];
      const next: SampleBatch = { first: 12, records: [{ delta: 0 }] };
      const read = await decodeOne({ first: 10, records, ...change }, next);
      const [record, after] = read;
      assert.match(record!.unreadable!, want);
      assert(record!.value!.length > 0);
      assert.equal(after!.offset, "12", "it goes on behind it");
      assert.equal(read.length, 2);
      if (change.magic !== undefined || change.lastDelta !== undefined) return;
      assert.match(record!.unreadable!, /^offsets 10 to 11: /);
      assert.equal(record!.offset, "11");
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
      const answer = answerBytes(batchBytes({ first: 10, records, attributes, data }));
      const tries = onAFullStack(() => decodeFetchAnswer(answer));
      assert(tries.some((one) => one instanceof RangeError));
      const decoded = await Promise.all(tries.filter((one) => one instanceof Promise));
      assert(decoded.length > 0);
      assert.doesNotMatch(JSON.stringify(decoded), /unreadable/);
    });
  }
});

Deno.test("decodeFetchAnswer() leaves the rest of an answer that becomes too large", async () => {
  const records = [{ delta: 0, value: "x".repeat(30 * 1_048_576) }];
  const data = gzipSync(recordsBytes(records), { level: 1 });
  const large = (first: number): Buffer => batchBytes({ first, records, attributes: GZIP, data });
  const read = await decode(Buffer.concat([large(0), large(1), large(2)]), large(3), large(4));
  // The third one goes over the bound; what comes behind it is fetched again.
  assert.deepEqual(read.map((each) => each.map(({ offset }) => offset)), [["0", "1", "2"], [], []]);
  assert(read.flat().every(({ unreadable }) => unreadable === undefined));
});
