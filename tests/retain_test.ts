import assert from "node:assert/strict";
import {
  parseAge,
  PAUSE_MS,
  retain,
  type RetainOptions,
  type RetainProgress,
  type RetainSummary,
  retainText,
} from "../lib/operations/retain.ts";
import { storeOn } from "../lib/postgres/client.ts";
import { discardDeadLetters, readDeadLetters } from "../lib/postgres/dead_letters.ts";
import { migrate } from "../lib/postgres/migrate.ts";
import type { SqlPool } from "../lib/postgres/pool.ts";
import { verifyLedger, type VerifyReport } from "../lib/postgres/verify.ts";
import { batchOf, deadLetterAt, idOf, readingAt, TOPIC } from "./contracts/store.ts";
import { FakeClock } from "./fake_clock.ts";
import { withPglite } from "./pglite_pool.ts";
import { emptyTables, projectMigrations } from "./sql_store.ts";

const DAY_MS = 86_400_000;

/** What {@linkcode retain} did, and how. */
interface Run {
  readonly summary: RetainSummary;
  readonly progress: readonly RetainProgress[];
  readonly elapsedMs: number;
}

async function run(
  pool: SqlPool,
  changes: Partial<RetainOptions> & { retentionMs?: number; stopAfter?: number } = {},
): Promise<Run> {
  const { retentionMs = DAY_MS, stopAfter = Infinity, ...options } = changes;
  const clock = new FakeClock();
  const progress: RetainProgress[] = [];
  const stop = new AbortController();
  const work = retain({
    pool,
    member: { retentionMs: () => Promise.resolve(retentionMs) },
    clock,
  }, {
    readingsOlderThanMs: 90 * DAY_MS,
    deadLettersOlderThanMs: undefined,
    batchRowsMax: 1_000,
    mode: "delete",
    signal: stop.signal,
    onProgress: (each) => {
      progress.push(each);
      if (progress.length >= stopAfter) stop.abort();
    },
    ...options,
  });
  let isDone = false;
  work.catch(() => {}).finally(() => {
    isDone = true;
  });
  while (!isDone) await clock.advance(PAUSE_MS);
  return { summary: await work, progress, elapsedMs: clock.elapsedMs() };
}

/** Partition 0 has 250 readings and 4 dead letters, partition 1 has 10 readings. All are new. */
async function fill(pool: SqlPool): Promise<void> {
  const store = storeOn(pool);
  const dataSetId = await store.dataSetId();
  await store.openLedgerLine(TOPIC, 0, 0);
  await store.storeBatch(
    batchOf(dataSetId, {
      readings: Array.from({ length: 250 }, (_, at) => readingAt(at, at)),
      deadLetters: [250, 251, 252, 253].map((offset) => deadLetterAt(offset, "{")),
    }),
    "compare",
  );
  await store.openLedgerLine(TOPIC, 1, 0);
  await store.storeBatch(
    batchOf(dataSetId, {
      partition: 1,
      readings: Array.from({ length: 10 }, (_, at) => readingAt(at, 1_000 + at)),
    }),
    "compare",
  );
}

async function age(pool: SqlPool, table: string, columns: string, where: string): Promise<void> {
  const set = columns.split(" ").map((column) => `"${column}" = now() - interval '91 days'`);
  await pool.query({ action: "age", text: `UPDATE ${table} SET ${set.join(", ")} WHERE ${where}` });
}

/** Ages readings: their own time and their arrival. */
function ageReadings(pool: SqlPool, where: string): Promise<void> {
  return age(pool, "sensor_events", "timestamp ingested_at", where);
}

async function verified(pool: SqlPool): Promise<VerifyReport> {
  const report = await verifyLedger(pool);
  assert.deepEqual(report.problems, []);
  return report;
}

