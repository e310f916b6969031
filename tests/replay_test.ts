import assert from "node:assert/strict";
import { MemoryCache } from "../fakes/cache.ts";
import { createLog } from "../lib/log.ts";
import {
  deadLetterPages,
  replayDeadLetter,
  type ReplayOptions,
  type ReplayOutcome,
  type ReplayParts,
} from "../lib/operations/replay.ts";
import { storeOn } from "../lib/postgres/client.ts";
import {
  countDeadLetters,
  type DeadLetterFilter,
  discardDeadLetters,
  type KeptDeadLetter,
  readDeadLetters,
  readStoredReading,
} from "../lib/postgres/dead_letters.ts";
import { migrate } from "../lib/postgres/migrate.ts";
import type { SqlPool } from "../lib/postgres/pool.ts";
import type { DeadLetter } from "../lib/postgres/store.ts";
import { verifyLedger } from "../lib/postgres/verify.ts";
import { batchOf, deadLetterAt, readingAt, TOPIC } from "./contracts/store.ts";
import { FakeClock } from "./fake_clock.ts";
import { withPglite } from "./pglite_pool.ts";
import { sampleText, utf8 } from "./sample_message.ts";
import { emptyTables, projectMigrations } from "./sql_store.ts";

const ALL: DeadLetterFilter = { state: "all" };

/** A database with some dead letters, and what a replay needs. */
class Desk {
  readonly clock = new FakeClock(Date.UTC(2026, 10, 24, 10, 0, 10));
  readonly cache = new MemoryCache({ clock: this.clock, ttlSeconds: 60 });
  readonly logged: string[] = [];
  readonly parts: ReplayParts;

  constructor(readonly pool: SqlPool) {
    this.parts = {
      pool,
      store: storeOn(pool),
      cache: this.cache,
      clock: this.clock,
      limits: { futureSkewSecondsMax: 3_600, pastDaysMax: 0 },
      log: createLog({
        level: "warn",
        format: "text",
        write: (line) => this.logged.push(line),
        clock: this.clock,
      }),
    };
  }

  /** Stores these messages as dead letters of partition 0, from offset 0 on. */
  async keep(...texts: (string | DeadLetter)[]): Promise<void> {
    const store = storeOn(this.pool);
    await store.openLedgerLine(TOPIC, 0, 0);
    const outcome = await store.storeBatch(
      batchOf(await store.dataSetId(), {
        deadLetters: texts.map((text, offset) =>
          typeof text === "string" ? deadLetterAt(offset, text) : text
        ),
      }),
      "compare",
    );
    assert.equal(outcome.kind, "stored");
  }

  /** The dead letters by rising id. */
  letters(filter = ALL): Promise<readonly KeptDeadLetter[]> {
    return readDeadLetters(this.pool, filter, { order: "oldest", limit: 1_000 });
  }

  /** Replays the dead letter with this number in the order of ids. */
  async replay(
    number: number,
    options: Partial<ReplayOptions> = {},
  ): Promise<ReplayOutcome> {
    const letter = (await this.letters())[number];
    assert.ok(letter);
    return await replayDeadLetter(letter, this.parts, { mode: "do", ...options });
  }

  async rows(): Promise<number> {
    const report = await verifyLedger(this.pool);
    assert.deepEqual(report.problems, []);
    return report.rows;
  }
}

const READING_ID = "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e";

