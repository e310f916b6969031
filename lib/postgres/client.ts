/**
 * The store in PostgreSQL. All rules that need the database (compare-and-set, duplicate or
 * conflict, the sums of the ledger) live in SQL, in `migrations/`.
 *
 * @module
 */
import type { TopicIdentity } from "../kafka/message.ts";
import type { Reading } from "../reading/reading.ts";
import { readingFrom } from "../reading/reading_columns.ts";
import { READING_FIELDS } from "../reading/reading_schema.ts";
import { ConfigurationError } from "../errors.ts";
import {
  openPool,
  type PostgresSettings,
  type SqlPool,
  type SqlQuery,
  type SqlRow,
} from "./pool.ts";
import {
  type LedgerLine,
  type LedgerMove,
  OPEN_DEAD_LETTERS_MAX,
  type OpenDeadLetters,
  type Store,
} from "./store.ts";
import { storeBatch } from "./store_batch.ts";

/** A store together with the connections that it holds. */
export interface PostgresStore extends Store, AsyncDisposable {
  /** For `verify`, `status` and `migrate`. */
  readonly pool: SqlPool;
  /** Ends the calls under way and closes the connections. */
  close(): Promise<void>;
}

/**
 * Opens the store. Nothing connects before the first call.
 *
 * @param stop when it aborts, the store closes: what is under way ends there and then
 */
export function openStore(settings: PostgresSettings, stop?: AbortSignal): PostgresStore {
  return storeOn(openPool(settings, stop));
}

/** The store on connections that are open already; closing it closes them. */
export function storeOn(pool: SqlPool): PostgresStore {
  return {
    pool,
    dataSetId: () => dataSetId(pool),
    readLedger: () => readLedger(pool),
    openLedgerLine: (topic, partition, first) => openLedgerLine(pool, topic, partition, first),
    moveLedgerLine: (topic, partition, move) => moveLedgerLine(pool, topic, partition, move),
    storeBatch: (batch, way) => storeBatch(pool, batch, way),
    lastReadings: (afterSensorId, limit) => lastReadings(pool, afterSensorId, limit),
    openDeadLetters: async () => openDeadLettersOf((await pool.query(COUNT_OPEN)).rows),
    close: () => pool.close(),
    [Symbol.asyncDispose]: () => pool.close(),
  };
}

async function dataSetId(pool: SqlPool): Promise<string> {
  const { rows } = await pool.query({
    action: "read the data set's id",
    text: "SELECT id FROM data_set",
  });
  const row = rows[0];
  if (row === undefined) {
    throw new ConfigurationError(
      "Cannot read the data set's id: table data_set has no row. Run: INSERT INTO data_set DEFAULT VALUES",
    );
  }
  return String(row.id);
}

/** Reads ledger lines, see {@linkcode ledgerLineOf}. */
export const SELECT_LEDGER = `
  SELECT cluster_id, topic, topic_id, kafka_partition, first_offset, next_offset, inserted, duplicates,
    leader_epoch, dead_letters, skipped, gaps, rewound,
    (extract(epoch FROM updated_at) * 1000)::bigint AS updated_at_ms
  FROM ledger
  ORDER BY cluster_id, topic, topic_id, kafka_partition`;

async function readLedger(pool: SqlPool): Promise<readonly LedgerLine[]> {
  const { rows } = await pool.query({ action: "read the ledger", text: SELECT_LEDGER });
  return rows.map(ledgerLineOf);
}

/** The life of a topic that a row names. */
export function topicOf(row: SqlRow): TopicIdentity {
  const { cluster_id: clusterId, topic, topic_id: topicId } = row;
  return { clusterId: String(clusterId), topic: String(topic), topicId: String(topicId) };
}

/** Turns a row of {@linkcode SELECT_LEDGER} into a line. */
export function ledgerLineOf(row: SqlRow): LedgerLine {
  return {
    topic: topicOf(row),
    partition: Number(row.kafka_partition),
    first: Number(row.first_offset),
    next: Number(row.next_offset),
    leaderEpoch: Number(row.leader_epoch),
    inserted: Number(row.inserted),
    duplicates: Number(row.duplicates),
    deadLetters: Number(row.dead_letters),
    skipped: Number(row.skipped),
    gaps: Number(row.gaps),
    rewound: Number(row.rewound),
    updatedAtMs: Number(row.updated_at_ms),
  };
}

