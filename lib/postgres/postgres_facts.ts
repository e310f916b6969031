/**
 * What PostgreSQL says about itself and about our tables, for `doctor`. Nothing is judged here, and
 * nothing is changed; every question can be asked by a role that may do nothing but connect.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { askServerTime, type ServerTime } from "../server_time.ts";
import type { SqlPool, SqlRow } from "./pool.ts";

/** All that is known. */
export interface PostgresFacts {
  /** The server, and the session that this program gets. */
  readonly server: PostgresServerFacts;
  /** The tables. */
  readonly schema: SchemaFacts;
  /** Its clock. */
  readonly time: ServerTime;
}

/** What is known of the server. */
export interface PostgresServerFacts {
  /** For people: `15.4`. */
  readonly version: string;
  /** The version's first number. */
  readonly versionMajor: number;
  /** Whether it follows another server and refuses to write. */
  readonly isStandby: boolean;
  /** Whether transactions of this role begin as read-only. */
  readonly isReadOnly: boolean;
  /** Whether this role may do everything. */
  readonly isSuperuser: boolean;
  /** How long COMMIT waits in our transactions: `on`, `remote_apply`, … */
  readonly synchronousCommit: string;
  /** Whether it waits for the disk at all. */
  readonly hasFsync: boolean;
  /** Whether it survives a page that was written by half. */
  readonly hasFullPageWrites: boolean;
  /** The first schema of the search path that is there and may be used; null: none is. */
  readonly schema: string | null;
  /** Where this role, or POSTGRES_SCHEMA, says that tables are looked for. */
  readonly searchPath: string;
  /** Character set of the database. */
  readonly encoding: string;
  /** Connections of all users now. */
  readonly connections: number;
  /** Connections that ordinary users may have together. */
  readonly connectionsMax: number;
  /** Connections that this role may have; -1: as many as there are. */
  readonly roleConnectionsMax: number;
  /** Bytes of the database. */
  readonly databaseBytes: number;
}

/** What is known of the tables. */
export interface SchemaFacts {
  /** Rights that are missing on tables that are there: `INSERT on sensor_events`. */
  readonly missingRights: readonly string[];
  /** Unique keys that are missing, or not valid: `sensor_events (unique_reading_id)`. */
  readonly missingKeys: readonly string[];
  /** Tables whose rows a crash of the server throws away. */
  readonly unloggedTables: readonly string[];
  /** Whether an emptied table gets another name for its contents. */
  readonly renewsDataSet: boolean;
  /** Bytes of `sensor_events` with its indexes; 0: it is not there. */
  readonly readingsBytes: number;
}

/** What `run`, `verify` and `status` do to the tables. */
const NEEDED_RIGHTS: readonly (readonly [table: string, rights: readonly string[]])[] = [
  ["sensor_events", ["SELECT", "INSERT"]],
  ["dead_letters", ["SELECT", "INSERT"]],
  ["ledger", ["SELECT", "INSERT", "UPDATE"]],
  ["data_set", ["SELECT"]],
  ["row_corrections", ["SELECT"]],
  ["dead_letter_deletions", ["SELECT"]],
  ["schema_migrations", ["SELECT"]],
];

/** What `store_batch` and `finish_batch` name in their ON CONFLICT clauses. Columns in alphabetical order. */
const NEEDED_KEYS: readonly (readonly [table: string, columns: readonly string[]])[] = [
  ["sensor_events", ["unique_reading_id"]],
  ["ledger", ["cluster_id", "kafka_partition", "topic", "topic_id"]],
  [
    "dead_letters",
    ["cluster_id", "kafka_offset", "kafka_partition", "payload_sha256", "topic", "topic_id"],
  ],
];

const SELECT_SERVER = `
  SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::integer / 10000 AS version_major,
    pg_is_in_recovery() AS is_standby,
    current_setting('default_transaction_read_only')::boolean AS is_read_only,
    rolsuper AS is_superuser,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('fsync')::boolean AS has_fsync,
    current_setting('full_page_writes')::boolean AS has_full_page_writes,
    current_schema() AS schema,
    current_setting('search_path') AS search_path,
    current_setting('server_encoding') AS encoding,
    (SELECT coalesce(sum(numbackends), 0) FROM pg_stat_database)::integer AS connections,
    current_setting('max_connections')::integer
      - current_setting('superuser_reserved_connections')::integer AS connections_max,
    rolconnlimit AS role_connections_max,
    pg_database_size(current_database()) AS database_bytes
  FROM pg_roles WHERE rolname = current_user`;

