/**
 * Dead letters for people and programs: one line each, all about one, and JSON. Everything that was
 * sent by somebody else is escaped.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ConfigurationError } from "../errors.ts";
import {
  compareWithStored,
  type DeadLetterFilter,
  type KeptDeadLetter,
  readStoredReading,
  type StoredReadingRow,
} from "../postgres/dead_letters.ts";
import type { SqlPool } from "../postgres/pool.ts";
import { parseInstant } from "../consumer/placement.ts";
import { printable, printableBytes, utf8Of } from "../printable.ts";
import type { ParseLimits, Reading } from "../reading/reading.ts";
import { REJECTION_REASONS } from "../reading/rejection.ts";
import { table } from "../table.ts";
import { broken } from "../text_columns.ts";
import { judgeMessage, type ReplayOutcome } from "./replay.ts";

/** Most dead letters of one list. */
export const LIST_LETTERS_MAX = 1_000;

/** How much of a message a list shows, in bytes. */
export const LIST_PAYLOAD_BYTES = 60;

/** What the command line says about which dead letters are meant. */
export interface FilterFlags {
  /** One of the reasons. */
  readonly reason?: string | undefined;
  /** A date or a time. */
  readonly since?: string | undefined;
  /** A date or a time. */
  readonly until?: string | undefined;
  /** A sensor's id. */
  readonly sensor?: string | undefined;
}

/**
 * Reads the flags that choose dead letters.
 *
 * @throws {ConfigurationError} if a reason does not exist or a time is none.
 */
export function parseFilter(
  flags: FilterFlags,
  state: DeadLetterFilter["state"],
): DeadLetterFilter {
  const { reason } = flags;
  if (reason !== undefined && !(REJECTION_REASONS as readonly string[]).includes(reason)) {
    throw new ConfigurationError(
      `Cannot use --reason "${reason}": the reasons are ${REJECTION_REASONS.join(", ")}`,
    );
  }
  return {
    reason,
    sinceMs: timeOf("--since", flags.since),
    untilMs: timeOf("--until", flags.until),
    sensorId: flags.sensor,
    state,
  };
}

function timeOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const timestampMs = parseInstant(text);
  if (timestampMs !== undefined) return timestampMs;
  throw new ConfigurationError(
    `Cannot use ${flag} "${text}": give a date (2026-11-24), or a time with a zone ` +
      "(2026-11-24T10:00:00Z)",
  );
}

/**
 * Reads the ids and flags of a command that changes dead letters. Ids mean just those; otherwise at
 * least one flag must say which, for "all of them" is too easily meant by mistake.
 *
 * @throws {ConfigurationError} if neither or both are given, or an id is none.
 */
export function parseSelection(ids: readonly string[], flags: FilterFlags): DeadLetterFilter {
  const isFiltered =
    Object.values(parseFilter(flags, "open")).filter((value) => value !== undefined).length > 1;
  if (ids.length > 0 && isFiltered) {
    throw new ConfigurationError(
      "Cannot combine ids with --reason, --since, --until or --sensor: give one or the other",
    );
  }
  if (ids.length > 0) return { ids: [...new Set(ids.map(parseLetterId))], state: "all" };
  if (!isFiltered) {
    throw new ConfigurationError(
      "Cannot choose dead letters: give ids, or --reason, --since, --until or --sensor",
    );
  }
  return parseFilter(flags, "open");
}

/**
 * Reads the id of a dead letter.
 *
 * @throws {ConfigurationError} if it is not a number.
 */
export function parseLetterId(text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new ConfigurationError(`Cannot find dead letter "${text}": an id is a number`);
}

/** Dead letters as a table; `columns` are those of the terminal, if there is one. */
export function listText(letters: readonly KeptDeadLetter[], columns?: number): string {
  const head = ["id", "stored at", "place", "state", "reason", "detail", "message"];
  const rows = letters.map((letter) => [
    String(letter.id),
    letter.createdAt,
    `${letter.partition}:${letter.offset}`,
    stateText(letter),
    letter.reason,
    printable(letter.detail),
    letter.payload === null ? "(none)" : excerpt(letter),
  ]);
  return table(head, rows, { columns, alignment: "left", last: "cut" }).join("\n");
}

function excerpt({ payload, payloadBytes }: KeptDeadLetter): string {
  const bytes = payload ?? new Uint8Array();
  // The cut can go through a character; what is left of it is not a fault of the message.
  const whole = new TextDecoder().decode(bytes, { stream: bytes.length < payloadBytes });
  const text = whole.includes("\uFFFD") ? printableBytes(bytes) : printable(whole);
  return bytes.length < payloadBytes ? `${text}…` : text;
}

function stateText({ resolution, attempts }: KeptDeadLetter): string {
  if (resolution !== null) return resolution;
  return attempts === 0 ? "open" : `open, tried ${attempts}`;
}

/** One dead letter, and what would come of it today. */
export interface Examination {
  /** The dead letter. */
  readonly letter: KeptDeadLetter;
  /** What a replay would do. */
  readonly today: ReplayOutcome;
  /** If that is a conflict: the stored reading, and the one in the dead letter. */
  readonly conflict?: { readonly stored: StoredReadingRow; readonly sent: Reading };
}

/**
 * Looks what a replay of a dead letter would do, and with what it conflicts.
 *
 * @throws {TransientError} if PostgreSQL is away.
 */
