import assert from "node:assert/strict";
import { RowDataError, TransientError } from "../../lib/errors.ts";
import { openStore, type PostgresStore } from "../../lib/postgres/client.ts";
import { migrate } from "../../lib/postgres/migrate.ts";
import { verifyLedger } from "../../lib/postgres/verify.ts";
import type { StoreOutcome } from "../../lib/postgres/store.ts";
import {
  batchOf,
  deadLetterAt,
  idOf,
  readingAt,
  storeContract,
  type StoreUnderTest,
  TOPIC,
} from "../contracts/store.ts";
import { projectMigrations, storeOnSql } from "../sql_store.ts";
import { withLink } from "./link.ts";
import { type PrivateDatabase, type Session, withPrivateDatabase } from "./private_database.ts";
import { until } from "./private_redis.ts";

interface Subject extends StoreUnderTest {
  readonly store: PostgresStore;
  readonly dataSetId: string;
  readonly database: PrivateDatabase;
}

/** A store on tables of its own, with partitions 0 and 1 open at offset 0. */
function withStore(use: (subject: Subject) => Promise<void>): Promise<void> {
  return withPrivateDatabase(async (database) => {
    await using store = openStore(database.settings);
    await migrate(store.pool, await projectMigrations());
    await store.openLedgerLine(TOPIC, 0, 0);
    await store.openLedgerLine(TOPIC, 1, 0);
    const dataSetId = await store.dataSetId();
    await use({ ...storeOnSql(store.pool), store, dataSetId, database });
  });
}

storeContract("openStore()", withStore);

/** Inserts the reading number `n` as another partition's consumer would, and does not commit. */
async function holdReading(session: Session, n: number, value = 21.5): Promise<void> {
  await session.query("BEGIN");
  await session.query(
    `INSERT INTO sensor_events (unique_reading_id, sensor_id, sensor_type, latitude, longitude,
       "timestamp", value, unit, status, battery_level, kafka_partition, kafka_offset)
     VALUES ($1, 'sensor-1', 'temperature', 52.520008, 13.404954,
       '2026-11-24T10:00:00.123456+00:00', $2, 'C', 'active', 87, 1, 0)`,
    [idOf(n), value],
  );
}

