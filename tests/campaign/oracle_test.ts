/** The oracle must find each kind of thing that must not be, and nothing where all is well. */
import assert from "node:assert/strict";
import type { NotedMessage } from "../../campaign/journal.ts";
import { judge, nameOf } from "../../campaign/oracle.ts";
import type { StoredDeadLetter, StoredRow } from "../../campaign/stored.ts";
import {
  generate,
  type GeneratedMessage,
  messageOf,
  PLAIN,
  sampleRow,
} from "../../campaign/generated_messages.ts";

const BAD = { repeats: 0, conflicts: 0, bad: 1 };
const NOTHING_DELETED = new Set<string>();

function noted(messages: readonly GeneratedMessage[]): NotedMessage[] {
  return messages.map((message, number) => ({
    ...message,
    number,
    sentAtMs: 1_000 + number,
    acknowledgedAtMs: 2_000 + number,
  }));
}

function rowsOf(messages: readonly GeneratedMessage[]): StoredRow[] {
  return messages.flatMap(({ truth }, offset) =>
    truth.kind === "reading" ? [{ ...truth.row, partition: 0, offset }] : []
  );
}

function letterOf(message: GeneratedMessage, reason: string): StoredDeadLetter {
  const { value } = message;
  return {
    partition: 0,
    offset: 0,
    reason,
    payload: value,
    payloadBytes: value?.length ?? 0,
    sha256: nameOf(value),
    key: null,
  };
}

function kinds(
  messages: readonly NotedMessage[],
  rows: readonly StoredRow[],
  deadLetters: readonly StoredDeadLetter[],
  deleted: ReadonlySet<string> = NOTHING_DELETED,
): readonly string[] {
  return judge(messages, { rows, deadLetters }, deleted).findings.map(({ kind }) => kind);
}

Deno.test("judge() is content with readings as rows and bad messages as dead letters", () => {
  const readings = generate(20, PLAIN, 1);
  const bad = generate(5, BAD, 2);
  const letters = bad.map((message) => {
    return letterOf(message, message.truth.kind === "bad" ? message.truth.reason : "");
  });
  assert.deepEqual(kinds(noted([...readings, ...bad]), rowsOf(readings), letters), []);
});

Deno.test("judge() misses an acknowledged reading, and a bad message without a dead letter", () => {
  const readings = generate(3, PLAIN, 1);
  const bad = generate(1, BAD, 2);
  const report = judge(
    noted([...readings, ...bad]),
    { rows: rowsOf(readings.slice(1)), deadLetters: [] },
    NOTHING_DELETED,
  );
  assert.deepEqual(report.findings.map(({ kind }) => kind), ["lost", "lost"]);
  assert.equal(report.findings[0]!.sentAtMs, 1_000);
});

Deno.test("judge() asks neither for unacknowledged messages nor for deleted ones", () => {
  const [first, second] = noted(generate(2, PLAIN, 1));
  const messages = [{ ...first!, acknowledgedAtMs: undefined }, second!];
  const report = judge(messages, { rows: [], deadLetters: [] }, new Set([nameOf(second!.value)]));
  assert.deepEqual(report.findings, []);
  assert.equal(report.unacknowledged, 1);
  assert.equal(report.deletedByUs, 1);
});

Deno.test("judge() sees a row twice, a changed row, and one that nobody sent", () => {
  const readings = generate(2, PLAIN, 1);
  const rows = rowsOf(readings);
  assert.deepEqual(kinds(noted(readings), [...rows, rows[0]!], []), ["stored twice"]);
  const changed = [{ ...rows[0]!, battery_level: 101 }, rows[1]!];
  assert.deepEqual(kinds(noted(readings), changed, []), ["lost", "wrongly stored"]);
  const strange = { ...sampleRow(), partition: 0, offset: 9 };
  assert.deepEqual(kinds(noted(readings), [...rows, strange], []), ["wrongly stored"]);
});

Deno.test("judge() knows a conflict from a reading that was set aside without a reason", () => {
  const row = sampleRow();
  const first = messageOf(row);
  const conflict = messageOf({ ...row, unit: `${row.unit}!` });
  const messages = noted([first, conflict]);
  const rows = rowsOf([first]);
  assert.deepEqual(kinds(messages, rows, [letterOf(conflict, "id_conflict")]), []);
  assert.deepEqual(kinds(messages, rows, []), ["lost"]);
  assert.deepEqual(kinds(noted([first]), rows, [letterOf(first, "id_conflict")]), [
    "wrongly dead-lettered",
  ]);
});

Deno.test("judge() sees a dead letter with the wrong reason, and one that nobody sent", () => {
  const [bad] = generate(1, BAD, 3);
  assert.deepEqual(kinds(noted([bad!]), [], [letterOf(bad!, "other")]), ["wrongly dead-lettered"]);
  const strange = letterOf(messageOf(sampleRow()), "json");
  assert.deepEqual(kinds([], [], [strange]), ["wrongly dead-lettered"]);
});
