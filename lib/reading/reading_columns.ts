/**
 * Readings as columns: one memory for each field, and no object for a reading.
 *
 * Columns are made once and used again for the next batch, so whoever is handed some reads them before
 * it waits for anything.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Digest, DIGEST_DIGITS, putDigest } from "./digest.ts";
import type { ParsedReading, Reading } from "./reading.ts";
import { READING_FIELDS, type ReadingField } from "./reading_schema.ts";
import { putUuid, uuidText } from "./uuid.ts";

/** Bytes of an id. */
export const ID_BYTES = 16;

/** Bytes for texts that do not stand in a message as they are. They grow when needed. */
const DECODED_BYTES_FIRST = 4_096;

/** Most bytes of UTF-8 for one UTF-16 unit. */
const UTF8_BYTES_MAX = 3;

const DIGEST_LANES = 2;
const digest = new Digest();
const digestDigits = Buffer.alloc(DIGEST_DIGITS);
const utf8 = new TextEncoder();

/** Nobody can choose texts that all have the same hash. */
const hashSeed = crypto.getRandomValues(new Int32Array(1))[0]!;

/** Readings by row. */
export class ReadingColumns {
  /** Most rows. */
  readonly rowsMax: number;
  /** Ids, {@linkcode ID_BYTES} each. */
  readonly ids: Uint8Array;
  /** Offsets of the messages. */
  readonly offsets: Float64Array;
  /** Event times in microseconds since 1970, exact integers. */
  readonly eventTimesUs: Float64Array;
  /** By field, see `READING_FIELDS`: numbers and integers; empty for the others. */
  readonly numbers: readonly Float64Array[];
  /** By field: where a text begins in {@linkcode ReadingColumns.textBytes}; empty for the others. */
  readonly textsFrom: readonly Int32Array[];
  /** By field: where it ends. */
  readonly textsTo: readonly Int32Array[];
  /** A bit for each field that the reading does not have, by the field's index. */
  readonly nulls: Uint32Array;
  /** Digests of the content, two lanes each, see {@linkcode ReadingColumns.digest}. */
  readonly digests: Int32Array;
  /** 1 for rows whose texts stand in {@linkcode ReadingColumns.textBytes} of their own. */
  readonly isDecoded: Uint8Array;
  #bytes: Uint8Array = new Uint8Array();
  #decoded: Uint8Array = new Uint8Array(DECODED_BYTES_FIRST);
  #decodedEnd = 0;

  /**
   * Makes room.
   *
   * @param rowsMax most rows
   */
  constructor(rowsMax: number) {
    const ofKind = <Column>(kinds: readonly string[], make: (rows: number) => Column): Column[] =>
      READING_FIELDS.map(({ kind }) => make(kinds.includes(kind) ? rowsMax : 0));
    this.rowsMax = rowsMax;
    this.ids = new Uint8Array(rowsMax * ID_BYTES);
    this.offsets = new Float64Array(rowsMax);
    this.eventTimesUs = new Float64Array(rowsMax);
    this.numbers = ofKind(["number", "integer"], (rows) => new Float64Array(rows));
    this.textsFrom = ofKind(["text"], (rows) => new Int32Array(rows));
    this.textsTo = ofKind(["text"], (rows) => new Int32Array(rows));
    this.nulls = new Uint32Array(rowsMax);
    this.digests = new Int32Array(rowsMax * DIGEST_LANES);
    this.isDecoded = new Uint8Array(rowsMax);
  }

  /** Begins with other readings, whose texts stand in these bytes. */
  begin(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#decodedEnd = 0;
  }

  /** The bytes that the positions of a row's texts are of. */
  textBytes(row: number): Uint8Array {
    return this.isDecoded[row] === 1 ? this.#decoded : this.#bytes;
  }

  /** Fills a row from a reading that exists as an object. */
  put(row: number, { reading, eventTimeUs }: Pick<ParsedReading, "reading" | "eventTimeUs">): void {
    this.isDecoded[row] = 1;
    this.nulls[row] = 0;
    this.eventTimesUs[row] = eventTimeUs;
    for (const [index, field] of READING_FIELDS.entries()) {
      const value = valueAt(reading, field);
      if (value === undefined) this.nulls[row]! |= 1 << index;
      else if (field.kind === "id") putUuid(String(value), this.ids, row * ID_BYTES);
      else if (field.kind === "text") this.#putText(row, index, String(value));
      else if (field.kind !== "time") this.numbers[index]![row] = Number(value);
    }
    this.digest(row);
  }

