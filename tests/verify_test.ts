import assert from "node:assert/strict";
import { UNKNOWN_EPOCH } from "../lib/kafka/message.ts";
import { storeOn } from "../lib/postgres/client.ts";
import { migrate } from "../lib/postgres/migrate.ts";
import type { SqlPool } from "../lib/postgres/pool.ts";
import { verifyLedger } from "../lib/postgres/verify.ts";
import { batchOf, deadLetterAt, readingAt, TOPIC, TOPIC_AGAIN } from "./contracts/store.ts";
import { withPglite } from "./pglite_pool.ts";
import { emptyTables, projectMigrations } from "./sql_store.ts";

/** Two partitions and two lives of the topic, with some of everything. */
async function fill(pool: SqlPool): Promise<void> {
  const store = storeOn(pool);
  const dataSetId = await store.dataSetId();
  await store.openLedgerLine(TOPIC, 0, 10);
  await store.storeBatch(
    batchOf(dataSetId, {
      fromOffset: 10,
      readings: [readingAt(10, 1), readingAt(11, 2)],
      duplicates: 1,
      skipped: 1,
      deadLetters: [deadLetterAt(14, "{"), deadLetterAt(15, null)],
    }),
    "compare",
  );
  await store.moveLedgerLine(TOPIC, 0, { fromOffset: 16, toOffset: 20, toEpoch: UNKNOWN_EPOCH });
  await store.openLedgerLine(TOPIC, 1, 0);
  await store.storeBatch(
    batchOf(dataSetId, { partition: 1, readings: [readingAt(0, 3)] }),
    "compare",
  );
  await store.openLedgerLine(TOPIC_AGAIN, 0, 0);
  await store.storeBatch(
    batchOf(dataSetId, { topic: TOPIC_AGAIN, readings: [readingAt(0, 4)] }),
    "compare",
  );
}

/** The last damage: the constraint, which would be in its way, does not come back. */
const BREAK_SUM = `
  ALTER TABLE ledger DROP CONSTRAINT ledger_adds_up;
  UPDATE ledger SET skipped = skipped + 1 WHERE kafka_partition = 1;`;

const REWIND = "UPDATE ledger SET next_offset = next_offset - 1, rewound = rewound + 1;";

const STRAY_ROW = `
  INSERT INTO sensor_events VALUES
    (gen_random_uuid(), 's', 't', 1, 2, now(), 3, 'u', 'active', 4, 7, 0)`;

/** What a replay and the end of old rows leave behind: a row more, a row less, a letter less. */
const CORRECTED = `
  INSERT INTO sensor_events VALUES
    (gen_random_uuid(), 's', 't', 1, 2, now(), 3, 'u', 'active', 4, 0, 14);
  INSERT INTO row_corrections (kafka_partition, added) VALUES (0, 1);
  DELETE FROM sensor_events WHERE kafka_partition = 1;
  INSERT INTO row_corrections (kafka_partition, deleted) VALUES (1, 1);
  DELETE FROM dead_letters WHERE kafka_offset = 14;
  INSERT INTO dead_letter_deletions
    SELECT cluster_id, topic, topic_id, kafka_partition, 1 FROM dead_letters;`;

const ROW_OF_NO_PARTITION = `
  INSERT INTO sensor_events VALUES
    (gen_random_uuid(), 's', 't', 1, 2, now(), 3, 'u', 'active', 4, NULL, NULL);`;

const DAMAGES: readonly [name: string, sql: string, problems: readonly RegExp[]][] = [
  ["nothing", "SELECT 1", []],
  ["a row gone", "DELETE FROM sensor_events WHERE kafka_partition = 1", [
    /^partition 1: the ledger inserted 1 row, sensor_events holds 0$/,
  ]],
  ["a row too many", STRAY_ROW, [/^partition 7: the ledger inserted 0 rows, .* holds 1$/]],
  ["a dead letter gone", "DELETE FROM dead_letters WHERE kafka_offset = 14", [
    /^topic readings \(.*a\), partition 0: the ledger counts 2 dead letters, .* holds 1$/,
  ]],
  [
    "a dead letter gone after a rewind, which may be the second reading of one",
    `${REWIND} DELETE FROM dead_letters WHERE kafka_offset = 14`,
    [],
  ],
  ["rows and dead letters that came and went, and were counted", CORRECTED, []],
  [
    "a row deleted that was not counted",
    `${CORRECTED} DELETE FROM sensor_events WHERE kafka_offset = 14`,
    [/^partition 0: the ledger inserted 3 rows, 1 were added, 0 deleted, sensor_events holds 3$/],
  ],
  [
    "a dead letter deleted that was not counted",
    `${CORRECTED} DELETE FROM dead_letters`,
    [/partition 0: the ledger counts 2 dead letters, 1 were deleted, dead_letters holds 0$/],
  ],
  [
    "a row of no partition",
    ROW_OF_NO_PARTITION,
    [/^rows of no partition: the ledger inserted 0 rows, sensor_events holds 1$/],
  ],
  [
    "a row of no partition that was counted",
    `${ROW_OF_NO_PARTITION} INSERT INTO row_corrections (added) VALUES (1)`,
    [],
  ],
  ["all lines of the ledger gone", "DELETE FROM ledger", [
    /^partition \d: the ledger inserted 0 rows/,
    /^partition \d: the ledger inserted 0 rows/,
    /^dead_letters holds messages of a partition that is not in the ledger: cluster-A readings/,
  ]],
  ["a sum that is wrong", BREAK_SUM, [
    /partition 1: the ledger passed 1 offset but accounts for 2$/,
  ]],
];

Deno.test("verifyLedger() proves the ledger, and names what is wrong", (t) =>
  withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    for (const [name, sql, problems] of DAMAGES) {
      await t.step(name, async () => {
        await emptyTables(pool);
        await fill(pool);
        await pool.query({ action: "do damage", text: sql });
        const report = await verifyLedger(pool);
        assert.equal(report.problems.length, problems.length, report.problems.join("\n"));
        problems.forEach((problem, index) => assert.match(report.problems[index] ?? "", problem));
        assert.equal(report.ok, problems.length === 0);
      });
    }
  }));

Deno.test("verifyLedger() reports each line with its numbers", () =>
  withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    assert.deepEqual(await verifyLedger(pool), {
      ok: true,
      rows: 0,
      added: 0,
      deleted: 0,
      deadLetters: { open: 0, replayed: 0, discarded: 0, deleted: 0 },
      partitions: [],
      problems: [],
    });
    await fill(pool);
    const { rows, partitions, deadLetters } = await verifyLedger(pool);
    assert.equal(rows, 4);
    assert.deepEqual(deadLetters, { open: 2, replayed: 0, discarded: 0, deleted: 0 });
    assert.equal(partitions.length, 3);
    assert.deepEqual(partitions[0], {
      topic: "readings",
      topicId: TOPIC.topicId,
      partition: 0,
      first: "10",
      next: "20",
      inserted: 2,
      duplicates: 1,
      deadLetters: 2,
      skipped: 1,
      gaps: 4,
      rewound: 0,
    });
  }));
