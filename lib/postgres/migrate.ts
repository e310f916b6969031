/**
 * Brings the tables to the state that this program expects, from the numbered files of
 * `migrations/`.
 *
 * Any number of programs can do this at once. Each file is applied in a transaction of its own that
 * takes an advisory lock before anything else, also before the table of records is made: two
 * sessions that `CREATE TABLE IF NOT EXISTS` at the same time can both find it missing, and one
 * fails.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigurationError } from "../errors.ts";
import type { SqlPool, SqlSession } from "./pool.ts";
import { type SqlPurpose, sqlstateRule } from "./sqlstates.ts";

/** One numbered file. */
export interface Migration {
  /** File name, such as `001_sensor_events.sql`; files are applied in the order of their names. */
  readonly name: string;
  /** The file's text. It must not begin or end transactions. */
  readonly sql: string;
}

/** What {@linkcode migrate} did. */
export interface MigrationReport {
  /** Names of the files applied now, in order. */
  readonly applied: readonly string[];
  /** Number of files that had been applied before. */
  readonly already: number;
}

/** A new file must sort behind all others, so its number has to be there. */
const FILE_NAME = /^\d{3}_[a-z0-9_]+\.sql$/;

/** Bound for one file, ms: building an index over a large table takes its time. */
const MIGRATION_TIMEOUT_MS = 3_600_000;

/** Any number will do, as long as no other program in the database locks the same one. */
const ADVISORY_LOCK = 7_305_120_264_419;

const LOCK_AND_PREPARE = `
  SET LOCAL statement_timeout = ${MIGRATION_TIMEOUT_MS};
  SELECT pg_advisory_xact_lock(${ADVISORY_LOCK});
  CREATE TABLE IF NOT EXISTS schema_migrations (
    name text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
  );`;

/**
 * Reads the migrations of a directory, in order.
 *
 * @throws {ConfigurationError} if there are none, or if a file is not named like
 * `001_sensor_events.sql`.
 */
export async function loadMigrations(directory: string): Promise<readonly Migration[]> {
  const names = (await readdir(directory)).toSorted();
  const misnamed = names.find((name) => !FILE_NAME.test(name));
  if (misnamed !== undefined || names.length === 0) {
    throw new ConfigurationError(
      `Cannot load migrations from ${directory}: ${
        misnamed ?? "nothing"
      } is not a numbered .sql file`,
    );
  }
  return await Promise.all(names.map(async (name) => {
    const text = await readFile(join(directory, name), "utf8");
    // A check-out with other line ends is the same migration.
    return { name, sql: text.replaceAll("\r\n", "\n") };
  }));
}

/**
 * Applies what has not been applied yet, each file in a transaction of its own.
 *
 * @throws {ConfigurationError} if the database's past does not fit the files: one that was applied
 * is missing or has changed, or one that was not applied comes before one that was.
 * @throws {TransientError} if PostgreSQL is away; files that were applied stay applied.
 */
export async function migrate(
  pool: SqlPool,
  migrations: readonly Migration[],
): Promise<MigrationReport> {
  const applied: string[] = [];
  // One round more than there are files: the last one finds nothing to do.
  for (let round = 0; round <= migrations.length; round++) {
    const name = await pool.transaction(
      "read_committed",
      (session) => applyNext(session, migrations),
    );
    if (name === undefined) break;
    applied.push(name);
  }
  return { applied, already: migrations.length - applied.length };
}

/**
 * Names of the migrations that have not been applied, in order. Changes nothing.
 *
 * @throws {ConfigurationError} as {@linkcode migrate} does.
 */
export async function pendingMigrations(
  pool: SqlPool,
  migrations: readonly Migration[],
): Promise<readonly string[]> {
  return await pool.transaction("snapshot", async (session) => {
    const { rows } = await session.query({
      action: "look for the table schema_migrations",
      text: "SELECT to_regclass('schema_migrations') IS NOT NULL AS is_present, " +
        "current_schema() IS NOT NULL AS has_schema",
    });
    const { is_present: isPresent, has_schema: hasSchema } = rows[0] ?? {};
    if (hasSchema === false) {
      const { cure } = sqlstateRule("3F000", "run");
      throw new ConfigurationError(
        `Cannot look for tables: there is no schema to look in. ${cure}`,
      );
    }
    const records = isPresent === true ? await readRecords(session, "run") : new Map();
    return pendingOf(migrations, records).map(({ name }) => name);
  });
}

/** Applies the first migration that is pending and returns its name. */
async function applyNext(
  session: SqlSession,
  migrations: readonly Migration[],
): Promise<string | undefined> {
  await session.query({
    action: "lock the migrations",
    text: LOCK_AND_PREPARE,
    timeoutMs: MIGRATION_TIMEOUT_MS,
    purpose: "migrate",
  });
  const next = pendingOf(migrations, await readRecords(session, "migrate"))[0];
  if (next === undefined) return undefined;
  await session.query({
    action: `apply the migration ${next.name}`,
    text: next.sql,
    timeoutMs: MIGRATION_TIMEOUT_MS,
    purpose: "migrate",
  });
  await session.query({
    action: `record the migration ${next.name}`,
    text: "INSERT INTO schema_migrations (name, sha256) VALUES ($1, $2)",
    values: [next.name, checksumOf(next)],
    purpose: "migrate",
  });
  return next.name;
}

/** Checksums of the applied migrations, by name. */
async function readRecords(
  session: SqlSession,
  purpose: SqlPurpose,
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await session.query({
    action: "read the table schema_migrations",
    text: "SELECT name, sha256 FROM schema_migrations",
    purpose,
  });
  return new Map(rows.map((row) => [String(row.name), String(row.sha256)]));
}

/** The migrations without a record, after a check that the records fit the files. */
function pendingOf(
  migrations: readonly Migration[],
  records: ReadonlyMap<string, string>,
): readonly Migration[] {
  const known = new Set(migrations.map(({ name }) => name));
  const missing = [...records.keys()].find((name) => !known.has(name));
  if (missing !== undefined) {
    throw new ConfigurationError(
      `Cannot migrate: ${missing} was applied to this database and is not among the files. ` +
        "A newer version of this program has migrated it: use that version",
    );
  }
  const changed = migrations.find((migration) =>
    records.has(migration.name) && records.get(migration.name) !== checksumOf(migration)
  );
  if (changed !== undefined) {
    throw new ConfigurationError(
      `Cannot migrate: ${changed.name} has changed since it was applied to this database. ` +
        "Restore the file, and make the change in a new migration",
    );
  }
  const pending = migrations.slice(records.size);
  const overtaken = migrations.slice(0, records.size).find(({ name }) => !records.has(name));
  if (overtaken !== undefined) {
    throw new ConfigurationError(
      `Cannot migrate: ${overtaken.name} was not applied, but a later file was. ` +
        "Give it the next free number",
    );
  }
  return pending;
}

function checksumOf({ sql }: Migration): string {
  return createHash("sha256").update(sql).digest("hex");
}
