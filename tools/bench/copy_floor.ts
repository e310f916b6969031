/**
 * The lower floor: the same rows by COPY in its binary form, the cheapest way into the table that
 * PostgreSQL has. COPY cannot leave out a repeat, so repeats are left out beforehand.
 *
 * @module
 */
import { Buffer } from "node:buffer";
// @ts-types="@types/pg"
import pg from "pg";
import { partitionOf } from "../../lib/kafka/partitioner.ts";
import type { Reading } from "../../lib/reading/reading.ts";
import { PARTITIONS, type WorkloadMessage } from "./workload.ts";

/** Rows of one statement. */
export const BATCH_ROWS = 5_000;

/** Columns of the table in the order of a reading's fields, each with the type of its array. */
export const COLUMNS: readonly [name: string, type: string][] = [
  ["unique_reading_id", "uuid"],
  ["sensor_id", "text"],
  ["sensor_type", "text"],
  ["latitude", "double precision"],
  ["longitude", "double precision"],
  ['"timestamp"', "timestamptz"],
  ["value", "double precision"],
  ["unit", "text"],
  ["status", "text"],
  ["battery_level", "integer"],
  ["kafka_partition", "integer"],
  ["kafka_offset", "bigint"],
];

/** The rows of one COPY. */
export interface CopyBatch {
  /** All of it, header and trailer included. */
  readonly bytes: Buffer;
  /** How many rows there are. */
  readonly rows: number;
}

/** "PGCOPY\n\377\r\n\0", no flags, no extension. */
const HEADER = Buffer.from("5047434f50590aff0d0a000000000000000000", "hex");
const TRAILER = Buffer.from("ffff", "hex");

/** PostgreSQL counts from 2000-01-01, microseconds. */
const EPOCH_US = 946_684_800_000_000;

/** No row of the workload takes more. */
const ROW_BYTES_MAX = 512;

interface Row {
  readonly reading: Reading;
  readonly partition: number;
  readonly offset: number;
}

/** The readings of the messages in batches of 5,000 rows, each sorted by id; each reading once. */
export function copyBatches(messages: Iterable<WorkloadMessage>): readonly CopyBatch[] {
  const batches: CopyBatch[] = [];
  const nextOffsets = Array.from({ length: PARTITIONS }, () => 0);
  const known = new Set<string>();
  let rows: Row[] = [];
  const close = (): void => {
    if (rows.length > 0) batches.push({ bytes: bytesOf(rows), rows: rows.length });
    rows = [];
  };
  for (const { key, reading } of messages) {
    const partition = partitionOf(key, PARTITIONS);
    const offset = nextOffsets[partition]!++;
    if (known.size === known.add(reading.unique_reading_id).size) continue;
    rows.push({ reading, partition, offset });
    if (rows.length === BATCH_ROWS) close();
  }
  close();
  return batches;
}

function bytesOf(rows: Row[]): Buffer {
  // Unsorted, two connections that meet at the same ids can wait for each other in a circle.
  rows.sort(({ reading: { unique_reading_id: a } }, { reading: { unique_reading_id: b } }) =>
    a < b ? -1 : a > b ? 1 : 0
  );
  const bytes = Buffer.allocUnsafe(rows.length * ROW_BYTES_MAX);
  let at = 0;
  const field = (length: number): number => {
    at = bytes.writeInt32BE(length, at) + length;
    return at - length;
  };
  const text = (value: string): void => {
    bytes.write(value, field(Buffer.byteLength(value)));
  };
  const float = (value: number): void => void bytes.writeDoubleBE(value, field(8));
  const integer = (value: number): void => void bytes.writeInt32BE(value, field(4));
  const long = (value: number): void => void bytes.writeBigInt64BE(BigInt(value), field(8));
  for (const { reading, partition, offset } of rows) {
    at = bytes.writeInt16BE(COLUMNS.length, at);
    bytes.write(reading.unique_reading_id.replaceAll("-", ""), field(16), "hex");
    text(reading.sensor_id);
    text(reading.sensor_type);
    float(reading.location.latitude);
    float(reading.location.longitude);
    long(microsecondsOf(reading.timestamp) - EPOCH_US);
    float(reading.value);
    text(reading.unit);
    text(reading.status);
    integer(reading.battery_level);
    integer(partition);
    long(offset);
  }
  return Buffer.concat([HEADER, bytes.subarray(0, at), TRAILER]);
}

/** Of a timestamp as the workload writes it: six digits behind the point, in UTC. */
function microsecondsOf(timestamp: string): number {
  return Date.parse(`${timestamp.slice(0, 19)}Z`) * 1_000 + Number(timestamp.slice(20, 26));
}

const COPY = `COPY sensor_events (${COLUMNS.map(([name]) => name).join(", ")})
  FROM STDIN BINARY`;

/** What the driver's connection has for a copy, beside what its types say. */
interface CopyConnection extends pg.Connection {
  query(text: string): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

/**
 * Copies one batch into the table, in a transaction of its own.
 *
 * @internal
 * @throws {Error} If the server refuses it, with what it says.
 */
export function copyInto(client: pg.Client, { bytes }: CopyBatch): Promise<void> {
  return new Promise((resolve, reject) => {
    const nothing = (): void => {};
    client.query(
      {
        submit: (connection: pg.Connection) => {
          const copying = connection as CopyConnection;
          copying.query(COPY);
          // Not waited for: after an error the server throws the rest away.
          copying.sendCopyFromChunk(bytes);
          copying.endCopyFrom();
        },
        handleCopyInResponse: nothing,
        handleCommandComplete: nothing,
        handleReadyForQuery: () => resolve(),
        handleError: reject,
      } satisfies pg.Submittable & Record<string, unknown>,
    );
  });
}