/** $1, $2: tables and the rights on them, pairwise. A table that is not there has no line. */
const SELECT_MISSING_RIGHTS = `
  SELECT privilege || ' on ' || name AS item
  FROM jsonb_to_recordset($1::text::jsonb) AS wanted (name text, privilege text)
  WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(to_regclass(name), privilege)
  UNION ALL
  SELECT 'EXECUTE on ' || name FROM unnest(ARRAY['store_batch', 'finish_batch']) AS wanted (name)
  WHERE to_regproc(name) IS NOT NULL
    AND NOT has_function_privilege(to_regproc(name)::oid, 'EXECUTE')`;

/** A key counts if ON CONFLICT can use it: unique, valid, at once, over all rows, these columns. */
const SELECT_MISSING_KEYS = `
  SELECT name || ' (' || array_to_string(columns, ', ') || ')' AS item
  FROM jsonb_to_recordset($1::text::jsonb) AS wanted (name text, columns text[])
  WHERE to_regclass(name) IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_index AS known
    WHERE indrelid = to_regclass(name) AND indisunique AND indisvalid AND indisready
      AND indimmediate AND indpred IS NULL AND indexprs IS NULL
      AND columns = (
        SELECT array_agg(attname::text ORDER BY attname::text COLLATE "C") FROM pg_attribute
        WHERE attrelid = indrelid AND attnum = ANY ((indkey::smallint[])[0:indnkeyatts - 1])
      )
  )`;

const SELECT_TABLES = `
  SELECT
    coalesce(pg_total_relation_size(to_regclass('sensor_events')), 0) AS readings_bytes,
    array_to_string(ARRAY(
      SELECT relname::text FROM pg_class
      WHERE relpersistence <> 'p' AND oid = ANY (ARRAY[
        to_regclass('sensor_events'), to_regclass('dead_letters'), to_regclass('ledger')
      ])
    ), ',') AS unlogged,
    EXISTS (
      SELECT FROM pg_trigger
      WHERE tgrelid = to_regclass('sensor_events') AND tgname = 'renew_data_set'
        AND tgenabled IN ('O', 'A')
    ) AS renews_data_set`;

/**
 * Asks PostgreSQL.
 *
 * @throws {TransientError} if it is away.
 * @throws {ConfigurationError} if it refuses this role.
 */
export async function readPostgresFacts(
  pool: SqlPool,
  clock: Pick<Clock, "now" | "elapsedMs">,
): Promise<PostgresFacts> {
  // The first statement pays for the connection; the clock is asked on the open one.
  const server = serverFactsOf(await selectRow(pool, "look at the server", SELECT_SERVER));
  const time = await askServerTime(clock, async () => {
    const row = await selectRow(
      pool,
      "read the clock",
      "SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now_ms",
    );
    return Number(row.now_ms);
  });
  return { server, schema: await schemaFacts(pool), time };
}

function serverFactsOf(row: SqlRow): PostgresServerFacts {
  return {
    version: String(row.version),
    versionMajor: Number(row.version_major),
    isStandby: row.is_standby === true,
    isReadOnly: row.is_read_only === true,
    isSuperuser: row.is_superuser === true,
    synchronousCommit: String(row.synchronous_commit),
    hasFsync: row.has_fsync === true,
    hasFullPageWrites: row.has_full_page_writes === true,
    schema: row.schema === null ? null : String(row.schema),
    searchPath: String(row.search_path),
    encoding: String(row.encoding),
    connections: Number(row.connections),
    connectionsMax: Number(row.connections_max),
    roleConnectionsMax: Number(row.role_connections_max),
    databaseBytes: Number(row.database_bytes),
  };
}

async function schemaFacts(pool: SqlPool): Promise<SchemaFacts> {
  const rights = NEEDED_RIGHTS.flatMap(([name, privileges]) =>
    privileges.map((privilege) => ({ name, privilege }))
  );
  const keys = NEEDED_KEYS.map(([name, columns]) => ({ name, columns }));
  const tables = await selectRow(pool, "look at the tables", SELECT_TABLES);
  return {
    missingRights: await selectItems(pool, "look at the rights", SELECT_MISSING_RIGHTS, rights),
    missingKeys: await selectItems(pool, "look at the keys", SELECT_MISSING_KEYS, keys),
    unloggedTables: String(tables.unlogged).split(",").filter((name) => name !== ""),
    renewsDataSet: tables.renews_data_set === true,
    readingsBytes: Number(tables.readings_bytes),
  };
}

async function selectRow(pool: SqlPool, action: string, text: string): Promise<SqlRow> {
  const { rows } = await pool.query({ action, text });
  return rows[0] ?? {};
}

async function selectItems(
  pool: SqlPool,
  action: string,
  text: string,
  wanted: readonly unknown[],
): Promise<readonly string[]> {
  const { rows } = await pool.query({ action, text, values: [JSON.stringify(wanted)] });
  return rows.map((row) => String(row.item));
}
