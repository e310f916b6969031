/**
 * The laws of the port `Store`. They run on the store in memory and on a PostgreSQL inside the
 * process always, and on a real server in the integration tests.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type ReadingAt, readingRows } from "../../fakes/reading_rows.ts";
import { ConfigurationError, RowDataError, TransientError } from "../../lib/errors.ts";
import { type TopicIdentity, UNKNOWN_EPOCH } from "../../lib/kafka/message.ts";
import type {
  BatchToStore,
  DeadLetter,
  LedgerLine,
  Store,
  StoreOutcome,
} from "../../lib/postgres/store.ts";
import type { Reading } from "../../lib/reading/reading.ts";
import { parseTimestamp } from "../../lib/reading/timestamp.ts";

/** A row of `sensor_events`; the time as microseconds since 1970. */
export interface StoredRow {
  readonly partition: number;
  readonly offset: number;
  readonly reading: Omit<Reading, "timestamp">;
  readonly eventTimeUs: number;
}

/** A row of `dead_letters`; bytes as hexadecimal digits. */
export interface StoredLetter {
  readonly topicId: string;
  readonly partition: number;
  readonly offset: number;
  readonly reason: string;
  readonly detail: string;
  readonly payload: string | null;
  readonly payloadBytes: number;
  readonly payloadSha256: string;
  readonly key: string | null;
  readonly headers: unknown;
}

/** A store, and the ways to look behind it. */
export interface StoreUnderTest {
  readonly store: Store;
  /** By id. */
  rows(): Promise<readonly StoredRow[]>;
  /** By partition and offset. */
  deadLetters(): Promise<readonly StoredLetter[]>;
  /** What a person does who gives up every dead letter. */
  resolveDeadLetters(): Promise<void>;
  /** Empties `sensor_events` and nothing else. */
  emptyReadings(): Promise<void>;
  /** Empties everything before the next law. */
  reset(): Promise<void>;
}

/** A topic for tests. */
export const TOPIC: TopicIdentity = {
  clusterId: "cluster-A",
  topic: "readings",
  topicId: "00000000-0000-4000-8000-00000000000a",
};

/** The same topic, deleted and recreated. */
export const TOPIC_AGAIN: TopicIdentity = {
  ...TOPIC,
  topicId: "00000000-0000-4000-8000-00000000000b",
};

