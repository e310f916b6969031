import { migrate } from "../lib/postgres/migrate.ts";
import { storeContract } from "./contracts/store.ts";
import { withPglite } from "./pglite_pool.ts";
import { projectMigrations, storeOnSql } from "./sql_store.ts";

storeContract("storeOn() with a PostgreSQL in the process", (use) =>
  withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    await use(storeOnSql(pool));
  }));
