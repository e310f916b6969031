/**
 * Decodes the answer to a fetch, in place of kafkajs.
 *
 * kafkajs knows one codec of four, lets a batch become as large as it likes, and ends the consumer
 * for good at the first batch that it cannot read. Here every answer has a bound, and a batch that
 * cannot be read becomes one message in its last place that says why: the flow makes it a dead letter
 * and goes on behind it. What belongs to aborted transactions is left out here, too.
 *
 * Version 11 of the answer, which all brokers since Kafka 2.3 speak:
 * https://kafka.apache.org/protocol#The_Messages_Fetch
 *
 * @module
 */
import { Buffer } from "node:buffer";
import Decoder from "kafkajs/src/protocol/decoder.js";
import { describeError } from "../errors.ts";
import {
  type AbortedTransaction,
  AbortedTransactions,
  type BatchInTransaction,
} from "./aborted_transactions.ts";
import { CODECS } from "./compression.ts";
import type { FetchedBatch } from "./group_member.ts";
import { UNKNOWN_EPOCH } from "./message.ts";
import { type Messages, MessagesWriter } from "./messages.ts";
import { AT, MAGIC } from "./record_batch.ts";
import { NO_HEADERS, readRecords, type RecordsHeader } from "./records.ts";
import { UnreadableError } from "./unreadable.ts";

/** Most bytes that one batch may become. Brokers take 1 MiB by default, compressed. */
export const BATCH_BYTES_MAX = 32 * 1_048_576;

/** Most records that one batch may hold: each costs some 500 bytes of memory beside its own. */
export const BATCH_RECORDS_MAX = 100_000;

/**
 * What one answer may become before the rest of it waits for the next fetch: bytes, each record
 * counting for a little more than it holds.
 */
const ANSWER_COST_MAX = 64 * 1_048_576;
const RECORD_COST = 256;

/**
 * Bytes, or a multiple of the fetched ones if that is more, that the compressed batches of a partition
 * may become before the rest of them waits. A megabyte becomes five to eight, and of each partition
 * two or three fetches are in memory.
 */
const DECOMPRESSED_BYTES_MAX = 4 * 1_048_576;
const DECOMPRESSED_TIMES_MAX = 2;

/** Offset, length, leader epoch and format of a batch: the part that all formats share. */
const COMMON_HEADER_BYTES = AT.magic + 1;
/** Where the length of a batch ends; the length counts what follows. */
const LENGTH_END = AT.leaderEpoch;

const CODEC_MASK = 0x07;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;

type KafkajsDecoder = InstanceType<typeof Decoder>;

/**
 * What one answer brought of one partition, in the form of a single kafkajs record.
 *
 * kafkajs would turn every offset into an object, look for aborted transactions in a way that takes
 * data for markers, and step over a fetch without messages before anybody has seen it. It is shown
 * one record that stands in the last place of the fetch, and passes it on whatever is in it.
 */
export interface Parcel extends Pick<FetchedBatch, "firstEpoch" | "lastEpoch" | "messages"> {
  /** The last offset that the fetch covers, with or without a message there. */
  readonly offset: string;
}

/** The messages of a parcel from an offset on: a fetch that asks for one can begin before it. */
export function messagesFrom({ messages }: Parcel, offset: number): Messages {
  let start = 0;
  while (messages.offsets[start]! < offset) start++;
  return messages.slice(start);
}

/** The answer as kafkajs hands it on. */
export interface FetchAnswer {
  /** How long the broker held the answer back, ms. */
  readonly throttleTime: number;
  /** How long the client is to wait, ms. */
  readonly clientSideThrottleTime: number;
  /** 0: no error. */
  readonly errorCode: number;
  /** Of an incremental fetch; 0: none. */
  readonly sessionId: number;
  /** By topic and partition. */
  readonly responses: readonly {
    readonly topicName: string;
    readonly partitions: readonly object[];
  }[];
}

/** What may still be decoded of an answer. */
interface Allowance {
  cost: number;
}