/** The id number `n`; ids sort as their numbers do. */
export function idOf(n: number): string {
  return `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
}

/** A reading with the id number `n` at `offset`. */
export function readingAt(offset: number, n: number, changes: Partial<Reading> = {}): ReadingAt {
  const reading: Reading = {
    unique_reading_id: idOf(n),
    sensor_id: "sensor-1",
    sensor_type: "temperature",
    location: { latitude: 52.520008, longitude: 13.404954 },
    timestamp: "2026-11-24T10:00:00.123456+00:00",
    value: 21.5,
    unit: "C",
    status: "active",
    battery_level: 87,
    ...changes,
  };
  const instant = parseTimestamp(reading.timestamp);
  assert.ok(typeof instant !== "string", `test data: ${reading.timestamp}`);
  return { offset, reading, eventTimeUs: instant.us };
}

/** The dead letter of the message `text` at `offset`. */
export function deadLetterAt(
  offset: number,
  text: string | null,
  changes: Partial<DeadLetter> = {},
): DeadLetter {
  const payload = text === null ? null : new TextEncoder().encode(text);
  return {
    offset,
    reason: "json",
    detail: "Unexpected token",
    payload,
    payloadBytes: payload?.length ?? 0,
    payloadSha256: createHash("sha256").update(payload ?? "").digest("hex"),
    key: null,
    headersJson: "{}",
    ...changes,
  };
}

/** What a batch for tests differs in. */
export type BatchChanges = Partial<Omit<BatchToStore, "readings">> & {
  readonly readings?: readonly ReadingAt[];
};

/** A batch of partition 0 from offset 0; `nextOffset` makes the numbers add up unless given. */
export function batchOf(dataSetId: string, changes: BatchChanges): BatchToStore {
  const { readings = [], ...others } = changes;
  const parts = {
    dataSetId,
    topic: TOPIC,
    partition: 0,
    fromOffset: 0,
    fromEpoch: UNKNOWN_EPOCH,
    nextEpoch: UNKNOWN_EPOCH,
    duplicates: 0,
    skipped: 0,
    deadLetters: [],
    suspects: [],
    ...others,
    readings: readingRows(readings),
  };
  const length = readings.length + parts.duplicates + parts.skipped + parts.deadLetters.length;
  return { nextOffset: parts.fromOffset + length, ...parts };
}

/** Stores a batch in one of the ways in which the flow does. */
type StoreIt = (batch: BatchToStore) => Promise<StoreOutcome>;

/** Either way leads to the same outcome, rows, dead letters and ledger. */
const WAYS: readonly (readonly [name: string, way: (store: Store) => StoreIt])[] = [
  ["compared", (store) => (batch) => store.storeBatch(batch, "compare")],
  ["copied first", (store) => async (batch) => {
    const outcome = await store.storeBatch(batch, "copy");
    return outcome.kind === "repeated" ? await store.storeBatch(batch, "compare") : outcome;
  }],
];

/** A subject together with the way in which its batches are stored. */
interface BatchSubject extends StoreUnderTest {
  readonly storeBatch: StoreIt;
}

type Law<Subject = StoreUnderTest> = readonly [
  name: string,
  check: (subject: Subject) => Promise<void>,
];

/**
 * Registers the suite.
 *
 * @param open Makes a store, and takes it away again when `use` has returned.
 */
export function storeContract(
  name: string,
  open: (use: (subject: StoreUnderTest) => Promise<void>) => Promise<void>,
): void {
  Deno.test(`${name} keeps the laws of a Store`, (t) =>
    open(async (subject) => {
      const run = async (law: string, check: () => Promise<void>): Promise<void> => {
        await t.step(law, async () => {
          await subject.reset();
          await check();
        });
      };
      for (const [law, check] of [...LEDGER_LAWS, ...COPY_LAWS, ...READ_LAWS]) {
        await run(law, () => check(subject));
      }
      for (const [name, way] of WAYS) {
        for (const [law, check] of [...BATCH_LAWS, ...REFUSAL_LAWS]) {
          const storeBatch: StoreIt = (batch) => way(subject.store)(batch);
          await run(`${law}: ${name}`, () =>
            check({
              ...subject,
              // Read again: a reset may bring another one.
              get store() {
                return subject.store;
              },
              storeBatch,
            }));
        }
      }
    }));
}

/** Opens partition 0 at offset 0 and stores a batch there. */
async function storeFirst(
  { store, storeBatch = WAYS[0]![1](store) }: StoreUnderTest & Partial<BatchSubject>,
  changes: BatchChanges,
): Promise<StoreOutcome> {
  await store.openLedgerLine(changes.topic ?? TOPIC, changes.partition ?? 0, 0);
  return await storeBatch(batchOf(await store.dataSetId(), changes));
}

/** The ledger without its dates, which no law fixes. */
async function ledgerOf(store: Store): Promise<readonly Omit<LedgerLine, "updatedAtMs">[]> {
  return (await store.readLedger()).map(({ updatedAtMs, ...line }) => {
    assert.ok(Number.isFinite(updatedAtMs));
    return line;
  });
}

const EMPTY_LINE = {
  topic: TOPIC,
  partition: 0,
  first: 0,
  next: 0,
  leaderEpoch: UNKNOWN_EPOCH,
  inserted: 0,
  duplicates: 0,
  deadLetters: 0,
  skipped: 0,
  gaps: 0,
  rewound: 0,
};

/** Everything that a batch could change. */
async function stateOf(subject: StoreUnderTest): Promise<Record<string, unknown>> {
  return {
    ledger: await ledgerOf(subject.store),
    rows: await subject.rows(),
    deadLetters: await subject.deadLetters(),
  };
}

const LEDGER_LAWS: readonly Law[] = [
  ["openLedgerLine() opens a line once and says where it stands", async ({ store }) => {
    assert.equal(await store.openLedgerLine(TOPIC, 3, 17), 17);
    assert.equal(await store.openLedgerLine(TOPIC, 3, 99), 17);
    assert.deepEqual(await ledgerOf(store), [{
      ...EMPTY_LINE,
      partition: 3,
      first: 17,
      next: 17,
    }]);
  }],
  ["readLedger() gives the lines of all topics and all their lives", async ({ store }) => {
    const elsewhere = { ...TOPIC, clusterId: "cluster-B" };
    await store.openLedgerLine(TOPIC, 0, 1);
    await store.openLedgerLine(TOPIC, 1, 2);
    await store.openLedgerLine(TOPIC_AGAIN, 0, 3);
    await store.openLedgerLine(elsewhere, 0, 4);
    const found = (await store.readLedger()).map(({ topic, partition, first }) =>
      `${topic.clusterId} ${topic.topicId} ${partition} ${first}`
    );
    assert.deepEqual(
      found.toSorted(),
      [
        `cluster-A ${TOPIC.topicId} 0 1`,
        `cluster-A ${TOPIC.topicId} 1 2`,
        `cluster-A ${TOPIC_AGAIN.topicId} 0 3`,
        `cluster-B ${TOPIC.topicId} 0 4`,
      ],
    );
  }],
  ["moveLedgerLine() counts a move forward as a gap", async ({ store }) => {
    await store.openLedgerLine(TOPIC, 0, 10);
    assert.equal(
      await store.moveLedgerLine(TOPIC, 0, {
        fromOffset: 10,
        toOffset: 15,
        toEpoch: UNKNOWN_EPOCH,
      }),
      true,
    );
    assert.deepEqual(await ledgerOf(store), [{ ...EMPTY_LINE, first: 10, next: 15, gaps: 5 }]);
  }],
  ["moveLedgerLine() counts a move backward as rewound", async ({ store }) => {
    await store.openLedgerLine(TOPIC, 0, 10);
    assert.equal(
      await store.moveLedgerLine(TOPIC, 0, { fromOffset: 10, toOffset: 4, toEpoch: UNKNOWN_EPOCH }),
      true,
    );
    assert.deepEqual(await ledgerOf(store), [{ ...EMPTY_LINE, first: 10, next: 4, rewound: 6 }]);
  }],
  ["moveLedgerLine() moves only a line that stands at fromOffset", async ({ store }) => {
    await store.openLedgerLine(TOPIC, 0, 10);
    const move = { fromOffset: 9, toOffset: 15, toEpoch: UNKNOWN_EPOCH };
    assert.equal(await store.moveLedgerLine(TOPIC, 0, move), false);
    assert.equal(await store.moveLedgerLine(TOPIC, 1, move), false);
    assert.deepEqual(await ledgerOf(store), [{ ...EMPTY_LINE, first: 10, next: 10 }]);
  }],
  ["moveLedgerLine() gives the line the leader epoch that it is told", async ({ store }) => {
    await store.openLedgerLine(TOPIC, 0, 10);
    await store.moveLedgerLine(TOPIC, 0, { fromOffset: 10, toOffset: 4, toEpoch: 7 });
    assert.equal((await store.readLedger())[0]?.leaderEpoch, 7);
  }],
  ["openLedgerLine() from two sides at once opens one line", async ({ store }) => {
    const firsts = [3, 5, 8];
    const answers = await Promise.all(
      firsts.map((first) => store.openLedgerLine(TOPIC, 0, first)),
    );
    const [line] = await ledgerOf(store);
    assert.ok(line !== undefined && firsts.includes(line.first), `first ${line?.first}`);
    assert.deepEqual(answers, firsts.map(() => line.first));
    assert.deepEqual(await ledgerOf(store), [{
      ...EMPTY_LINE,
      first: line.first,
      next: line.first,
    }]);
  }],
  ["moveLedgerLine() lets one of two equal moves through", async ({ store }) => {
    await store.openLedgerLine(TOPIC, 0, 10);
    const move = { fromOffset: 10, toOffset: 15, toEpoch: UNKNOWN_EPOCH };
    const moved = await Promise.all([
      store.moveLedgerLine(TOPIC, 0, move),
      store.moveLedgerLine(TOPIC, 0, move),
    ]);
    assert.deepEqual(moved.toSorted(), [false, true]);
    assert.deepEqual(await ledgerOf(store), [{ ...EMPTY_LINE, first: 10, next: 15, gaps: 5 }]);
  }],
];

const UNUSUAL = 'NULL {"a\\b",\'; DROP TABLE sensor_events; --} \u{1F321} e\u0301 \r\n';

const BATCH_LAWS: readonly Law<BatchSubject>[] = [
  ["storeBatch() stores readings, dead letters and the ledger together", async (subject) => {
    const { store } = subject;
    const letter = deadLetterAt(12, "{", {
      key: new Uint8Array([0, 255]),
      headersJson: '{"h":["v",null]}',
    });
    await store.openLedgerLine(TOPIC, 2, 10);
    const outcome = await subject.storeBatch(batchOf(await store.dataSetId(), {
      partition: 2,
      fromOffset: 10,
      readings: [readingAt(11, 2), readingAt(10, 1)],
      deadLetters: [letter],
      duplicates: 1,
      skipped: 3,
    }));
    assert.deepEqual(outcome, {
      kind: "stored",
      inserted: 2,
      duplicates: 1,
      deadLetters: 1,
      conflictOffsets: [],
    });
    const { timestamp: _, ...fields } = readingAt(10, 1).reading;
    const row = { partition: 2, eventTimeUs: Date.UTC(2026, 10, 24, 10) * 1_000 + 123_456 };
    assert.deepEqual(await subject.rows(), [
      { ...row, offset: 10, reading: fields },
      { ...row, offset: 11, reading: { ...fields, unique_reading_id: idOf(2) } },
    ]);
    assert.deepEqual(await subject.deadLetters(), [{
      topicId: TOPIC.topicId,
      partition: 2,
      offset: 12,
      reason: "json",
      detail: "Unexpected token",
      payload: "7b",
      payloadBytes: 1,
      payloadSha256: createHash("sha256").update("{").digest("hex"),
      key: "00ff",
      headers: { h: ["v", null] },
    }]);
    assert.deepEqual(await ledgerOf(store), [{
      ...EMPTY_LINE,
      partition: 2,
      first: 10,
      next: 17,
      inserted: 2,
      duplicates: 1,
      deadLetters: 1,
      skipped: 3,
    }]);
  }],
  ["storeBatch() compares and sets the leader epoch together with the offset", async (s) => {
    const { store } = s;
    await storeFirst(s, { skipped: 5, nextEpoch: 3 });
    const dataSetId = await store.dataSetId();
    const next = { fromOffset: 5, fromEpoch: 3, nextEpoch: 4, readings: [readingAt(5, 1)] };
    const before = await stateOf(s);
    const others: [string, BatchChanges, StoreOutcome][] = [
      ["from another epoch", { fromEpoch: 2 }, { kind: "other_log" }],
      ["from an unknown epoch", { fromEpoch: UNKNOWN_EPOCH }, { kind: "other_log" }],
      [
        "up to here in another epoch",
        { fromOffset: 0, fromEpoch: UNKNOWN_EPOCH, nextEpoch: 2, skipped: 4 },
        { kind: "other_log" },
      ],
      [
        "up to here in the same epoch",
        { fromOffset: 0, fromEpoch: UNKNOWN_EPOCH, nextEpoch: 3, skipped: 4 },
        { kind: "fenced", ledgerNext: 5 },
      ],
    ];
    for (const [name, changes, want] of others) {
      assert.deepEqual(
        await s.storeBatch(batchOf(dataSetId, { ...next, ...changes })),
        want,
        name,
      );
    }
    assert.deepEqual(await stateOf(s), before);
    const outcome = await s.storeBatch(batchOf(dataSetId, next));
    assert.equal(outcome.kind, "stored");
    const [line] = await ledgerOf(store);
    assert.deepEqual([line?.next, line?.leaderEpoch], [6, 4]);
  }],
  ["storeBatch() keeps every value as it came", async (subject) => {
    const cases: Partial<Reading>[] = [
      { sensor_id: "NULL" },
      { sensor_id: "null", unit: "", status: " " },
      { sensor_type: UNUSUAL, unit: UNUSUAL, status: UNUSUAL },
      { value: -0 },
      { value: 5e-324 },
      { value: 1.7976931348623157e308 },
      { value: 9007199254740991 },
      { value: 0.1 + 0.2, location: { latitude: -90, longitude: 179.9999999999999 } },
      { timestamp: "1970-01-01T00:00:00Z" },
      { timestamp: "1969-12-31T23:59:59.999999Z" },
      { timestamp: "1700-01-01T00:00:00.000001+05:30" },
      { timestamp: "2200-12-31T23:59:59.999999-11:59" },
      { battery_level: 0 },
      { battery_level: 2147483647 },
    ];
    const readings = cases.map((changes, index) => readingAt(index, index, changes));
    await storeFirst(subject, { readings });
    assert.deepEqual(
      await subject.rows(),
      readings.map(({ offset, eventTimeUs, reading: { timestamp: _, ...reading } }) => ({
        partition: 0,
        offset,
        eventTimeUs,
        reading,
      })),
    );
  }],
  ["storeBatch() takes thousands of readings in any order", async (subject) => {
    const numbers = Array.from({ length: 5_000 }, (_, index) => (index * 1_999) % 5_000);
    const readings = numbers.map((n, offset) => readingAt(offset, n));
    const outcome = await storeFirst(subject, { readings });
    assert.equal(outcome.kind === "stored" && outcome.inserted, 5_000);
    const rows = await subject.rows();
    assert.deepEqual(
      rows.map(({ offset }) => offset),
      numbers.map((_, n) => numbers.indexOf(n)),
    );
  }],
  ["storeBatch() moves over offsets without a message", async (s) => {
    const { store } = s;
    await storeFirst(s, { skipped: 7 });
    assert.deepEqual(await ledgerOf(store), [{ ...EMPTY_LINE, next: 7, skipped: 7 }]);
  }],
  ["storeBatch() counts a stored reading as duplicate, in whatever zone it comes", async (s) => {
    await storeFirst(s, { readings: [readingAt(0, 1), readingAt(1, 2)] });
    const before = await s.rows();
    const outcome = await s.storeBatch(batchOf(await s.store.dataSetId(), {
      fromOffset: 2,
      readings: [
        readingAt(2, 2),
        readingAt(3, 1, { timestamp: "2026-11-24T05:30:00.123456-04:30" }),
        readingAt(4, 3),
      ],
      duplicates: 1,
    }));
    assert.deepEqual(outcome, {
      kind: "stored",
      inserted: 1,
      duplicates: 3,
      deadLetters: 0,
      conflictOffsets: [],
    });
    assert.deepEqual((await s.rows()).slice(0, 2), before);
  }],
  ["storeBatch() knows a duplicate in another life of the topic, at the same offset", async (s) => {
    await storeFirst(s, { readings: [readingAt(0, 1)] });
    const outcome = await storeFirst(s, {
      topic: TOPIC_AGAIN,
      readings: [readingAt(0, 1), readingAt(1, 2)],
    });
    assert.deepEqual(outcome, {
      kind: "stored",
      inserted: 1,
      duplicates: 1,
      deadLetters: 0,
      conflictOffsets: [],
    });
  }],
  ["storeBatch() knows a conflict in another life of the topic, at the same offset", async (s) => {
    await storeFirst(s, { readings: [readingAt(0, 1)] });
    const outcome = await storeFirst(s, {
      topic: TOPIC_AGAIN,
      readings: [readingAt(0, 1, { value: 99 })],
    });
    assert.deepEqual(outcome, { kind: "conflicts", offsets: [0] });
  }],
  ["storeBatch() compares repeats inside a batch with the first of them", async (subject) => {
    const conflict = readingAt(2, 1, { value: 99 });
    const outcome = await storeFirst(subject, {
      readings: [conflict, readingAt(1, 1), readingAt(0, 1)],
      suspects: [0, 1, 2].map((offset) => deadLetterAt(offset, `${offset}`)),
    });
    assert.deepEqual(outcome, {
      kind: "stored",
      inserted: 1,
      duplicates: 1,
      deadLetters: 1,
      conflictOffsets: [2],
    });
    assert.deepEqual((await subject.rows()).map(({ offset }) => offset), [0]);
    assert.deepEqual((await subject.deadLetters()).map(({ offset }) => offset), [2]);
  }],
  ["storeBatch() keeps a dead letter once, however often it is read", async (subject) => {
    const { store } = subject;
    const deadLetters = [deadLetterAt(0, "{"), deadLetterAt(1, null, { reason: "tombstone" })];
    await storeFirst(subject, { deadLetters });
    await store.moveLedgerLine(TOPIC, 0, { fromOffset: 2, toOffset: 0, toEpoch: UNKNOWN_EPOCH });
    const before = await subject.deadLetters();
    const outcome = await storeFirst(subject, { deadLetters });
    assert.equal(outcome.kind === "stored" && outcome.deadLetters, 2);
    assert.equal(before.length, 2);
    assert.equal(before[1]?.payload, null);
    assert.deepEqual(await subject.deadLetters(), before);
    assert.deepEqual(await ledgerOf(store), [{
      ...EMPTY_LINE,
      next: 2,
      deadLetters: 4,
      rewound: 2,
    }]);
  }],
  ["storeBatch() keeps both dead letters if an offset comes with other bytes", async (subject) => {
    await storeFirst(subject, { deadLetters: [deadLetterAt(0, "{")] });
    await subject.store.moveLedgerLine(TOPIC, 0, {
      fromOffset: 1,
      toOffset: 0,
      toEpoch: UNKNOWN_EPOCH,
    });
    await storeFirst(subject, { deadLetters: [deadLetterAt(0, "[")] });
    const payloads = (await subject.deadLetters()).map(({ payload }) => payload);
    assert.deepEqual(payloads.toSorted(), ["5b", "7b"]);
  }],
];

const CONFLICTS: readonly [field: string, changes: Partial<Reading>][] = [
  ["sensor_id", { sensor_id: "sensor-2" }],
  ["sensor_type", { sensor_type: "humidity" }],
  ["latitude", { location: { latitude: 52.5, longitude: 13.404954 } }],
  ["longitude", { location: { latitude: 52.520008, longitude: 13.5 } }],
  ["timestamp", { timestamp: "2026-11-24T10:00:00.123457+00:00" }],
  ["value", { value: 21.500000000000004 }],
  ["unit", { unit: "c" }],
  ["status", { status: "active " }],
  ["battery_level", { battery_level: 86 }],
];

const REFUSAL_LAWS: readonly Law<BatchSubject>[] = [
  [
    "storeBatch() reports conflicts that come without a dead letter, and stores nothing",
    async (s) => {
      await storeFirst(s, { readings: [readingAt(0, 1), readingAt(1, 2)] });
      const before = await stateOf(s);
      const outcome = await s.storeBatch(batchOf(await s.store.dataSetId(), {
        fromOffset: 2,
        readings: [
          readingAt(4, 2, { value: 99 }),
          readingAt(3, 3),
          readingAt(2, 1, { value: 99 }),
          readingAt(5, 1, { value: 98 }),
        ],
        deadLetters: [deadLetterAt(6, "{")],
        suspects: [deadLetterAt(5, "conflict")],
      }));
      assert.deepEqual(outcome, { kind: "conflicts", offsets: [2, 4] });
      assert.deepEqual(await stateOf(s), before);
    },
  ],
  ["storeBatch() tells a conflict by each field of the content", async (s) => {
    await storeFirst(s, { readings: [readingAt(0, 1)] });
    const before = await s.rows();
    for (const [index, [field, changes]] of CONFLICTS.entries()) {
      const fromOffset = index + 1;
      const outcome = await s.storeBatch(batchOf(await s.store.dataSetId(), {
        fromOffset,
        readings: [readingAt(fromOffset, 1, changes)],
        suspects: [deadLetterAt(fromOffset, field, { reason: "id_conflict" })],
      }));
      assert.deepEqual(outcome, {
        kind: "stored",
        inserted: 0,
        duplicates: 0,
        deadLetters: 1,
        conflictOffsets: [fromOffset],
      }, field);
    }
    assert.deepEqual(await s.rows(), before);
    const kept = (await s.deadLetters()).map(({ reason }) => reason);
    assert.deepEqual(kept, CONFLICTS.map(() => "id_conflict"));
  }],
  ["storeBatch() drops a suspect whose reading turns out to be good", async (s) => {
    await storeFirst(s, { readings: [readingAt(0, 1)] });
    const outcome = await s.storeBatch(batchOf(await s.store.dataSetId(), {
      fromOffset: 1,
      readings: [readingAt(1, 1), readingAt(2, 2)],
      suspects: [deadLetterAt(1, "equal"), deadLetterAt(2, "new")],
    }));
    assert.deepEqual(outcome, {
      kind: "stored",
      inserted: 1,
      duplicates: 1,
      deadLetters: 0,
      conflictOffsets: [],
    });
    assert.deepEqual(await s.deadLetters(), []);
  }],
  ["storeBatch() is fenced unless the line stands at fromOffset", async (s) => {
    const dataSetId = await s.store.dataSetId();
    const batch = batchOf(dataSetId, {
      readings: [readingAt(0, 1)],
      deadLetters: [deadLetterAt(1, "{")],
    });
    assert.deepEqual(await s.storeBatch(batch), { kind: "fenced", ledgerNext: undefined });
    await s.store.openLedgerLine(TOPIC, 0, 0);
    await s.storeBatch(batch);
    const before = await stateOf(s);
    assert.deepEqual(await s.storeBatch(batch), { kind: "fenced", ledgerNext: 2 });
    const ahead = batchOf(dataSetId, { fromOffset: 3, readings: [readingAt(3, 2)] });
    assert.deepEqual(await s.storeBatch(ahead), { kind: "fenced", ledgerNext: 2 });
    assert.deepEqual(await stateOf(s), before);
  }],
  ["storeBatch() lets one of two equal batches through", async (s) => {
    await s.store.openLedgerLine(TOPIC, 0, 0);
    const batch = batchOf(await s.store.dataSetId(), { readings: [readingAt(0, 1)] });
    const outcomes = await Promise.all([s.storeBatch(batch), s.storeBatch(batch)]);
    assert.deepEqual(outcomes.map(({ kind }) => kind).toSorted(), ["fenced", "stored"]);
    assert.deepEqual(await ledgerOf(s.store), [{ ...EMPTY_LINE, next: 1, inserted: 1 }]);
  }],
  ["storeBatch() from two partitions at once stores a reading once", async (s) => {
    const dataSetId = await s.store.dataSetId();
    const numbers = Array.from({ length: 50 }, (_, n) => n);
    const batches = [0, 1].map((partition) =>
      batchOf(dataSetId, {
        partition,
        // Against each other's order, as producers that do not know of each other send them.
        readings: numbers.map((n) => readingAt(n, partition === 0 ? n : 49 - n)),
      })
    );
    for (const partition of [0, 1]) await s.store.openLedgerLine(TOPIC, partition, 0);
    await Promise.all(batches.map((batch) => s.storeBatch(batch)));
    assert.equal((await s.rows()).length, 50);
    const lines = await ledgerOf(s.store);
    assert.deepEqual(lines.map(({ next }) => next), [50, 50]);
    const sum = (count: "inserted" | "duplicates"): number =>
      lines.reduce((total, line) => total + line[count], 0);
    assert.deepEqual([sum("inserted"), sum("duplicates")], [50, 50]);
  }],
  ["storeBatch() again after a rewind finds duplicates, and changes no row", async (s) => {
    const readings = [readingAt(0, 1), readingAt(1, 2)];
    await storeFirst(s, { readings });
    const before = await s.rows();
    await s.store.moveLedgerLine(TOPIC, 0, { fromOffset: 2, toOffset: 0, toEpoch: UNKNOWN_EPOCH });
    await storeFirst(s, { readings: [...readings, readingAt(2, 3)] });
    assert.deepEqual((await s.rows()).slice(0, 2), before);
    const counts = { next: 3, inserted: 3, duplicates: 2, rewound: 2 };
    assert.deepEqual(await ledgerOf(s.store), [{ ...EMPTY_LINE, ...counts }]);
  }],
  ["storeBatch() stores a reading anew when the table was emptied; the rest stands", async (s) => {
    await storeFirst(s, {
      readings: [readingAt(0, 1)],
      deadLetters: [deadLetterAt(1, "{")],
    });
    const before = await stateOf(s);
    await s.emptyReadings();
    assert.deepEqual(await stateOf(s), { ...before, rows: [] });
    const outcome = await s.storeBatch(batchOf(await s.store.dataSetId(), {
      fromOffset: 2,
      readings: [readingAt(2, 1)],
    }));
    assert.equal(outcome.kind === "stored" && outcome.inserted, 1);
    assert.deepEqual((await s.rows()).map(({ offset }) => offset), [2]);
  }],
  ["storeBatch() refuses a batch that was prepared for another data set", async (s) => {
    const dataSetId = await s.store.dataSetId();
    await storeFirst(s, { readings: [readingAt(0, 1)] });
    await s.emptyReadings();
    assert.notEqual(await s.store.dataSetId(), dataSetId);
    const before = await stateOf(s);
    const batch = batchOf(dataSetId, { fromOffset: 1, duplicates: 1 });
    assert.deepEqual(await s.storeBatch(batch), { kind: "data_set_changed" });
    assert.deepEqual(await stateOf(s), before);
  }],
  [
    "storeBatch() refuses a batch whose numbers do not add up, as a fault of the program",
    async (s) => {
      await s.store.openLedgerLine(TOPIC, 0, 0);
      const before = await stateOf(s);
      const batch = batchOf(await s.store.dataSetId(), {
        readings: [readingAt(0, 1)],
        deadLetters: [deadLetterAt(1, "{")],
        nextOffset: 3,
      });
      await assert.rejects(s.storeBatch(batch), (error) => {
        assert.ok(error instanceof TransientError && !(error instanceof ConfigurationError));
        assert.match(error.message, /ALARM.*ledger_adds_up/);
        return true;
      });
      assert.deepEqual(await stateOf(s), before);
    },
  ],
  ["storeBatch() says that a row cannot be stored, and stores nothing of the batch", async (s) => {
    await s.store.openLedgerLine(TOPIC, 0, 0);
    const before = await stateOf(s);
    const cases: Partial<Reading>[] = [{ unit: "a\0b" }, { battery_level: 2 ** 31 }];
    for (const changes of cases) {
      const batch = batchOf(await s.store.dataSetId(), {
        readings: [readingAt(0, 1), readingAt(1, 2, changes)],
      });
      await assert.rejects(s.storeBatch(batch), RowDataError);
    }
    assert.deepEqual(await stateOf(s), before);
  }],
];

/** What differs where nothing is compared. */
const COPY_LAWS: readonly Law[] = [
  [
    "storeBatch() by a copy refuses an id that is stored or twice there, whatever it says",
    async (s) => {
      const dataSetId = await s.store.dataSetId();
      await storeFirst(s, { readings: [readingAt(0, 1), readingAt(1, 2)] });
      const before = await stateOf(s);
      const cases: [name: string, readings: readonly ReadingAt[]][] = [
        ["stored", [readingAt(2, 3), readingAt(3, 1), readingAt(4, 4)]],
        ["stored with other content", [readingAt(2, 1, { value: 99 }), readingAt(3, 3)]],
        ["twice", [readingAt(2, 3), readingAt(3, 4), readingAt(4, 3)]],
        ["twice with other content", [readingAt(2, 3), readingAt(3, 3, { unit: "K" })]],
      ];
      for (const [name, readings] of cases) {
        const deadLetters = [deadLetterAt(2 + readings.length, "{")];
        const suspects = readings.map(({ offset }) => deadLetterAt(offset, "suspect"));
        const batch = batchOf(dataSetId, { fromOffset: 2, readings, deadLetters, suspects });
        assert.deepEqual(await s.store.storeBatch(batch, "copy"), { kind: "repeated" }, name);
        assert.deepEqual(await stateOf(s), before, name);
      }
    },
  ],
  ["storeBatch() by a copy moves the ledger only from where it stands", async (s) => {
    const dataSetId = await s.store.dataSetId();
    const copy = (changes: BatchChanges): Promise<StoreOutcome> =>
      s.store.storeBatch(batchOf(dataSetId, { readings: [readingAt(0, 9)], ...changes }), "copy");
    assert.deepEqual(await copy({}), { kind: "fenced", ledgerNext: undefined });
    await storeFirst(s, { readings: [readingAt(0, 1)], nextEpoch: 3 });
    const before = await stateOf(s);
    const other = { ...TOPIC, clusterId: "cluster-B" };
    const cases: [name: string, changes: BatchChanges, want: StoreOutcome][] = [
      ["behind", { nextEpoch: 3 }, { kind: "fenced", ledgerNext: 1 }],
      ["ahead", { fromOffset: 2, fromEpoch: 3 }, { kind: "fenced", ledgerNext: 1 }],
      ["another epoch", { fromOffset: 1, fromEpoch: 2 }, { kind: "other_log" }],
      ["up to here in another epoch", { nextEpoch: 4 }, { kind: "other_log" }],
      ["no such line", { topic: other }, { kind: "fenced", ledgerNext: undefined }],
      ["another data set", { dataSetId: idOf(77), fromOffset: 1, fromEpoch: 3 }, {
        kind: "data_set_changed",
      }],
    ];
    for (const [name, changes, want] of cases) {
      assert.deepEqual(await copy(changes), want, name);
      assert.deepEqual(await stateOf(s), before, name);
    }
    assert.equal((await copy({ fromOffset: 1, fromEpoch: 3 })).kind, "stored");
  }],
  ["storeBatch() has read the batch when it returns", async ({ store, ...s }) => {
    await store.openLedgerLine(TOPIC, 0, 0);
    for (const [fromOffset, way] of [[0, "copy"], [1, "compare"]] as const) {
      const readings = [readingAt(fromOffset, fromOffset)];
      const batch = batchOf(await store.dataSetId(), { fromOffset, readings });
      const stored = store.storeBatch(batch, way);
      // As the next batch does that is read into the same columns.
      batch.readings.columns.put(0, readingAt(8, 8));
      batch.readings.columns.offsets[0] = 8;
      await stored;
      assert.deepEqual((await s.rows()).at(-1)?.offset, fromOffset);
    }
  }],
];

const READ_LAWS: readonly Law[] = [
  ["dataSetId() stays while there are rows, and changes when they are gone", async (s) => {
    const first = await s.store.dataSetId();
    await storeFirst(s, { readings: [readingAt(0, 1)] });
    assert.equal(await s.store.dataSetId(), first);
    await s.emptyReadings();
    const second = await s.store.dataSetId();
    assert.match(second, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.notEqual(second, first);
  }],
  ["openDeadLetters() counts those that nobody has resolved", async (subject) => {
    const { store } = subject;
    assert.deepEqual(await store.openDeadLetters(), { count: 0, isMore: false });
    await storeFirst(subject, { deadLetters: [deadLetterAt(0, "{"), deadLetterAt(1, "[")] });
    assert.deepEqual(await store.openDeadLetters(), { count: 2, isMore: false });
    await subject.resolveDeadLetters();
    assert.deepEqual(await store.openDeadLetters(), { count: 0, isMore: false });
  }],
  ["lastReadings() gives the newest reading of each sensor, by time and then id", async (s) => {
    const at = (second: number): string => `2026-11-24T10:00:0${second}.000001+00:00`;
    await storeFirst(s, {
      readings: [
        readingAt(0, 1, { sensor_id: "a", timestamp: at(2), value: 1 }),
        readingAt(1, 2, { sensor_id: "a", timestamp: at(3), value: 2 }),
        readingAt(2, 3, { sensor_id: "a", timestamp: at(1), value: 3 }),
        readingAt(3, 9, { sensor_id: "b", timestamp: "2026-11-24T12:00:05.000001+02:00" }),
        readingAt(4, 8, { sensor_id: "b", timestamp: at(5) }),
      ],
    });
    const { reading } = readingAt(0, 9);
    assert.deepEqual(await s.store.lastReadings("", 10), [
      { ...reading, unique_reading_id: idOf(2), sensor_id: "a", timestamp: at(3), value: 2 },
      { ...reading, unique_reading_id: idOf(9), sensor_id: "b", timestamp: at(5) },
    ]);
  }],
  ["lastReadings() pages through the sensors in byte order", async (s) => {
    const { store } = s;
    // Byte order: "." ":" "A" "Z" "_" "a" "b"; most locales say otherwise.
    const sensors = ["b", "_", "Z", "a", "A:1", "A.1", "A", "a-1"];
    const readings = sensors.flatMap((sensor_id, index) => [
      readingAt(2 * index, 2 * index, { sensor_id }),
      readingAt(2 * index + 1, 2 * index + 1, { sensor_id }),
    ]);
    await storeFirst(s, { readings });
    const found: string[] = [];
    const pages: number[] = [];
    for (let page = 0; page < 5; page++) {
      const sensorIds = (await store.lastReadings(found.at(-1) ?? "", 3)).map((r) => r.sensor_id);
      pages.push(sensorIds.length);
      found.push(...sensorIds);
    }
    assert.deepEqual(pages, [3, 3, 2, 0, 0]);
    assert.deepEqual(found, ["A", "A.1", "A:1", "Z", "_", "a", "a-1", "b"]);
    assert.deepEqual(await store.lastReadings("", 0), []);
  }],
];
