import assert from "node:assert/strict";
import { storeOn } from "../lib/postgres/client.ts";
import { migrate } from "../lib/postgres/migrate.ts";
import type { SqlPool, SqlRow } from "../lib/postgres/pool.ts";
import { readTakeOver, takeOverText } from "../lib/postgres/take_over.ts";
import { verifyLedger } from "../lib/postgres/verify.ts";
import { withPglite } from "./pglite_pool.ts";
import { projectMigrations } from "./sql_store.ts";

/** The table as the earlier program makes it. */
const ORIGINAL_TABLE = `
  CREATE TABLE sensor_events (
    id SERIAL PRIMARY KEY,
    unique_reading_id VARCHAR(36) NOT NULL UNIQUE,
    sensor_id VARCHAR(36) NOT NULL,
    sensor_type VARCHAR(20) NOT NULL,
    latitude DECIMAL(10,6),
    longitude DECIMAL(10,6),
    timestamp TIMESTAMP NOT NULL,
    value DECIMAL(10,2),
    unit VARCHAR(10),
    status VARCHAR(10),
    battery_level INTEGER
  );
  CREATE INDEX idx_sensor_id ON sensor_events (sensor_id);
  CREATE INDEX idx_timestamp ON sensor_events (timestamp);`;

const GOOD: Readonly<Record<string, string>> = {
  unique_reading_id: "'6F9619FF-8b86-4d01-b42d-00cf4fc964ff'",
  sensor_id: "'a4e8c5a0-0000-4000-8000-000000000001'",
  sensor_type: "'temperature'",
  latitude: "40.712776",
  longitude: "-74.005974",
  timestamp: "'2025-03-30T02:30:00.123456+00:00'",
  value: "21.57",
  unit: "'°C'",
  status: "'active'",
  battery_level: "87",
};

/** Each breaks one rule of a reading, and what is said of it. */
const BAD: readonly [Readonly<Record<string, string>>, RegExp][] = [
  [{ unique_reading_id: "'reading-7'" }, /no UUID/],
  [{ unique_reading_id: "'6f9619ff8b864d01b42d00cf4fc964ff'" }, /no UUID/],
  [{ unique_reading_id: "'6f9619ff-8B86-4d01-b42d-00cf4fc964ff'" }, /other letter case/],
  [{ sensor_id: "'roof 7'" }, /^sensor_id/],
  [{ sensor_type: "''" }, /^sensor_type/],
  [{ latitude: "NULL" }, /^latitude/],
  [{ latitude: "90.000001" }, /^latitude/],
  [{ longitude: "'NaN'" }, /^longitude/],
  [{ timestamp: "'infinity'" }, /^timestamp/],
  [{ timestamp: "'1683-12-31 23:59:59'" }, /^timestamp/],
  [{ timestamp: "'2256-01-01'" }, /^timestamp/],
  [{ value: "NULL" }, /^value/],
  [{ value: "'NaN'" }, /^value/],
  [{ unit: "E'a\\tb'" }, /^unit/],
  [{ unit: "E'a\\u0085b'" }, /^unit/],
  [{ status: "NULL" }, /^status/],
  [{ battery_level: "101" }, /^battery_level/],
  [{ battery_level: "NULL" }, /^battery_level/],
];

function insertOriginal(values: Readonly<Record<string, string>>): string {
  return `INSERT INTO sensor_events (${Object.keys(values).join(", ")})
    VALUES (${Object.values(values).join(", ")});`;
}

function anotherId(): string {
  return `'${crypto.randomUUID()}'`;
}

async function select(pool: SqlPool, text: string): Promise<readonly SqlRow[]> {
  return (await pool.query({ action: "look", text })).rows;
}

