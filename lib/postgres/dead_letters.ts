/**
 * Dead letters after they have been stored: looking at them, and what becomes of them. What must
 * happen together happens in the SQL functions of `migrations/006_operations.sql`.
 *
 * @module
 */
import type { TopicIdentity } from "../kafka/message.ts";
import type { Reading } from "../reading/reading.ts";
import { valueAt } from "../reading/reading_columns.ts";
import { READING_FIELDS } from "../reading/reading_schema.ts";
import { READING_COLUMNS, readingOf, topicOf } from "./client.ts";
import type { SqlPool, SqlRow, SqlValue } from "./pool.ts";
import { DEAD_LETTER_PAYLOAD_BYTES_MAX, type DeadLetter } from "./store.ts";

/** What became of a dead letter. */
export type Resolution =
  /** Replayed: its reading was inserted. */
  | "inserted"
  /** Replayed: its reading was stored already, with the same content. */
  | "duplicate"
  /** Given up by a person, and kept. */
  | "discarded";

/** A row of `dead_letters`. Times are RFC 3339 in UTC. */
export interface KeptDeadLetter extends
  Pick<
    DeadLetter,
    "offset" | "detail" | "payload" | "payloadBytes" | "payloadSha256" | "key"
  > {
  /** Its number in this database; newer ones have larger numbers. */
  readonly id: number;
  /** The life of the topic that it came from. */
  readonly topic: TopicIdentity;
  /** Partition in which it was read. */
  readonly partition: number;
  /** The rule that the message broke. */
  readonly reason: string;
  /** Header names with their lists of texts. */
  readonly headers: unknown;
  /** When it was stored. */
  readonly createdAt: string;
  /** How often it was replayed. */
  readonly attempts: number;
  /** When it was replayed last. */
  readonly attemptedAt: string | null;
  /** Why that failed; null: it did not. */
  readonly attemptFault: string | null;
  /** Null: it is open. */
  readonly resolution: Resolution | null;
  /** When it was resolved. */
  readonly resolvedAt: string | null;
  /** Why it was discarded, or that it was edited. */
  readonly resolutionNote: string | null;
  /** The reading that it became or repeats. */
  readonly readingId: string | null;
}

/** Which dead letters are meant. What is undefined makes no difference. */
export interface DeadLetterFilter {
  /** Those with these ids. */
  readonly ids?: readonly number[] | undefined;
  /** Those of this reason. */
  readonly reason?: string | undefined;
  /** Those stored at this time or later, ms since 1970. */
  readonly sinceMs?: number | undefined;
  /** Those stored before this time, ms since 1970. */
  readonly untilMs?: number | undefined;
  /** Those whose key is this sensor's id, or whose message holds it as a JSON string. */
  readonly sensorId?: string | undefined;
  /** `open`: those that wait for somebody. */
  readonly state: "open" | "all";
}

/** A part of the dead letters that a filter lets through. */
export interface DeadLetterPage {
  /** The newest first, or the oldest first. */
  readonly order: "newest" | "oldest";
  /** Only those that follow this id in that order. */
  readonly afterId?: number | undefined;
  /** Most rows. */
  readonly limit: number;
  /**
   * Longest payload, in bytes: it is cut.
   *
   * @default DEAD_LETTER_PAYLOAD_BYTES_MAX
   */
  readonly payloadBytesMax?: number;
}

/**
 * Reads a page.
 *
 * @throws {TransientError} if PostgreSQL is away.
 * @throws {ConfigurationError} if the tables do not exist.
 */
export async function readDeadLetters(
  pool: SqlPool,
  filter: DeadLetterFilter,
  page: DeadLetterPage,
): Promise<readonly KeptDeadLetter[]> {
  const { order, afterId, limit, payloadBytesMax = DEAD_LETTER_PAYLOAD_BYTES_MAX } = page;
  const where = new Conditions(payloadBytesMax, limit);
  whereMatches(where, filter);
  if (afterId !== undefined) where.add(order === "newest" ? "id < $" : "id > $", afterId);
  const { rows } = await pool.query({
    action: "read dead letters",
    text: `${SELECT} ${where.text} ORDER BY id ${order === "newest" ? "DESC" : "ASC"} LIMIT $2`,
    values: where.values,
  });
  return rows.map(deadLetterOf);
}

