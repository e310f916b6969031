import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { historyCsv } from "../../lib/http/csv.ts";
import { openStore } from "../../lib/postgres/client.ts";
import { readDeadLetters, readStoredReading } from "../../lib/postgres/dead_letters.ts";
import { migrate } from "../../lib/postgres/migrate.ts";
import { openPages } from "../../lib/postgres/pages.ts";
import type { PostgresSettings } from "../../lib/postgres/pool.ts";
import { verifyLedger } from "../../lib/postgres/verify.ts";
import {
  batchOf,
  deadLetterAt,
  idOf,
  readingAt,
  storeContract,
  type StoreUnderTest,
  TOPIC,
} from "../contracts/store.ts";
import { projectMigrations, storeOnSql } from "../sql_store.ts";
import { withPrivateDatabase } from "./private_database.ts";
import { testServers } from "./test_stack.ts";

/** Defaults of a role that change what SQL does or how values are written, all at once. */
const HOSTILE: Readonly<Record<string, string>> = {
  array_nulls: "off",
  backslash_quote: "off",
  bytea_output: "escape",
  client_encoding: "LATIN1",
  DateStyle: "German, DMY",
  default_transaction_deferrable: "on",
  default_transaction_isolation: "serializable",
  extra_float_digits: "-5",
  idle_in_transaction_session_timeout: "1ms",
  IntervalStyle: "sql_standard",
  jit_above_cost: "0",
  lock_timeout: "1ms",
  plan_cache_mode: "force_custom_plan",
  quote_all_identifiers: "on",
  row_security: "off",
  search_path: "nowhere",
  standard_conforming_strings: "off",
  statement_timeout: "250ms",
  synchronous_commit: "off",
  TimeZone: "Asia/Kathmandu",
  transform_null_equals: "on",
  work_mem: "64kB",
  xmloption: "document",
};

/** A database in which our role has these defaults. */
function withHostileRole(use: (settings: PostgresSettings) => Promise<void>): Promise<void> {
  return withPrivateDatabase(async ({ settings }) => {
    const { postgres: [server] } = await testServers();
    assert.ok(server !== undefined);
    await server.asSuperuser(settings.database, async (session) => {
      for (const [name, value] of Object.entries(HOSTILE)) {
        await session.query(
          `ALTER ROLE ${settings.user} IN DATABASE ${settings.database} SET ${name} = '${value}'`,
        );
      }
    });
    await use({ ...settings, schema: "public" });
  });
}

storeContract(
  "openStore() as a role with hostile settings",
  (use: (subject: StoreUnderTest) => Promise<void>) =>
    withHostileRole(async (settings) => {
      await using store = openStore(settings);
      await migrate(store.pool, await projectMigrations());
      await use(storeOnSql(store.pool));
    }),
);

/** Values that a server rounds unless it is told not to. */
const VALUES = [0.30000000000000004, 1 / 3, 123456.78901234567, 5e-324, 1.7976931348623157e308];

