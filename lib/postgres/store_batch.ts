/**
 * One batch into PostgreSQL, in either way, see {@linkcode StoreWay}. All that is to be decided is
 * decided by SQL, in `migrations/`: here batches become bytes, and answers become outcomes.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ConfigurationError, RowDataError } from "../errors.ts";
import { READING_FIELDS } from "../reading/reading_schema.ts";
import {
  bigintArray,
  booleanArray,
  byteaArray,
  integerArray,
  jsonbArray,
  textArray,
} from "./binary_array.ts";
import { COPIED_COLUMNS, copyRows, fieldArray, offsetArray } from "./binary_rows.ts";
import {
  BatchRefusedError,
  type SqlPool,
  type SqlQuery,
  type SqlRow,
  type SqlValue,
} from "./pool.ts";
import type { BatchToStore, DeadLetter, StoreOutcome, StoreWay } from "./store.ts";

const COPY = `COPY sensor_events (${COPIED_COLUMNS}) FROM STDIN BINARY`;
const FINISH_BATCH = `SELECT finish_batch(${places(20)})`;
const STORE_BATCH = `SELECT * FROM store_batch(${places(21 + READING_FIELDS.length)})`;

function places(count: number): string {
  return Array.from({ length: count }, (_, index) => `$${index + 1}`).join(", ");
}

/** Stores a batch, see {@linkcode Store.storeBatch}. It has read the batch when it returns its promise. */
export async function storeBatch(
  pool: SqlPool,
  batch: BatchToStore,
  way: StoreWay,
): Promise<StoreOutcome> {
  const { fromOffset, nextOffset, partition } = batch;
  const action = `store offsets ${fromOffset} to ${nextOffset} of partition ${partition}`;
  const query = encode(action, batch, way);
  try {
    const { rows } = await pool.query(query);
    return way === "copy" ? copiedOutcomeOf(batch) : comparedOutcomeOf(rows[0] ?? {});
  } catch (error) {
    if (error instanceof BatchRefusedError) return refusedOutcomeOf(error);
    throw error;
  }
}

/** A value that does not fit its column's binary form is that row's fault, and nothing else is. */
function encode(action: string, batch: BatchToStore, way: StoreWay): SqlQuery {
  try {
    if (way === "compare") return { action, text: STORE_BATCH, values: storeBatchValues(batch) };
    const rows = copyRows(batch.readings, batch.partition);
    const values = finishBatchValues(batch);
    return { action, copy: { text: COPY, rows }, text: FINISH_BATCH, values };
  } catch (error) {
    if (!(error instanceof RowDataError)) throw error;
    throw new RowDataError(`Cannot ${action}: ${error.message}`, { cause: error });
  }
}

/** The arguments of the SQL function `store_batch`, in its order. */
export function storeBatchValues(batch: BatchToStore): readonly SqlValue[] {
  const { readings, deadLetters, suspects } = batch;
  const letters = [...deadLetters, ...suspects];
  return [
    ...lineValues(batch),
    batch.duplicates,
    batch.skipped,
    ...READING_FIELDS.map((_, field) => fieldArray(readings, field)),
    offsetArray(readings),
    booleanArray(letters.map((_, index) => index >= deadLetters.length)),
    ...deadLetterArrays(letters),
    batch.fromEpoch,
    batch.nextEpoch,
  ];
}

/** The arguments of the SQL function `finish_batch`, in its order. */
function finishBatchValues(batch: BatchToStore): readonly SqlValue[] {
  return [
    ...lineValues(batch),
    batch.fromEpoch,
    batch.nextEpoch,
    batch.readings.rows.length,
    batch.duplicates,
    batch.skipped,
    ...deadLetterArrays(batch.deadLetters),
  ];
}

function lineValues(batch: BatchToStore): readonly SqlValue[] {
  const { clusterId, topic, topicId } = batch.topic;
  const { dataSetId, partition, fromOffset, nextOffset } = batch;
  return [dataSetId, clusterId, topic, topicId, partition, fromOffset, nextOffset];
}

function deadLetterArrays(letters: readonly DeadLetter[]): readonly Buffer[] {
  return [
    bigintArray(letters.map(({ offset }) => offset)),
    textArray(letters.map(({ reason }) => reason)),
    textArray(letters.map(({ detail }) => detail)),
    byteaArray(letters.map(({ payload }) => payload)),
    integerArray(letters.map(({ payloadBytes }) => payloadBytes)),
    byteaArray(letters.map(({ payloadSha256 }) => Buffer.from(payloadSha256, "hex"))),
    byteaArray(letters.map(({ key }) => key)),
    jsonbArray(letters.map(({ headersJson }) => headersJson)),
  ];
}

/** `finish_batch` returns only if it has done all that it was told. */
function copiedOutcomeOf({ readings, duplicates, deadLetters }: BatchToStore): StoreOutcome {
  return {
    kind: "stored",
    inserted: readings.rows.length,
    duplicates,
    deadLetters: deadLetters.length,
    conflictOffsets: [],
  };
}

function comparedOutcomeOf(row: SqlRow): StoreOutcome {
  switch (row.outcome) {
    case "stored":
      return {
        kind: "stored",
        inserted: Number(row.inserted),
        duplicates: Number(row.duplicates),
        deadLetters: Number(row.dead_letters),
        conflictOffsets: Array.isArray(row.conflict_offsets)
          ? row.conflict_offsets.map(Number)
          : [],
      };
    case "fenced":
      return {
        kind: "fenced",
        ledgerNext: row.ledger_next === null ? undefined : Number(row.ledger_next),
      };
    case "other_log":
      return { kind: "other_log" };
    case "data_set_changed":
      return { kind: "data_set_changed" };
    default:
      throw new ConfigurationError(
        `Cannot store a batch: the database's store_batch answers "${row.outcome}". ` +
          "Run: deno task migrate",
      );
  }
}

function refusedOutcomeOf({ code, detail }: BatchRefusedError): StoreOutcome {
  switch (code) {
    case "SL001":
      return { kind: "conflicts", offsets: detail.split(",").map(Number) };
    case "SL003":
      return { kind: "fenced", ledgerNext: detail === "" ? undefined : Number(detail) };
    case "SL004":
      return { kind: "data_set_changed" };
    case "SL005":
      return { kind: "other_log" };
    default:
      return { kind: "repeated" };
  }
}