/** Reads one dead letter; undefined if there is none. Throws as {@linkcode readDeadLetters} does. */
export async function readDeadLetter(
  pool: SqlPool,
  id: number,
): Promise<KeptDeadLetter | undefined> {
  const { rows } = await pool.query({
    action: `read dead letter ${id}`,
    text: `${SELECT} WHERE id = $2`,
    values: [DEAD_LETTER_PAYLOAD_BYTES_MAX, id],
  });
  return rows.map(deadLetterOf)[0];
}

const SELECT = `
  SELECT id, cluster_id, topic, topic_id, kafka_partition, kafka_offset, reason, detail,
    substring(payload FROM 1 FOR $1::integer) AS payload, payload_bytes,
    encode(payload_sha256, 'hex') AS payload_sha256, key, headers,
    ${utcText("created_at")}, attempts, ${utcText("attempted_at")}, attempt_fault, resolution,
    ${utcText("resolved_at")}, resolution_note, reading_id
  FROM dead_letters`;

function utcText(column: string): string {
  return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS ${column}`;
}

/** A WHERE clause and its arguments. */
class Conditions {
  readonly #texts: string[] = [];
  readonly #values: SqlValue[];

  /** @param values arguments that the rest of the statement uses, from `$1` on */
  constructor(...values: readonly SqlValue[]) {
    this.#values = [...values];
  }

  /** Adds a condition; each `$` in it stands for the value. */
  add(condition: string, value: SqlValue): void {
    this.#values.push(value);
    this.#texts.push(condition.replaceAll("$", `$${this.#values.length}`));
  }

  /** Adds a condition without a value. */
  addPlain(condition: string): void {
    this.#texts.push(condition);
  }

  get text(): string {
    return this.#texts.length === 0 ? "" : `WHERE ${this.#texts.join(" AND ")}`;
  }

  get values(): readonly SqlValue[] {
    return this.#values;
  }
}

function whereMatches(where: Conditions, filter: DeadLetterFilter): void {
  const { ids, reason, sinceMs, untilMs, sensorId, state } = filter;
  if (state === "open") where.addPlain("resolution IS NULL");
  if (ids !== undefined) where.add(`id = ANY (${IDS})`, ids.join(","));
  if (reason !== undefined) where.add("reason = $", reason);
  if (sinceMs !== undefined) where.add("created_at >= $::timestamptz", isoOf(sinceMs));
  if (untilMs !== undefined) where.add("created_at < $::timestamptz", isoOf(untilMs));
  if (sensorId !== undefined) {
    // Ids are ASCII without quotes or escapes, so the quoted id stands in the bytes as it is.
    where.add(
      `(key = convert_to($::text, 'UTF8')
        OR position(convert_to('"' || $::text || '"', 'UTF8') IN payload) > 0)`,
      sensorId,
    );
  }
}

/** Ids as one argument: `1,2,3`. */
const IDS = "string_to_array($, ',')::bigint[]";

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}

function deadLetterOf(row: SqlRow): KeptDeadLetter {
  return {
    id: Number(row.id),
    topic: topicOf(row),
    partition: Number(row.kafka_partition),
    offset: Number(row.kafka_offset),
    reason: String(row.reason),
    detail: String(row.detail),
    payload: bytesOf(row.payload),
    payloadBytes: Number(row.payload_bytes),
    payloadSha256: String(row.payload_sha256),
    key: bytesOf(row.key),
    headers: row.headers,
    createdAt: String(row.created_at),
    attempts: Number(row.attempts),
    attemptedAt: textOf(row.attempted_at),
    attemptFault: textOf(row.attempt_fault),
    resolution: resolutionOf(row.resolution),
    resolvedAt: textOf(row.resolved_at),
    resolutionNote: textOf(row.resolution_note),
    readingId: textOf(row.reading_id),
  };
}

function bytesOf(value: unknown): Uint8Array | null {
  return value instanceof Uint8Array ? value : null;
}

function textOf(value: unknown): string | null {
  return value === null ? null : String(value);
}

/** A column `resolution` as a value. */
export function resolutionOf(value: unknown): Resolution | null {
  return value === "inserted" || value === "duplicate" || value === "discarded" ? value : null;
}

/** Counts the dead letters that a filter lets through. Throws as {@linkcode readDeadLetters} does. */
export async function countDeadLetters(pool: SqlPool, filter: DeadLetterFilter): Promise<number> {
  const where = new Conditions();
  whereMatches(where, filter);
  const { rows } = await pool.query({
    action: "count dead letters",
    text: `SELECT count(*) AS letters FROM dead_letters ${where.text}`,
    values: where.values,
  });
  return Number(rows[0]?.letters);
}

