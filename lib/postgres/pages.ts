/**
 * What readers ask of the tables: histories, dead letters, sums. Every question runs in a read-only
 * transaction, reads a bounded number of rows, and is ended by the pool's statement time limit.
 *
 * @module
 */
import { COUNT_OPEN, ledgerLineOf, openDeadLettersOf, SELECT_LEDGER } from "./client.ts";
import { type KeptDeadLetter, resolutionOf } from "./dead_letters.ts";
import type { LedgerLine, OpenDeadLetters } from "./store.ts";
import type { SqlPool, SqlQuery, SqlRow } from "./pool.ts";

/** Largest number of points of one history. */
export const POINTS_MAX = 2_000;

/** A span of event time, `fromMs` included and `toMs` not, ms since 1970. */
export interface TimeRange {
  /** The beginning. */
  readonly fromMs: number;
  /** The end. */
  readonly toMs: number;
}

/** One point of a history: a reading, or several of one interval. */
export interface HistoryPoint {
  /** The reading's event time, or the middle of the interval, ms since 1970. */
  readonly atMs: number;
  /** The smallest value. */
  readonly min: number;
  /** The mean. */
  readonly mean: number;
  /** The largest value. */
  readonly max: number;
  /** How many readings. */
  readonly count: number;
}

/** A sensor's values over time. */
export interface History {
  /** Width of an interval, ms; 0: every point is one reading. */
  readonly intervalMs: number;
  /** By rising time. */
  readonly points: readonly HistoryPoint[];
}

/** One row of `sensor_events`. */
export interface StoredRow {
  /** The reading's id. */
  readonly id: string;
  /** Event time in UTC with microseconds. */
  readonly timestamp: string;
  /** What was measured. */
  readonly sensorType: string;
  /** The value. */
  readonly value: number;
  /** Its unit. */
  readonly unit: string;
  /** What the sensor says of itself. */
  readonly status: string;
  /** Percent. */
  readonly batteryLevel: number;
}

/** Where a page of rows begins: behind this row. */
export type RowKey = Pick<StoredRow, "timestamp" | "id">;

/** One row of `dead_letters`. */
export interface DeadLetterRow extends
  Pick<
    KeptDeadLetter,
    "partition" | "offset" | "reason" | "detail" | "payloadBytes" | "resolution"
  > {
  /** Newer ones have larger ids. */
  readonly id: string;
  /** Name of the topic. */
  readonly topic: string;
  /** The first {@linkcode PREVIEW_BYTES_MAX} bytes; null: the message had no value. */
  readonly payload: Uint8Array | null;
  /** When it was stored, ms since 1970. */
  readonly createdAtMs: number;
  /** When it was resolved, ms since 1970; null: it is open. */
  readonly resolvedAtMs: number | null;
  /** What the person who resolved it said about it; null: nothing. */
  readonly resolutionNote: string | null;
}

/** How much of a dead letter a page shows, bytes. */
export const PREVIEW_BYTES_MAX = 2_048;

/** Which dead letters a page shows. */
export interface DeadLetterPage {
  /** Only older ones than this id. */
  readonly beforeId?: string | undefined;
  /** Only those of this reason. */
  readonly reason?: string | undefined;
  /** `open`: only those that wait for a person. */
  readonly state: "open" | "all";
  /** Most rows. */
  readonly limit: number;
}

/** Answers readers. All methods throw what {@linkcode SqlPool} throws. */
export interface Pages {
  /** All lines of the ledger. */
  ledger(): Promise<readonly LedgerLine[]>;
  /** Dead letters, the newest first. */
  deadLetters(page: DeadLetterPage): Promise<readonly DeadLetterRow[]>;
  /** How many dead letters there are of each reason, the most frequent first. Reads a whole index. */
  deadLetterCounts(): Promise<ReadonlyMap<string, number>>;
  /** The reasons that dead letters have, by name. Costs a few milliseconds, however many there are. */
  deadLetterReasons(): Promise<readonly string[]>;
  /** How many wait for a person. */
  openDeadLetters(): Promise<OpenDeadLetters>;
  /** A sensor's history in at most `points` points that keep the extremes. */
  history(sensorId: string, range: TimeRange, points: number): Promise<History>;
  /** A sensor's rows by rising (timestamp, id), behind `after` if it is given. */
  rows(sensorId: string, range: TimeRange, page: RowPage): Promise<readonly StoredRow[]>;
  /** For each of these sensors the mean values of `slots` equal parts of the range, null: none. */
  sparklines(
    sensorIds: readonly string[],
    range: TimeRange,
    slots: number,
  ): Promise<ReadonlyMap<string, readonly (number | null)[]>>;
}