/** Counts open dead letters by their own index, and no more than anybody wants to know. */
export const COUNT_OPEN: SqlQuery = {
  action: "count open dead letters",
  text: `
    SELECT count(*) AS letters FROM (
      SELECT FROM dead_letters WHERE resolution IS NULL LIMIT ${OPEN_DEAD_LETTERS_MAX + 1}
    ) AS open`,
};

/** What the answer to {@linkcode COUNT_OPEN} says. */
export function openDeadLettersOf(rows: readonly SqlRow[]): OpenDeadLetters {
  const count = Number(rows[0]?.letters);
  return {
    count: Math.min(count, OPEN_DEAD_LETTERS_MAX),
    isMore: count > OPEN_DEAD_LETTERS_MAX,
  };
}

async function openLedgerLine(
  pool: SqlPool,
  topic: TopicIdentity,
  partition: number,
  first: number,
): Promise<number> {
  const { rows } = await pool.query({
    action: `open the ledger line of partition ${partition}`,
    // DO UPDATE and not DO NOTHING: it returns the row also if another session made it just now.
    text: `
      INSERT INTO ledger AS line
        (cluster_id, topic, topic_id, kafka_partition, first_offset, next_offset)
      VALUES ($1, $2, $3, $4, $5, $5)
      ON CONFLICT (cluster_id, topic, topic_id, kafka_partition)
      DO UPDATE SET updated_at = line.updated_at
      RETURNING next_offset`,
    values: [topic.clusterId, topic.topic, topic.topicId, partition, first],
  });
  return Number(rows[0]?.next_offset);
}

async function moveLedgerLine(
  pool: SqlPool,
  topic: TopicIdentity,
  partition: number,
  move: LedgerMove,
): Promise<boolean> {
  const { rowCount } = await pool.query({
    action: `move the ledger line of partition ${partition}`,
    text: `
      UPDATE ledger SET
        next_offset = $6::bigint,
        leader_epoch = $7::integer,
        gaps = gaps + greatest($6::bigint - $5::bigint, 0),
        rewound = rewound + greatest($5::bigint - $6::bigint, 0),
        updated_at = now()
      WHERE cluster_id = $1 AND topic = $2 AND topic_id = $3 AND kafka_partition = $4
        AND next_offset = $5::bigint`,
    values: [
      topic.clusterId,
      topic.topic,
      topic.topicId,
      partition,
      move.fromOffset,
      move.toOffset,
      move.toEpoch,
    ],
  });
  return rowCount === 1;
}

/** What {@linkcode readingOf} needs of `sensor_events`: the fields, the timestamp as a text in UTC. */
export const READING_COLUMNS: string = READING_FIELDS.map(({ column, kind }) =>
  kind === "time"
    ? `to_char("${column}" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"') AS "${column}"`
    : `"${column}"`
).join(", ");

/**
 * Jumps through the index from sensor to sensor and takes the newest entry of each. It reads as
 * many index entries as there are sensors in the page, however many readings they have.
 *
 * sensor_id is `COLLATE "C"`, so `>` means byte order here and the index serves it.
 */
const LAST_READINGS = `
  WITH RECURSIVE sensor AS (
    (
      SELECT sensor_id, 1 AS number FROM sensor_events
      WHERE sensor_id > $1 ORDER BY sensor_id LIMIT 1
    )
    UNION ALL
    SELECT following.sensor_id, sensor.number + 1
    FROM sensor
    CROSS JOIN LATERAL (
      SELECT sensor_id FROM sensor_events
      WHERE sensor_id > sensor.sensor_id ORDER BY sensor_id LIMIT 1
    ) AS following
    WHERE sensor.number < $2::integer
  )
  SELECT newest.*
  FROM sensor
  CROSS JOIN LATERAL (
    SELECT ${READING_COLUMNS} FROM sensor_events AS event
    WHERE event.sensor_id = sensor.sensor_id
    ORDER BY event."timestamp" DESC, event.unique_reading_id DESC
    LIMIT 1
  ) AS newest
  ORDER BY sensor.number`;

async function lastReadings(
  pool: SqlPool,
  afterSensorId: string,
  limit: number,
): Promise<readonly Reading[]> {
  if (limit < 1) return [];
  const { rows } = await pool.query({
    action: "read the last readings",
    text: LAST_READINGS,
    values: [afterSensorId, limit],
  });
  return rows.map(readingOf);
}

/** Turns a row of {@linkcode READING_COLUMNS} into a reading. */
export function readingOf(row: SqlRow): Reading {
  return readingFrom(({ column, kind }) => {
    const value = row[column];
    if (value === null) return undefined;
    return kind === "number" || kind === "integer" ? Number(value) : String(value);
  });
}
