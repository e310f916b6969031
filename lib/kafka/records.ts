/**
 * Decodes the records of one batch, in place of kafkajs.
 *
 * kafkajs makes three objects for each record, and copies all headers for each header: a record with
 * a megabyte of tiny headers would occupy it for hours. Here the bytes are walked through once, and
 * everything is checked against the batch's header, so that garbage cannot turn into offsets. Headers
 * are walked over, too, so that they can be decoded later without a fault.
 *
 * Format: https://kafka.apache.org/documentation/#record
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { MessageHeaders } from "./message.ts";
import type { MessagesWriter } from "./messages.ts";
import { NUMBER_BYTES_MAX, writeNumber } from "./record_batch.ts";
import { UnreadableError } from "./unreadable.ts";

/** What the header of the batch says of them. */
export interface RecordsHeader {
  /** How many records follow. */
  readonly count: number;
  /** Offset of the batch's beginning. */
  readonly firstOffset: number;
  /** No record lies behind it. */
  readonly lastOffset: number;
  /** Epoch of the leader that wrote the batch. */
  readonly leaderEpoch: number;
  /** To which the records' own times are added; undefined: all have `maxTimestamp`. */
  readonly firstTimestamp: number | undefined;
  /** The latest time in the batch, ms since 1970. */
  readonly maxTimestamp: number;
}

/** What most messages have. */
export const NO_HEADERS: MessageHeaders = {};

/** Length, attributes, time, offset, key, value and number of headers take a byte each at least. */
const RECORD_BYTES_MIN = 7;

/** What records are read from, and where their messages go. */
export interface RecordsParts {
  /** Decompressed. */
  readonly data: Buffer;
  /** Where they stand in the memory of the messages. */
  readonly dataAt: number;
  /** Has the messages of earlier batches. */
  readonly writer: MessagesWriter;
}

/**
 * Walks over all records, and adds a message for each.
 *
 * @throws {UnreadableError} if they are not what the header says; some may have been added then.
 */
export function readRecords({ data, dataAt, writer }: RecordsParts, header: RecordsHeader): void {
  const { count, firstOffset, firstTimestamp, maxTimestamp } = header;
  // So that a header alone cannot make room for much.
  if (count * RECORD_BYTES_MIN > data.length) throw new UnreadableError("a record is cut off");
  const columns = writer.reserve(count);
  const reader = new RecordReader(data, 0);
  let previous = firstOffset - 1;
  for (let index = 0; index < count; index++) {
    const end = reader.readNumber() + reader.at;
    // One byte of attributes, which mean nothing yet.
    reader.at++;
    const timestampDelta = reader.readNumber();
    const offset = firstOffset + reader.readNumber();
    if (offset <= previous || offset > header.lastOffset) {
      throw new UnreadableError("the offsets of its records are out of order");
    }
    previous = offset;
    const row = writer.length++;
    columns.offsets[row] = offset;
    columns.timestampsMs[row] = firstTimestamp === undefined
      ? maxTimestamp
      : firstTimestamp + timestampDelta;
    columns.leaderEpochs[row] = header.leaderEpoch;
    const keyLength = reader.skipBytes();
    columns.keysTo[row] = dataAt + reader.at;
    columns.keysFrom[row] = keyLength < 0 ? -1 : dataAt + reader.at - keyLength;
    const valueLength = reader.skipBytes();
    columns.valuesTo[row] = dataAt + reader.at;
    columns.valuesFrom[row] = valueLength < 0 ? -1 : dataAt + reader.at - valueLength;
    columns.headersAt[row] = dataAt + reader.at;
    reader.skipHeaders();
    if (reader.at !== end) throw new UnreadableError("a record does not end where it says");
  }
}

/** Decodes the headers of a record that was walked over. */
export function readHeaders(data: Buffer, headersAt: number): MessageHeaders {
  const reader = new RecordReader(data, headersAt);
  const count = reader.readNumber();
  if (count === 0) return NO_HEADERS;
  const headers: Record<string, (Buffer | null)[]> = Object.create(null);
  for (let index = 0; index < count; index++) {
    const name = reader.readBytes()?.toString() ?? "";
    (headers[name] ??= []).push(reader.readBytes());
  }
  return headers;
}

/** Encodes headers as they stand in a record. */
export function headersBytes(headers: MessageHeaders): Uint8Array {
  const pairs = Object.entries(headers).flatMap(([name, values]) =>
    values.map((value) => [Buffer.from(name), value])
  );
  const sized = pairs.flat().flatMap((part) => [numberBytes(part?.length ?? -1), part ?? EMPTY]);
  return Buffer.concat([numberBytes(pairs.length), ...sized]);
}

const EMPTY = new Uint8Array();

function numberBytes(value: number): Uint8Array {
  const bytes = Buffer.alloc(NUMBER_BYTES_MAX);
  return bytes.subarray(0, writeNumber(bytes, 0, value));
}

class RecordReader {
  readonly data: Buffer;
  at: number;

  constructor(data: Buffer, at: number) {
    this.data = data;
    this.at = at;
  }

  /**
   * A signed number: seven bits a byte, the lowest first, signs interleaved (0, -1, 1, -2, …). Exact
   * to 2^53.
   */
  readNumber(): number {
    let byte = this.data[this.at++];
    // Most numbers are small.
    let coded = (byte ?? 0) & 0x7f;
    for (let scale = 128; byte !== undefined && byte >= 0x80; scale *= 128) {
      // 70 bits; the longest number has 64.
      if (scale > 2 ** 63) throw new UnreadableError("a number in a record is too long");
      byte = this.data[this.at++];
      coded += ((byte ?? 0) & 0x7f) * scale;
    }
    if (byte === undefined) throw new UnreadableError("a record is cut off");
    return coded % 2 === 0 ? coded / 2 : -(coded + 1) / 2;
  }

  /** Bytes behind their length; length -1: null. */
  readBytes(): Buffer | null {
    const length = this.skipBytes();
    return length === -1 ? null : this.data.subarray(this.at - length, this.at);
  }

  /** Walks over bytes behind their length, and returns the length; -1: null. */
  skipBytes(): number {
    const length = this.readNumber();
    if (length === -1) return length;
    this.at += length;
    if (length < 0 || this.at > this.data.length) throw new UnreadableError("a record is cut off");
    return length;
  }

  /** Walks over headers without making anything of them; they are where the record says, or not. */
  skipHeaders(): void {
    // Each takes two bytes at least, so the data are a bound.
    for (let count = this.readNumber(); count > 0; count--) {
      this.skipBytes();
      this.skipBytes();
    }
  }
}
