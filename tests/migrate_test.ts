import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { storeOn } from "../lib/postgres/client.ts";
import {
  loadMigrations,
  migrate,
  type Migration,
  pendingMigrations,
} from "../lib/postgres/migrate.ts";
import type { SqlPool, SqlRow } from "../lib/postgres/pool.ts";
import { withPglite } from "./pglite_pool.ts";
import { projectMigrations } from "./sql_store.ts";

const A: Migration = {
  name: "001_a.sql",
  sql: "CREATE TABLE a (n integer); INSERT INTO a VALUES (1);",
};
const B: Migration = { name: "002_b.sql", sql: "CREATE TABLE b (n integer);" };
const C: Migration = { name: "003_c.sql", sql: "CREATE TABLE c (n integer);" };

/** Removes everything that a test made. */
async function empty(pool: SqlPool): Promise<void> {
  await pool.query({
    action: "reset",
    text: "DROP SCHEMA public CASCADE; CREATE SCHEMA public;",
  });
}

async function select(pool: SqlPool, text: string): Promise<readonly SqlRow[]> {
  return (await pool.query({ action: "look", text })).rows;
}

type Check = (pool: SqlPool) => Promise<void>;

const CHECKS: readonly [name: string, check: Check][] = [
  ["migrate() applies what is pending, in order, once", async (pool) => {
    assert.deepEqual(await migrate(pool, [A]), { applied: [A.name], already: 0 });
    assert.deepEqual(await migrate(pool, [A, B, C]), { applied: [B.name, C.name], already: 1 });
    assert.deepEqual(await migrate(pool, [A, B, C]), { applied: [], already: 3 });
    assert.deepEqual(await select(pool, "SELECT n FROM a"), [{ n: 1 }]);
  }],
  ["migrate() leaves nothing of a file that fails, and keeps those before it", async (pool) => {
    const broken = {
      name: "002_broken.sql",
      sql: "CREATE TABLE b (n integer); SELECT * FROM nowhere;",
    };
    await assert.rejects(migrate(pool, [A, broken]), {
      name: "ConfigurationError",
      message: /Cannot apply the migration 002_broken\.sql: .*nowhere/,
    });
    assert.deepEqual(await select(pool, "SELECT to_regclass('b') AS b"), [{ b: null }]);
    assert.deepEqual(await migrate(pool, [A, B]), { applied: [B.name], already: 1 });
  }],
  ["migrate() refuses a file that has changed since it was applied", async (pool) => {
    await migrate(pool, [A]);
    await assert.rejects(migrate(pool, [{ ...A, sql: `${A.sql} ` }, B]), {
      name: "ConfigurationError",
      message: /001_a\.sql has changed/,
    });
    assert.deepEqual(await select(pool, "SELECT to_regclass('b') AS b"), [{ b: null }]);
  }],
  ["migrate() refuses a database that knows more than the files", async (pool) => {
    await migrate(pool, [A, B]);
    await assert.rejects(migrate(pool, [A, C]), {
      name: "ConfigurationError",
      message: /002_b\.sql was applied .* newer version/,
    });
  }],
  ["migrate() refuses a file that comes before an applied one", async (pool) => {
    await migrate(pool, [A, C]);
    await assert.rejects(migrate(pool, [A, B, C]), {
      name: "ConfigurationError",
      message: /002_b\.sql was not applied, but a later file was/,
    });
  }],
  ["pendingMigrations() names what migrate() would apply, and changes nothing", async (pool) => {
    assert.deepEqual(await pendingMigrations(pool, [A, B]), [A.name, B.name]);
    assert.deepEqual(await select(pool, "SELECT to_regclass('schema_migrations') AS t"), [{
      t: null,
    }]);
    await migrate(pool, [A]);
    assert.deepEqual(await pendingMigrations(pool, [A, B]), [B.name]);
    await migrate(pool, [A, B]);
    assert.deepEqual(await pendingMigrations(pool, [A, B]), []);
    await assert.rejects(pendingMigrations(pool, [A]), { name: "ConfigurationError" });
  }],
  ["migrate() stops before a table sensor_events of another program", async (pool) => {
    await pool.query({
      action: "play the other program",
      text: "CREATE TABLE sensor_events (id serial PRIMARY KEY, unique_reading_id varchar(36))",
    });
    await assert.rejects(migrate(pool, await projectMigrations()), {
      name: "ConfigurationError",
      message: /sensor_events of another program.*Rename it/,
    });
    assert.deepEqual(await select(pool, "SELECT * FROM sensor_events"), []);
  }],
  ["a store says which command is missing where there are no tables", async (pool) => {
    const store = storeOn(pool);
    await assert.rejects(store.dataSetId(), {
      name: "ConfigurationError",
      message: /deno task migrate/,
    });
  }],
  ["the data set gets another id when no row is left, and only then", async (pool) => {
    await migrate(pool, await projectMigrations());
    const store = storeOn(pool);
    const ids = [await store.dataSetId()];
    const steps = [
      insert(1),
      insert(2),
      "DELETE FROM sensor_events WHERE kafka_offset = 1",
      "DELETE FROM sensor_events",
      insert(3),
      "TRUNCATE sensor_events",
    ];
    for (const text of steps) {
      await pool.query({ action: "change the table", text });
      ids.push(await store.dataSetId());
    }
    const changes = ids.slice(1).map((id, index) => id === ids[index] ? "same" : "new");
    assert.deepEqual(changes, ["same", "same", "same", "new", "same", "new"]);
  }],
];

function insert(offset: number): string {
  return `INSERT INTO sensor_events VALUES
    (gen_random_uuid(), 's', 't', 1, 2, now(), 3, 'u', 'active', 4, 0, ${offset})`;
}

Deno.test("migrate() and the tables that it makes", (t) =>
  withPglite(async (pool) => {
    for (const [name, check] of CHECKS) {
      await t.step(name, async () => {
        await empty(pool);
        await check(pool);
      });
    }
  }));

Deno.test("loadMigrations() reads the numbered files in order", async () => {
  const migrations = await projectMigrations();
  const numbers = migrations.map(({ name }) => Number(name.slice(0, 3)));
  assert.deepEqual(numbers, numbers.map((_, index) => index + 1));
  for (const { name, sql } of migrations) {
    assert.match(sql, /^-- /, `${name} begins with why it is there`);
    assert.doesNotMatch(sql, /^\s*(BEGIN|COMMIT|ROLLBACK)\s*;\s*$/m, name);
  }
});

Deno.test("loadMigrations() takes any line ends for the same file, and refuses strays", async (t) => {
  const directory = await mkdtemp("/tmp/migrations-");
  try {
    await t.step("an empty directory", () =>
      assert.rejects(loadMigrations(directory), {
        name: "ConfigurationError",
        message: /nothing is not a numbered/,
      }));
    await t.step("line ends", async () => {
      await writeFile(join(directory, "002_b.sql"), "SELECT 2;\n");
      await writeFile(join(directory, "001_a.sql"), "SELECT\r\n1;\r\n");
      assert.deepEqual(await loadMigrations(directory), [
        { name: "001_a.sql", sql: "SELECT\n1;\n" },
        { name: "002_b.sql", sql: "SELECT 2;\n" },
      ]);
    });
    await t.step("a file without a number", async () => {
      await writeFile(join(directory, "later.sql"), "");
      await assert.rejects(loadMigrations(directory), { message: /later\.sql is not a numbered/ });
    });
  } finally {
    await rm(directory, { recursive: true });
  }
});