/** Resolves when a statement of the store waits for another transaction. */
async function untilStoreWaits(session: Session): Promise<void> {
  await until("the store waits for a lock", async () => {
    const { rowCount } = await session.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database()
       AND application_name = 'sensor-ledger' AND wait_event_type = 'Lock'`,
    );
    return rowCount === 1;
  });
}

const RACES: readonly [
  name: string,
  value: number,
  end: "COMMIT" | "ROLLBACK",
  outcome: StoreOutcome,
][] = [
  ["the same content is a duplicate", 21.5, "COMMIT", {
    kind: "stored",
    inserted: 1,
    duplicates: 1,
    deadLetters: 0,
    conflictOffsets: [],
  }],
  ["other content is a conflict", 99, "COMMIT", { kind: "conflicts", offsets: [0] }],
  ["a reading that is not stored after all is inserted", 99, "ROLLBACK", {
    kind: "stored",
    inserted: 2,
    duplicates: 0,
    deadLetters: 0,
    conflictOffsets: [],
  }],
];

Deno.test("storeBatch() waits for a session that inserts the same id, then judges", async (t) => {
  for (const [name, value, end, outcome] of RACES) {
    await t.step(name, () =>
      withStore(async ({ store, dataSetId, database }) => {
        const other = await database.connect();
        await holdReading(other, 1, value);
        const stored = store.storeBatch(
          batchOf(dataSetId, {
            readings: [readingAt(0, 1), readingAt(1, 2)],
          }),
          "compare",
        );
        await untilStoreWaits(other);
        await other.query(end);
        assert.deepEqual(await stored, outcome);
      }));
  }
});

Deno.test("storeBatch() waits likewise where it knows of a suspect", () =>
  withStore(async ({ store, dataSetId, database, ...subject }) => {
    const other = await database.connect();
    await holdReading(other, 1, 99);
    const stored = store.storeBatch(
      batchOf(dataSetId, {
        readings: [readingAt(0, 1)],
        suspects: [deadLetterAt(0, "suspect", { reason: "id_conflict" })],
      }),
      "compare",
    );
    await untilStoreWaits(other);
    await other.query("COMMIT");
    const outcome = await stored;
    assert.deepEqual(outcome.kind === "stored" && outcome.conflictOffsets, [0]);
    assert.deepEqual((await subject.deadLetters()).map(({ reason }) => reason), ["id_conflict"]);
  }));

Deno.test("storeBatch() decides nothing by a row that is deleted in the meantime", () =>
  withStore(async ({ store, dataSetId, database }) => {
    const [holder, deleter] = [await database.connect(), await database.connect()];
    await store.storeBatch(
      batchOf(dataSetId, { readings: [readingAt(0, 1), readingAt(1, 9)] }),
      "compare",
    );
    await holdReading(holder, 2);
    // Reading 1 is refused at once; then the batch waits for reading 2.
    const batch = batchOf(dataSetId, {
      fromOffset: 2,
      readings: [readingAt(2, 1), readingAt(3, 2)],
    });
    const rejected = assert.rejects(store.storeBatch(batch, "compare"), {
      name: "TransientError",
      message: /1 of 1 refused.*40001/,
    });
    await untilStoreWaits(deleter);
    await deleter.query("DELETE FROM sensor_events WHERE unique_reading_id = $1", [idOf(1)]);
    await holder.query("ROLLBACK");
    await rejected;
    const again = await store.storeBatch(batch, "compare");
    assert.equal(again.kind === "stored" && again.inserted, 2);
  }));

Deno.test("storeBatch() lets one of two sessions move a line, the other is fenced", () =>
  withStore(async ({ store, dataSetId, database }) => {
    await using other = openStore(database.settings);
    for (let round = 0; round < 50; round++) {
      const batch = batchOf(dataSetId, { fromOffset: round, readings: [readingAt(round, round)] });
      const outcomes = await Promise.all([
        store.storeBatch(batch, "compare"),
        other.storeBatch(batch, "compare"),
      ]);
      assert.deepEqual(outcomes.map(({ kind }) => kind).toSorted(), ["fenced", "stored"]);
      const fenced = outcomes.find(({ kind }) => kind === "fenced");
      assert.deepEqual(fenced, { kind: "fenced", ledgerNext: round + 1 });
    }
  }));

Deno.test("storeBatch() of two partitions with the same ids in opposite orders never deadlocks", () =>
  withStore(async ({ store, dataSetId }) => {
    const length = 400;
    for (let round = 0; round < 20; round++) {
      const fromOffset = round * length;
      const readings = Array.from(
        { length },
        (_, index) => readingAt(fromOffset + index, fromOffset + index),
      );
      const backwards = readings.map(({ reading, eventTimeUs }, index) => ({
        offset: fromOffset + length - 1 - index,
        reading,
        eventTimeUs,
      })).reverse();
      const outcomes = await Promise.all([
        store.storeBatch(batchOf(dataSetId, { fromOffset, readings }), "compare"),
        store.storeBatch(
          batchOf(dataSetId, { fromOffset, partition: 1, readings: backwards }),
          "compare",
        ),
      ]);
      const inserted = outcomes.map((one) => one.kind === "stored" ? one.inserted : NaN);
      assert.equal((inserted[0] ?? NaN) + (inserted[1] ?? NaN), length);
    }
  }));

Deno.test("storeBatch() by comparing and a copy of the same batch: one ends, the batch is stored", () =>
  withStore(async ({ store, dataSetId, database }) => {
    const copying = await database.connect();
    await holdReading(copying, 1);
    const batch = batchOf(dataSetId, { readings: [readingAt(0, 1)] });
    const compared = store.storeBatch(batch, "compare");
    await untilStoreWaits(copying);
    // A copy has its rows first and the line last, a comparison the reverse: now each waits.
    const locked = copying.query("SELECT FROM ledger WHERE kafka_partition = 0 FOR UPDATE");
    const ends = await Promise.allSettled([compared, locked]);
    const refused = ends.filter((end) => end.status === "rejected");
    assert.equal(refused.length, 1);
    assert.match(String(refused[0]?.reason), /deadlock/);
    await copying.query("ROLLBACK");
    if (ends[0].status === "rejected") {
      assert.ok(ends[0].reason instanceof TransientError);
      await store.storeBatch(batch, "compare");
    }
    assert.deepEqual((await store.readLedger()).map(({ next }) => next).toSorted(), [0, 1]);
  }));

Deno.test("verifyLedger() is right at any instant while batches are stored", () =>
  withStore(async ({ store, dataSetId }) => {
    let storing = true;
    const writer = async (partition: number): Promise<void> => {
      for (let n = 0; n < 60; n++) {
        const number = 2 * n + partition;
        await store.storeBatch(
          batchOf(dataSetId, {
            partition,
            fromOffset: 2 * n,
            readings: [readingAt(2 * n, number)],
            deadLetters: [deadLetterAt(2 * n + 1, `${number}`)],
          }),
          "compare",
        );
      }
    };
    const writing = Promise.all([writer(0), writer(1)]).finally(() => storing = false);
    let rows = 0;
    while (storing) {
      const report = await verifyLedger(store.pool);
      assert.deepEqual(report.problems, []);
      rows = report.rows;
    }
    await writing;
    assert.ok(rows > 0);
    assert.equal((await verifyLedger(store.pool)).rows, 120);
  }));

Deno.test("storeBatch() and lastReadings() never scan the table, however it grew", () =>
  withPrivateDatabase(async ({ settings }) => {
    // One connection, so that its counters can be read after each statement.
    await using store = openStore({ ...settings, poolMax: 1 });
    await migrate(store.pool, await projectMigrations());
    const dataSetId = await store.dataSetId();
    await store.openLedgerLine(TOPIC, 0, 0);
    const scans = async (): Promise<number> => {
      await store.pool.query({ action: "flush", text: "SELECT pg_stat_force_next_flush()" });
      const { rows } = await store.pool.query({
        action: "read counters",
        text: "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'sensor_events'",
      });
      return Number(rows[0]?.seq_scan);
    };
    const before = await scans();
    // While the table is tiny and known to be so, a scan is the right plan; there are enough rounds
    // for a plan to be kept. Then the table grows.
    const roundsTiny = 12;
    for (let round = 0; round < roundsTiny; round++) {
      const readings = [readingAt(2 * round, round), readingAt(2 * round + 1, round)];
      await store.storeBatch(batchOf(dataSetId, { fromOffset: 2 * round, readings }), "compare");
      if (round < 3) {
        await store.pool.query({ action: "tidy up", text: "VACUUM ANALYZE", transaction: "none" });
      }
    }
    for (let round = 0; round < 4; round++) {
      const fromOffset = 2 * roundsTiny + round * 500;
      const readings = Array.from(
        { length: 500 },
        (_, index) =>
          readingAt(fromOffset + index, 1_000 + round * 400 + index, {
            sensor_id: `sensor-${index % 10}`,
          }),
      );
      const suspects = readings.map(({ offset }) => deadLetterAt(offset, `${offset}`));
      const outcome = await store.storeBatch(
        batchOf(dataSetId, { fromOffset, readings, suspects }),
        "compare",
      );
      assert.equal(outcome.kind === "stored" && outcome.inserted, round === 0 ? 500 : 400);
    }
    assert.equal((await store.lastReadings("", 100)).length, 10);
    assert.equal(await scans(), before);
    const { rows } = await store.pool.query({
      action: "read counters",
      text: `SELECT n_tup_upd AS updated, n_tup_hot_upd AS hot FROM pg_stat_user_tables
        WHERE relname = 'ledger'`,
    });
    assert.deepEqual(rows, [{ updated: "16", hot: "16" }], "each update of the ledger stays HOT");
  }));

Deno.test("openStore() finds a link that went dead, and takes another connection", () =>
  withPrivateDatabase(async ({ settings }) => {
    await withLink(settings, async (link) => {
      const { port } = link;
      await using store = openStore({ ...settings, port, poolMax: 1, statementTimeoutMs: 1_000 });
      await migrate(store.pool, await projectMigrations());
      link.stall();
      await assert.rejects(store.dataSetId(), { name: "TooMuchError", message: /timeout/ });
      link.heal();
      assert.match(await store.dataSetId(), /^[0-9a-f-]{36}$/);
    });
  }));

Deno.test("openStore() survives its connections being killed: idle, at work, between two statements", () =>
  withStore(async ({ store, dataSetId, database }) => {
    const other = await database.connect();
    const kill = (): Promise<unknown> =>
      other.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'sensor-ledger'`,
      );
    await kill();
    await until("the store noticed", () => store.dataSetId().then(() => true, () => false));

    await holdReading(other, 1);
    const batch = batchOf(dataSetId, { readings: [readingAt(0, 1)] });
    const stored = store.storeBatch(batch, "compare");
    const rejected = assert.rejects(stored, TransientError);
    await untilStoreWaits(other);
    await kill();
    await rejected;
    await other.query("ROLLBACK");
    assert.equal((await store.storeBatch(batch, "compare")).kind, "stored");

    const between = store.pool.transaction("read_committed", async (session) => {
      await session.query({ action: "begin", text: "SELECT 1" });
      await kill();
      await until("the connection is gone", async () => {
        const { rowCount } = await other.query(
          `SELECT FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = 'sensor-ledger'`,
        );
        return rowCount === 0;
      });
      await session.query({ action: "go on", text: "SELECT 2" });
    });
    await assert.rejects(between, TransientError);
    assert.equal(await store.dataSetId(), dataSetId);
  }));