const CASES: readonly [name: string, check: (pool: SqlPool) => Promise<void>][] = [
  ["deletes what is old, in all partitions, and verify adds up", async (pool) => {
    await ageReadings(pool, "kafka_offset < 5");
    const { summary } = await run(pool);
    assert.deepEqual(summary, {
      readings: 10,
      deadLetters: 0,
      deadLettersOpen: 0,
      isComplete: true,
    });
    const report = await verified(pool);
    assert.deepEqual([report.rows, report.deleted], [250, 10]);
    assert.equal((await run(pool)).summary.readings, 0);
    assert.equal((await verified(pool)).deleted, 10);
  }],
  ["keeps what is old by its own time alone, or by its arrival alone", async (pool) => {
    await age(pool, "sensor_events", "timestamp", "kafka_partition = 0");
    await age(pool, "sensor_events", "ingested_at", "kafka_partition = 1");
    assert.equal((await run(pool)).summary.readings, 0);
  }],
  ["deletes in bounded batches, with a pause after each", async (pool) => {
    await ageReadings(pool, "true");
    const { progress, elapsedMs } = await run(pool, { batchRowsMax: 100 });
    assert.deepEqual(progress.map(({ readings }) => readings), [100, 200, 260]);
    assert.equal(progress.at(-1)?.percent, 100);
    assert.ok(elapsedMs >= 3 * PAUSE_MS, `${elapsedMs}`);
    assert.equal((await verified(pool)).rows, 0);
  }],
  ["stops after the batch under way, and goes on next time", async (pool) => {
    await ageReadings(pool, "true");
    const { summary } = await run(pool, { batchRowsMax: 100, stopAfter: 1 });
    assert.deepEqual([summary.readings, summary.isComplete], [100, false]);
    assert.equal((await verified(pool)).rows, 160);
    assert.equal((await run(pool)).summary.readings, 160);
  }],
  ["counts and changes nothing", async (pool) => {
    await ageReadings(pool, "kafka_partition = 0");
    await age(pool, "dead_letters", "created_at", "true");
    const windows = { deadLettersOlderThanMs: 90 * DAY_MS };
    const { summary } = await run(pool, { mode: "count", ...windows });
    assert.deepEqual([summary.readings, summary.deadLettersOpen], [250, 4]);
    assert.deepEqual(await verified(pool).then(({ rows, deleted }) => [rows, deleted]), [260, 0]);
  }],
  ["deletes old dead letters that are resolved, and keeps open ones", async (pool) => {
    const letters = await readDeadLetters(pool, { state: "all" }, { order: "oldest", limit: 9 });
    await discardDeadLetters(pool, letters.slice(0, 3).map(({ id }) => id), "why");
    await age(pool, "dead_letters", "created_at", "kafka_offset <> 250");
    const { summary } = await run(pool, {
      readingsOlderThanMs: undefined,
      deadLettersOlderThanMs: 90 * DAY_MS,
      batchRowsMax: 1,
    });
    assert.deepEqual(summary, {
      readings: 0,
      deadLetters: 2,
      deadLettersOpen: 1,
      isComplete: true,
    });
    const { deadLetters } = await verified(pool);
    assert.deepEqual(deadLetters, { open: 1, replayed: 0, discarded: 1, deleted: 2 });
  }],
  ["counts rows that are from no partition", async (pool) => {
    await pool.query({
      action: "take over a row",
      text: `
        INSERT INTO sensor_events VALUES
          ('${idOf(9_999)}', 's', 't', 1, 2, now(), 3, 'u', 'active', 4, NULL, NULL);
        INSERT INTO row_corrections (added) VALUES (1);`,
    });
    await ageReadings(pool, "kafka_partition IS NULL");
    assert.equal((await run(pool)).summary.readings, 1);
    assert.deepEqual(await verified(pool).then(({ rows, deleted }) => [rows, deleted]), [260, 1]);
  }],
  ["a reading that was deleted and comes again is new, and counted", async (pool) => {
    await ageReadings(pool, "kafka_partition = 1");
    await run(pool);
    const store = storeOn(pool);
    const outcome = await store.storeBatch(
      batchOf(await store.dataSetId(), {
        partition: 1,
        fromOffset: 10,
        readings: [readingAt(10, 1_000)],
      }),
      "compare",
    );
    assert.ok(outcome.kind === "stored" && outcome.inserted === 1);
    assert.equal((await verified(pool)).rows, 251);
  }],
  ["refuses a window that is shorter than the topic's", async (pool) => {
    await ageReadings(pool, "true");
    for (const [retentionMs, text] of [[91 * DAY_MS, "for 91d"], [Infinity, "for ever"]] as const) {
      await assert.rejects(run(pool, { retentionMs }), {
        name: "ConfigurationError",
        message: new RegExp(`older than 90d: the topic keeps its messages ${text}`),
      });
    }
    await assert.rejects(
      run(pool, { retentionMs: DAY_MS, deadLettersOlderThanMs: DAY_MS - 1 }),
      { name: "ConfigurationError", message: /older than 86399999ms/ },
    );
    assert.equal((await verified(pool)).rows, 260);
    assert.equal((await run(pool, { retentionMs: 90 * DAY_MS })).summary.readings, 260);
  }],
];

Deno.test("retain() ends old rows, and verify still adds up", (t) =>
  withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    for (const [name, check] of CASES) {
      await t.step(name, async () => {
        await emptyTables(pool);
        await fill(pool);
        await check(pool);
      });
    }
  }));

Deno.test("delete_old_readings() keeps to its range of blocks", () =>
  withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    await fill(pool);
    await ageReadings(pool, "true");
    const { rows } = await pool.query({
      action: "delete",
      text: `
        WITH size AS (SELECT pg_relation_size('sensor_events') / 8192 AS blocks)
        SELECT blocks, delete_old_readings(now() - interval '90 days', blocks - 1, blocks, 1000)
          AS deleted FROM size`,
    });
    const { rows: left } = await pool.query({
      action: "look",
      text: "SELECT count(*) AS count FROM sensor_events",
    });
    const deleted = Number(rows[0]?.deleted);
    assert.ok(Number(rows[0]?.blocks) > 2);
    assert.ok(deleted > 0 && deleted < 260, `${deleted}`);
    assert.equal(Number(left[0]?.count), 260 - deleted);
  }));

Deno.test("parseAge() takes days, hours, minutes and seconds", () => {
  const cases: [string, number][] = [["90d", 90 * DAY_MS], ["12h", DAY_MS / 2], ["1m", 60_000], [
    "45s",
    45_000,
  ]];
  for (const [text, want] of cases) assert.equal(parseAge("--older-than", text), want);
  for (const text of ["", "90", "0d", "-1d", "1.5d", "d", "99999d", "1w"]) {
    assert.throws(() => parseAge("--older-than", text), {
      name: "ConfigurationError",
      message: /^Cannot use --older-than/,
    });
  }
});

Deno.test("retainText() says what stays", () => {
  const summary = { readings: 1, deadLetters: 2, deadLettersOpen: 3, isComplete: false };
  assert.match(retainText(summary, "delete"), /^deleted 1 reading and 2 dead letters\n3 old dead/);
  assert.match(retainText(summary, "delete"), /stopped before the end/);
  assert.match(retainText(summary, "count"), /^would delete/);
});
