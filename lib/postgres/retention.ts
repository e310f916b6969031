/**
 * The end of old rows, in steps that are short and count what they delete. The steps are SQL
 * functions of `migrations/006_operations.sql`.
 *
 * @module
 */
import type { SqlPool } from "./pool.ts";

/** A range of blocks of `sensor_events`, `fromBlock` included and `toBlock` not. */
export interface BlockRange {
  /** Number of the first block. */
  readonly fromBlock: number;
  /** One past the number of the last block. */
  readonly toBlock: number;
}

/** Counting a range, or all dead letters, may take longer than a statement of the flow, ms. */
const COUNT_TIMEOUT_MS = 600_000;

/** The moment that many milliseconds ago by PostgreSQL's own clock, as text for the steps. */
export async function momentAgo(pool: SqlPool, ageMs: number): Promise<string> {
  const { rows } = await pool.query({
    action: "read the clock",
    text: `
      SELECT to_char(
        (now() - make_interval(secs => $1::double precision / 1000)) AT TIME ZONE 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
      ) AS moment`,
    values: [ageMs],
  });
  return String(rows[0]?.moment);
}

/** How many blocks `sensor_events` has. */
export async function countBlocks(pool: SqlPool): Promise<number> {
  const { rows } = await pool.query({
    action: "measure sensor_events",
    text: `
      SELECT pg_relation_size('sensor_events') / current_setting('block_size')::bigint AS blocks`,
  });
  return Number(rows[0]?.blocks);
}

/** Deletes readings of a range that are older than `before`, at most `rowsMax`; returns how many. */
export async function deleteOldReadings(
  pool: SqlPool,
  before: string,
  { fromBlock, toBlock, rowsMax }: BlockRange & { readonly rowsMax: number },
): Promise<number> {
  const { rows } = await pool.query({
    action: "delete old readings",
    text: "SELECT delete_old_readings($1, $2, $3, $4) AS deleted",
    values: [before, fromBlock, toBlock, rowsMax],
  });
  return Number(rows[0]?.deleted);
}

/** Counts what {@linkcode deleteOldReadings} would delete. */
export async function countOldReadings(
  pool: SqlPool,
  before: string,
  { fromBlock, toBlock }: BlockRange,
): Promise<number> {
  const { rows } = await pool.query({
    action: "count old readings",
    text: `
      SELECT count(*) AS old FROM sensor_events
      WHERE ctid >= $2::tid AND ctid < $3::tid
        AND ingested_at < $1::timestamptz AND "timestamp" < $1::timestamptz`,
    values: [before, `(${fromBlock},0)`, `(${toBlock},0)`],
    timeoutMs: COUNT_TIMEOUT_MS,
  });
  return Number(rows[0]?.old);
}

/** What one step did to the dead letters. */
export interface DeletedLetters {
  /** How many it deleted. */
  readonly deleted: number;
  /** Where the next step begins; undefined: there were none. */
  readonly lastId: number | undefined;
}

/** Deletes resolved dead letters behind an id that are older than `before`, at most `rowsMax`. */
export async function deleteOldDeadLetters(
  pool: SqlPool,
  before: string,
  { afterId, rowsMax }: { readonly afterId: number; readonly rowsMax: number },
): Promise<DeletedLetters> {
  const { rows } = await pool.query({
    action: "delete old dead letters",
    text: "SELECT * FROM delete_old_dead_letters($1, $2, $3)",
    values: [before, afterId, rowsMax],
  });
  const lastId = rows[0]?.last_id ?? null;
  return {
    deleted: Number(rows[0]?.deleted),
    lastId: lastId === null ? undefined : Number(lastId),
  };
}

/** Counts the dead letters that are older than `before`, by whether they are resolved. */
export async function countOldDeadLetters(
  pool: SqlPool,
  before: string,
): Promise<{ readonly resolved: number; readonly open: number }> {
  const { rows } = await pool.query({
    action: "count old dead letters",
    text: `
      SELECT count(resolution) AS resolved, count(*) - count(resolution) AS open
      FROM dead_letters WHERE created_at < $1::timestamptz`,
    values: [before],
    timeoutMs: COUNT_TIMEOUT_MS,
  });
  return { resolved: Number(rows[0]?.resolved), open: Number(rows[0]?.open) };
}
