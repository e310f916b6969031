/** The ways in which people name a database: URLs, sockets, schemas, passwords with everything. */
import assert from "node:assert/strict";
// @ts-types="@types/pg"
import pg from "pg";
import { openStore } from "../../lib/postgres/client.ts";
import { migrate } from "../../lib/postgres/migrate.ts";
import { readPostgresFacts } from "../../lib/postgres/postgres_facts.ts";
import { verifyLedger } from "../../lib/postgres/verify.ts";
import { systemClock } from "../../lib/clock.ts";
import { readSettings } from "../../lib/settings/read.ts";
import { GROUPS } from "../../lib/settings/table.ts";
import { permissionFlags } from "../../tools/permissions.ts";
import { batchOf, readingAt, TOPIC } from "../contracts/store.ts";
import { projectMigrations } from "../sql_store.ts";
import { type PrivateDatabase, withPrivateDatabase } from "./private_database.ts";
import { PrivatePooler } from "./private_pooler.ts";
import { Program } from "./processes.ts";
import { DONE_MS } from "./real_pipeline.ts";
import { testServers, testSettings } from "./test_stack.ts";

/** Every character that means something in a URL, a shell, SQL or an INI file; and others. */
const SPECIAL = ` !"#$%&'()*+,-./:;<=>?@[\\]^_\`{|}~%2Fä€😀`;

Deno.test("openStore() logs in with a password that has every special character", async (t) => {
  const { host, port, database } = testSettings().postgres;
  const user = `special_${crypto.randomUUID().slice(0, 8)}`;
  const [server] = (await testServers()).postgres;
  const asSuperuser = (text: string): Promise<unknown> =>
    server!.asSuperuser("postgres", (session) => session.query(text));
  await asSuperuser(`CREATE ROLE ${user} LOGIN PASSWORD ${pg.escapeLiteral(SPECIAL)}`);
  const place = { POSTGRES_HOST: host, POSTGRES_PORT: String(port), POSTGRES_DB: database };
  const ways: [name: string, env: Readonly<Record<string, string>>][] = [
    ["in a URL", {
      DATABASE_URL: `postgresql://${user}:${
        encodeURIComponent(SPECIAL)
      }@${host}:${port}/${database}`,
    }],
    ["raw", { ...place, POSTGRES_USER: user, POSTGRES_PASSWORD: SPECIAL }],
    ["in a file", { ...place, POSTGRES_USER: user, POSTGRES_PASSWORD_FILE: "/pw" }],
  ];
  try {
    for (const [name, env] of ways) {
      await t.step(name, async () => {
        const settings = readSettings(GROUPS, {
          env: (key) => env[key],
          readFile: () => `${SPECIAL}\n`,
        });
        await using store = openStore(settings.postgres);
        const question = { action: "ask", text: "SELECT current_user AS name" };
        assert.deepEqual((await store.pool.query(question)).rows, [{ name: user }]);
      });
    }
  } finally {
    await asSuperuser(`DROP ROLE ${user}`);
  }
});

/** A database in which the role's search path names nothing. */
async function withoutPublic(use: (database: PrivateDatabase) => Promise<void>): Promise<void> {
  await withPrivateDatabase(async (database) => {
    const session = await database.connect();
    await session.query("DROP SCHEMA public");
    await use(database);
  });
}

Deno.test("migrate() without a schema to create tables in says so, and doctor does", () =>
  withoutPublic(async ({ settings }) => {
    await using store = openStore(settings);
    await assert.rejects(migrate(store.pool, await projectMigrations()), {
      name: "ConfigurationError",
      message: /no schema has been selected.*3F000.*POSTGRES_SCHEMA/,
    });
    const { server } = await readPostgresFacts(store.pool, systemClock);
    assert.deepEqual([server.schema, server.searchPath], [null, '"$user", public']);
  }));

Deno.test("openStore() works in a schema of its own, also when rows are deleted by hand", () =>
  withoutPublic(async ({ settings, connect }) => {
    const session = await connect();
    await session.query('CREATE SCHEMA "iot-1"');
    await using store = openStore({ ...settings, schema: '"iot-1"' });
    await migrate(store.pool, await projectMigrations());
    await store.openLedgerLine(TOPIC, 0, 0);
    const dataSetId = await store.dataSetId();
    const outcome = await store.storeBatch(
      batchOf(dataSetId, { readings: [readingAt(0, 1)] }),
      "compare",
    );
    assert.equal(outcome.kind, "stored");
    assert.equal((await verifyLedger(store.pool)).ok, true);
    const { rows } = await session.query('SELECT value FROM "iot-1".sensor_events');
    assert.deepEqual(rows, [{ value: 21.5 }]);
    await session.query('DELETE FROM "iot-1".sensor_events');
    assert.notEqual(await store.dataSetId(), dataSetId);
  }));

Deno.test("channel binding that is required is there, or nobody logs in", () =>
  withPrivateDatabase(async ({ settings }) => {
    // This server does not speak TLS; a setting would refuse the pair.
    const bound = { ...settings, tls: "disable", channelBinding: "require" } as const;
    await using store = openStore(bound);
    await assert.rejects(store.dataSetId(), {
      name: "ConfigurationError",
      message: /offers no channel binding but SCRAM-SHA-256\. .*POSTGRES_CHANNEL_BINDING/,
    });
  }));

Deno.test("a program reaches PostgreSQL by a URL with a Unix socket, if it may", async (t) => {
  await withPrivateDatabase(async ({ settings: { user, password, database, ...settings } }) => {
    // Its socket stands for the server's own, which a stack does not open.
    await using pooler = await PrivatePooler.start(
      { ...settings, user, password, database },
      "session",
    );
    const parameters = `host=${pooler.dir}&application_name=by-socket&pgbouncer=true`;
    const env: Readonly<Record<string, string>> = {
      POSTGRES_PORT: String(pooler.port),
      DATABASE_URL: `postgresql://${user}:${password}@/${database}?${parameters}`,
    };
    // Those of a person who follows the error's advice.
    const flags = permissionFlags("consume", { env: (name) => env[name] });
    await t.step("migrate", async () => {
      await using program = Program.consumer(["migrate"], env, flags);
      assert.match((await program.succeeded(DONE_MS)).stdout, /009_any_schema/);
    });
    await t.step("without the permission", async () => {
      await using program = Program.consumer(["verify"], env);
      const { code, stderr } = await program.ended(DONE_MS);
      assert.equal(code, 2);
      assert.match(
        stderr,
        /Requires write access to .*\.s\.PGSQL\..*"deno task permissions consume"/,
      );
    });
  });
});