/** Which rows a page has. */
export interface RowPage {
  /** The last row of the page before. */
  readonly after?: RowKey | undefined;
  /** Most rows. */
  readonly limit: number;
}

/** Answers readers from a pool that the flow does not use. */
export function openPages(pool: SqlPool): Pages {
  const ask = async (query: SqlQuery): Promise<readonly SqlRow[]> =>
    (await pool.transaction("snapshot", (session) => session.query(query))).rows;
  return {
    ledger: async () =>
      (await ask({ action: "read the ledger", text: SELECT_LEDGER })).map(ledgerLineOf),
    deadLetters: async (page) => (await ask(deadLetterQuery(page))).map(deadLetterOf),
    deadLetterCounts: async () => {
      const rows = await ask({ action: "count dead letters", text: COUNT_REASONS });
      return new Map(rows.map((row) => [String(row.reason), Number(row.letters)]));
    },
    deadLetterReasons: async () => {
      const rows = await ask({ action: "read reasons of dead letters", text: DISTINCT_REASONS });
      return rows.map(({ reason }) => String(reason));
    },
    openDeadLetters: async () => openDeadLettersOf(await ask(COUNT_OPEN)),
    history: (sensorId, range, points) => history(ask, { sensorId, range, points }),
    rows: async (sensorId, range, page) =>
      (await ask(rowsQuery(sensorId, range, page))).map(storedRowOf),
    sparklines: async (sensorIds, range, slots) =>
      sparklinesOf(await ask(sparklineQuery(sensorIds, range, slots)), sensorIds, slots),
  };
}

const COUNT_REASONS = `
  SELECT reason, count(*) AS letters FROM dead_letters GROUP BY reason ORDER BY 2 DESC, 1`;

/** Leaps from reason to reason in an index. SELECT DISTINCT would read all of it. */
const DISTINCT_REASONS = `
  WITH RECURSIVE found AS (
    SELECT min(reason) AS reason FROM dead_letters
    UNION ALL
    SELECT (SELECT min(reason) FROM dead_letters WHERE reason > found.reason)
    FROM found WHERE found.reason IS NOT NULL
  )
  SELECT reason FROM found WHERE reason IS NOT NULL ORDER BY reason`;

function deadLetterQuery({ beforeId, reason, state, limit }: DeadLetterPage): SqlQuery {
  return {
    action: "read dead letters",
    text: `
      SELECT id, topic, kafka_partition, kafka_offset, reason, detail,
        substring(payload FROM 1 FOR ${PREVIEW_BYTES_MAX}) AS payload, payload_bytes,
        (extract(epoch FROM created_at) * 1000)::bigint AS created_at_ms, resolution,
        (extract(epoch FROM resolved_at) * 1000)::bigint AS resolved_at_ms, resolution_note
      FROM dead_letters
      WHERE id < $1::bigint AND ($2::text = '' OR reason = $2::text)
        ${state === "open" ? "AND resolution IS NULL" : ""}
      ORDER BY id DESC
      LIMIT $3::integer`,
    values: [beforeId ?? "9223372036854775807", reason ?? "", limit],
  };
}

function deadLetterOf(row: SqlRow): DeadLetterRow {
  return {
    id: String(row.id),
    topic: String(row.topic),
    partition: Number(row.kafka_partition),
    offset: Number(row.kafka_offset),
    reason: String(row.reason),
    detail: String(row.detail),
    payload: row.payload instanceof Uint8Array ? row.payload : null,
    payloadBytes: Number(row.payload_bytes),
    createdAtMs: Number(row.created_at_ms),
    resolution: resolutionOf(row.resolution),
    resolvedAtMs: row.resolved_at_ms === null ? null : Number(row.resolved_at_ms),
    resolutionNote: row.resolution_note === null ? null : String(row.resolution_note),
  };
}

/** $1 sensor, $2 and $3 the range. */
const OF_SENSOR_IN_RANGE = `
  sensor_id = $1 AND "timestamp" >= to_timestamp($2::double precision / 1000)
  AND "timestamp" < to_timestamp($3::double precision / 1000)`;

const AT_MS = `extract(epoch FROM "timestamp") * 1000`;