/** Decodes an answer of version 11. A promise, because kafkajs awaits it. */
export function decodeFetchAnswer(raw: Buffer): Promise<FetchAnswer> {
  const decoder = new Decoder(raw);
  const allowance: Allowance = { cost: ANSWER_COST_MAX };
  const clientSideThrottleTime = decoder.readInt32();
  const errorCode = decoder.readInt16();
  const sessionId = decoder.readInt32();
  const responses = decoder.readArray((topic: KafkajsDecoder) => ({
    topicName: topic.readString(),
    partitions: topic.readArray((partition: KafkajsDecoder) =>
      decodePartition(partition, allowance)
    ),
  }));
  // The broker has not waited; kafkajs is to do that, and looks at the client's side.
  return Promise.resolve({
    throttleTime: 0,
    clientSideThrottleTime,
    errorCode,
    sessionId,
    responses,
  });
}

function decodePartition(decoder: KafkajsDecoder, allowance: Allowance): object {
  const partition = {
    partition: decoder.readInt32(),
    errorCode: decoder.readInt16(),
    highWatermark: decoder.readInt64().toString(),
    lastStableOffset: decoder.readInt64().toString(),
    lastStartOffset: decoder.readInt64().toString(),
  };
  const aborted = decoder.readArray((transaction: KafkajsDecoder): AbortedTransaction => ({
    producerId: BigInt(transaction.readInt64().toString()),
    firstOffset: Number(transaction.readInt64()),
  }));
  const preferredReadReplica = decoder.readInt32();
  const bytes = decoder.readBytes() ?? Buffer.alloc(0);
  return {
    ...partition,
    preferredReadReplica,
    // Left out already.
    abortedTransactions: [],
    messages: decodeBatches(bytes, new AbortedTransactions(aborted), allowance),
  };
}

/** What lies in consecutive batches. The last one may be cut off: it comes again. */
function decodeBatches(
  bytes: Buffer,
  aborted: AbortedTransactions,
  allowance: Allowance,
): readonly Parcel[] {
  const parts = { bytes, aborted, allowance, writer: new MessagesWriter(bytes) };
  const memoryMax = bytes.length +
    Math.max(DECOMPRESSED_BYTES_MAX, DECOMPRESSED_TIMES_MAX * bytes.length);
  let first: BatchHeader | undefined;
  let last: BatchHeader | undefined;
  for (let from = 0; from + COMMON_HEADER_BYTES <= bytes.length;) {
    const end = from + LENGTH_END + bytes.readInt32BE(from + AT.length);
    if (end > bytes.length || allowance.cost <= 0) break;
    if (parts.writer.bytesLength >= memoryMax) break;
    last = readHeader(bytes.subarray(from, end));
    first ??= last;
    decodeBatch({ ...last, from, end }, parts);
    from = end;
  }
  if (first === undefined || last === undefined) return [];
  // The last record can have been compacted away, and whoever asks for its place gets the batch again.
  const offset = String(last.lastOffset);
  const [firstEpoch, lastEpoch] = [first.leaderEpoch, last.leaderEpoch];
  return [{ offset, firstEpoch, lastEpoch, messages: parts.writer.finish() }];
}

/** What is said of a batch before its records. */
interface BatchHeader extends BatchInTransaction, RecordsHeader {
  /** Number of the codec; 0: none. */
  readonly codec: number;
  /** Why nothing more is known of it. */
  readonly fault?: string;
}

/** A batch, and where it lies in the bytes of its partition. */
interface LocatedBatch extends BatchHeader {
  readonly from: number;
  readonly end: number;
}

interface DecodingParts {
  /** Of the partition. */
  readonly bytes: Buffer;
  readonly aborted: AbortedTransactions;
  readonly allowance: Allowance;
  /** Where the messages go; their memory begins with `bytes`. */
  readonly writer: MessagesWriter;
}

