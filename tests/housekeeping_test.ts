import assert from "node:assert/strict";
import { MemoryCache } from "../fakes/cache.ts";
import { MemoryKafka } from "../fakes/kafka_cluster.ts";
import { consume } from "../lib/consumer/consumer.ts";
import { createLog } from "../lib/log.ts";
import { storeOn } from "../lib/postgres/client.ts";
import { migrate } from "../lib/postgres/migrate.ts";
import { type SqlPool } from "../lib/postgres/pool.ts";
import { verifyLedger } from "../lib/postgres/verify.ts";
import { Breaker } from "../lib/redis/breaker.ts";
import { keepSmall, rowsKeptMs } from "../tools/demo/housekeeping.ts";
import { FakeClock } from "./fake_clock.ts";
import { projectMigrations } from "./sql_store.ts";
import { withPglite } from "./pglite_pool.ts";
import { sampleText, utf8 } from "./sample_message.ts";
import { consumerOptions } from "./memory_pipeline.ts";

const GROUP = "demo";
const READINGS = 3_000;
const BROKEN = 1_500;

/** A topic with readings and broken messages, all of them stored. */
async function storedTopic(pool: SqlPool): Promise<{ kafka: MemoryKafka; clock: FakeClock }> {
  await migrate(pool, await projectMigrations());
  // Later than the database's own clock, by which rows have their age.
  const clock = new FakeClock(Date.now() + 60_000);
  const kafka = new MemoryKafka({ topic: "demo", partitions: 1, clock });
  for (let index = 0; index < READINGS + BROKEN; index++) {
    const unique_reading_id = crypto.randomUUID();
    const value = index < READINGS
      ? utf8(sampleText({ unique_reading_id, timestamp: "2020-01-01T00:00:00Z" }))
      : utf8("broken");
    kafka.append(0, [{ key: null, value }]);
  }
  const breaker = (): Breaker => new Breaker({ clock, budgetMs: 250 });
  const log = createLog({ level: "error", format: "text", write: assert.fail, clock });
  await whileTimePasses(
    clock,
    consume(
      {
        member: kafka.member(GROUP),
        store: storeOn(pool),
        cache: new MemoryCache({ clock, ttlSeconds: 10 }),
        breakers: { read: breaker(), write: breaker() },
        clock,
        log,
      },
      consumerOptions({
        batchMessagesMax: 1_000,
        batchesConcurrent: 1,
        limits: { futureSkewSecondsMax: 0, pastDaysMax: 0 },
        startFrom: { kind: "beginning" },
        until: "end",
        shutdownDeadlineMs: 60_000,
        watchdogSeconds: 0,
        deadLetterAlarmShare: 0,
      }),
    ),
  );
  return { kafka, clock };
}

async function whileTimePasses(clock: FakeClock, work: Promise<unknown>): Promise<void> {
  let isDone = false;
  const done = work.finally(() => isDone = true);
  while (!isDone) await clock.advance(10);
  await done;
}

async function count(pool: SqlPool, table: string): Promise<number> {
  const { rows } = await pool.query({
    action: "count",
    text: `SELECT count(*) AS n FROM ${table}`,
  });
  return Number(rows[0]!.n);
}

Deno.test("keepSmall() lets stored messages and old rows go, and verify still holds", async (t) => {
  await withPglite(async (pool) => {
    const { kafka, clock } = await storedTopic(pool);
    const round = async (rowsOlderThanMs: number | undefined): Promise<void> => {
      const stop = new AbortController();
      const { signal } = stop;
      const options = { rowsOlderThanMs, signal };
      const working = keepSmall({ kafka, group: GROUP, pool, clock }, options);
      for (let steps = 0; steps < 700; steps++) await clock.advance(10);
      stop.abort();
      await whileTimePasses(clock, working);
    };
    await t.step("without an age only messages go", async () => {
      await round(undefined);
      assert.equal(kafka.partition(0).low, READINGS + BROKEN - 2_000);
      assert.equal(await count(pool, "sensor_events"), READINGS);
    });
    await t.step("rows that are old enough go, dead letters too", async () => {
      await round(1);
      assert.equal(await count(pool, "sensor_events"), 0);
      assert.equal(await count(pool, "dead_letters"), 0);
    });
    const { ok, problems } = await verifyLedger(pool);
    assert.deepEqual([ok, problems], [true, []]);
  });
});

Deno.test("rowsKeptMs() keeps as much as fits, and no more than the charts want", async (t) => {
  const rows: [ratePerSecond: number, wantMs: number][] = [
    [1, 1_200_000],
    [200, 600_000],
    [2_000, 60_000],
    [20_000, 20_000],
  ];
  for (const [rate, want] of rows) {
    await t.step(`${rate} a second`, () => assert.equal(rowsKeptMs(rate), want));
  }
});
