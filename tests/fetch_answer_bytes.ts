/**
 * Answers to fetches, to the byte, and what becomes of them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import Batch from "kafkajs/src/consumer/batch.js";
import { decodeFetchAnswer, messagesFrom, type Parcel } from "../lib/kafka/fetch_answer.ts";
import type { Message } from "../lib/kafka/message.ts";
import type { Messages } from "../lib/kafka/messages.ts";

export interface SampleRecord {
  readonly delta: number;
  readonly value?: string | null;
  readonly key?: string | Buffer | null;
  readonly headers?: readonly (readonly [string, string | null])[];
  readonly timestampDelta?: number;
}

export interface SampleBatch {
  readonly first: number;
  readonly records: readonly SampleRecord[];
  /** @default the last record's */
  readonly lastDelta?: number;
  readonly attributes?: number;
  /** @default nobody in particular */
  readonly producerId?: number;
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

function sized(text: string | Buffer | null): Buffer {
  if (text === null) return varint(-1);
  const bytes = typeof text === "string" ? Buffer.from(text) : text;
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

export function recordsBytes(records: readonly SampleRecord[]): Buffer {
  return Buffer.concat(records.map(recordBytes));
}

export function batchBytes(batch: SampleBatch): Buffer {
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
  header.writeBigInt64BE(BigInt(batch.producerId ?? -1), 43);
  header.writeInt32BE(batch.count ?? records.length, 57);
  return Buffer.concat([header, data]);
}

/** A producer, and where its transaction that was aborted began. */
export type Aborted = readonly [producerId: number, firstOffset: number];

interface SamplePartition {
  readonly bytes: Buffer;
  readonly aborted?: readonly Aborted[];
}

/** An answer with one topic and these partitions. */
export function answerBytes(...partitions: readonly SamplePartition[]): Buffer {
  const head = Buffer.concat([
    Buffer.from([0, 0, 0, 7, 0, 0, 0, 0, 0, 0]), // throttled 7 ms, no error, no session
    Buffer.from([0, 0, 0, 1, 0, 1, 0x74]), // one topic, "t"
    Buffer.from([0, 0, 0, partitions.length]),
  ]);
  const parts = partitions.flatMap(({ bytes, aborted }, partition) => {
    const fields = Buffer.alloc(34);
    fields.writeInt32BE(partition, 0);
    fields.writeBigInt64BE(1_000n, 6); // high watermark
    fields.writeInt32BE(aborted?.length ?? -1, 30);
    const list = (aborted ?? []).map((each) => {
      const row = Buffer.alloc(16);
      each.forEach((number, index) => row.writeBigInt64BE(BigInt(number), index * 8));
      return row;
    });
    const tail = Buffer.alloc(8);
    tail.writeInt32BE(-1, 0); // preferred replica
    tail.writeInt32BE(bytes.length, 4);
    return [fields, ...list, tail, bytes];
  });
  return Buffer.concat([head, ...parts]);
}

/** Each partition as kafkajs makes a batch of it. */
export async function kafkajsBatches(
  fetchedOffset: number,
  ...partitions: readonly SamplePartition[]
): Promise<Batch[]> {
  const { responses } = await decodeFetchAnswer(answerBytes(...partitions));
  return responses[0]!.partitions.map((each) => new Batch("t", String(fetchedOffset), each));
}

export function messagesOf(batch: Batch, from: number): Messages {
  return messagesFrom((batch.messages as readonly Parcel[])[0]!, from);
}

/** The messages of each partition. */
export async function decode(...partitions: readonly Buffer[]): Promise<(readonly Message[])[]> {
  const batches = await kafkajsBatches(0, ...partitions.map((bytes) => ({ bytes })));
  return batches.map((batch) => batch.isEmpty() ? [] : [...messagesOf(batch, 0)]);
}

export async function decodeOne(...batches: readonly SampleBatch[]): Promise<readonly Message[]> {
  const [messages] = await decode(bytesOf(...batches));
  return messages!;
}

export function bytesOf(...batches: readonly SampleBatch[]): Buffer {
  return Buffer.concat(batches.map(batchBytes));
}

/** What a fetch of one partition comes to: the values, and where the next one begins. */
export async function fetchOne(
  from: number,
  aborted: readonly Aborted[],
  ...batches: readonly SampleBatch[]
): Promise<{ readonly values: readonly string[]; readonly nextOffset: number }> {
  const [batch] = await kafkajsBatches(from, { bytes: bytesOf(...batches), aborted });
  // Else kafkajs shows it to nobody, and steps over it on its own.
  assert.deepEqual([batch!.isEmpty(), batch!.isEmptyDueToFiltering()], [false, false]);
  const values = Array.from(messagesOf(batch!, from), ({ value }) => textOf(value)!);
  return { values, nextOffset: Number(batch!.lastOffset()) + 1 };
}

export function textOf(bytes: Uint8Array | null): string | undefined {
  return bytes === null ? undefined : new TextDecoder().decode(bytes);
}
