/**
 * The store in memory, for tests and simulations: the same laws as the tables of `migrations/`, and
 * failures on demand.
 *
 * @module
 */
import { type Clock, systemClock } from "../lib/clock.ts";
import { NoAnswerError, RowDataError, TransientError } from "../lib/errors.ts";
import { type TopicIdentity, UNKNOWN_EPOCH } from "../lib/kafka/message.ts";
import type { Reading } from "../lib/reading/reading.ts";
import { type ReadingAt, readingColumns, readingsOf, timestampText } from "./reading_rows.ts";
import {
  type BatchToStore,
  type DeadLetter,
  type LedgerLine,
  type LedgerMove,
  OPEN_DEAD_LETTERS_MAX,
  type Store,
  type StoreOutcome,
  type StoreWay,
} from "../lib/postgres/store.ts";

/** A row of `sensor_events`. */
export interface StoredReading extends ReadingAt {
  /** Partition in which it was first read. */
  readonly partition: number;
}

/** A row of `dead_letters`. */
export interface StoredDeadLetter extends DeadLetter {
  /** The life of the topic that it came from. */
  readonly topic: TopicIdentity;
  /** Partition in which it was read. */
  readonly partition: number;
}

/** A method that can be told to fail. */
export type StoreMethod = keyof Store;

/** A store whose tables can be looked at, and that fails when told to. */
export interface MemoryStore extends Store {
  /** `sensor_events`, by id. */
  readonly readings: ReadonlyMap<string, StoredReading>;
  /** `dead_letters`, in the order of their arrival. */
  readonly deadLetters: readonly StoredDeadLetter[];
  /** `ledger`: every line, in the order in which they were opened. */
  readonly ledger: readonly LedgerLine[];
  /** The next call of `method` rejects with `error` and changes nothing. Calls add up. */
  failNext(method: StoreMethod, error: Error): void;
  /** The next call of `method` takes effect, and its answer is lost: it rejects all the same. */
  loseReplyNext(method: StoreMethod): void;
  /** What TRUNCATE of `sensor_events` does: the rows are gone, the data set has another id. */
  emptyReadings(): void;
  /** What a person does who gives up every dead letter. */
  resolveDeadLetters(): void;
  /** Everything that the store holds now, for {@linkcode MemoryStore.restore}. */
  backup(): StoreBackup;
  /** Loses what was committed since: rows, dead letters, ledger and data set go back together. */
  restore(backup: StoreBackup): void;
}

/** A state of the tables of a {@linkcode MemoryStore}. Never changed. */
export interface StoreBackup {
  /** Name of the data set. */
  readonly dataSetId: string;
  /** By id. */
  readonly readings: ReadonlyMap<string, StoredReading>;
  /** By place and content. */
  readonly deadLetters: ReadonlyMap<string, StoredDeadLetter>;
  /** By place. */
  readonly ledger: ReadonlyMap<string, LedgerLine>;
}

/** Where the store gets what differs from run to run. */
export interface MemoryStoreOptions {
  /**
   * Dates the lines of the ledger.
   * @default the computer's own clock
   */
  readonly clock?: Clock;
  /**
   * Makes the ids of data sets.
   * @default `crypto.randomUUID`
   */
  readonly newId?: () => string;
}

interface Tables {
  dataSetId: string;
  readonly readings: Map<string, StoredReading>;
  readonly deadLetters: Map<string, StoredDeadLetter>;
  /** Keys of the dead letters that nobody has to look at any more. */
  readonly resolved: Set<string>;
  readonly ledger: Map<string, LedgerLine>;
}

