import assert from "node:assert/strict";
import { UNKNOWN_EPOCH } from "../lib/kafka/message.ts";
import { storeBatchValues } from "../lib/postgres/store_batch.ts";
import { migrate } from "../lib/postgres/migrate.ts";
import { batchOf, storeContract, TOPIC } from "./contracts/store.ts";
import { withPglite } from "./pglite_pool.ts";
import { projectMigrations, storeOnSql } from "./sql_store.ts";

storeContract("storeOn() with a PostgreSQL in the process", (use) =>
  withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    await use(storeOnSql(pool));
  }));

/**
 * The table in parts, each with the rows of some ids. PostgreSQL refuses it if a unique key lacks
 * the id, for the same reason for which a cluster of databases would.
 */
const SPLIT_BY_ID = `
  ALTER TABLE sensor_events RENAME TO whole;
  CREATE TABLE sensor_events (LIKE whole INCLUDING ALL) PARTITION BY HASH (unique_reading_id);
  CREATE TABLE part_0 PARTITION OF sensor_events FOR VALUES WITH (MODULUS 3, REMAINDER 0);
  CREATE TABLE part_1 PARTITION OF sensor_events FOR VALUES WITH (MODULUS 3, REMAINDER 1);
  CREATE TABLE part_2 PARTITION OF sensor_events FOR VALUES WITH (MODULUS 3, REMAINDER 2);
  DROP TABLE whole;
  CREATE TRIGGER renew_data_set AFTER TRUNCATE OR DELETE ON sensor_events
  FOR EACH STATEMENT EXECUTE FUNCTION renew_data_set_when_emptied();`;

storeContract("storeOn() with a table that is split by id", (use) =>
  withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    await pool.query({ action: "split sensor_events", text: SPLIT_BY_ID });
    await use(storeOnSql(pool));
  }));

Deno.test("store_batch() still serves a program from before there were epochs", () =>
  withPglite(async (pool) => {
    const migrations = await projectMigrations();
    const before = migrations.findIndex(({ name }) => name.startsWith("008"));
    await migrate(pool, migrations.slice(0, before));
    const { store } = storeOnSql(pool);
    const dataSetId = await store.dataSetId();
    const withoutEpochs = async (fromOffset: number): Promise<unknown> => {
      const values = storeBatchValues(batchOf(dataSetId, { fromOffset, skipped: 5 })).slice(0, -2);
      const places = values.map((_, index) => `$${index + 1}`).join(", ");
      const text = `SELECT outcome FROM store_batch(${places})`;
      return (await pool.query({ action: "store", text, values })).rows[0]?.outcome;
    };
    await store.openLedgerLine(TOPIC, 0, 0);
    assert.equal(await withoutEpochs(0), "stored");
    await migrate(pool, migrations);
    assert.equal((await store.readLedger())[0]?.leaderEpoch, UNKNOWN_EPOCH);
    const batch = { fromOffset: 5, skipped: 5, nextEpoch: 7 };
    assert.equal((await store.storeBatch(batchOf(dataSetId, batch), "compare")).kind, "stored");
    assert.equal(await withoutEpochs(5), "fenced");
    assert.equal(await withoutEpochs(10), "stored");
    const [line] = await store.readLedger();
    assert.deepEqual([line?.next, line?.leaderEpoch], [15, UNKNOWN_EPOCH]);
  }));
