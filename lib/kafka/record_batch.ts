/**
 * Encodes messages as one record batch, in place of kafkajs.
 *
 * kafkajs makes an encoder, a buffer and several arrays for each record, copies the list of a batch's
 * messages once for each message, and looks at one byte at a time for the checksum. Here the records
 * are written one after the other into one memory.
 *
 * Format: https://kafka.apache.org/documentation/#recordbatch
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type Compression, COMPRESSORS } from "./compression.ts";
import { crc32c } from "./crc32c.ts";
import type { MessageToSend } from "./message.ts";

/** Where the fields of a batch's header stand, and behind them the records. */
export const AT = {
  length: 8,
  leaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  firstTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  count: 57,
  records: 61,
} as const;

/** The format since Kafka 0.11. */
export const MAGIC = 2;

/** Producer id, epoch and first sequence number of a producer that has none: -1 each. */
const NO_PRODUCER_BYTES = AT.count - AT.producerId;

/** Most bytes of a record beside its key and value: five numbers of at most five bytes each. */
const FRAMING_BYTES_MAX = 32;

/** Most bytes of UTF-8 that one UTF-16 unit becomes. */
const UNIT_BYTES_MAX = 3;

/** Records that are fewer bytes go as they are: a reading or two hardly get smaller. */
const COMPRESS_BYTES_MIN = 1_024;

/** How a batch is encoded. */
export interface RecordBatchOptions {
  /** Time of all its messages, ms since 1970. A topic with LogAppendTime puts its own in place. */
  readonly timestampMs: number;
  /** How it is compressed; it goes as it is where that would make it larger. */
  readonly compression: Compression;
}

/**
 * The messages as one batch of a producer that has no id. Its offsets count from 0; the broker sets
 * the right ones.
 */
export async function encodeRecordBatch(
  messages: readonly MessageToSend[],
  { timestampMs, compression }: RecordBatchOptions,
): Promise<Buffer> {
  const plain = encodeRecords(messages);
  const compressor = plain.length < COMPRESS_BYTES_MIN ? undefined : COMPRESSORS[compression];
  const records = await compressor?.compress(plain.subarray(AT.records));
  const isSmaller = records !== undefined && records.length < plain.length - AT.records;
  const batch = isSmaller ? Buffer.concat([plain.subarray(0, AT.records), records]) : plain;
  batch.writeBigInt64BE(0n, 0);
  batch.writeInt32BE(batch.length - AT.leaderEpoch, AT.length);
  batch.writeInt32BE(-1, AT.leaderEpoch);
  batch.writeInt8(MAGIC, AT.magic);
  batch.writeInt16BE(isSmaller ? compressor!.number : 0, AT.attributes);
  batch.writeInt32BE(messages.length - 1, AT.lastOffsetDelta);
  batch.writeBigInt64BE(BigInt(timestampMs), AT.firstTimestamp);
  batch.writeBigInt64BE(BigInt(timestampMs), AT.maxTimestamp);
  batch.fill(0xff, AT.producerId, AT.producerId + NO_PRODUCER_BYTES);
  batch.writeInt32BE(messages.length, AT.count);
  batch.writeUInt32BE(crc32c(batch, AT.attributes), AT.crc);
  return batch;
}

/** The records, behind room for the header. */
function encodeRecords(messages: readonly MessageToSend[]): Buffer {
  let bytesMax = AT.records;
  for (const { key, value } of messages) {
    bytesMax += (key?.length ?? 0) * UNIT_BYTES_MAX + (value?.length ?? 0) + FRAMING_BYTES_MAX;
  }
  const buffer = Buffer.allocUnsafe(bytesMax);
  let at: number = AT.records;
  for (let index = 0; index < messages.length; index++) {
    const { key, value } = messages[index]!;
    const keyBytes = key === null ? -1 : Buffer.byteLength(key);
    const valueBytes = value === null ? -1 : value.length;
    // One byte each: attributes, the time's difference, and the number of headers.
    const bodyBytes = 3 + sizeOf(index) + sizeOf(keyBytes) + Math.max(keyBytes, 0) +
      sizeOf(valueBytes) + Math.max(valueBytes, 0);
    at = writeNumber(buffer, at, bodyBytes);
    buffer[at++] = 0;
    buffer[at++] = 0;
    at = writeNumber(buffer, at, index);
    at = writeNumber(buffer, at, keyBytes);
    if (key !== null) at = writeText(buffer, at, { text: key, bytes: keyBytes });
    at = writeNumber(buffer, at, valueBytes);
    if (value !== null) {
      buffer.set(value, at);
      at += value.length;
    }
    buffer[at++] = 0;
  }
  return buffer.subarray(0, at);
}

/** Writes UTF-8. For the few characters of a key a loop takes a third of the time of `write()`. */
function writeText(
  buffer: Buffer,
  from: number,
  { text, bytes }: { readonly text: string; readonly bytes: number },
): number {
  if (bytes !== text.length) return from + buffer.write(text, from);
  for (let index = 0; index < bytes; index++) buffer[from + index] = text.charCodeAt(index);
  return from + bytes;
}

/** Most bytes of a number. */
export const NUMBER_BYTES_MAX = 5;

/**
 * Writes a signed 32-bit number: signs interleaved, seven bits a byte, the lowest first.
 *
 * @returns one past its last byte
 */
export function writeNumber(buffer: Buffer, from: number, value: number): number {
  let at = from;
  let rest = (value << 1 ^ value >> 31) >>> 0;
  for (; rest > 0x7f; rest >>>= 7) buffer[at++] = rest & 0x7f | 0x80;
  buffer[at++] = rest;
  return at;
}

/** How many bytes {@linkcode writeNumber} takes. */
function sizeOf(value: number): number {
  const coded = (value << 1 ^ value >> 31) >>> 0;
  return coded < 1 << 7 ? 1 : coded < 1 << 14 ? 2 : coded < 1 << 21 ? 3 : coded < 1 << 28 ? 4 : 5;
}
