/**
 * The oracle: what must be in the database after these messages were read, worked out from what the
 * test knows of them. It shares no code with the pipeline.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Truth } from "../../campaign/generated_messages.ts";
import type {
  ExpectedRow,
  Stored,
  StoredDeadLetter,
  StoredLine,
  StoredRow,
} from "../../campaign/stored.ts";

/** A message in the topic. */
export interface SentMessage {
  readonly partition: number;
  readonly offset: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly truth: Truth;
}

/** The largest part of a message that a dead letter keeps, bytes. */
const PAYLOAD_BYTES_MAX = 65_536;

/** Problems beyond this number say nothing new. */
const PROBLEMS_MAX = 20;

/**
 * Compares what was sent with what is stored.
 *
 * @param sent every message of one topic, read from its beginning into an empty database; there is one
 * at every offset
 * @returns a sentence for each problem; none: all is well
 */
export function findProblems(sent: readonly SentMessage[], stored: Stored): readonly string[] {
  return bounded([
    ...messageProblems(sent, stored),
    ...lineProblems(sent, stored.lines, rowsById(stored)),
  ]);
}

/** The same without the ledger, which counts offsets that no message is at, too. */
export function findMessageProblems(
  sent: readonly SentMessage[],
  stored: Stored,
): readonly string[] {
  return bounded(messageProblems(sent, stored));
}

function messageProblems(sent: readonly SentMessage[], stored: Stored): readonly string[] {
  const byPlace = new Map(sent.map((message) => [placeOf(message), message]));
  return [
    ...rowProblems(sent, stored.rows, firstOfEachId(sent)),
    ...deadLetterProblems(sent, stored.deadLetters, rowsById(stored), byPlace),
  ];
}

function rowsById({ rows }: Stored): ReadonlyMap<string, StoredRow> {
  return new Map(rows.map((row) => [row.unique_reading_id, row]));
}

function bounded(problems: readonly string[]): readonly string[] {
  return problems.length <= PROBLEMS_MAX
    ? problems
    : [...problems.slice(0, PROBLEMS_MAX), `and ${problems.length - PROBLEMS_MAX} more`];
}

/** By partition and id, the first message that carries the id: the only one that may be the row. */
function firstOfEachId(sent: readonly SentMessage[]): ReadonlyMap<string, SentMessage> {
  const firsts = new Map<string, SentMessage>();
  for (const message of sent.toSorted((a, b) => a.offset - b.offset)) {
    if (message.truth.kind === "bad") continue;
    const key = `${message.partition} ${message.truth.row.unique_reading_id}`;
    if (!firsts.has(key)) firsts.set(key, message);
  }
  return firsts;
}

function rowProblems(
  sent: readonly SentMessage[],
  rows: readonly StoredRow[],
  firsts: ReadonlyMap<string, SentMessage>,
): readonly string[] {
  const problems: string[] = [];
  const ids = new Set(
    sent.flatMap(({ truth }) => truth.kind === "reading" ? [truth.row.unique_reading_id] : []),
  );
  const found = new Set<string>();
  for (const row of rows) {
    const id = row.unique_reading_id;
    if (found.has(id)) problems.push(`row ${id}: stored twice`);
    found.add(id);
    const source = firsts.get(`${row.partition} ${id}`);
    if (source === undefined) {
      problems.push(`row ${id}: partition ${row.partition} has no message with this id`);
    } else if (source.offset !== row.offset) {
      problems.push(`row ${id}: from offset ${row.offset}, expected the first, ${source.offset}`);
    } else if (source.truth.kind === "reading") {
      for (const column of differences(source.truth.row, row)) {
        problems.push(`row ${id}: ${column}`);
      }
    }
  }
  for (const id of ids) if (!found.has(id)) problems.push(`row ${id}: missing`);
  return problems;
}