/** Makes an empty store with a data set of its own. */
export function createMemoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  const clock = options.clock ?? systemClock;
  const newId = options.newId ?? ((): string => crypto.randomUUID());
  const tables: Tables = {
    dataSetId: newId(),
    readings: new Map(),
    deadLetters: new Map(),
    resolved: new Set(),
    ledger: new Map(),
  };
  const failures = new Map<StoreMethod, (Error | "lose reply")[]>();
  const plan = (method: StoreMethod, failure: Error | "lose reply"): void => {
    failures.set(method, [...failures.get(method) ?? [], failure]);
  };
  /** The effect is synchronous, so it happens whole or not at all. */
  const call = async <T>(method: StoreMethod, effect: () => T): Promise<T> => {
    await Promise.resolve();
    const failure = failures.get(method)?.shift();
    if (failure instanceof Error) throw failure;
    const result = effect();
    if (failure === "lose reply") {
      throw new NoAnswerError(`Cannot ${method}: the reply was lost`, { server: "postgres" });
    }
    return result;
  };
  return {
    readings: tables.readings,
    get deadLetters() {
      return [...tables.deadLetters.values()];
    },
    get ledger() {
      return [...tables.ledger.values()];
    },
    failNext: plan,
    loseReplyNext: (method) => plan(method, "lose reply"),
    emptyReadings: () => {
      tables.readings.clear();
      tables.dataSetId = newId();
    },
    resolveDeadLetters: () => {
      for (const key of tables.deadLetters.keys()) tables.resolved.add(key);
    },
    backup: () => ({
      dataSetId: tables.dataSetId,
      readings: new Map(tables.readings),
      deadLetters: new Map(tables.deadLetters),
      ledger: new Map(tables.ledger),
    }),
    restore: (backup) => {
      tables.dataSetId = backup.dataSetId;
      refill(tables.readings, backup.readings);
      refill(tables.deadLetters, backup.deadLetters);
      refill(tables.ledger, backup.ledger);
    },
    dataSetId: () => call("dataSetId", () => tables.dataSetId),
    readLedger: () => call("readLedger", () => [...tables.ledger.values()]),
    openLedgerLine: (topic, partition, first) =>
      call("openLedgerLine", () => openLine(tables, { topic, partition, first, clock })),
    moveLedgerLine: (topic, partition, move) =>
      call("moveLedgerLine", () => moveLine(tables, { topic, partition, ...move, clock })),
    storeBatch: (batch, way) => {
      const readings = readingsOf(batch.readings);
      return call("storeBatch", () => storeBatch(tables, { ...batch, readings, way, clock }));
    },
    lastReadings: (afterSensorId, limit) =>
      call("lastReadings", () => lastReadings(tables, afterSensorId, limit)),
    openDeadLetters: () =>
      call("openDeadLetters", () => {
        const open = [...tables.deadLetters.keys()].filter((key) => !tables.resolved.has(key));
        return {
          count: Math.min(open.length, OPEN_DEAD_LETTERS_MAX),
          isMore: open.length > OPEN_DEAD_LETTERS_MAX,
        };
      }),
  };
}

function refill<Value>(table: Map<string, Value>, rows: ReadonlyMap<string, Value>): void {
  table.clear();
  for (const [key, row] of rows) table.set(key, row);
}

function lineKey({ clusterId, topic, topicId }: TopicIdentity, partition: number): string {
  return JSON.stringify([clusterId, topic, topicId, partition]);
}

function openLine(
  { ledger }: Tables,
  { topic, partition, first, clock }: {
    readonly topic: TopicIdentity;
    readonly partition: number;
    readonly first: number;
    readonly clock: Clock;
  },
): number {
  const key = lineKey(topic, partition);
  const line = ledger.get(key) ?? {
    topic: { ...topic },
    partition,
    first,
    next: first,
    leaderEpoch: UNKNOWN_EPOCH,
    inserted: 0,
    duplicates: 0,
    deadLetters: 0,
    skipped: 0,
    gaps: 0,
    rewound: 0,
    updatedAtMs: clock.now(),
  };
  ledger.set(key, line);
  return line.next;
}

function moveLine(
  { ledger }: Tables,
  { topic, partition, fromOffset, toOffset, toEpoch, clock }: LedgerMove & {
    readonly topic: TopicIdentity;
    readonly partition: number;
    readonly clock: Clock;
  },
): boolean {
  const key = lineKey(topic, partition);
  const line = ledger.get(key);
  if (line?.next !== fromOffset) return false;
  ledger.set(key, {
    ...line,
    next: toOffset,
    leaderEpoch: toEpoch,
    gaps: line.gaps + Math.max(toOffset - fromOffset, 0),
    rewound: line.rewound + Math.max(fromOffset - toOffset, 0),
    updatedAtMs: clock.now(),
  });
  return true;
}

/** A batch whose readings nobody changes any more, and how to store it. */
interface KeptBatch extends Omit<BatchToStore, "readings"> {
  readonly readings: readonly ReadingAt[];
  readonly way: StoreWay;
  readonly clock: Clock;
}