  #putText(row: number, field: number, text: string): void {
    const needed = this.#decodedEnd + text.length * UTF8_BYTES_MAX;
    if (needed > this.#decoded.length) {
      const larger = new Uint8Array(Math.max(needed, this.#decoded.length * 2));
      larger.set(this.#decoded);
      this.#decoded = larger;
    }
    this.textsFrom[field]![row] = this.#decodedEnd;
    this.#decodedEnd += utf8.encodeInto(text, this.#decoded.subarray(this.#decodedEnd)).written;
    this.textsTo[field]![row] = this.#decodedEnd;
  }

  /**
   * Computes the digest of all that a row says but its id: equal exactly where
   * {@linkcode ReadingColumns.hasSameContent} is true, but for one pair in 2^64.
   */
  digest(row: number): void {
    const bytes = this.textBytes(row);
    digest.restart();
    digest.number(this.nulls[row]!);
    for (let field = 0; field < READING_FIELDS.length; field++) {
      const { kind } = READING_FIELDS[field]!;
      if (this.isNull(row, field) || kind === "id") continue;
      if (kind === "text") {
        digest.text(bytes, this.textsFrom[field]![row]!, this.textsTo[field]![row]!);
      } else {
        digest.number(kind === "time" ? this.eventTimesUs[row]! : this.numbers[field]![row]!);
      }
    }
    this.digests[row * DIGEST_LANES] = digest.first;
    this.digests[row * DIGEST_LANES + 1] = digest.second;
  }

  /** The digest as 14 characters of `0-9a-v`. */
  digestText(row: number): string {
    this.putDigest(row, digestDigits, 0);
    return digestDigits.toString("latin1");
  }

  /** Writes the digest's {@linkcode DIGEST_DIGITS} characters. */
  putDigest(row: number, target: Uint8Array, at: number): void {
    putDigest(this.digests[row * 2]!, this.digests[row * 2 + 1]!, { target, at });
  }

  /** Whether the reading does not have this field. */
  isNull(row: number, field: number): boolean {
    return (this.nulls[row]! & (1 << field)) !== 0;
  }

  /** True if two rows say the same, whatever their ids: as PostgreSQL would compare them. */
  hasSameContent(a: number, b: number): boolean {
    if (this.nulls[a] !== this.nulls[b]) return false;
    return READING_FIELDS.every(({ kind }, index) => {
      if (this.isNull(a, index) || kind === "id") return true;
      if (kind === "time") return this.eventTimesUs[a] === this.eventTimesUs[b];
      if (kind !== "text") return this.numbers[index]![a] === this.numbers[index]![b];
      return this.hasSameText(a, b, index);
    });
  }

  /** Below 0, 0 or above 0, as the id of row `a` lies below, at or above that of row `b`. */
  compareIds(a: number, b: number): number {
    const { ids } = this;
    for (let at = 0; at < ID_BYTES; at++) {
      const difference = ids[a * ID_BYTES + at]! - ids[b * ID_BYTES + at]!;
      if (difference !== 0) return difference;
    }
    return 0;
  }

  /** Copies the bytes of the id. */
  copyId(row: number, target: Uint8Array, at: number): void {
    const from = row * ID_BYTES;
    for (let byte = 0; byte < ID_BYTES; byte++) target[at + byte] = this.ids[from + byte]!;
  }

  /** Whether two rows have the same text. */
  hasSameText(a: number, b: number, field: number): boolean {
    const [fromA, fromB] = [this.textsFrom[field]![a]!, this.textsFrom[field]![b]!];
    const length = this.textsTo[field]![a]! - fromA;
    if (this.textsTo[field]![b]! - fromB !== length) return false;
    const [bytesA, bytesB] = [this.textBytes(a), this.textBytes(b)];
    for (let at = 0; at < length; at++) {
      if (bytesA[fromA + at] !== bytesB[fromB + at]) return false;
    }
    return true;
  }

  /** A number for a table of texts, 0 or more; another one in each process. */
  hashText(row: number, field: number): number {
    digest.restart();
    digest.number(hashSeed);
    digest.text(this.textBytes(row), this.textsFrom[field]![row]!, this.textsTo[field]![row]!);
    return (digest.first ^ (digest.first >>> 15)) >>> 0;
  }

  /** The id, lower case with dashes. */
  idText(row: number): string {
    return uuidText(this.ids, row * ID_BYTES);
  }

  /** A text. */
  text(row: number, field: number): string {
    const { buffer, byteOffset } = this.textBytes(row);
    const from = this.textsFrom[field]![row]!;
    return Buffer.from(buffer, byteOffset + from, this.textsTo[field]![row]! - from).toString();
  }
}

/** A value of a field as an object has it; undefined: it has no such field. */
export type FieldValue = string | number | undefined;

/** Makes a reading of the values of its fields. */
export function readingFrom(valueOf: (field: ReadingField, index: number) => FieldValue): Reading {
  const reading: Record<string, unknown> = {};
  for (const [index, field] of READING_FIELDS.entries()) {
    const value = valueOf(field, index);
    if (value === undefined) continue;
    const outer = field.path.slice(0, -1).reduce<Record<string, unknown>>(
      (object, name) => (object[name] ??= {}) as Record<string, unknown>,
      reading,
    );
    outer[field.path.at(-1) ?? ""] = value;
  }
  // The loop has gone through the schema that the type is made from.
  return reading as unknown as Reading;
}

/** The value of a reading's field. */
export function valueAt(reading: Reading, { path }: ReadingField): FieldValue {
  return path.reduce<unknown>(
    (outer, name) => (outer as Readonly<Record<string, unknown>> | undefined)?.[name],
    reading,
  ) as FieldValue;
}

/**
 * Rows of columns, sorted by (id, offset): two sessions that insert the same ids in different orders
 * wait for each other in a circle, and PostgreSQL kills one of them.
 */
export interface ReadingRows {
  /** Where the readings are. */
  readonly columns: ReadingColumns;
  /** Which, and in which order; made by {@linkcode sortById}. */
  readonly rows: Uint32Array;
}

/** Bits of a sort key that hold the row, and so the most rows that are sorted that way. */
const ROW_BITS = 20;

/**
 * Sorts rows by (id, offset), in place. First as integers, of the first 44 bits of the id and the row:
 * a sort without a function to compare takes a third of the time. Then each run of equal bits, which
 * ids with a time in front have, by the whole id.
 */
export function sortById(columns: ReadingColumns, rows: Uint32Array): Uint32Array {
  const { ids, offsets } = columns;
  const compare = (a: number, b: number): number =>
    columns.compareIds(a, b) || offsets[a]! - offsets[b]!;
  if (columns.rowsMax > 2 ** ROW_BITS) return rows.sort(compare);
  // Pairs of 32 bits, the lower half first, as every processor that Deno runs on keeps 64.
  const keys = new BigUint64Array(rows.length);
  const halves = new Uint32Array(keys.buffer);
  for (let at = 0; at < rows.length; at++) {
    const id = rows[at]! * ID_BYTES;
    const low = ids[id + 4]! << 4 | ids[id + 5]! >> 4;
    halves[2 * at] = low << ROW_BITS | rows[at]!;
    halves[2 * at + 1] = ids[id]! << 24 | ids[id + 1]! << 16 | ids[id + 2]! << 8 | ids[id + 3]!;
  }
  keys.sort();
  const isSameRun = (a: number, b: number): boolean =>
    halves[2 * a + 1] === halves[2 * b + 1] &&
    halves[2 * a]! >>> ROW_BITS === halves[2 * b]! >>> ROW_BITS;
  for (let from = 0, to = 0; from < rows.length; from = to) {
    for (to = from; to < rows.length && isSameRun(from, to); to++) {
      rows[to] = halves[2 * to]! & (2 ** ROW_BITS - 1);
    }
    if (to - from > 1) rows.subarray(from, to).sort(compare);
  }
  return rows;
}
