import assert from "node:assert/strict";
import { migrate } from "../../lib/postgres/migrate.ts";
import { openPool } from "../../lib/postgres/pool.ts";
import { projectMigrations } from "../sql_store.ts";
import { withPrivateDatabase } from "./private_database.ts";

const STARTERS = 24;
const ROUNDS = 3;

Deno.test("migrate() by 24 programs at once applies each file once and fails for nobody", async (t) => {
  const migrations = await projectMigrations();
  for (let round = 1; round <= ROUNDS; round++) {
    await t.step(
      `empty database ${round}`,
      () =>
        withPrivateDatabase(async ({ settings, connect }) => {
          const pools = Array.from(
            { length: STARTERS },
            () => openPool({ ...settings, poolMax: 1 }),
          );
          // Connected first, so that they really start together.
          await Promise.all(
            pools.map((pool) => pool.query({ action: "connect", text: "SELECT 1" })),
          );
          const reports = await Promise.allSettled(pools.map((pool) => migrate(pool, migrations)));
          await Promise.all(pools.map((pool) => pool.close()));
          const applied = reports.flatMap((report) => {
            assert.equal(report.status, "fulfilled", JSON.stringify(report));
            return report.status === "fulfilled" ? report.value.applied : [];
          });
          assert.deepEqual(applied.toSorted(), migrations.map(({ name }) => name));
          const { rows } = await (await connect()).query("SELECT count(*)::int AS n FROM data_set");
          assert.deepEqual(rows, [{ n: 1 }]);
        }),
    );
  }
});