Deno.test("a role with hostile settings changes no value on its way out", () =>
  withHostileRole(async (settings) => {
    await using store = openStore(settings);
    await migrate(store.pool, await projectMigrations());
    await store.openLedgerLine(TOPIC, 0, 0);
    const timestamp = "2026-11-28T18:55:39.458582+00:00";
    const location = { latitude: 52.52000812345679, longitude: 13.404954123456789 };
    const readings = VALUES.map((value, n) =>
      readingAt(n, n, { value, location, timestamp, sensor_id: `ex-${n}`, unit: "µ → 温度" })
    );
    const bytes = new Uint8Array([0, 1, 0x5c, 0x27, 0x7f, 0xff]);
    await store.storeBatch(
      batchOf(await store.dataSetId(), {
        readings,
        deadLetters: [deadLetterAt(VALUES.length, null, { payload: bytes, payloadBytes: 6 })],
      }),
      "compare",
    );
    assert.deepEqual(await store.lastReadings("", 10), readings.map(({ reading }) => reading));
    await using readers = openStore({ ...settings, access: "read_only" });
    const pages = openPages(readers.pool);
    const range = { fromMs: 0, toMs: 2e12 };
    for (const [n, value] of VALUES.entries()) {
      const [row] = await pages.rows(`ex-${n}`, range, { limit: 1 });
      assert.deepEqual([row?.value, row?.timestamp], [value, "2026-11-28T18:55:39.458582Z"]);
      const { points } = await pages.history(`ex-${n}`, range, 1);
      assert.deepEqual(points.map(({ min, mean, max }) => [min, mean, max]), [[
        value,
        value,
        value,
      ]]);
      const csv = (await Array.fromAsync(await historyCsv(pages, { sensorId: `ex-${n}`, range })))
        .join("");
      assert.ok(csv.includes(`,${value},`), csv);
      const stored = await readStoredReading(store.pool, idOf(n));
      assert.deepEqual(stored?.reading, readings[n]?.reading);
    }
    assert.deepEqual(
      (await pages.deadLetters({ state: "all", limit: 1 }))[0]?.payload,
      Buffer.from(bytes),
    );
    const page = { order: "newest", limit: 1 } as const;
    const [letter] = await readDeadLetters(store.pool, { state: "all" }, page);
    assert.deepEqual(letter?.payload, Buffer.from(bytes));
    assert.match(letter?.createdAt ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.equal((await verifyLedger(store.pool)).ok, true);
  }));

Deno.test("a transaction has the settings that our SQL needs, and leaves none behind", async (t) => {
  await withHostileRole(async (settings) => {
    await using store = openStore({ ...settings, poolMax: 1, statementTimeoutMs: 5_000 });
    const { pool } = store;
    const wanted = {
      extra_float_digits: "1",
      lock_timeout: "0",
      search_path: "public",
      statement_timeout: "5s",
      synchronous_commit: "on",
      transaction_isolation: "read committed",
      transaction_read_only: "off",
    };
    const columns = Object.keys(wanted).map((name) => `current_setting('${name}') AS "${name}"`);
    const look = { action: "look", text: `SELECT ${columns.join(", ")}` };
    await t.step("alone", async () => {
      assert.deepEqual((await pool.query(look)).rows, [wanted]);
    });
    await t.step("several statements", async () => {
      const rows = await pool.transaction("read_committed", async (session) => {
        // Longer than the role's limits for a statement and between two of them.
        await session.query({ action: "work", text: "SELECT pg_sleep(0.4)" });
        await new Promise((resolve) => setTimeout(resolve, 50));
        return (await session.query(look)).rows;
      });
      assert.deepEqual(rows, [wanted]);
    });
    await t.step("a snapshot", async () => {
      const [row] = await pool.transaction(
        "snapshot",
        async (session) => (await session.query(look)).rows,
      );
      assert.equal(row?.transaction_isolation, "repeatable read");
      assert.equal(row?.transaction_read_only, "on");
    });
    await t.step("a statement with more time", async () => {
      const { rows } = await pool.query({ ...look, timeoutMs: 60_000 });
      assert.equal(rows[0]?.statement_timeout, "1min");
    });
    await t.step("after it", async () => {
      const { rows } = await pool.query({ ...look, transaction: "none" });
      assert.equal(rows[0]?.extra_float_digits, "-5");
      assert.equal(rows[0]?.statement_timeout, "250ms");
      assert.equal(rows[0]?.search_path, "nowhere");
    });
    await t.step("a reader writes nothing", async () => {
      await using reader = openStore({ ...settings, access: "read_only" });
      await assert.rejects(
        reader.pool.query({ action: "write", text: "CREATE TABLE t ()" }),
        { message: /25006/ },
      );
    });
  });
});

Deno.test("a transaction's server asks soon whether a client that fell silent is still there", () =>
  withHostileRole(async (settings) => {
    await using store = openStore(settings);
    const { rows } = await store.pool.query({
      action: "read settings",
      // What the socket has, not what was asked for.
      text: `SELECT current_setting('tcp_keepalives_idle')::integer
        + current_setting('tcp_keepalives_interval')::integer
        * current_setting('tcp_keepalives_count')::integer AS seconds`,
    });
    assert.deepEqual(rows, [{ seconds: 25 }]);
  }));
