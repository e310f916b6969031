/** What a copy does on a real server, when others are at the same rows, and when its client fails. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { RowDataError } from "../../lib/errors.ts";
import { openStore, type PostgresStore } from "../../lib/postgres/client.ts";
import { migrate } from "../../lib/postgres/migrate.ts";
import type { BatchToStore, StoreOutcome, StoreWay } from "../../lib/postgres/store.ts";
import { type BatchChanges, batchOf, deadLetterAt, readingAt, TOPIC } from "../contracts/store.ts";
import { projectMigrations } from "../sql_store.ts";
import { withLink } from "./link.ts";
import { type PrivateDatabase, type Session, withPrivateDatabase } from "./private_database.ts";
import { until } from "./private_redis.ts";

interface Subject {
  readonly store: PostgresStore;
  readonly database: PrivateDatabase;
  /** Plays another program. */
  readonly session: Session;
  readonly batch: (changes: BatchChanges) => BatchToStore;
}

/** A store on tables of its own, with partitions 0 and 1 open at offset 0. */
function withStore(use: (subject: Subject) => Promise<void>): Promise<void> {
  return withPrivateDatabase(async (database) => {
    await using store = openStore(database.settings);
    await migrate(store.pool, await projectMigrations());
    await store.openLedgerLine(TOPIC, 0, 0);
    await store.openLedgerLine(TOPIC, 1, 0);
    const dataSetId = await store.dataSetId();
    const session = await database.connect();
    await use({ store, database, session, batch: (changes) => batchOf(dataSetId, changes) });
  });
}

function stored(inserted: number, duplicates = 0): StoreOutcome {
  return { kind: "stored", inserted, duplicates, deadLetters: 0, conflictOffsets: [] };
}

/** Readings of partition 0 or 1, enough for many packets. */
const MANY = Array.from({ length: 5_000 }, (_, n) => readingAt(n, n));

async function countOf(session: Session, text: string): Promise<number> {
  // Who runs what is seen once in a transaction, and then stays as it was.
  await session.query("SELECT pg_stat_clear_snapshot()");
  return (await session.query(text)).rowCount ?? NaN;
}

const COPYING = `SELECT FROM pg_stat_activity WHERE datname = current_database()
  AND application_name = 'sensor-ledger' AND query LIKE 'COPY%' AND state = 'active'`;

Deno.test("storeBatch() that freezes within the rows holds no row, no id and no line", () =>
  withStore(async ({ store, database, session, batch }) => {
    await withLink(database.settings, async (link) => {
      const { port } = link;
      await using frozen = openStore({ ...database.settings, port, statementTimeoutMs: 4_000 });
      const stalled = link.stallWithin(400_000);
      const deadLetters = [deadLetterAt(5_000, "{")];
      const rejected = assert.rejects(
        frozen.storeBatch(batch({ readings: MANY, deadLetters }), "copy"),
        { name: "TooMuchError", message: /timeout/ },
      );
      await stalled;
      await until("the server waits for rows", async () => await countOf(session, COPYING) === 1);
      // Whoever has the partition now is not held up.
      assert.deepEqual(await store.storeBatch(batch({ readings: MANY }), "copy"), stored(5_000));
      assert.equal(await countOf(session, `${COPYING} AND backend_xid IS NULL`), 1);
      await rejected;
      // What is given up ends at the server, too.
      await until("the session ends", async () => await countOf(session, COPYING) === 0);
      assert.equal(await countOf(session, "SELECT FROM sensor_events"), 5_000);
      assert.equal(await countOf(session, "SELECT FROM dead_letters"), 0);
    });
  }));

/** What follows the rows. */
const COPY_DONE = Buffer.from("c\0\0\0\x04", "latin1");

Deno.test("storeBatch() that freezes behind the rows holds them, and not the line of the ledger", () =>
  withStore(async ({ store, database, session, batch }) => {
    await withLink(database.settings, async (link) => {
      const { port } = link;
      await using frozen = openStore({ ...database.settings, port, statementTimeoutMs: 2_000 });
      const stalled = link.stallWithin(COPY_DONE);
      const rejected = assert.rejects(
        frozen.storeBatch(batch({ readings: MANY }), "copy"),
        { name: "TooMuchError" },
      );
      await stalled;
      const waiting = `${COPYING} AND backend_xid IS NOT NULL AND wait_event = 'ClientRead'`;
      await until(
        "the server has the rows and waits for their end",
        async () => await countOf(session, waiting) === 1,
      );
      await session.query("BEGIN");
      const line = "SELECT FROM ledger WHERE kafka_partition = 0 FOR UPDATE NOWAIT";
      assert.equal(await countOf(session, line), 1);
      await session.query("ROLLBACK");
      // The ids are taken until the client is gone: then they are free.
      const again = store.storeBatch(batch({ readings: MANY }), "copy");
      await rejected;
      assert.deepEqual(await again, stored(5_000));
    });
  }));

Deno.test("storeBatch() whose connection dies within a copy has stored nothing", async (t) => {
  const stops: [name: string, stop: Buffer | number][] = [
    ["half of the rows sent", 400_000],
    ["all rows sent, and not their end", COPY_DONE],
    ["their end sent, and no commit", Buffer.from("COMMIT\0")],
  ];
  await withStore(async ({ database, session, batch }) => {
    await withLink(database.settings, async (link) => {
      await using store = openStore({ ...database.settings, port: link.port });
      for (const [name, stop] of stops) {
        await t.step(name, async () => {
          const stalled = link.stallWithin(stop);
          const copying = store.storeBatch(batch({ readings: MANY }), "copy");
          const rejected = assert.rejects(copying, { name: "TransientError" });
          await stalled;
          link.cut();
          await rejected;
          assert.equal(await countOf(session, "SELECT FROM sensor_events"), 0);
          assert.equal(await countOf(session, "SELECT FROM ledger WHERE next_offset > 0"), 0);
        });
      }
      assert.deepEqual(await store.storeBatch(batch({ readings: MANY }), "copy"), stored(5_000));
    });
  });
});