function differences(expected: ExpectedRow, found: ExpectedRow): readonly string[] {
  const columns = Object.keys(expected) as (keyof ExpectedRow)[];
  return columns.filter((column) => expected[column] !== found[column])
    .map((column) => `${column} is ${found[column]}, expected ${expected[column]}`);
}

/** The reason why a message has to be a dead letter; undefined: it must not be one. */
function reasonOf(
  { truth }: SentMessage,
  rows: ReadonlyMap<string, StoredRow>,
): string | undefined {
  if (truth.kind === "bad") return truth.reason;
  const row = rows.get(truth.row.unique_reading_id);
  // A missing row is another problem than a dead letter too few.
  return row === undefined || differences(truth.row, row).length === 0 ? undefined : "id_conflict";
}

function deadLetterProblems(
  sent: readonly SentMessage[],
  deadLetters: readonly StoredDeadLetter[],
  rows: ReadonlyMap<string, StoredRow>,
  byPlace: ReadonlyMap<string, SentMessage>,
): readonly string[] {
  const problems: string[] = [];
  const found = new Set<string>();
  for (const letter of deadLetters) {
    const place = placeOf(letter);
    if (found.has(place)) problems.push(`dead letter ${place}: kept twice`);
    found.add(place);
    const message = byPlace.get(place);
    const reason = message && reasonOf(message, rows);
    if (message === undefined || reason === undefined) {
      problems.push(`dead letter ${place}: ${letter.reason}, expected none`);
      continue;
    }
    if (letter.reason !== reason) {
      problems.push(`dead letter ${place}: reason is ${letter.reason}, expected ${reason}`);
    }
    if (!keepsBytes(letter, message)) {
      problems.push(`dead letter ${place}: payload, length, hash or key differ`);
    }
  }
  for (const message of sent) {
    const place = placeOf(message);
    const reason = reasonOf(message, rows);
    if (reason !== undefined && !found.has(place)) {
      problems.push(`dead letter ${place}: missing, expected ${reason}`);
    }
  }
  return problems;
}

function keepsBytes(letter: StoredDeadLetter, { key, value }: SentMessage): boolean {
  const hash = createHash("sha256").update(value ?? new Uint8Array()).digest("hex");
  return letter.payloadBytes === (value?.length ?? 0) && letter.sha256 === hash &&
    hexOf(letter.payload) === hexOf(value?.subarray(0, PAYLOAD_BYTES_MAX) ?? null) &&
    hexOf(letter.key) === hexOf(key);
}

function hexOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : bytes.toHex();
}

/** The ledger must say of each partition what can be counted from the messages and the rows. */
function lineProblems(
  sent: readonly SentMessage[],
  lines: readonly StoredLine[],
  rows: ReadonlyMap<string, StoredRow>,
): readonly string[] {
  const problems: string[] = [];
  for (const [partition, messages] of Map.groupBy(sent, (message) => message.partition)) {
    const [line, second] = lines.filter((each) => each.partition === partition);
    if (line === undefined || second !== undefined) {
      problems.push(`partition ${partition}: ${line ? "two lines" : "no line"} in the ledger`);
      continue;
    }
    const deadLetters = messages.filter((message) => reasonOf(message, rows) !== undefined).length;
    const inserted = rows.values().filter((row) => row.partition === partition).toArray().length;
    const offsets = messages.map((message) => message.offset);
    const expected: StoredLine = {
      partition,
      first: Math.min(...offsets),
      next: Math.max(...offsets) + 1,
      inserted,
      duplicates: messages.length - deadLetters - inserted,
      deadLetters,
      skipped: 0,
      gaps: 0,
      rewound: 0,
    };
    for (const name of Object.keys(expected) as (keyof StoredLine)[]) {
      if (line[name] === expected[name]) continue;
      problems.push(
        `partition ${partition}: ledger ${name} is ${line[name]}, expected ${expected[name]}`,
      );
    }
  }
  return problems;
}

function placeOf(at: { readonly partition: number; readonly offset: number }): string {
  return `${at.partition}:${at.offset}`;
}
