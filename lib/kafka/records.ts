/**
 * Decodes the records of one batch, in place of kafkajs.
 *
 * kafkajs makes two objects for each record beside the record, and copies all headers for each
 * header: a record with a megabyte of tiny headers would occupy it for hours. Here the bytes are
 * walked through once, and everything is checked against the batch's header, so that garbage cannot
 * turn into offsets. Headers are walked over, too, so that they can be decoded later without a fault.
 *
 * Format: https://kafka.apache.org/documentation/#record
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Message, MessageHeaders } from "./message.ts";
import { UnreadableError } from "./unreadable.ts";

/** What the header of the batch says. */
export interface RecordsHeader {
  /** How many records follow. */
  readonly count: number;
  /** Offset of the batch's beginning. */
  readonly firstOffset: number;
  /** Epoch of the leader that wrote the batch. */
  readonly leaderEpoch: number;
  /** No record lies further behind the beginning. */
  readonly lastOffsetDelta: number;
  /** To which the records' own times are added; undefined: all have `maxTimestamp`. */
  readonly firstTimestamp: number | undefined;
  /** The latest time in the batch, ms since 1970. */
  readonly maxTimestamp: number;
}

/** What most messages have. */
export const NO_HEADERS: MessageHeaders = {};

/**
 * A record. Its parts lie in the memory of the batch. Its headers were walked over when it was read,
 * and are decoded when somebody asks: dead letters alone do.
 */
class RecordMessage implements Message {
  readonly offset: number;
  readonly timestampMs: number;
  readonly leaderEpoch: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly #data: Buffer;
  readonly #headersAt: number;

  /** @param reader stands before the key, and after the headers when this is done */
  constructor(
    reader: RecordReader,
    { offset, timestampMs, leaderEpoch }: Pick<Message, "offset" | "timestampMs" | "leaderEpoch">,
  ) {
    this.offset = offset;
    this.timestampMs = timestampMs;
    this.leaderEpoch = leaderEpoch;
    this.key = reader.readBytes();
    this.value = reader.readBytes();
    this.#data = reader.data;
    this.#headersAt = reader.at;
    reader.skipHeaders();
  }

  get headers(): MessageHeaders {
    return new RecordReader(this.#data, this.#headersAt).readHeaders();
  }
}

/**
 * Reads all records as messages.
 *
 * @param data decompressed
 * @throws {UnreadableError} if they are not what the header says.
 */
export function readRecords(data: Buffer, header: RecordsHeader): readonly Message[] {
  const reader = new RecordReader(data, 0);
  const messages: Message[] = [];
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
    const { firstTimestamp, maxTimestamp } = header;
    messages.push(
      new RecordMessage(reader, {
        offset: header.firstOffset + offsetDelta,
        timestampMs: firstTimestamp === undefined ? maxTimestamp : firstTimestamp + timestampDelta,
        leaderEpoch: header.leaderEpoch,
      }),
    );
    if (reader.at !== end) throw new UnreadableError("a record does not end where it says");
  }
  return messages;
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
    const length = this.#skipBytes();
    return length === -1 ? null : this.data.subarray(this.at - length, this.at);
  }

  /** Walks over bytes behind their length, and returns the length; -1: null. */
  #skipBytes(): number {
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
      this.#skipBytes();
      this.#skipBytes();
    }
  }

  readHeaders(): MessageHeaders {
    const count = this.readNumber();
    if (count === 0) return NO_HEADERS;
    const headers: Record<string, (Buffer | null)[]> = Object.create(null);
    for (let index = 0; index < count; index++) {
      const name = this.readBytes()?.toString() ?? "";
      (headers[name] ??= []).push(this.readBytes());
    }
    return headers;
  }
}