Deno.test("storeBatch() of two partitions with the same ids never deadlocks, whatever the ways", () =>
  withStore(async ({ store, batch }) => {
    const pairs: [StoreWay, StoreWay][] = [["copy", "copy"], ["copy", "compare"]];
    const length = 2_000;
    let fromOffset = 0;
    for (let round = 0; round < 10; round++) {
      const ways = pairs[round % 2]!;
      const readings = Array.from(
        { length },
        (_, index) => readingAt(fromOffset + index, fromOffset + index),
      );
      // The other one has them in the opposite order.
      const backwards = readings.map(({ offset }, index) => ({
        ...readings[length - 1 - index]!,
        offset,
      }));
      const batches = [
        batch({ fromOffset, readings }),
        batch({ fromOffset, partition: 1, readings: backwards }),
      ];
      const outcomes = await Promise.all(
        batches.map(async (one, index) => {
          const outcome = await store.storeBatch(one, ways[index]!);
          return outcome.kind === "repeated" ? await store.storeBatch(one, "compare") : outcome;
        }),
      );
      const sorted = outcomes.map((one) => one.kind === "stored" ? one.inserted : NaN).toSorted();
      assert.deepEqual(sorted, [0, length]);
      fromOffset += length;
    }
  }));

Deno.test("storeBatch() by a copy waits for a session that inserts the same id", async (t) => {
  const ends: [end: string, want: StoreOutcome][] = [
    ["COMMIT", { kind: "repeated" }],
    ["ROLLBACK", stored(2)],
  ];
  for (const [end, want] of ends) {
    await t.step(end, () =>
      withStore(async ({ store, session, batch }) => {
        await session.query("BEGIN");
        await session.query(
          `INSERT INTO sensor_events SELECT $1, 's', 't', 0, 0, now(), 1, 'u', 's', 1, 1, 0`,
          [readingAt(0, 1).reading.unique_reading_id],
        );
        const copied = store.storeBatch(
          batch({ readings: [readingAt(0, 1), readingAt(1, 2)] }),
          "copy",
        );
        const waiting = `${COPYING} AND wait_event_type = 'Lock'`;
        await until("the copy waits", async () => await countOf(session, waiting) === 1);
        await session.query(end);
        assert.deepEqual(await copied, want);
      }));
  }
});

Deno.test("storeBatch() by a copy keeps its connection when it is refused", () =>
  withStore(async ({ database, batch }) => {
    await using store = openStore({ ...database.settings, poolMax: 1 });
    const look = { action: "look", text: "SELECT pg_backend_pid() AS pid" };
    const before = (await store.pool.query(look)).rows;
    await store.storeBatch(batch({ readings: [readingAt(0, 1)] }), "copy");
    const refused: [changes: BatchChanges, kind: StoreOutcome["kind"]][] = [
      [{ fromOffset: 1, readings: [readingAt(1, 1)] }, "repeated"],
      [{ fromOffset: 9, readings: [readingAt(9, 9)] }, "fenced"],
      [{ fromOffset: 1, fromEpoch: 7, readings: [readingAt(1, 9)] }, "other_log"],
      [{ dataSetId: crypto.randomUUID(), readings: [readingAt(0, 9)] }, "data_set_changed"],
    ];
    for (const [changes, kind] of refused) {
      assert.equal((await store.storeBatch(batch(changes), "copy")).kind, kind);
    }
    assert.deepEqual((await store.pool.query(look)).rows, before);
  }));

/** What was done to the table by hand, and what a copy and then comparing answer. */
const ALTERED: readonly [
  name: string,
  sql: string,
  copied: string | RegExp,
  compared: string | RegExp,
][] = [
  [
    "a column of another type",
    "ALTER TABLE sensor_events ALTER battery_level TYPE bigint",
    "repeated",
    "stored",
  ],
  [
    "a text with a bound",
    "ALTER TABLE sensor_events ALTER unit TYPE varchar(9)",
    "stored",
    "stored",
  ],
  [
    "row-level security",
    `ALTER TABLE sensor_events ENABLE ROW LEVEL SECURITY; ALTER TABLE sensor_events FORCE ROW LEVEL SECURITY;
     CREATE POLICY everything ON sensor_events USING (true)`,
    "repeated",
    "stored",
  ],
  ["a check", "ALTER TABLE sensor_events ADD CHECK (value < 20)", /23514/, /23514/],
  ["no key", "ALTER TABLE sensor_events DROP CONSTRAINT sensor_events_pkey", /42P10/, /42P10/],
  [
    "a unique key",
    "ALTER TABLE sensor_events ADD UNIQUE (sensor_id)",
    "repeated",
    /23505.*did not create/,
  ],
];

Deno.test("storeBatch() by a copy leaves to comparing what an altered table may take", async (t) => {
  for (const [name, sql, copied, compared] of ALTERED) {
    await t.step(name, () =>
      withStore(async ({ store, session, batch }) => {
        await session.query(sql);
        const readings = [readingAt(0, 1), readingAt(1, 2)];
        for (const [way, want] of [["copy", copied], ["compare", compared]] as const) {
          const answer = await store.storeBatch(batch({ readings }), way).catch((error) => {
            assert.ok(name !== "a check" || error instanceof RowDataError, way);
            return { kind: String(error) };
          });
          if (typeof want === "string") assert.equal(answer.kind, want, way);
          else assert.match(answer.kind, want, way);
          if (want === "stored") return;
        }
      }));
  }
});
