/**
 * Readings in PostgreSQL's binary format: by row for COPY, by column for `store_batch`. Both are
 * loops over the fields of the schema, and write a field in the same way: its length in bytes, -1 for
 * NULL, then its bytes, numbers big-endian.
 *
 * A copy is a signature, flags and an extension; each row with the number of its fields before them;
 * then -1.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ID_BYTES, type ReadingColumns, type ReadingRows } from "../reading/reading_columns.ts";
import { READING_FIELDS } from "../reading/reading_schema.ts";
import { arrayHeader, exactBigint, exactInteger, OID } from "./binary_array.ts";

/** How a field of each kind is written; a text has no width of its own. */
const FORMS = {
  id: { oid: OID.uuid, width: ID_BYTES },
  text: { oid: OID.text, width: 0 },
  number: { oid: OID.double, width: 8 },
  integer: { oid: OID.integer, width: 4 },
  time: { oid: OID.timestamptz, width: 8 },
} as const;

const LENGTH_BYTES = 4;
const NULL_LENGTH = -1;
const TWO_32 = 2 ** 32;
/** PostgreSQL counts microseconds from 2000-01-01T00:00:00Z. In halves: see {@linkcode FieldWriter}. */
const POSTGRES_EPOCH = halvesOf(946_684_800_000_000);
const UNIX_EPOCH = halvesOf(0);

const COPY_HEADER = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
const COPY_END = Buffer.of(0xff, 0xff);

/** The columns of `sensor_events` that {@linkcode copyRows} fills, in its order, for SQL. */
export const COPIED_COLUMNS: string = [
  ...READING_FIELDS.map(({ column }) => `"${column}"`),
  "kafka_partition",
  "kafka_offset",
].join(", ");

/** Bytes of a row beside those of its fields: their number, the partition and the offset. */
const ROW_BYTES = 2 + LENGTH_BYTES + 4 + LENGTH_BYTES + 8;

/**
 * Rows for `COPY … FROM STDIN BINARY`.
 *
 * @throws {RowDataError} if a number does not fit its column.
 */
export function copyRows(readings: ReadingRows, partition: number): Buffer {
  const { columns, rows } = readings;
  let size = COPY_HEADER.length + rows.length * ROW_BYTES + COPY_END.length;
  for (const field of READING_FIELDS.keys()) size += bytesMaxOf(readings, field);
  const writer = new FieldWriter(Buffer.allocUnsafe(size));
  writer.putBytes(COPY_HEADER);
  for (const row of rows) {
    writer.putInt16(READING_FIELDS.length + 2);
    for (let field = 0; field < READING_FIELDS.length; field++) {
      writer.putField(columns, field, row);
    }
    writer.putInteger(partition);
    writer.putBigint(columns.offsets[row]!, UNIX_EPOCH);
  }
  writer.putBytes(COPY_END);
  return writer.written();
}

/**
 * A column as an array.
 *
 * @param field its index in `READING_FIELDS`
 * @throws {RowDataError} if a number does not fit its column.
 */
export function fieldArray(readings: ReadingRows, field: number): Buffer {
  const { columns, rows } = readings;
  const writer = new FieldWriter(Buffer.allocUnsafe(bytesMaxOf(readings, field)));
  const nulls = rows.some((row) => columns.isNull(row, field)) ? "nulls" : "no nulls";
  const { oid } = FORMS[READING_FIELDS[field]!.kind];
  for (const row of rows) writer.putField(columns, field, row);
  return Buffer.concat([arrayHeader({ oid, length: rows.length, nulls }), writer.written()]);
}

/**
 * The offsets as an array.
 *
 * @throws {RowDataError} if one is not an integer within 2^53.
 */
export function offsetArray({ columns, rows }: ReadingRows): Buffer {
  const writer = new FieldWriter(Buffer.allocUnsafe(rows.length * (LENGTH_BYTES + 8)));
  for (const row of rows) writer.putBigint(columns.offsets[row]!, UNIX_EPOCH);
  const header = arrayHeader({ oid: OID.bigint, length: rows.length, nulls: "no nulls" });
  return Buffer.concat([header, writer.written()]);
}

/** Most bytes that a field takes in all rows. */
function bytesMaxOf({ columns, rows }: ReadingRows, field: number): number {
  const { kind } = READING_FIELDS[field]!;
  let size = rows.length * (LENGTH_BYTES + FORMS[kind].width);
  if (kind !== "text") return size;
  const from = columns.textsFrom[field]!;
  const to = columns.textsTo[field]!;
  for (const row of rows) if (!columns.isNull(row, field)) size += to[row]! - from[row]!;
  return size;
}

/**
 * Writes fields one after the other, each with its length before it.
 *
 * A whole number of 64 bits is written in two halves: as a BigInt it costs ten times as much.
 */
class FieldWriter {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  putField(columns: ReadingColumns, field: number, row: number): void {
    if (columns.isNull(row, field)) return this.#putLength(NULL_LENGTH);
    switch (READING_FIELDS[field]!.kind) {
      case "id":
        this.#putLength(ID_BYTES);
        return this.#copy(columns.ids, row * ID_BYTES, (row + 1) * ID_BYTES);
      case "text": {
        const from = columns.textsFrom[field]![row]!;
        const to = columns.textsTo[field]![row]!;
        this.#putLength(to - from);
        return this.#copy(columns.textBytes(row), from, to);
      }
      case "number":
        this.#putLength(8);
        this.#view.setFloat64(this.#at, columns.numbers[field]![row]!);
        this.#at += 8;
        return;
      case "integer":
        return this.putInteger(columns.numbers[field]![row]!);
      case "time":
        return this.putBigint(columns.eventTimesUs[row]!, POSTGRES_EPOCH);
    }
  }

  putInteger(value: number): void {
    this.#putLength(4);
    this.#putLength(exactInteger(value));
  }

  /** What has passed since an epoch; the difference can lie outside of 2^53, where halves are exact. */
  putBigint(value: number, epoch: Halves): void {
    let { high, low } = halvesOf(exactBigint(value));
    high -= epoch.high;
    low -= epoch.low;
    if (low < 0) {
      high -= 1;
      low += TWO_32;
    }
    this.#putLength(8);
    this.#view.setInt32(this.#at, high);
    this.#view.setUint32(this.#at + 4, low);
    this.#at += 8;
  }

  putInt16(value: number): void {
    this.#view.setInt16(this.#at, value);
    this.#at += 2;
  }

  putBytes(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  written(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  #putLength(length: number): void {
    this.#view.setInt32(this.#at, length);
    this.#at += LENGTH_BYTES;
  }

  /** Ids and texts are short: a loop is faster than `set()`, which needs an object for the part. */
  #copy(source: Uint8Array, from: number, to: number): void {
    const bytes = this.#bytes;
    let at = this.#at;
    for (let index = from; index < to; index++) bytes[at++] = source[index]!;
    this.#at = at;
  }
}

/** A whole number of 64 bits as two of 32; the high one has the sign. */
interface Halves {
  readonly high: number;
  readonly low: number;
}

function halvesOf(value: number): Halves {
  const high = Math.floor(value / TWO_32);
  return { high, low: value - high * TWO_32 };
}