/** What the table says to a reading. */
export type StoredVerdict = "new" | "duplicate" | "conflict";

/** Compares a reading with the row of its id. Throws as {@linkcode readDeadLetters} does. */
export async function compareWithStored(pool: SqlPool, reading: Reading): Promise<StoredVerdict> {
  const { rows } = await pool.query({
    action: "compare a reading with the stored one",
    text: "SELECT compare_with_stored($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS verdict",
    values: readingValues(reading),
  });
  const verdict = rows[0]?.verdict;
  return verdict === "duplicate" || verdict === "conflict" ? verdict : "new";
}

/** What {@linkcode replayReading} did. */
export type ReplayVerdict =
  | "inserted"
  | "duplicate"
  | "conflict"
  /** There is no such dead letter. */
  | "absent"
  /** It had been resolved before; nothing was changed. */
  | "resolved";

/**
 * Inserts the reading of a dead letter and resolves the dead letter, in one transaction. On a
 * conflict the dead letter stays open and its attempt is counted.
 *
 * @param replay `note`: what to say about it, or nothing
 * @throws {TransientError} if PostgreSQL is away; the outcome can be unknown, and it can be done
 * again.
 * @throws {RowDataError} if PostgreSQL refuses the reading.
 */
export async function replayReading(
  pool: SqlPool,
  id: number,
  replay: { readonly reading: Reading; readonly note: string },
): Promise<ReplayVerdict> {
  const values = [id, replay.note, ...readingValues(replay.reading)];
  const places = values.map((_, index) => `$${index + 1}`).join(", ");
  const { rows } = await pool.query({
    action: `replay dead letter ${id}`,
    text: `SELECT replay_dead_letter(${places}) AS verdict`,
    values,
  });
  return rows[0]?.verdict as ReplayVerdict;
}

function readingValues(reading: Reading): readonly SqlValue[] {
  return READING_FIELDS.map((field) => {
    const value = valueAt(reading, field) ?? null;
    return field.kind === "number" && value !== null ? doubleText(Number(value)) : value;
  });
}

/** The shortest text of a double, with the sign of -0. */
function doubleText(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

/** Counts a replay that failed, and why. Throws as {@linkcode readDeadLetters} does. */
export async function noteFailedReplay(pool: SqlPool, id: number, fault: string): Promise<void> {
  await pool.query({
    action: `note the failed replay of dead letter ${id}`,
    text: `
      UPDATE dead_letters
      SET attempts = attempts + 1, attempted_at = now(), attempt_fault = $2
      WHERE id = $1 AND resolution IS NULL`,
    values: [id, fault],
  });
}

/**
 * Marks those of these dead letters that are open as discarded. Throws as
 * {@linkcode readDeadLetters} does.
 *
 * @returns how many were
 */
export async function discardDeadLetters(
  pool: SqlPool,
  ids: readonly number[],
  why: string,
): Promise<number> {
  const where = new Conditions(why);
  whereMatches(where, { ids, state: "open" });
  const { rowCount } = await pool.query({
    action: "discard dead letters",
    text: `
      UPDATE dead_letters
      SET resolution = 'discarded', resolved_at = now(), resolution_note = $1
      ${where.text}`,
    values: where.values,
  });
  return rowCount;
}

/** A row of `sensor_events`: a reading and where it was first read. */
export interface StoredReadingRow {
  /** The reading; its timestamp in UTC. */
  readonly reading: Reading;
  /** Partition; null: it is from none. */
  readonly partition: number | null;
  /** Offset; null: it is from no partition. */
  readonly offset: number | null;
}

/** Reads the row of an id; undefined if there is none. Throws as {@linkcode readDeadLetters} does. */
export async function readStoredReading(
  pool: SqlPool,
  readingId: string,
): Promise<StoredReadingRow | undefined> {
  const { rows } = await pool.query({
    action: `read reading ${readingId}`,
    text: `
      SELECT ${READING_COLUMNS}, kafka_partition, kafka_offset
      FROM sensor_events WHERE unique_reading_id = $1`,
    values: [readingId],
  });
  const row = rows[0];
  if (row === undefined) return undefined;
  return {
    reading: readingOf(row),
    partition: numberOf(row.kafka_partition),
    offset: numberOf(row.kafka_offset),
  };
}

function numberOf(value: unknown): number | null {
  return value === null ? null : Number(value);
}
