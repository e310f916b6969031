/**
 * The oracle of a campaign: compares what the producers noted with what is in the tables. It shares
 * no code with the pipeline.
 *
 * @module
 */
import { createHash } from "node:crypto";
import {
  type ExpectedRow,
  type Query,
  type Stored,
  type StoredDeadLetter,
  type StoredRow,
} from "./stored.ts";
import type { NotedMessage } from "./journal.ts";

/** Something that must not be. */
export interface Finding {
  /** What is wrong with it. */
  readonly kind: "lost" | "stored twice" | "wrongly dead-lettered" | "wrongly stored";
  /** When the message was sent, or 0 if nobody sent it, ms since 1970. */
  readonly sentAtMs: number;
  /** What is wrong, for people. */
  readonly text: string;
}

/** What the oracle looked at, and what it found. */
export interface OracleReport {
  /** Acknowledged messages that were looked for. */
  readonly acknowledged: number;
  /** Messages whose acknowledgement never came, and that may be stored or not. */
  readonly unacknowledged: number;
  /** Rows that were compared. */
  readonly rows: number;
  /** Dead letters that were compared. */
  readonly deadLetters: number;
  /** Acknowledged messages that are gone because the campaign had the brokers delete them. */
  readonly deletedByUs: number;
  /** Everything that must not be. */
  readonly findings: readonly Finding[];
}

/** Names of a message's bytes: the hash of its value. */
export function nameOf(value: Uint8Array | null): string {
  return createHash("sha256").update(value ?? new Uint8Array()).digest("hex");
}

/**
 * Looks for every message, and for the reason of every row and dead letter.
 *
 * @param deleted the {@linkcode nameOf} of messages that were deleted from the topic before they
 * were read: they may be missing
 */
export function judge(
  messages: readonly NotedMessage[],
  stored: Pick<Stored, "rows" | "deadLetters">,
  deleted: ReadonlySet<string>,
): OracleReport {
  const acknowledged = messages.filter((message) => message.acknowledgedAtMs !== undefined);
  const rows = new Map(stored.rows.map((row) => [row.unique_reading_id, row]));
  const letters = Map.groupBy(stored.deadLetters, (letter) => letter.sha256);
  const missing = acknowledged.filter((message) => !isAccountedFor(message, rows, letters));
  const lost = missing.filter((message) => !deleted.has(nameOf(message.value)));
  return {
    acknowledged: acknowledged.length,
    unacknowledged: messages.length - acknowledged.length,
    rows: stored.rows.length,
    deadLetters: stored.deadLetters.length,
    deletedByUs: missing.length - lost.length,
    findings: [
      ...lost.map((message): Finding => ({
        kind: "lost",
        sentAtMs: message.sentAtMs,
        text: describe(message),
      })),
      ...rowFindings(messages, stored.rows),
      ...letterFindings(messages, stored.deadLetters, rows),
    ],
  };
}

/** A reading is a row that says the same, or a dead letter because another one had its id. */
function isAccountedFor(
  { truth, value }: NotedMessage,
  rows: ReadonlyMap<string, StoredRow>,
  letters: ReadonlyMap<string, readonly StoredDeadLetter[]>,
): boolean {
  const letter = letters.get(nameOf(value));
  if (truth.kind === "bad") return letter !== undefined;
  const row = rows.get(truth.row.unique_reading_id);
  return row !== undefined && (isSame(truth.row, row) || letter !== undefined);
}

/** Each row is a reading that was sent, to the last digit, and there is one for each id. */
function rowFindings(
  messages: readonly NotedMessage[],
  rows: readonly StoredRow[],
): readonly Finding[] {
  const readings = Map.groupBy(
    messages.filter(({ truth }) => truth.kind === "reading"),
    ({ truth }) => truth.kind === "reading" ? truth.row.unique_reading_id : "",
  );
  const findings: Finding[] = [];
  const seen = new Set<string>();
  for (const row of rows) {
    const id = row.unique_reading_id;
    const sources = readings.get(id) ?? [];
    const sentAtMs = sources[0]?.sentAtMs ?? 0;
    if (seen.has(id)) findings.push({ kind: "stored twice", sentAtMs, text: `reading ${id}` });
    seen.add(id);
    if (!sources.some(({ truth }) => truth.kind === "reading" && isSame(truth.row, row))) {
      findings.push({ kind: "wrongly stored", sentAtMs, text: `reading ${id} was never sent so` });
    }
  }
  return findings;
}

/** Each dead letter is a bad message, for its reason, or a reading whose id says something else. */
function letterFindings(
  messages: readonly NotedMessage[],
  letters: readonly StoredDeadLetter[],
  rows: ReadonlyMap<string, StoredRow>,
): readonly Finding[] {
  const named = Map.groupBy(messages, ({ value }) => nameOf(value));
  const findings: Finding[] = [];
  for (const letter of letters) {
    const [source] = named.get(letter.sha256) ?? [];
    if (source !== undefined && letter.reason === reasonOf(source, rows)) continue;
    const place = `${letter.partition}:${letter.offset}`;
    const text = `${letter.reason} at ${place}: ${source ? describe(source) : "never sent"}`;
    findings.push({ kind: "wrongly dead-lettered", sentAtMs: source?.sentAtMs ?? 0, text });
  }
  return findings;
}

/**
 * Dead letters that are kept twice. Places alone do not tell: a topic that was recreated has the
 * same ones once more, and some bad messages look alike.
 */
export async function findDoubledLetters(query: Query): Promise<readonly Finding[]> {
  const rows = await query(`
    SELECT topic_id, kafka_partition, kafka_offset, encode(payload_sha256, 'hex') AS hash
    FROM dead_letters GROUP BY topic_id, kafka_partition, kafka_offset, payload_sha256
    HAVING count(*) > 1`);
  return rows.map((row) => ({
    kind: "stored twice",
    sentAtMs: 0,
    text: `dead letter ${row.kafka_partition}:${row.kafka_offset}, SHA-256 ${row.hash}`,
  }));
}

function reasonOf(
  { truth }: NotedMessage,
  rows: ReadonlyMap<string, StoredRow>,
): string | undefined {
  if (truth.kind === "bad") return truth.reason;
  const row = rows.get(truth.row.unique_reading_id);
  return row === undefined || isSame(truth.row, row) ? undefined : "id_conflict";
}

function isSame(expected: ExpectedRow, found: ExpectedRow): boolean {
  return (Object.keys(expected) as (keyof ExpectedRow)[])
    .every((column) => expected[column] === found[column]);
}

function describe({ truth, number, sentAtMs }: NotedMessage): string {
  const what = truth.kind === "bad" ? `bad (${truth.reason})` : truth.row.unique_reading_id;
  return `message ${number}, ${what}, sent at ${new Date(sentAtMs).toISOString()}`;
}
