/** What a person reads when PostgreSQL itself says no. */
import assert from "node:assert/strict";
import { migrate, pendingMigrations } from "../../lib/postgres/migrate.ts";
import { openPool, type PostgresSettings, type SqlPool } from "../../lib/postgres/pool.ts";
import { projectMigrations } from "../sql_store.ts";
import { withPrivateDatabase } from "./private_database.ts";
import { testServers } from "./test_stack.ts";

/** One way to be refused. */
interface Case {
  readonly name: string;
  /** What the superuser does before, in the database. */
  readonly before?: string;
  readonly change: Partial<PostgresSettings>;
  readonly work: (pool: SqlPool) => Promise<unknown>;
  readonly className: "ConfigurationError" | "TransientError" | "TooMuchError";
  /** The server's words, their code and the cure. */
  readonly text: RegExp;
}

const readLedger: Case["work"] = (pool) =>
  pool.query({ action: "read the ledger", text: "SELECT FROM ledger" });
const migrateAll: Case["work"] = async (pool) => migrate(pool, await projectMigrations());
const lookForTables: Case["work"] = async (pool) =>
  pendingMigrations(pool, await projectMigrations());
const sleepLong: Case["work"] = (pool) =>
  pool.query({ action: "sleep", text: "SELECT pg_sleep(5)" });

/** In this order: each case finds the database as the ones before have left it. */
function casesOf(role: string): readonly Case[] {
  const lowly = { user: role, password: role };
  const isConfiguration = { className: "ConfigurationError" } as const;
  return [
    {
      name: "a wrong password",
      change: { password: "wrong" },
      work: readLedger,
      ...isConfiguration,
      text: /authentication failed .*28P01\)\. Check POSTGRES_USER and POSTGRES_PASSWORD$/,
    },
    {
      name: "no such database",
      change: { database: "no_such_database" },
      work: migrateAll,
      ...isConfiguration,
      text: /"no_such_database" does not exist .*3D000\)\. .*POSTGRES_DB$/,
    },
    {
      name: "no tables",
      change: {},
      work: readLedger,
      ...isConfiguration,
      text: /"ledger" does not exist .*42P01\)\. Run: deno task migrate/,
    },
    {
      name: "a function that is not there",
      change: {},
      work: (pool) => pool.query({ action: "store", text: "SELECT store_batch(1)" }),
      ...isConfiguration,
      text: /store_batch.* does not exist .*42883\)\. The tables are older or newer/,
    },
    {
      name: "no right to make tables",
      before: `CREATE ROLE ${role} LOGIN PASSWORD '${role}'`,
      change: lowly,
      work: migrateAll,
      ...isConfiguration,
      text: /permission denied for schema public .*42501\)\. Grant the role CREATE/,
    },
    {
      name: "a table in the way of a migration",
      before: "CREATE TABLE dead_letters (id text)",
      change: {},
      work: migrateAll,
      ...isConfiguration,
      text: /"dead_letters" already exists .*42P07\)\. .*rename or drop it/,
    },
    {
      name: "a table of which a migration needs another column",
      before: "ALTER TABLE dead_letters RENAME TO gone; " +
        "ALTER TABLE sensor_events DROP COLUMN battery_level",
      change: {},
      work: migrateAll,
      ...isConfiguration,
      text: /^(?!.*deno task migrate).*migrations\//,
    },
    {
      name: "no right to read",
      before: "CREATE TABLE IF NOT EXISTS ledger ()",
      change: lowly,
      work: readLedger,
      ...isConfiguration,
      text: /permission denied for table ledger .*42501\)\. Grant POSTGRES_USER the right/,
    },
    {
      name: "a statement that takes too long",
      change: { statementTimeoutMs: 200 },
      work: sleepLong,
      className: "TooMuchError",
      text: /statement timeout .*57014\)\. .*POSTGRES_STATEMENT_TIMEOUT_MS$/,
    },
    {
      name: "too many connections",
      before: `ALTER ROLE ${role} CONNECTION LIMIT 0`,
      change: lowly,
      work: readLedger,
      className: "TransientError",
      text: /too many connections for role .*53300\)\. Raise max_connections/,
    },
    {
      name: "a schema that is none",
      before: `ALTER ROLE ${role} CONNECTION LIMIT -1`,
      change: { ...lowly, schema: "a,,b" },
      work: readLedger,
      ...isConfiguration,
      text: /search_path.*22023\)\. The server refuses a setting/,
    },
    {
      name: "a role that may not log in",
      before: `ALTER ROLE ${role} NOLOGIN`,
      change: lowly,
      work: readLedger,
      ...isConfiguration,
      text: /not permitted to log in .*28000\)\. .*pg_hba\.conf/,
    },
    {
      name: "no schema to make tables in",
      before: "DROP SCHEMA public CASCADE",
      change: {},
      work: migrateAll,
      ...isConfiguration,
      text: /no schema has been selected .*3F000\)\. The search_path names no schema/,
    },
    {
      name: "no schema to look for tables in",
      change: {},
      work: lookForTables,
      ...isConfiguration,
      text: /there is no schema to look in\. The search_path names no schema/,
    },
  ];
}

Deno.test("openPool() tells a person what to do about what a real server refuses", async (t) => {
  const { postgres: [postgres] } = await testServers();
  assert.ok(postgres !== undefined);
  await withPrivateDatabase(async ({ settings }) => {
    const role = `r${crypto.randomUUID().replaceAll("-", "")}`;
    try {
      for (const { name, before, change, work, className, text } of casesOf(role)) {
        await t.step(name, async () => {
          if (before !== undefined) {
            await postgres.asSuperuser(settings.database, (session) => session.query(before));
          }
          const pool = openPool({ ...settings, ...change });
          try {
            await assert.rejects(work(pool), { name: className, message: text });
          } finally {
            await pool.close();
          }
        });
      }
    } finally {
      await postgres.asSuperuser(
        "postgres",
        (session) => session.query(`DROP ROLE IF EXISTS ${role}`),
      );
    }
  });
});