const CASES: readonly [name: string, check: (desk: Desk) => Promise<void>][] = [
  ["stores what is valid today, and resolves the dead letter", async (desk) => {
    await desk.keep(sampleText());
    assert.deepEqual(await desk.replay(0), { kind: "inserted", readingId: READING_ID });
    const [letter] = await desk.letters();
    assert.equal(letter?.resolution, "inserted");
    assert.equal(letter.readingId, READING_ID);
    assert.equal(letter.attempts, 1);
    assert.equal(letter.resolutionNote, null);
    assert.equal(await desk.rows(), 1);
    const stored = await readStoredReading(desk.pool, READING_ID);
    assert.deepEqual([stored?.partition, stored?.offset], [0, 0]);
    assert.equal(stored?.reading.value, 21.57);
    assert.equal(desk.cache.lastValues.get(stored.reading.sensor_id)?.id, READING_ID);
  }],
  ["done twice changes nothing the second time", async (desk) => {
    await desk.keep(sampleText());
    await desk.replay(0);
    const before = await desk.letters();
    assert.deepEqual(await desk.replay(0), { kind: "resolved" });
    assert.deepEqual(await desk.letters(), before);
    assert.equal(await desk.rows(), 1);
  }],
  ["by two people at once stores once", async (desk) => {
    await desk.keep(sampleText());
    const [letter] = await desk.letters();
    assert.ok(letter);
    const replay = (): Promise<ReplayOutcome> =>
      replayDeadLetter(letter, desk.parts, { mode: "do" });
    const outcomes = await Promise.all([replay(), replay()]);
    assert.deepEqual(outcomes.map(({ kind }) => kind).sort(), ["inserted", "resolved"]);
    assert.equal(await desk.rows(), 1);
  }],
  ["leaves what is still wrong, counts the attempt and says why", async (desk) => {
    await desk.keep("{");
    for (const attempts of [1, 2]) {
      const outcome = await desk.replay(0);
      assert.ok(outcome.kind === "rejected" && outcome.rejection.reason === "json");
      const [letter] = await desk.letters({ state: "open" });
      assert.equal(letter?.attempts, attempts);
      assert.match(letter.attemptFault ?? "", /^json: /);
      assert.notEqual(letter.attemptedAt, null);
    }
    assert.equal(await desk.rows(), 0);
  }],
  ["takes an edited message instead, and notes that", async (desk) => {
    await desk.keep("{");
    const outcome = await desk.replay(0, { edited: utf8(`${sampleText()}\n`) });
    assert.equal(outcome.kind, "inserted");
    const [letter] = await desk.letters();
    assert.equal(letter?.resolutionNote, "edited");
    assert.deepEqual(letter.payload && new TextDecoder().decode(letter.payload), "{");
    assert.equal(await desk.rows(), 1);
  }],
  ["tells a duplicate from a conflict", async (desk) => {
    await desk.keep(sampleText(), sampleText(), sampleText({ value: 1 }));
    await desk.replay(0);
    assert.equal((await desk.replay(1)).kind, "duplicate");
    assert.deepEqual(await desk.replay(2), { kind: "conflict", readingId: READING_ID });
    const [, duplicate, conflict] = await desk.letters();
    assert.equal(duplicate?.resolution, "duplicate");
    assert.equal(conflict?.resolution, null);
    assert.match(conflict.attemptFault ?? "", /^id_conflict: /);
    assert.equal(await desk.rows(), 1);
  }],
  ["says what it would do and changes nothing", async (desk) => {
    await desk.keep(sampleText(), sampleText(), sampleText({ value: 1 }), "{");
    await desk.replay(0);
    const before = await desk.letters();
    const kinds: string[] = [];
    for (const number of [0, 1, 2, 3]) {
      kinds.push((await desk.replay(number, { mode: "try" })).kind);
    }
    assert.deepEqual(kinds, ["resolved", "duplicate", "conflict", "rejected"]);
    assert.deepEqual(await desk.letters(), before);
  }],
  ["never takes the beginning of a message for the whole", async (desk) => {
    await desk.keep({ ...deadLetterAt(0, sampleText()), payloadBytes: 70_000 });
    const outcome = await desk.replay(0);
    assert.ok(outcome.kind === "rejected" && outcome.rejection.reason === "size");
    assert.equal(await desk.rows(), 0);
  }],
  ["does not take an unreadable message for a tombstone", async (desk) => {
    await desk.keep(deadLetterAt(0, null, { reason: "unreadable_batch", detail: "codec 7" }));
    const outcome = await desk.replay(0);
    assert.ok(outcome.kind === "rejected" && outcome.rejection.reason === "unreadable_batch");
    assert.equal((await desk.replay(0, { edited: utf8(sampleText()) })).kind, "inserted");
  }],
  ["keeps what PostgreSQL refuses, as one more failed attempt", async (desk) => {
    await desk.keep(sampleText({ unit: "refused" }));
    await desk.pool.query({
      action: "be strict",
      text: "ALTER TABLE sensor_events ADD CONSTRAINT strict CHECK (unit <> 'refused')",
    });
    const outcome = await desk.replay(0);
    await desk.pool.query({
      action: "be lenient",
      text: "ALTER TABLE sensor_events DROP CONSTRAINT strict",
    });
    assert.ok(outcome.kind === "rejected" && outcome.rejection.reason === "refused_by_database");
    const [letter] = await desk.letters({ state: "open" });
    assert.match(letter?.attemptFault ?? "", /^refused_by_database: .*strict/);
    assert.equal(await desk.rows(), 0);
  }],
  ["goes on without Redis, and says how to make up for it", async (desk) => {
    await desk.keep(sampleText());
    desk.cache.isAway = true;
    assert.equal((await desk.replay(0)).kind, "inserted");
    assert.match(desk.logged.join(""), /rebuild-last/);
  }],
  ["keeps the sign of a zero and the last digit of a double", async (desk) => {
    await desk.keep(
      sampleText({ value: -0 }).replace('"value":0', '"value":-0.0'),
      sampleText({ unique_reading_id: READING_ID.replace("3f", "4f"), value: 0.1 + 0.2 }),
    );
    await desk.replay(0);
    await desk.replay(1);
    const { rows } = await desk.pool.query({
      action: "look",
      text: "SELECT value::text FROM sensor_events ORDER BY kafka_offset",
    });
    assert.deepEqual(rows.map((row) => row.value), ["-0", "0.30000000000000004"]);
    assert.equal(await desk.rows(), 2);
  }],
  ["discardDeadLetters() marks the open ones, keeps them, and says how many", async (desk) => {
    await desk.keep(sampleText(), "{", "[");
    await desk.replay(0);
    const ids = (await desk.letters()).map(({ id }) => id);
    assert.equal(await discardDeadLetters(desk.pool, ids, "old firmware"), 2);
    assert.equal(await discardDeadLetters(desk.pool, ids, "again"), 0);
    const letters = await desk.letters();
    assert.deepEqual(letters.map((letter) => [letter.resolution, letter.resolutionNote]), [
      ["inserted", null],
      ["discarded", "old firmware"],
      ["discarded", "old firmware"],
    ]);
    const { deadLetters, ok } = await verifyLedger(desk.pool);
    assert.equal(ok, true);
    assert.deepEqual(deadLetters, { open: 0, replayed: 1, discarded: 2, deleted: 0 });
  }],
  ["readDeadLetters() finds by reason, time, sensor, id and state", async (desk) => {
    await desk.keep(
      deadLetterAt(0, "{"),
      deadLetterAt(1, '{"sensor_id": "s-1"}', { reason: "missing" }),
      deadLetterAt(2, "x", { key: utf8("s-1") }),
      deadLetterAt(3, '{"sensor_id": "s-12"}', { reason: "missing" }),
    );
    const letters = await desk.letters();
    const ids = letters.map(({ id }) => id);
    await discardDeadLetters(desk.pool, [ids[3]!], "why");
    await desk.pool.query({
      action: "age one",
      text: `UPDATE dead_letters SET created_at = '2026-01-01T00:00:00Z' WHERE id = ${ids[0]}`,
    });
    const cases: [DeadLetterFilter, number[]][] = [
      [{ state: "all" }, [0, 1, 2, 3]],
      [{ state: "open" }, [0, 1, 2]],
      [{ state: "all", reason: "missing" }, [1, 3]],
      [{ state: "all", sensorId: "s-1" }, [1, 2]],
      [{ state: "all", sensorId: "s-%" }, []],
      [{ state: "all", untilMs: Date.UTC(2026, 0, 2) }, [0]],
      [{ state: "open", sinceMs: Date.UTC(2026, 0, 2) }, [1, 2]],
      [{ state: "all", ids: [ids[2]!, ids[0]!, 999_999] }, [0, 2]],
      [{ state: "all", ids: [] }, []],
    ];
    for (const [filter, want] of cases) {
      const found = await desk.letters(filter);
      assert.deepEqual(found.map(({ offset }) => offset), want, JSON.stringify(filter));
      assert.equal(await countDeadLetters(desk.pool, filter), want.length);
    }
  }],
  ["deadLetterPages() ends at the newest of the beginning", async (desk) => {
    await desk.keep(...Array.from({ length: 250 }, (_, number) => `${number}`));
    const sizes: number[] = [];
    for await (const page of deadLetterPages(desk.pool, { state: "open" })) {
      sizes.push(page.length);
      const store = storeOn(desk.pool);
      const [line] = await store.readLedger();
      await store.storeBatch(
        batchOf(await store.dataSetId(), {
          fromOffset: line!.next,
          deadLetters: [deadLetterAt(line!.next, "new")],
        }),
        "compare",
      );
    }
    assert.deepEqual(sizes, [100, 100, 50]);
  }],
];

Deno.test("replayDeadLetter() and what stands around it", (t) =>
  withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    for (const [name, check] of CASES) {
      await t.step(name, async () => {
        await emptyTables(pool);
        await check(new Desk(pool));
      });
    }
  }));

Deno.test("replay_dead_letter() counts rows of the right partition for verify", () =>
  withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    const store = storeOn(pool);
    for (const partition of [0, 1]) {
      await store.openLedgerLine(TOPIC, partition, 0);
      await store.storeBatch(
        batchOf(await store.dataSetId(), {
          partition,
          readings: [readingAt(0, partition)],
          deadLetters: [deadLetterAt(1, sampleText())],
        }),
        "compare",
      );
    }
    const desk = new Desk(pool);
    await desk.replay(1);
    await desk.replay(0);
    const report = await verifyLedger(pool);
    assert.deepEqual(report.problems, []);
    assert.deepEqual([report.rows, report.added], [3, 1]);
    const { rows } = await pool.query({ action: "look", text: "SELECT * FROM row_corrections" });
    assert.deepEqual(rows.map((row) => [row.kafka_partition, Number(row.added)]), [[1, 1]]);
  }));