Deno.test("migrate() takes over the rows of the earlier table", async (t) => {
  await withPglite(async (pool) => {
    const rows = BAD.map(([fault]) => ({ ...GOOD, unique_reading_id: anotherId(), ...fault }));
    await pool.query({
      action: "play the earlier program",
      text: `SET TIME ZONE 'America/New_York'; CREATE ROLE report;
        ${ORIGINAL_TABLE} GRANT SELECT ON sensor_events TO report;
        ${[GOOD, ...rows].map(insertOriginal).join("\n")}`,
    });
    await migrate(pool, await projectMigrations());

    await t.step("each value, and the time as UTC whatever the session's zone is", async () => {
      const [taken, ...others] = await select(
        pool,
        `SELECT *, "timestamp" AT TIME ZONE 'UTC' = '2025-03-30 02:30:00.123456' AS "isUtc"
         FROM sensor_events`,
      );
      assert.deepEqual(others, []);
      const { timestamp: _, ingested_at: __, ...rest } = taken!;
      assert.deepEqual(rest, {
        unique_reading_id: "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
        sensor_id: "a4e8c5a0-0000-4000-8000-000000000001",
        sensor_type: "temperature",
        latitude: 40.712776,
        longitude: -74.005974,
        value: 21.57,
        unit: "°C",
        status: "active",
        battery_level: 87,
        kafka_partition: null,
        kafka_offset: null,
        isUtc: true,
      });
    });
    const rejected = await select(
      pool,
      "SELECT original_id, reason, original FROM take_over_rejected ORDER BY original_id",
    );
    for (const [index, [fault, reason]] of BAD.entries()) {
      await t.step(`kept aside: ${Object.entries(fault)[0]!.join(" ")}`, () => {
        assert.equal(Number(rejected[index]?.original_id), index + 2);
        assert.match(String(rejected[index]?.reason), reason);
      });
    }
    await t.step("kept aside with the whole row", () => {
      const row = rejected[0]!.original as Record<string, unknown>;
      assert.equal(row.unique_reading_id, "reading-7");
      assert.equal(row.timestamp, "2025-03-30T02:30:00.123456");
      assert.equal(row.value, 21.57);
    });
    await t.step("the earlier table is as it was", async () => {
      const [{ count }] = await select(pool, "SELECT count(*) FROM sensor_events_original") as [
        SqlRow,
      ];
      assert.equal(Number(count), 1 + BAD.length);
    });
    await t.step("who could read it can read it still", async () => {
      const [{ may }] = await select(
        pool,
        "SELECT has_table_privilege('report', 'sensor_events', 'SELECT') AS may",
      ) as [SqlRow];
      assert.equal(may, true);
    });
    await t.step("verify() finds everything accounted for", async () => {
      const report = await verifyLedger(pool);
      assert.deepEqual(report.problems, []);
      assert.equal(report.rows, 1);
    });
    await t.step(
      "a new message with the same content is a duplicate",
      async () => {
        const [row] = await select(
          pool,
          `SELECT compare_with_stored('6f9619ff-8b86-4d01-b42d-00cf4fc964ff',
          'a4e8c5a0-0000-4000-8000-000000000001', 'temperature', 40.712776, -74.005974,
          '2025-03-30T02:30:00.123456Z', 21.57, '°C', 'active', 87) AS answer`,
        );
        assert.equal(row!.answer, "duplicate");
      },
    );
    await t.step("the last values of its sensors can be read", async () => {
      const [last] = await storeOn(pool).lastReadings("", 10);
      assert.equal(last!.timestamp, "2025-03-30T02:30:00.123456+00:00");
    });
    await t.step("readTakeOver() and takeOverText() say what became of each row", async () => {
      const report = (await readTakeOver(pool))!;
      assert.deepEqual([report.originalRows, report.takenRows], [1 + BAD.length, 1]);
      assert.equal(report.rejectedRows.get("unique_reading_id is no UUID"), 2);
      const lines = takeOverText(report).split("\n");
      assert.match(lines[0]!, /^took over 1 of 19 rows/);
      assert.match(lines[1]!, /^kept aside in take_over_rejected, 18 in all:$/);
      assert(lines.includes("  2: unique_reading_id is no UUID"));
    });
  });
});

Deno.test("migrate() has nothing to take over in an empty database", async () => {
  await withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    assert.equal(await readTakeOver(pool), undefined);
    assert.deepEqual(await select(pool, "SELECT * FROM row_corrections"), []);
  });
});

Deno.test("docs/take-over.md goes back to the earlier table, and forth again", async () => {
  const page = await Deno.readTextFile(new URL("../docs/take-over.md", import.meta.url));
  const [, goBack] = /```sql\n(.*?)```/s.exec(page) ?? [];
  const objects = `
    SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    ORDER BY name`;
  await withPglite(async (pool) => {
    await pool.query({ action: "play the earlier program", text: ORIGINAL_TABLE });
    await pool.query({ action: "insert a row", text: insertOriginal(GOOD) });
    const [before, rows] = [await select(pool, objects), await select(pool, "TABLE sensor_events")];
    await migrate(pool, await projectMigrations());
    await pool.query({ action: "go back", text: goBack! });
    assert.deepEqual(await select(pool, objects), before);
    assert.deepEqual(await select(pool, "TABLE sensor_events"), rows);
    await migrate(pool, await projectMigrations());
    assert.equal((await readTakeOver(pool))?.takenRows, 1);
  });
});
