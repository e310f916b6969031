/** PgBouncer between us and PostgreSQL, with nothing in its settings for our sake. */
import assert from "node:assert/strict";
import { generate, MIXED } from "../../campaign/generated_messages.ts";
import { openStore } from "../../lib/postgres/client.ts";
import { migrate } from "../../lib/postgres/migrate.ts";
import { findPooler } from "../../lib/postgres/pooler.ts";
import { storeContract } from "../contracts/store.ts";
import { projectMigrations, storeOnSql } from "../sql_store.ts";
import { withPrivateDatabase } from "./private_database.ts";
import { PrivatePooler } from "./private_pooler.ts";
import { until } from "./private_redis.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";
import { testSettings } from "./test_stack.ts";

storeContract(
  "openStore() through a pooler of transactions",
  (use) =>
    withPrivateDatabase(async ({ settings }) => {
      await using pooler = await PrivatePooler.start(settings, "transaction");
      await using store = openStore({ ...settings, port: pooler.port });
      await migrate(store.pool, await projectMigrations());
      await use(storeOnSql(store.pool));
    }),
);

Deno.test("openStore() through a pooler keeps its limits, and leaves nothing in a session", () =>
  withPrivateDatabase(async ({ settings, connect }) => {
    await using pooler = await PrivatePooler.start(settings, "transaction");
    const through = { ...settings, port: pooler.port, statementTimeoutMs: 300 };
    await using first = openStore(through);
    await using second = openStore({ ...through, access: "read_only", statementTimeoutMs: 5_000 });
    const pools = [first.pool, second.pool];
    // More clients than the pooler has connections: each finds what another has left.
    const counts = await Promise.all(
      Array.from({ length: 60 }, (_, n) =>
        pools[n % 2]!.query({
          action: "look",
          text: `SELECT current_setting('statement_timeout') AS "limit",
            current_setting('transaction_read_only') AS read_only,
            (SELECT count(*) FROM pg_prepared_statements WHERE name <> '') AS prepared`,
        })),
    );
    for (const [n, { rows }] of counts.entries()) {
      const own = n % 2 === 0 ? ["300ms", "off"] : ["5s", "on"];
      assert.deepEqual(rows, [{ limit: own[0], read_only: own[1], prepared: "0" }]);
    }
    const sleep = { action: "sleep", text: "SELECT pg_sleep(1)" };
    await assert.rejects(first.pool.query(sleep), { message: /57014/ });
    await second.pool.query(sleep);
    const write = { action: "write", text: "CREATE TABLE t ()" };
    await assert.rejects(second.pool.query(write), { message: /25006/ });
    // What is given up is cancelled through the pooler, too.
    const session = await connect();
    const asleep = second.pool.query({ action: "sleep", text: "SELECT pg_sleep(4)" });
    const rejected = assert.rejects(asleep, { name: "TransientError" });
    const sleepers = async (): Promise<number | null> =>
      (await session.query(
        "SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(4)' AND state = 'active'",
      )).rowCount;
    // This question names it, too.
    await until("it sleeps", async () => await sleepers() === 1);
    await second.close();
    await rejected;
    await until("it is ended", async () => await sleepers() === 0);
  }));

Deno.test("migrate() by many programs through a pooler applies each file once", () =>
  withPrivateDatabase(async ({ settings }) => {
    await using pooler = await PrivatePooler.start(settings, "transaction");
    const migrations = await projectMigrations();
    const stores = Array.from(
      { length: 8 },
      () => openStore({ ...settings, port: pooler.port, poolMax: 1 }),
    );
    const reports = await Promise.all(stores.map(({ pool }) => migrate(pool, migrations)));
    const applied = reports.flatMap((report) => report.applied);
    assert.deepEqual(applied.toSorted(), migrations.map(({ name }) => name));
    await Promise.all(stores.map((store) => store.close()));
  }));

Deno.test("findPooler() tells how long a connection is lent", () =>
  withPrivateDatabase(async ({ settings }) => {
    assert.equal(await findPooler(settings), "none");
    for (const mode of ["session", "transaction", "statement"] as const) {
      await using pooler = await PrivatePooler.start(settings, mode);
      assert.equal(await findPooler({ ...settings, port: pooler.port }), mode);
    }
  }));

Deno.test("openStore() says what a pooler refuses, and waits where the server behind it is away", async (t) => {
  await withPrivateDatabase(async ({ settings }) => {
    await using pooler = await PrivatePooler.start(settings, "transaction");
    const through = { ...settings, port: pooler.port };
    const cases: [name: string, changes: Partial<typeof settings>, error: object][] = [
      ["password", { password: "wrong" }, {
        name: "ConfigurationError",
        message: /password authentication failed \(SQLSTATE 08P01\)\. .*POSTGRES_PASSWORD/,
      }],
      ["database", { database: "nowhere" }, {
        name: "ConfigurationError",
        message: /"nowhere" does not exist .*POSTGRES_DB/,
      }],
      ["a pooler that is away", { port: 1 }, { name: "TransientError" }],
    ];
    for (const [name, changes, error] of cases) {
      await t.step(name, async () => {
        await using store = openStore({ ...through, ...changes });
        await assert.rejects(store.dataSetId(), error);
      });
    }
  });
  await t.step("the server behind it is away", () =>
    withPrivateDatabase(async ({ settings }) => {
      await using pooler = await PrivatePooler.start({ ...settings, port: 1 }, "transaction");
      const limits = { connectTimeoutMs: 500, statementTimeoutMs: 1_000 };
      await using store = openStore({ ...settings, ...limits, port: pooler.port });
      await assert.rejects(store.dataSetId(), { name: "TransientError" });
    }));
});

Deno.test("two consumers through a pooler that is started again in the middle", async () => {
  const { postgres } = testSettings();
  await using pooler = await PrivatePooler.start(postgres, "transaction");
  await using pipeline = await RealPipeline.open({
    partitions: 4,
    env: { POSTGRES_PORT: String(pooler.port), BATCH_MESSAGES_MAX: "100" },
  });
  const sent = await pipeline.send(generate(8_000, MIXED, 17));
  await pipeline.slowDown(30);
  await using first = pipeline.consumer(["run", "--until-end"]);
  await using second = pipeline.consumer(["run", "--until-end"]);
  await pipeline.reached(first, 2_000);
  await pooler.kill();
  await pooler.up();
  await pipeline.reached(first, 4_000);
  await pipeline.slowDown(0);
  await Promise.all([first.succeeded(DONE_MS), second.succeeded(DONE_MS)]);
  const { rows } = await pipeline.assertStored(sent);
  assert.deepEqual(await pipeline.lastValueProblems(rows), []);
  await using doctor = pipeline.consumer(["doctor"]);
  const { stdout } = await doctor.ended(DONE_MS);
  assert.match(stdout, /a pooler lends its connections for one transaction at a time/);
});