/** One row more than asked for says that there are too many. */
const EACH_READING = `
  SELECT (${AT_MS})::double precision AS at_ms, value AS min, value AS mean, value AS max, 1 AS count
  FROM sensor_events WHERE ${OF_SENSOR_IN_RANGE}
  ORDER BY "timestamp" LIMIT $4::integer`;

/** $4 the width of an interval. */
const EACH_INTERVAL = `
  SELECT $2::double precision + (slot + 0.5) * $4::double precision AS at_ms,
    min(value) AS min, avg(value) AS mean, max(value) AS max, count(*) AS count
  FROM (
    SELECT value, floor((${AT_MS} - $2::double precision) / $4::double precision) AS slot
    FROM sensor_events WHERE ${OF_SENSOR_IN_RANGE}
  ) AS reading
  GROUP BY slot ORDER BY slot`;

async function history(
  ask: (query: SqlQuery) => Promise<readonly SqlRow[]>,
  of: { readonly sensorId: string; readonly range: TimeRange; readonly points: number },
): Promise<History> {
  const { sensorId, range: { fromMs, toMs }, points } = of;
  const values = [sensorId, fromMs, toMs];
  const action = "read a sensor's history";
  const single = await ask({ action, text: EACH_READING, values: [...values, points + 1] });
  if (single.length <= points) return { intervalMs: 0, points: single.map(historyPointOf) };
  const intervalMs = (toMs - fromMs) / points;
  const rows = await ask({ action, text: EACH_INTERVAL, values: [...values, intervalMs] });
  return { intervalMs, points: rows.map(historyPointOf) };
}

function historyPointOf(row: SqlRow): HistoryPoint {
  return {
    atMs: Number(row.at_ms),
    min: Number(row.min),
    mean: Number(row.mean),
    max: Number(row.max),
    count: Number(row.count),
  };
}

function rowsQuery(
  sensorId: string,
  { fromMs, toMs }: TimeRange,
  { after, limit }: RowPage,
): SqlQuery {
  const following = after === undefined
    ? ""
    : `AND ("timestamp", unique_reading_id) > ($5::timestamptz, $6::uuid)`;
  return {
    action: "read a sensor's rows",
    text: `
      SELECT unique_reading_id,
        to_char("timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS "timestamp",
        sensor_type, value, unit, status, battery_level
      FROM sensor_events
      WHERE ${OF_SENSOR_IN_RANGE} ${following}
      ORDER BY sensor_events."timestamp", unique_reading_id
      LIMIT $4::integer`,
    values: [
      ...[sensorId, fromMs, toMs, limit],
      ...(after === undefined ? [] : [after.timestamp, after.id]),
    ],
  };
}

function storedRowOf(row: SqlRow): StoredRow {
  return {
    id: String(row.unique_reading_id),
    timestamp: String(row.timestamp),
    sensorType: String(row.sensor_type),
    value: Number(row.value),
    unit: String(row.unit),
    status: String(row.status),
    batteryLevel: Number(row.battery_level),
  };
}

/** The ids come as one JSON text: whatever characters they have, and how many there are. */
function sparklineQuery(
  sensorIds: readonly string[],
  { fromMs, toMs }: TimeRange,
  slots: number,
): SqlQuery {
  return {
    action: "read sparklines",
    text: `
      SELECT reading.sensor_id, slot, avg(value) AS mean
      FROM jsonb_array_elements_text($1::jsonb) AS wanted (sensor_id)
      CROSS JOIN LATERAL (
        SELECT sensor_events.sensor_id, value, floor((${AT_MS} - $2::double precision)
          * $4::integer / ($3::double precision - $2::double precision))::integer AS slot
        FROM sensor_events
        WHERE sensor_events.sensor_id = wanted.sensor_id
          AND "timestamp" >= to_timestamp($2::double precision / 1000)
          AND "timestamp" < to_timestamp($3::double precision / 1000)
      ) AS reading
      GROUP BY reading.sensor_id, slot`,
    values: [JSON.stringify(sensorIds), fromMs, toMs, slots],
  };
}

function sparklinesOf(
  rows: readonly SqlRow[],
  sensorIds: readonly string[],
  slots: number,
): ReadonlyMap<string, readonly (number | null)[]> {
  const lines = new Map(
    sensorIds.map((id) => [id, Array.from({ length: slots }, (): number | null => null)]),
  );
  for (const row of rows) {
    const slot = Number(row.slot);
    const line = lines.get(String(row.sensor_id));
    if (line !== undefined && slot >= 0 && slot < slots) line[slot] = Number(row.mean);
  }
  return lines;
}
