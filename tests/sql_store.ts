/**
 * The store on a PostgreSQL, as the contract of a store looks at it.
 *
 * @module
 */
import { join } from "node:path";
import { storeOn } from "../lib/postgres/client.ts";
import type { Migration } from "../lib/postgres/migrate.ts";
import { loadMigrations } from "../lib/postgres/migrate.ts";
import type { SqlPool, SqlRow } from "../lib/postgres/pool.ts";
import type { StoredLetter, StoredRow, StoreUnderTest } from "./contracts/store.ts";

/** The migrations of this project. */
export function projectMigrations(): Promise<readonly Migration[]> {
  return loadMigrations(join(import.meta.dirname!, "..", "migrations"));
}

/** All tables, empty, and a new data set. */
export async function emptyTables(pool: SqlPool): Promise<void> {
  const tables = "sensor_events, dead_letters, ledger, row_corrections, dead_letter_deletions";
  await pool.query({ action: "reset", text: `TRUNCATE ${tables}` });
}

/** A store on tables that exist. */
export function storeOnSql(pool: SqlPool): StoreUnderTest {
  return {
    store: storeOn(pool),
    rows: async () => (await pool.query({ action: "look at rows", text: ROWS })).rows.map(rowOf),
    deadLetters: async () =>
      (await pool.query({ action: "look at dead letters", text: DEAD_LETTERS })).rows.map(letterOf),
    resolveDeadLetters: async () => {
      await pool.query({
        action: "resolve dead letters",
        text: "UPDATE dead_letters SET resolution = 'discarded', resolved_at = now()",
      });
    },
    emptyReadings: async () => {
      await pool.query({ action: "empty sensor_events", text: "TRUNCATE sensor_events" });
    },
    reset: () => emptyTables(pool),
  };
}

const ROWS = `
  SELECT *, (extract(epoch FROM "timestamp") * 1000000)::bigint AS us
  FROM sensor_events ORDER BY unique_reading_id`;

const DEAD_LETTERS = `
  SELECT *, encode(payload, 'hex') AS payload_hex, encode(key, 'hex') AS key_hex,
    encode(payload_sha256, 'hex') AS sha256_hex
  FROM dead_letters ORDER BY kafka_partition, kafka_offset`;

function rowOf(row: SqlRow): StoredRow {
  return {
    partition: Number(row.kafka_partition),
    offset: Number(row.kafka_offset),
    eventTimeUs: Number(row.us),
    reading: {
      unique_reading_id: String(row.unique_reading_id),
      sensor_id: String(row.sensor_id),
      sensor_type: String(row.sensor_type),
      location: { latitude: Number(row.latitude), longitude: Number(row.longitude) },
      value: Number(row.value),
      unit: String(row.unit),
      status: String(row.status),
      battery_level: Number(row.battery_level),
    },
  };
}

function letterOf(row: SqlRow): StoredLetter {
  const hex = (value: unknown): string | null => value === null ? null : String(value);
  return {
    topicId: String(row.topic_id),
    partition: Number(row.kafka_partition),
    offset: Number(row.kafka_offset),
    reason: String(row.reason),
    detail: String(row.detail),
    payload: hex(row.payload_hex),
    payloadBytes: Number(row.payload_bytes),
    payloadSha256: String(row.sha256_hex),
    key: hex(row.key_hex),
    headers: row.headers,
  };
}