Deno.test("storeBatch() that waits too long for a lock gives up and can be tried again", () =>
  withStore(async ({ database, dataSetId }) => {
    await using store = openStore({ ...database.settings, statementTimeoutMs: 300 });
    const other = await database.connect();
    await holdReading(other, 1);
    const batch = batchOf(dataSetId, { readings: [readingAt(0, 1)] });
    await assert.rejects(store.storeBatch(batch, "compare"), {
      name: "TooMuchError",
      message: /57014/,
    });
    await other.query("ROLLBACK");
    assert.equal((await store.storeBatch(batch, "compare")).kind, "stored");
  }));

Deno.test("storeBatch() names bad data by PostgreSQL's own words", () =>
  withStore(async ({ store, dataSetId }) => {
    const batch = batchOf(dataSetId, { readings: [readingAt(0, 1, { unit: "a\0b" })] });
    await assert.rejects(store.storeBatch(batch, "compare"), (error) => {
      assert.ok(error instanceof RowDataError);
      assert.match(error.message, /^Cannot store offsets 0 to 1 of partition 0: .*22021/);
      return true;
    });
  }));

Deno.test("openStore() says what is wrong with its settings", async (t) => {
  await withPrivateDatabase(async ({ settings }) => {
    const cases: [name: string, changes: Partial<typeof settings>, error: object][] = [
      ["password", { password: "wrong" }, { name: "ConfigurationError", message: /28P01/ }],
      ["database", { database: "nowhere" }, { name: "ConfigurationError", message: /3D000/ }],
      ["port", { port: 1 }, {
        name: "TransientError",
        message: /POSTGRES_PORT\): connection refused$/,
      }],
    ];
    for (const [name, changes, error] of cases) {
      await t.step(name, async () => {
        await using store = openStore({ ...settings, ...changes });
        await assert.rejects(store.dataSetId(), error);
      });
    }
  });
});
