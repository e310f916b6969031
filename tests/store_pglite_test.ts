import { migrate } from "../lib/postgres/migrate.ts";
import { storeContract } from "./contracts/store.ts";
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
