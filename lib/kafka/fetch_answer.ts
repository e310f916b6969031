/**
 * Decodes the answer to a fetch, in place of kafkajs.
 *
 * kafkajs knows one codec of four, lets a batch become as large as it likes, and ends the consumer
 * for good at the first batch that it cannot read. Here every answer has a bound, and a batch that
 * cannot be read becomes one record in its last place that says why: the flow makes it a dead letter
 * and goes on behind it.
 *
 * Version 11 of the answer, which all brokers since Kafka 2.3 speak:
 * https://kafka.apache.org/protocol#The_Messages_Fetch
 *
 * @module
 */
import { Buffer } from "node:buffer";
import Decoder from "kafkajs/src/protocol/decoder.js";
import { describeError } from "../errors.ts";
import { CODECS } from "./compression.ts";
import { readRecords } from "./records.ts";
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

/** Offset, length, leader epoch and format of a batch: the part that all formats share. */
const COMMON_HEADER_BYTES = 17;
/** Where the length of a batch ends; the length counts what follows. */
const LENGTH_END = 12;
const HEADER_BYTES = 61;
/** The format since Kafka 0.11. */
const MAGIC = 2;

const CODEC_MASK = 0x07;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;

type KafkajsDecoder = InstanceType<typeof Decoder>;

/** A record as kafkajs hands it on, and what is added to it here. */
export interface FetchedRecord {
  /** Its place in the partition. */
  readonly offset: string;
  /** Milliseconds since 1970. */
  readonly timestamp: string;
  /** Null: none. */
  readonly key: Buffer | null;
  /** Null: a tombstone. */
  readonly value: Buffer | null;
  /** By name. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** Never shown; it only moves the position. */
  readonly isControlRecord: boolean;
  /** The record batch that it came in. */
  readonly batchContext: BatchContext;
  /** See `Message`. */
  readonly unreadable?: string;
}

/** What a batch's header says, in kafkajs's words. */
export interface BatchContext {
  /** Offset of the first record. */
  readonly firstOffset: string;
  /** Offset of the last record. */
  readonly lastOffset: string;
  /** Time of the first record, ms since 1970. */
  readonly firstTimestamp: string;
  /** Latest time of a record, ms since 1970. */
  readonly maxTimestamp: string;
  /** 0: the producer's time, 1: the broker's. */
  readonly timestampType: number;
  /** Who wrote it, for transactions; -1: nobody in particular. */
  readonly producerId: string;
  /** Whether it belongs to a transaction. */
  readonly inTransaction: boolean;
  /** Whether it holds markers and no messages. */
  readonly isControlBatch: boolean;
  /** Version of the format. */
  readonly magicByte: number;
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
  return {
    partition: decoder.readInt32(),
    errorCode: decoder.readInt16(),
    highWatermark: decoder.readInt64().toString(),
    lastStableOffset: decoder.readInt64().toString(),
    lastStartOffset: decoder.readInt64().toString(),
    abortedTransactions: decoder.readArray((transaction: KafkajsDecoder) => ({
      producerId: transaction.readInt64().toString(),
      firstOffset: transaction.readInt64().toString(),
    })),
    preferredReadReplica: decoder.readInt32(),
    messages: decodeBatches(decoder.readBytes() ?? new Uint8Array(), allowance),
  };
}

/** The records of consecutive batches. The last batch may be cut off: it comes again. */
function decodeBatches(bytes: Buffer, allowance: Allowance): readonly FetchedRecord[] {
  const records: FetchedRecord[] = [];
  for (let from = 0; from + COMMON_HEADER_BYTES <= bytes.length;) {
    const end = from + LENGTH_END + bytes.readInt32BE(from + 8);
    if (end > bytes.length || allowance.cost <= 0) break;
    decodeBatch(bytes.subarray(from, end), allowance, records);
    from = end;
  }
  return records;
}