function storeBatch(tables: Tables, batch: KeptBatch): StoreOutcome {
  // The rows come first in a copy, and the ledger last.
  if (batch.way === "copy" && hasRepeats(tables, batch)) return { kind: "repeated" };
  if (batch.dataSetId !== tables.dataSetId) return { kind: "data_set_changed" };
  const key = lineKey(batch.topic, batch.partition);
  const line = tables.ledger.get(key);
  const isOfOtherLog = (line?.next === batch.fromOffset && line.leaderEpoch !== batch.fromEpoch) ||
    (line?.next === batch.nextOffset && line.leaderEpoch !== batch.nextEpoch);
  if (isOfOtherLog) return { kind: "other_log" };
  if (line?.next !== batch.fromOffset) return { kind: "fenced", ledgerNext: line?.next };

  // Everything is worked out first and written last, as a transaction would have it.
  const { inserted, equal, conflictOffsets } = compareReadings(tables, batch);
  const suspects = new Map(batch.suspects.map((suspect) => [suspect.offset, suspect]));
  const prepared = new Set([...batch.deadLetters, ...batch.suspects].map(({ offset }) => offset));
  const unprepared = conflictOffsets.filter((offset) => !prepared.has(offset));
  if (unprepared.length > 0) return { kind: "conflicts", offsets: unprepared };

  const duplicates = batch.duplicates + equal;
  const deadLetters = batch.deadLetters.length + conflictOffsets.length;
  const passed = batch.nextOffset - batch.fromOffset;
  const accounted = inserted.length + duplicates + deadLetters + batch.skipped;
  if (passed !== accounted) {
    throw new TransientError(
      "Cannot store a batch: ALARM, a fault of this program: ledger_adds_up, " +
        `${passed} offsets passed and ${accounted} accounted for`,
    );
  }
  for (const row of inserted) {
    tables.readings.set(row.reading.unique_reading_id, { ...row, partition: batch.partition });
  }
  const refused = conflictOffsets.flatMap((offset) => suspects.get(offset) ?? []);
  for (const letter of [...batch.deadLetters, ...refused]) keepDeadLetter(tables, batch, letter);
  tables.ledger.set(key, {
    ...line,
    next: batch.nextOffset,
    leaderEpoch: batch.nextEpoch,
    inserted: line.inserted + inserted.length,
    duplicates: line.duplicates + duplicates,
    deadLetters: line.deadLetters + deadLetters,
    skipped: line.skipped + batch.skipped,
    updatedAtMs: batch.clock.now(),
  });
  return { kind: "stored", inserted: inserted.length, duplicates, deadLetters, conflictOffsets };
}

function hasRepeats({ readings: stored }: Tables, { readings }: KeptBatch): boolean {
  const ids = new Set<string>();
  for (const row of readings) {
    const id = row.reading.unique_reading_id;
    refuseUnstorable(row);
    if (stored.has(id) || ids.has(id)) return true;
    ids.add(id);
  }
  return false;
}

/** Sorts a batch's readings into new ones, repeats and conflicts. */
function compareReadings(
  tables: Tables,
  { readings }: KeptBatch,
): {
  readonly inserted: readonly ReadingAt[];
  readonly equal: number;
  readonly conflictOffsets: readonly number[];
} {
  const inserted = new Map<string, ReadingAt>();
  const conflictOffsets: number[] = [];
  for (const row of readings.toSorted((a, b) => a.offset - b.offset)) {
    const id = row.reading.unique_reading_id;
    refuseUnstorable(row);
    const present = tables.readings.get(id) ?? inserted.get(id);
    if (present === undefined) inserted.set(id, row);
    else if (!readingColumns([present, row]).hasSameContent(0, 1)) {
      conflictOffsets.push(row.offset);
    }
  }
  const equal = readings.length - inserted.size - conflictOffsets.length;
  return { inserted: [...inserted.values()], equal, conflictOffsets };
}

/** PostgreSQL stores no U+0000 in a text, and whole numbers of 32 bits as battery level. */
function refuseUnstorable({ offset, reading }: ReadingAt): void {
  const texts = [reading.sensor_id, reading.sensor_type, reading.unit, reading.status];
  if (
    texts.some((text) => text.includes("\0")) ||
    reading.battery_level !== (reading.battery_level | 0)
  ) {
    throw new RowDataError(`Cannot store a batch: the reading at offset ${offset} is refused`);
  }
}

/** A message that is read again is the same dead letter. */
function keepDeadLetter(
  { deadLetters }: Tables,
  { topic, partition }: KeptBatch,
  letter: DeadLetter,
): void {
  const key = `${lineKey(topic, partition)} ${letter.offset} ${letter.payloadSha256}`;
  if (!deadLetters.has(key)) deadLetters.set(key, { ...letter, topic: { ...topic }, partition });
}

/**
 * Sensor ids are ASCII, so the order of `<` is the byte order. The database keeps an instant and not its
 * zone; it gives it back in UTC.
 */
function lastReadings(
  { readings }: Tables,
  afterSensorId: string,
  limit: number,
): readonly Reading[] {
  const newest = new Map<string, StoredReading>();
  for (const row of readings.values()) {
    const sensorId = row.reading.sensor_id;
    if (sensorId <= afterSensorId) continue;
    const known = newest.get(sensorId);
    if (known === undefined || isNewer(row, known)) newest.set(sensorId, row);
  }
  return [...newest.keys()].toSorted((a, b) => a < b ? -1 : 1).slice(0, limit)
    .flatMap((sensorId) => newest.get(sensorId) ?? [])
    .map((row) => ({ ...row.reading, timestamp: timestampText(row.eventTimeUs) }));
}

function isNewer(one: ReadingAt, other: ReadingAt): boolean {
  if (one.eventTimeUs !== other.eventTimeUs) return one.eventTimeUs > other.eventTimeUs;
  return one.reading.unique_reading_id > other.reading.unique_reading_id;
}
