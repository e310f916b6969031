/**
 * Decodes the records of one batch, in place of kafkajs.
 *
 * kafkajs makes two objects for each record beside the record, and copies all headers for each
 * header: a record with a megabyte of tiny headers would occupy it for hours. Here the bytes are
 * walked through once, and everything is checked against the batch's header, so that garbage cannot
 * turn into offsets.
 *
 * Format: https://kafka.apache.org/documentation/#record
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { UnreadableError } from "./unreadable.ts";

/** What the header of the batch says. */
export interface RecordsHeader {
  /** How many records follow. */
  readonly count: number;
  /** Offset of the batch's beginning. */
  readonly firstOffset: number;
  /** No record lies further behind the beginning. */
  readonly lastOffsetDelta: number;
  /** To which the records' own times are added; undefined: all have `maxTimestamp`. */
  readonly firstTimestamp: number | undefined;
  /** The latest time in the batch, ms since 1970. */
  readonly maxTimestamp: number;
}

/** One record. Its parts lie in the memory of the batch. */
export interface BatchRecord {
  /** Its place in the partition. */
  readonly offset: number;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  /** Null: none. */
  readonly key: Buffer | null;
  /** Null: a tombstone. */
  readonly value: Buffer | null;
  /** By name, in the order of their first appearance. */
  readonly headers: Readonly<Record<string, readonly (Buffer | null)[]>>;
}

const NO_HEADERS: BatchRecord["headers"] = {};

/**
 * Reads all records.
 *
 * @param data decompressed
 * @throws {UnreadableError} if they are not what the header says.
 */
export function readRecords(data: Buffer, header: RecordsHeader): readonly BatchRecord[] {
  const reader = new RecordReader(data);
  const records: BatchRecord[] = [];
  let previousDelta = -1;
  for (let index = 0; index < header.count; index++) {
    const end = reader.readNumber() + reader.at;
    // One byte of attributes, which mean nothing yet.
    reader.at++;
    const timestampDelta = reader.readNumber();
    const offsetDelta = reader.readNumber();
    if (offsetDelta <= previousDelta || offsetDelta > header.lastOffsetDelta) {
      throw new UnreadableError("the offsets of its records are out of order");
    }
    previousDelta = offsetDelta;
    records.push({
      offset: header.firstOffset + offsetDelta,
      timestamp: header.firstTimestamp === undefined
        ? header.maxTimestamp
        : header.firstTimestamp + timestampDelta,
      key: reader.readBytes(),
      value: reader.readBytes(),
      headers: reader.readHeaders(),
    });
    if (reader.at !== end) throw new UnreadableError("a record does not end where it says");
  }
  return records;
}

class RecordReader {
  at = 0;
  readonly #data: Buffer;

  constructor(data: Buffer) {
    this.#data = data;
  }

  /**
   * A signed number: seven bits a byte, the lowest first, signs interleaved (0, -1, 1, -2, …). Exact
   * to 2^53.
   */
  readNumber(): number {
    let byte = this.#data[this.at++];
    // Most numbers are small.
    let coded = (byte ?? 0) & 0x7f;
    for (let scale = 128; byte !== undefined && byte >= 0x80; scale *= 128) {
      // 70 bits; the longest number has 64.
      if (scale > 2 ** 63) throw new UnreadableError("a number in a record is too long");
      byte = this.#data[this.at++];
      coded += ((byte ?? 0) & 0x7f) * scale;
    }
    if (byte === undefined) throw new UnreadableError("a record is cut off");
    return coded % 2 === 0 ? coded / 2 : -(coded + 1) / 2;
  }

  /** Bytes behind their length; length -1: null. */
  readBytes(): Buffer | null {
    const length = this.readNumber();
    if (length === -1) return null;
    const from = this.at;
    this.at += length;
    if (length < 0 || this.at > this.#data.length) throw new UnreadableError("a record is cut off");
    return this.#data.subarray(from, this.at);
  }

  readHeaders(): BatchRecord["headers"] {
    const count = this.readNumber();
    if (count === 0) return NO_HEADERS;
    const headers: Record<string, (Buffer | null)[]> = Object.create(null);
    // Each takes two bytes at least, so the data are a bound.
    for (let index = 0; index < count; index++) {
      const name = this.readBytes()?.toString() ?? "";
      (headers[name] ??= []).push(this.readBytes());
    }
    return headers;
  }
}
