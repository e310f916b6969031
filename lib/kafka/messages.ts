/**
 * The messages of a fetch as columns: numbers and positions beside the bytes that they came in. An
 * object for each of them would cost more than all that is done with it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Message } from "./message.ts";
import { NO_HEADERS, readHeaders, writeHeaders } from "./records.ts";

/** What is known of messages beside their bytes. Positions count from the beginning of these. */
export interface MessageColumns {
  /** Their places in the partition, ascending. */
  readonly offsets: Float64Array;
  /** As `Message.timestampMs`. */
  readonly timestampsMs: Float64Array;
  /** As `Message.leaderEpoch`. */
  readonly leaderEpochs: Int32Array;
  /** Where the values begin; -1: there is none, a tombstone. */
  readonly valuesFrom: Int32Array;
  /** One past their last bytes. */
  readonly valuesTo: Int32Array;
  /** Where the keys begin; -1: there is none. */
  readonly keysFrom: Int32Array;
  /** One past their last bytes. */
  readonly keysTo: Int32Array;
  /** Where the number of headers stands, and behind it the headers; -1: there are none. */
  readonly headersAt: Int32Array;
}

type Column = Float64Array | Int32Array;

/** Makes other columns of all. */
function eachColumn(
  columns: MessageColumns,
  change: <C extends Column>(column: C) => C,
): MessageColumns {
  return {
    offsets: change(columns.offsets),
    timestampsMs: change(columns.timestampsMs),
    leaderEpochs: change(columns.leaderEpochs),
    valuesFrom: change(columns.valuesFrom),
    valuesTo: change(columns.valuesTo),
    keysFrom: change(columns.keysFrom),
    keysTo: change(columns.keysTo),
    headersAt: change(columns.headersAt),
  };
}

/** Consecutive messages of one partition, as columns over the bytes that they came in. */
export class Messages implements MessageColumns {
  /** One memory for all of them, and perhaps for others. */
  readonly bytes: Buffer;
  readonly offsets: Float64Array;
  readonly timestampsMs: Float64Array;
  readonly leaderEpochs: Int32Array;
  readonly valuesFrom: Int32Array;
  readonly valuesTo: Int32Array;
  readonly keysFrom: Int32Array;
  readonly keysTo: Int32Array;
  readonly headersAt: Int32Array;
  /** By offset: slices share them. */
  readonly #faults: ReadonlyMap<number, string>;

  /** Made by {@linkcode MessagesWriter} and {@linkcode Messages.of}. */
  constructor(bytes: Buffer, columns: MessageColumns, faults: ReadonlyMap<number, string>) {
    this.bytes = bytes;
    this.offsets = columns.offsets;
    this.timestampsMs = columns.timestampsMs;
    this.leaderEpochs = columns.leaderEpochs;
    this.valuesFrom = columns.valuesFrom;
    this.valuesTo = columns.valuesTo;
    this.keysFrom = columns.keysFrom;
    this.keysTo = columns.keysTo;
    this.headersAt = columns.headersAt;
    this.#faults = faults;
  }

  /** The same as objects, in the same layout; for fakes and tests. */
  static of(messages: readonly Message[]): Messages {
    const writer = new MessagesWriter(new Uint8Array());
    const columns = writer.reserve(messages.length);
    for (const message of messages) {
      const row = writer.length++;
      columns.offsets[row] = message.offset;
      columns.timestampsMs[row] = message.timestampMs;
      columns.leaderEpochs[row] = message.leaderEpoch;
      columns.valuesFrom[row] = writer.append(message.value);
      columns.valuesTo[row] = writer.bytesLength;
      columns.keysFrom[row] = writer.append(message.key);
      columns.keysTo[row] = writer.bytesLength;
      columns.headersAt[row] = writer.append(writeHeaders(message.headers));
      if (message.unreadable !== undefined) writer.faults.set(message.offset, message.unreadable);
    }
    return writer.finish();
  }

  /** How many there are. */
  get length(): number {
    return this.offsets.length;
  }

  /** Why the message is none, see `Message.unreadable`; undefined: it is one. */
  unreadable(index: number): string | undefined {
    return this.#faults.size === 0 ? undefined : this.#faults.get(this.offsets[index]!);
  }

  /** One message as an object, for dead letters and tests. Its parts lie in the same memory. */
  at(index: number): Message {
    const unreadable = this.unreadable(index);
    const headersAt = this.headersAt[index]!;
    const { bytes } = this;
    return {
      offset: this.offsets[index]!,
      key: this.#part(this.keysFrom[index]!, this.keysTo[index]!),
      value: this.#part(this.valuesFrom[index]!, this.valuesTo[index]!),
      get headers() {
        return headersAt < 0 ? NO_HEADERS : readHeaders(bytes, headersAt);
      },
      timestampMs: this.timestampsMs[index]!,
      leaderEpoch: this.leaderEpochs[index]!,
      ...unreadable !== undefined && { unreadable },
    };
  }

  #part(from: number, to: number): Uint8Array | null {
    return from < 0 ? null : this.bytes.subarray(from, to);
  }

  /** All of them as objects, for tests. */
  *[Symbol.iterator](): Generator<Message> {
    for (let index = 0; index < this.length; index++) yield this.at(index);
  }

  /** Some of them. Nothing is copied. */
  slice(from: number, to?: number): Messages {
    const columns = eachColumn(this, (column) => column.subarray(from, to) as typeof column);
    return new Messages(this.bytes, columns, this.#faults);
  }
}

/** Makes messages whose number and size are not known before. */
export class MessagesWriter {
  /** How many there are so far. Set back, it takes the last ones out again. */
  length = 0;
  /** Size of the memory so far. */
  bytesLength = 0;
  /** By offset, see {@linkcode Messages.unreadable}. */
  readonly faults: Map<number, string> = new Map();
  readonly #pieces: Uint8Array[] = [];
  #columns: MessageColumns = {
    offsets: new Float64Array(),
    timestampsMs: new Float64Array(),
    leaderEpochs: new Int32Array(),
    valuesFrom: new Int32Array(),
    valuesTo: new Int32Array(),
    keysFrom: new Int32Array(),
    keysTo: new Int32Array(),
    headersAt: new Int32Array(),
  };

  /**
   * No message yet.
   *
   * @param bytes the memory that the messages have at first
   */
  constructor(bytes: Uint8Array) {
    this.append(bytes);
  }

  /** Adds to the memory of the messages, and returns where that begins; -1 for null. */
  append(piece: Uint8Array | null): number {
    if (piece === null) return -1;
    const from = this.bytesLength;
    this.#pieces.push(piece);
    this.bytesLength += piece.length;
    return from;
  }

  /** Columns with room for so many more, to be written from row `length` on. */
  reserve(count: number): MessageColumns {
    const needed = this.length + count;
    const { length } = this.#columns.offsets;
    if (needed <= length) return this.#columns;
    this.#columns = eachColumn(this.#columns, (column) => {
      const larger = new (column.constructor as new (length: number) => typeof column)(
        Math.max(needed, 2 * length),
      );
      larger.set(column);
      return larger;
    });
    return this.#columns;
  }

  /** The messages. Nothing is copied unless something was added to the memory. */
  finish(): Messages {
    const { buffer, byteOffset, byteLength } = this.#pieces.length === 1
      ? this.#pieces[0]!
      : Buffer.concat(this.#pieces);
    const bytes = Buffer.from(buffer, byteOffset, byteLength);
    return new Messages(bytes, this.#columns, this.faults).slice(0, this.length);
  }
}