function decodeBatch(batch: Buffer, allowance: Allowance, records: FetchedRecord[]): void {
  const magic = batch.readInt8(COMMON_HEADER_BYTES - 1);
  if (magic !== MAGIC || batch.length < HEADER_BYTES) {
    const offset = batch.readBigInt64BE(0).toString();
    const context = { ...NO_CONTEXT, firstOffset: offset, lastOffset: offset, magicByte: magic };
    const fault = magic === MAGIC ? "a batch without a header" : `message format ${magic}`;
    records.push(unreadableRecord(context, batch, fault));
    return;
  }
  const context = readContext(batch);
  try {
    decodeRecords(batch, context, { allowance, records });
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    records.push(unreadableRecord(context, batch.subarray(HEADER_BYTES), describeError(error)));
  }
  // The end of a batch can have been compacted away. Without a record there, the next fetch would
  // ask for that place, and get this batch again.
  if (records.at(-1)?.offset !== context.lastOffset) records.push(endRecord(context));
}

function readContext(batch: Buffer): BatchContext {
  const attributes = batch.readInt16BE(21);
  const firstOffset = batch.readBigInt64BE(0);
  return {
    firstOffset: firstOffset.toString(),
    lastOffset: (firstOffset + BigInt(batch.readInt32BE(23))).toString(),
    firstTimestamp: batch.readBigInt64BE(27).toString(),
    maxTimestamp: batch.readBigInt64BE(35).toString(),
    timestampType: (attributes & LOG_APPEND_TIME) === 0 ? 0 : 1,
    producerId: batch.readBigInt64BE(43).toString(),
    inTransaction: (attributes & TRANSACTIONAL) !== 0,
    isControlBatch: (attributes & CONTROL) !== 0,
    magicByte: MAGIC,
  };
}

const NO_CONTEXT: Omit<BatchContext, "firstOffset" | "lastOffset"> = {
  firstTimestamp: "0",
  maxTimestamp: "0",
  timestampType: 0,
  producerId: "-1",
  inTransaction: false,
  isControlBatch: false,
  magicByte: 0,
};

function decodeRecords(
  batch: Buffer,
  context: BatchContext,
  { allowance, records }: { allowance: Allowance; records: FetchedRecord[] },
): void {
  const count = batch.readInt32BE(HEADER_BYTES - 4);
  if (count < 0 || count > BATCH_RECORDS_MAX) {
    throw new UnreadableError(`${count} records; at most ${BATCH_RECORDS_MAX} are read`);
  }
  const data = decompress(batch);
  allowance.cost -= data.length + count * RECORD_COST;
  const isControlRecord = context.isControlBatch;
  const read = readRecords(data, {
    count,
    firstOffset: Number(context.firstOffset),
    lastOffsetDelta: batch.readInt32BE(23),
    firstTimestamp: context.timestampType === 0 ? Number(context.firstTimestamp) : undefined,
    maxTimestamp: Number(context.maxTimestamp),
  });
  for (const { offset, timestamp, key, value, headers } of read) {
    records.push({
      offset: String(offset),
      timestamp: String(timestamp),
      key,
      value,
      headers,
      isControlRecord,
      batchContext: context,
    });
  }
}

function decompress(batch: Buffer): Buffer {
  const data = batch.subarray(HEADER_BYTES);
  const number = batch.readInt16BE(21) & CODEC_MASK;
  if (number === 0) return data;
  const codec = CODECS.get(number);
  if (codec === undefined) throw new UnreadableError(`codec ${number} is unknown`);
  try {
    const { buffer, byteOffset, byteLength } = codec.decompress(data, BATCH_BYTES_MAX);
    return Buffer.from(buffer, byteOffset, byteLength);
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    throw new UnreadableError(`${codec.name}, at most ${BATCH_BYTES_MAX} bytes`, { cause: error });
  }
}

/** Stands for a whole batch, in the place of its last record: no fetch begins behind that. */
function unreadableRecord(context: BatchContext, bytes: Buffer, fault: string): FetchedRecord {
  const { firstOffset, lastOffset } = context;
  return {
    ...recordAtEnd(context),
    value: bytes,
    unreadable: `offsets ${firstOffset} to ${lastOffset}: ${fault}`,
  };
}

function endRecord(context: BatchContext): FetchedRecord {
  return { ...recordAtEnd(context), isControlRecord: true };
}

function recordAtEnd(context: BatchContext): FetchedRecord {
  return {
    offset: context.lastOffset,
    timestamp: context.maxTimestamp,
    key: null,
    value: null,
    headers: {},
    isControlRecord: false,
    batchContext: context,
  };
}
