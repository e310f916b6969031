/**
 * The messages of a fetch as columns: numbers and positions beside the bytes that they came in. An
 * object for each of them would cost more than all that is done with it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Message } from "./message.ts";
import { headersBytes, readHeaders } from "./records.ts";

type Column = Float64Array | Int32Array;

/** Makes a column of a kind, or takes the one of that name from elsewhere. */
type MakeColumn = <C extends Column>(
  Kind: new (length: number) => C,
  name: keyof MessageColumns,
) => C;

/** What is known of messages beside their bytes. Positions count from the beginning of these. */
export class MessageColumns {
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
  /** Where the number of headers stands, and behind it the headers. */
  readonly headersAt: Int32Array;

  /** Asks for one column after the other. */
  constructor(make: MakeColumn) {
    this.offsets = make(Float64Array, "offsets");
    this.timestampsMs = make(Float64Array, "timestampsMs");
    this.leaderEpochs = make(Int32Array, "leaderEpochs");
    this.valuesFrom = make(Int32Array, "valuesFrom");
    this.valuesTo = make(Int32Array, "valuesTo");
    this.keysFrom = make(Int32Array, "keysFrom");
    this.keysTo = make(Int32Array, "keysTo");
    this.headersAt = make(Int32Array, "headersAt");
  }
}

/** Consecutive messages of one partition, as columns over the bytes that they came in. */
export class Messages extends MessageColumns {
  /** One memory for all of them, and perhaps for others. */
  readonly bytes: Buffer;
  /** By offset: slices share them. */
  readonly #faults: ReadonlyMap<number, string>;

  /** Made by {@linkcode MessagesWriter}. */
  constructor(make: MakeColumn, bytes: Buffer, faults: ReadonlyMap<number, string>) {
    super(make);
    this.bytes = bytes;
    this.#faults = faults;
  }

  /** The same as objects, in the same layout; for few of them, and for tests. */
  static of(messages: readonly Message[]): Messages {
    const writer = new MessagesWriter(new Uint8Array());
    for (const message of messages) writer.add(message);
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
    return {
      offset: this.offsets[index]!,
      key: this.#part(this.keysFrom[index]!, this.keysTo[index]!),
      value: this.#part(this.valuesFrom[index]!, this.valuesTo[index]!),
      headers: readHeaders(this.bytes, this.headersAt[index]!),
      timestampMs: this.timestampsMs[index]!,
      leaderEpoch: this.leaderEpochs[index]!,
      ...unreadable !== undefined && { unreadable },
    };
  }

  #part(from: number, to: number): Uint8Array | null {
    return from < 0 ? null : this.bytes.subarray(from, to);
  }

  /** All of them as objects; for few of them, and for tests. */
  *[Symbol.iterator](): Generator<Message> {
    for (let index = 0; index < this.length; index++) yield this.at(index);
  }

  /** Some of them. Nothing is copied. */
  slice(from: number, to?: number): Messages {
    return new Messages(viewsOf(this, from, to), this.bytes, this.#faults);
  }
}

function viewsOf(columns: MessageColumns, from: number, to: number | undefined): MakeColumn {
  return <C extends Column>(_: unknown, name: keyof MessageColumns) =>
    columns[name].subarray(from, to) as C;
}

/** Makes messages whose number and size are not known before. */
export class MessagesWriter {
  /** How many there are so far. Set back, it takes the last ones out again. */
  length = 0;
  /** Size of their memory so far. */
  bytesLength = 0;
  #columns = new MessageColumns((Kind) => new Kind(0));
  readonly #pieces: Uint8Array[] = [];
  readonly #faults = new Map<number, string>();

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
    this.#pieces.push(piece);
    this.bytesLength += piece.length;
    return this.bytesLength - piece.length;
  }

  /** Columns with room for so many more, to be written from row `length` on. */
  reserve(count: number): MessageColumns {
    const columns = this.#columns;
    const room = columns.offsets.length;
    if (this.length + count <= room) return columns;
    this.#columns = new MessageColumns((Kind, name) => {
      const larger = new Kind(Math.max(this.length + count, 2 * room));
      larger.set(columns[name]);
      return larger;
    });
    return this.#columns;
  }

  /** Adds a message that is an object, with all its bytes. */
  add({ unreadable, ...message }: Message): void {
    const columns = this.reserve(1);
    const row = this.length++;
    columns.offsets[row] = message.offset;
    columns.timestampsMs[row] = message.timestampMs;
    columns.leaderEpochs[row] = message.leaderEpoch;
    columns.valuesFrom[row] = this.append(message.value);
    columns.valuesTo[row] = this.bytesLength;
    columns.keysFrom[row] = this.append(message.key);
    columns.keysTo[row] = this.bytesLength;
    columns.headersAt[row] = this.append(headersBytes(message.headers));
    if (unreadable !== undefined) this.#faults.set(message.offset, unreadable);
  }

  /** The messages. Nothing is copied unless something was added to the memory. */
  finish(): Messages {
    const { buffer, byteOffset, byteLength } = this.#pieces.length === 1
      ? this.#pieces[0]!
      : Buffer.concat(this.#pieces);
    const bytes = Buffer.from(buffer, byteOffset, byteLength);
    return new Messages(viewsOf(this.#columns, 0, this.length), bytes, this.#faults);
  }
}