function readHeader(batch: Buffer): BatchHeader {
  const firstOffset = Number(batch.readBigInt64BE(0));
  const magic = batch.readInt8(AT.magic);
  if (magic !== MAGIC || batch.length < AT.records) {
    const fault = magic === MAGIC ? "a batch without a header" : `message format ${magic}`;
    return { ...NO_HEADER, firstOffset, lastOffset: firstOffset, fault };
  }
  const attributes = batch.readInt16BE(AT.attributes);
  const isOwnTime = (attributes & LOG_APPEND_TIME) === 0;
  return {
    firstOffset,
    lastOffset: firstOffset + batch.readInt32BE(AT.lastOffsetDelta),
    leaderEpoch: batch.readInt32BE(AT.leaderEpoch),
    producerId: batch.readBigInt64BE(AT.producerId),
    isTransactional: (attributes & TRANSACTIONAL) !== 0,
    isControl: (attributes & CONTROL) !== 0,
    codec: attributes & CODEC_MASK,
    count: batch.readInt32BE(AT.count),
    firstTimestamp: isOwnTime ? Number(batch.readBigInt64BE(AT.firstTimestamp)) : undefined,
    maxTimestamp: Number(batch.readBigInt64BE(AT.maxTimestamp)),
  };
}

const NO_HEADER = {
  leaderEpoch: UNKNOWN_EPOCH,
  producerId: -1n,
  isTransactional: false,
  isControl: false,
  codec: 0,
  count: 0,
  firstTimestamp: undefined,
  maxTimestamp: 0,
};

/** Adds the messages of a batch, or one that says why there are none. */
function decodeBatch(batch: LocatedBatch, parts: DecodingParts): void {
  const { aborted, writer } = parts;
  // Before its records are looked at: an aborted one need not be readable.
  if (aborted.leavesOut(batch)) return;
  const { length } = writer;
  try {
    if (!batch.isControl) decodeMessages(batch, parts);
    else if (isAbortMarker(batch, parts)) aborted.end(batch.producerId);
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    // Stands for the whole batch, in the place of its last record: no fetch begins behind that.
    const { firstOffset, lastOffset: offset, maxTimestamp: timestampMs, leaderEpoch } = batch;
    const recordsAt = batch.fault === undefined ? batch.from + AT.records : batch.from;
    const value = parts.bytes.subarray(recordsAt, batch.end);
    const unreadable = `offsets ${firstOffset} to ${offset}: ${describeError(error)}`;
    writer.length = length;
    const message = { offset, timestampMs, leaderEpoch, key: null, value, headers: NO_HEADERS };
    writer.add({ ...message, unreadable });
  }
}

/** The key of a control record is a version and a type, two bytes each; type 0: abort. */
function isAbortMarker(batch: LocatedBatch, parts: DecodingParts): boolean {
  const writer = new MessagesWriter(parts.bytes);
  decodeMessages(batch, { ...parts, writer });
  const [marker] = writer.finish();
  return marker?.key?.[2] === 0 && marker.key[3] === 0;
}

function decodeMessages(batch: LocatedBatch, { bytes, allowance, writer }: DecodingParts): void {
  const { count, fault, codec } = batch;
  if (fault !== undefined) throw new UnreadableError(fault);
  if (count < 0 || count > BATCH_RECORDS_MAX) {
    throw new UnreadableError(`${count} records; at most ${BATCH_RECORDS_MAX} are read`);
  }
  const recordsAt = batch.from + AT.records;
  const data = decompress(bytes.subarray(recordsAt, batch.end), codec);
  allowance.cost -= data.length + count * RECORD_COST;
  const dataAt = codec === 0 ? recordsAt : writer.append(data);
  readRecords({ data, dataAt, writer }, batch);
}

function decompress(data: Buffer, codecNumber: number): Buffer {
  if (codecNumber === 0) return data;
  const codec = CODECS.get(codecNumber);
  if (codec === undefined) throw new UnreadableError(`codec ${codecNumber} is unknown`);
  try {
    const { buffer, byteOffset, byteLength } = codec.decompress(data, BATCH_BYTES_MAX);
    return Buffer.from(buffer, byteOffset, byteLength);
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    throw new UnreadableError(`${codec.name}, at most ${BATCH_BYTES_MAX} bytes`, { cause: error });
  }
}