export async function examine(
  letter: KeptDeadLetter,
  pool: SqlPool,
  limits: ParseLimits,
): Promise<Examination> {
  if (letter.resolution !== null) return { letter, today: { kind: "resolved" } };
  const parsed = judgeMessage(letter, limits);
  if (parsed.kind === "rejection") {
    return { letter, today: { kind: "rejected", rejection: parsed } };
  }
  const readingId = parsed.reading.unique_reading_id;
  const verdict = await compareWithStored(pool, parsed.reading);
  if (verdict !== "conflict") {
    return { letter, today: { kind: verdict === "new" ? "inserted" : verdict, readingId } };
  }
  const stored = await readStoredReading(pool, readingId);
  const today = { kind: verdict, readingId };
  return stored === undefined
    ? { letter, today }
    : { letter, today, conflict: { stored, sent: parsed.reading } };
}

/** All about one dead letter; `columns` are those of the terminal, if there is one. */
export function showText(
  { letter, today, conflict }: Examination,
  columns?: number,
): string {
  const { topic, payload, payloadBytes } = letter;
  const rows: [string, string][] = [
    ["reason", `${letter.reason}: ${printable(letter.detail)}`],
    [
      "topic",
      `${printable(topic.topic)} (${topic.topicId}, cluster ${printable(topic.clusterId)})`,
    ],
    ["place", `partition ${letter.partition}, offset ${letter.offset}`],
    ["stored at", letter.createdAt],
    ["key", letter.key === null ? "(none)" : printableBytes(letter.key)],
    ["headers", printable(JSON.stringify(letter.headers))],
    ["length", `${payloadBytes} bytes, SHA-256 ${letter.payloadSha256}`],
    ["attempts", attemptsText(letter)],
    ["state", resolutionText(letter)],
    ...(letter.resolution === null ? [["today", outcomeText(today)] as [string, string]] : []),
  ];
  return [
    `dead letter ${letter.id}`,
    ...table([], rows.map(([name, value]) => [`  ${name}`, value]), {
      columns,
      alignment: "left",
      last: "wrap",
    }),
    "",
    // Most messages have no space to wrap at.
    ...broken(payload === null ? "(no message)" : printableBytes(payload), columns ?? Infinity),
    ...(payload !== null && payload.length < payloadBytes ? ["(cut here)"] : []),
    ...(conflict === undefined ? [] : ["", ...conflictText(conflict, columns)]),
  ].join("\n");
}

function attemptsText({ attempts, attemptedAt, attemptFault }: KeptDeadLetter): string {
  if (attempts === 0) return "none";
  const fault = attemptFault === null ? "" : `: ${printable(attemptFault)}`;
  return `${attempts}, the last at ${attemptedAt}${fault}`;
}

function resolutionText(letter: KeptDeadLetter): string {
  const { resolution, resolvedAt, resolutionNote, readingId } = letter;
  if (resolution === null) return "open";
  const note = resolutionNote === null ? "" : ` (${printable(resolutionNote)})`;
  const reading = readingId === null ? "" : `, reading ${readingId}`;
  return `${resolution} at ${resolvedAt}${reading}${note}`;
}

function conflictText(
  { stored, sent }: { readonly stored: StoredReadingRow; readonly sent: Reading },
  columns: number | undefined,
): readonly string[] {
  const place = stored.partition === null
    ? "from no partition"
    : `partition ${stored.partition}, offset ${stored.offset}`;
  const right = fieldsOf(sent);
  const rows = fieldsOf(stored.reading).map(([field, value], index) => {
    const other = right[index]?.[1] ?? "";
    return [value === other ? "" : "!", field, value, other];
  });
  return table(["", "field", `stored (${place})`, "in the dead letter"], rows, {
    columns,
    alignment: "left",
  });
}

/** The fields in the order of the table; times as one instant, so that zones make no difference. */
function fieldsOf(reading: Reading): readonly (readonly [string, string])[] {
  const { location, timestamp, ...rest } = reading;
  const fields = { ...rest, ...location, timestamp: utcText(timestamp) };
  return Object.entries(fields).map(([field, value]) => [field, printable(String(value))]);
}

/** An RFC 3339 time in UTC with six digits of a second. */
function utcText(timestamp: string): string {
  const [, digits = ""] = timestamp.match(/\.(\d+)/) ?? [];
  const seconds = new Date(timestamp.replace(/\.\d+/, "")).toISOString().slice(0, 19);
  return `${seconds}.${digits.padEnd(6, "0")}Z`;
}

/** What became of a replay, as the end of a line. */
export function outcomeText(outcome: ReplayOutcome): string {
  switch (outcome.kind) {
    case "inserted":
      return `inserted as reading ${outcome.readingId}`;
    case "duplicate":
      return `duplicate: reading ${outcome.readingId} is already stored with the same content`;
    case "conflict":
      return `conflict: reading ${outcome.readingId} is stored with other content`;
    case "rejected":
      return `rejected, ${outcome.rejection.reason}: ${outcome.rejection.detail}`;
    case "resolved":
      return "already resolved; nothing to do";
    case "absent":
      return "no such dead letter";
  }
}

/** A dead letter as an object for JSON. Bytes are text where they are UTF-8, else base64. */
export function letterJson(letter: KeptDeadLetter): Readonly<Record<string, unknown>> {
  const { id, topic, payload, key, resolution, ...rest } = letter;
  return {
    id,
    state: resolution ?? "open",
    ...topic,
    ...rest,
    ...bytesJson("payload", payload),
    ...bytesJson("key", key),
  };
}

function bytesJson(name: string, bytes: Uint8Array | null): Readonly<Record<string, unknown>> {
  const text = bytes === null ? null : utf8Of(bytes);
  if (bytes === null || text !== undefined) return { [name]: text };
  return { [name]: null, [`${name}Base64`]: Buffer.from(bytes).toString("base64") };
}
