/** What the servers' answers become, where no server is needed to see it. */
import assert from "node:assert/strict";
import { bytesText } from "../lib/doctor/bytes_text.ts";
import { migrate } from "../lib/postgres/migrate.ts";
import type { SqlPool } from "../lib/postgres/pool.ts";
import { readPostgresFacts, type SchemaFacts } from "../lib/postgres/postgres_facts.ts";
import { parseRedisInfo } from "../lib/redis/redis_facts.ts";
import { askServerTime } from "../lib/server_time.ts";
import { FakeClock } from "./fake_clock.ts";
import { withPglite } from "./pglite_pool.ts";
import { projectMigrations } from "./sql_store.ts";

const WHOLE: SchemaFacts = {
  missingRights: [],
  missingKeys: [],
  unloggedTables: [],
  renewsDataSet: true,
  readingsBytes: 0,
};

async function execute(pool: SqlPool, text: string): Promise<void> {
  await pool.query({ action: "change something", text });
}

Deno.test("readPostgresFacts() sees what is wrong with the tables", async (t) => {
  await withPglite(async (pool) => {
    const clock = new FakeClock();
    const schemaNow = async (): Promise<SchemaFacts> => ({
      ...(await readPostgresFacts(pool, clock)).schema,
      readingsBytes: 0,
    });
    await t.step("an empty database: nothing to say", async () => {
      assert.deepEqual(await schemaNow(), { ...WHOLE, renewsDataSet: false });
    });
    await migrate(pool, await projectMigrations());
    await t.step("as the migrations made them", async () => {
      assert.deepEqual(await schemaNow(), WHOLE);
      assert((await readPostgresFacts(pool, clock)).schema.readingsBytes > 0);
    });
    const cases: [name: string, harm: string, mend: string, want: Partial<SchemaFacts>][] = [
      [
        "no unique key",
        "ALTER TABLE sensor_events DROP CONSTRAINT sensor_events_pkey",
        "ALTER TABLE sensor_events ADD PRIMARY KEY (unique_reading_id)",
        { missingKeys: ["sensor_events (unique_reading_id)"] },
      ],
      [
        "a key over some rows",
        "ALTER TABLE sensor_events DROP CONSTRAINT sensor_events_pkey; " +
        "CREATE UNIQUE INDEX part ON sensor_events (unique_reading_id) WHERE kafka_offset > 0",
        "DROP INDEX part; ALTER TABLE sensor_events ADD PRIMARY KEY (unique_reading_id)",
        { missingKeys: ["sensor_events (unique_reading_id)"] },
      ],
      [
        "a key over more columns",
        "ALTER TABLE sensor_events DROP CONSTRAINT sensor_events_pkey; " +
        "CREATE UNIQUE INDEX wide ON sensor_events (unique_reading_id, kafka_offset)",
        "DROP INDEX wide; ALTER TABLE sensor_events ADD PRIMARY KEY (unique_reading_id)",
        { missingKeys: ["sensor_events (unique_reading_id)"] },
      ],
      [
        "a key that is not valid",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ledger_pkey'::regclass",
        "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'ledger_pkey'::regclass",
        { missingKeys: ["ledger (cluster_id, kafka_partition, topic, topic_id)"] },
      ],
      [
        "a table without a log",
        "ALTER TABLE sensor_events SET UNLOGGED",
        "ALTER TABLE sensor_events SET LOGGED",
        { unloggedTables: ["sensor_events"] },
      ],
      [
        "a trigger that is off",
        "ALTER TABLE sensor_events DISABLE TRIGGER renew_data_set",
        "ALTER TABLE sensor_events ENABLE TRIGGER renew_data_set",
        { renewsDataSet: false },
      ],
      [
        "a role that may only read",
        "CREATE ROLE onlooker; GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker; " +
        "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC; SET ROLE onlooker",
        "RESET ROLE; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC",
        {
          missingRights: [
            "EXECUTE on finish_batch",
            "EXECUTE on store_batch",
            "INSERT on dead_letters",
            "INSERT on ledger",
            "INSERT on sensor_events",
            "UPDATE on ledger",
          ],
        },
      ],
    ];
    for (const [name, harm, mend, want] of cases) {
      await t.step(name, async () => {
        await execute(pool, harm);
        const { missingRights, ...others } = await schemaNow();
        assert.deepEqual(
          { ...others, missingRights: missingRights.toSorted() },
          { ...WHOLE, ...want },
        );
        await execute(pool, mend);
        assert.deepEqual(await schemaNow(), WHOLE);
      });
    }
  });
});

Deno.test("readPostgresFacts() sees the session that this role gets", async () => {
  await withPglite(async (pool) => {
    await execute(
      pool,
      "CREATE ROLE app CONNECTION LIMIT 5; SET ROLE app; SET synchronous_commit = off; " +
        "SET default_transaction_read_only = on",
    );
    const { server } = await readPostgresFacts(pool, new FakeClock());
    assert.equal(server.isSuperuser, false);
    assert.equal(server.roleConnectionsMax, 5);
    assert.equal(server.synchronousCommit, "off");
    assert.equal(server.isReadOnly, true);
    assert.equal(server.isStandby, false);
    assert.equal(server.encoding, "UTF8");
    assert(server.versionMajor >= 15 && server.version.startsWith(String(server.versionMajor)));
    assert(server.databaseBytes > 0 && server.connectionsMax > 0);
  });
});

Deno.test("parseRedisInfo() reads the answer of INFO", async (t) => {
  await t.step("its fields", () => {
    const text = [
      ...["# Server", "redis_version:7.0.15", "", "# Memory", "used_memory:1048576"],
      ...["maxmemory:2097152", "maxmemory_policy:allkeys-lru", "# Stats", "evicted_keys:3"],
      ...["# Replication", "role:slave", "# Cluster", "cluster_enabled:1", ""],
    ].join("\r\n");
    assert.deepEqual(parseRedisInfo(text), {
      version: "7.0.15",
      role: "slave",
      evictionPolicy: "allkeys-lru",
      memoryBytes: 1_048_576,
      memoryBytesMax: 2_097_152,
      evictedKeys: 3,
    });
  });
  await t.step("what is missing", () => {
    assert.deepEqual(parseRedisInfo(""), {
      version: "",
      role: "",
      evictionPolicy: "",
      memoryBytes: 0,
      memoryBytesMax: 0,
      evictedKeys: 0,
    });
  });
});

Deno.test("askServerTime() takes the middle between question and answer", async () => {
  const clock = new FakeClock(10_000);
  const asking = askServerTime(clock, async () => {
    await clock.sleep(100);
    return 15_050;
  });
  await clock.advance(100);
  assert.deepEqual(await asking, { aheadMs: 5_000, toleranceMs: 50 });
});

Deno.test("bytesText() chooses the unit", () => {
  const cases: [number, string][] = [
    [0, "0 bytes"],
    [1_023, "1023 bytes"],
    [1_536, "1.5 KiB"],
    [10 * 1_024 ** 3, "10 GiB"],
    [5_000 * 1_024 ** 4, "5000 TiB"],
  ];
  for (const [bytes, want] of cases) assert.equal(bytesText(bytes), want);
});
