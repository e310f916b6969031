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
import { Messages, MessagesWriter } from "./messages.ts";
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
const LEADER_EPOCH_AT = 12;
const ATTRIBUTES_AT = 21;
const LAST_OFFSET_DELTA_AT = 23;
const FIRST_TIMESTAMP_AT = 27;
const MAX_TIMESTAMP_AT = 35;
const PRODUCER_ID_AT = 43;
/** The format since Kafka 0.11. */
const MAGIC = 2;

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
interface Parcel extends Fetched {
  /** The last offset that the fetch covers, with or without a message there. */
  readonly offset: string;
}

/** What is in a parcel beside its place. */
export type Fetched = Pick<FetchedBatch, "firstEpoch" | "lastEpoch" | "messages">;

/**
 * Takes out what kafkajs hands on as the messages of a batch.
 *
 * @param parcels what {@linkcode decodeFetchAnswer} made
 * @param fetchedOffset the offset that was asked for: a batch can begin before it
 */
export function unpack(parcels: readonly object[], fetchedOffset: number): Fetched {
  const [{ firstEpoch, lastEpoch, messages } = NOTHING] = parcels as readonly Parcel[];
  let start = 0;
  while (messages.offsets[start]! < fetchedOffset) start++;
  return { firstEpoch, lastEpoch, messages: messages.slice(start) };
}

const NOTHING: Fetched = {
  firstEpoch: UNKNOWN_EPOCH,
  lastEpoch: UNKNOWN_EPOCH,
  messages: Messages.of([]),
};

/** What the header of a batch says. */
interface BatchHeader extends BatchInTransaction {
  /** Epoch of the leader that wrote it. */
  readonly leaderEpoch: number;
  readonly firstOffset: bigint;
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
    firstOffset: BigInt(transaction.readInt64().toString()),
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
  let first: BatchEnd | undefined;
  let last: BatchEnd | undefined;
  for (let from = 0; from + COMMON_HEADER_BYTES <= bytes.length;) {
    const end = from + LENGTH_END + bytes.readInt32BE(from + 8);
    if (end > bytes.length || allowance.cost <= 0) break;
    last = decodeBatch({ from, end }, parts);
    first ??= last;
    from = end;
  }
  if (first === undefined || last === undefined) return [];
  const [firstEpoch, lastEpoch] = [first.leaderEpoch, last.leaderEpoch];
  const messages = parts.writer.finish();
  return [{ offset: String(last.lastOffset), firstEpoch, lastEpoch, messages }];
}

/** Where a batch ends, and in whose time. */
type BatchEnd = Pick<BatchHeader, "lastOffset" | "leaderEpoch">;

/** Positions in the bytes of a partition. */
interface Span {
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

/**
 * Decodes one batch.
 *
 * @returns its end as its header says. The record there can have been compacted away, and a
 * fetch that asked for that place would get this batch again.
 */
function decodeBatch({ from, end }: Span, parts: DecodingParts): BatchEnd {
  const { bytes, aborted, writer } = parts;
  const batch = bytes.subarray(from, end);
  const magic = batch.readInt8(COMMON_HEADER_BYTES - 1);
  if (magic !== MAGIC || batch.length < HEADER_BYTES) {
    const firstOffset = batch.readBigInt64BE(0);
    const fault = magic === MAGIC ? "a batch without a header" : `message format ${magic}`;
    const place = { firstOffset, lastOffset: firstOffset, leaderEpoch: UNKNOWN_EPOCH };
    addUnreadable(writer, { ...place, timestampMs: 0, from, end, fault });
    return place;
  }
  const header = readHeader(batch);
  // Before its records are looked at: an aborted one need not be readable.
  if (aborted.leavesOut(header)) return header;
  const { length } = writer;
  try {
    if (!header.isControl) decodeMessages({ from, end }, header, parts);
    else if (isAbortMarker({ from, end }, header, parts)) aborted.end(header.producerId);
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    writer.length = length;
    const timestampMs = Number(batch.readBigInt64BE(MAX_TIMESTAMP_AT));
    const fault = describeError(error);
    addUnreadable(writer, { ...header, timestampMs, from: from + HEADER_BYTES, end, fault });
  }
  return header;
}

function readHeader(batch: Buffer): BatchHeader {
  const attributes = batch.readInt16BE(ATTRIBUTES_AT);
  const firstOffset = batch.readBigInt64BE(0);
  return {
    firstOffset,
    lastOffset: firstOffset + BigInt(batch.readInt32BE(LAST_OFFSET_DELTA_AT)),
    leaderEpoch: batch.readInt32BE(LEADER_EPOCH_AT),
    producerId: batch.readBigInt64BE(PRODUCER_ID_AT),
    isTransactional: (attributes & TRANSACTIONAL) !== 0,
    isControl: (attributes & CONTROL) !== 0,
  };
}

/** The key of a control record is a version and a type, two bytes each; type 0: abort. */
function isAbortMarker(span: Span, header: BatchHeader, parts: DecodingParts): boolean {
  const writer = new MessagesWriter(parts.bytes);
  decodeMessages(span, header, { ...parts, writer });
  const [marker] = writer.finish();
  return marker?.key?.[2] === 0 && marker.key[3] === 0;
}

function decodeMessages(
  { from, end }: Span,
  { firstOffset, leaderEpoch }: BatchHeader,
  { bytes, allowance, writer }: DecodingParts,
): void {
  const batch = bytes.subarray(from, end);
  const count = batch.readInt32BE(HEADER_BYTES - 4);
  if (count < 0 || count > BATCH_RECORDS_MAX) {
    throw new UnreadableError(`${count} records; at most ${BATCH_RECORDS_MAX} are read`);
  }
  const attributes = batch.readInt16BE(ATTRIBUTES_AT);
  const data = decompress(batch, attributes & CODEC_MASK);
  allowance.cost -= data.length + count * RECORD_COST;
  const isCompressed = (attributes & CODEC_MASK) !== 0;
  const dataAt = isCompressed ? writer.append(data) : from + HEADER_BYTES;
  const isOwnTime = (attributes & LOG_APPEND_TIME) === 0;
  readRecords({ data, dataAt, writer }, {
    count,
    firstOffset: Number(firstOffset),
    leaderEpoch,
    lastOffsetDelta: batch.readInt32BE(LAST_OFFSET_DELTA_AT),
    firstTimestamp: isOwnTime ? Number(batch.readBigInt64BE(FIRST_TIMESTAMP_AT)) : undefined,
    maxTimestamp: Number(batch.readBigInt64BE(MAX_TIMESTAMP_AT)),
  });
}

function decompress(batch: Buffer, codecNumber: number): Buffer {
  const data = batch.subarray(HEADER_BYTES);
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

/** Stands for a whole batch, in the place of its last record: no fetch begins behind that. */
function addUnreadable(
  writer: MessagesWriter,
  { firstOffset, lastOffset, leaderEpoch, timestampMs, from, end, fault }: BatchEnd & Span & {
    readonly firstOffset: bigint;
    readonly timestampMs: number;
    readonly fault: string;
  },
): void {
  const columns = writer.reserve(1);
  const row = writer.length++;
  columns.offsets[row] = Number(lastOffset);
  columns.timestampsMs[row] = timestampMs;
  columns.leaderEpochs[row] = leaderEpoch;
  columns.valuesFrom[row] = from;
  columns.valuesTo[row] = end;
  columns.keysFrom[row] = -1;
  columns.headersAt[row] = -1;
  writer.faults.set(Number(lastOffset), `offsets ${firstOffset} to ${lastOffset}: ${fault}`);
}
