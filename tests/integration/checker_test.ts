/** The oracle itself: it must see every kind of fault, or the tests that rely on it prove nothing. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  findLastValueProblems,
  type Stored,
  type StoredDeadLetter,
  type StoredRow,
} from "../../campaign/stored.ts";
import { findProblems, type SentMessage } from "./checker.ts";
import { generate, messageOf, PLAIN, sampleRow } from "../../campaign/generated_messages.ts";

const [A, B] = generate(2, PLAIN, 1).map(({ truth }) =>
  truth.kind === "reading" ? truth.row : null
);
const BAD = new TextEncoder().encode("not a reading");

/** Partition 0: a reading, its repeat, a conflict. Partition 1: a bad message, another reading. */
const SENT: readonly SentMessage[] = [
  sentAt(0, 0, messageOf(A!)),
  sentAt(0, 1, messageOf(A!)),
  sentAt(0, 2, messageOf({ ...A!, status: "broken" })),
  { partition: 1, offset: 0, key: null, value: BAD, truth: { kind: "bad", reason: "json" } },
  sentAt(1, 1, messageOf(B!)),
];

const LINE = { first: 0, skipped: 0, gaps: 0, rewound: 0, inserted: 1, deadLetters: 1 };
const WELL: Stored = {
  rows: [{ ...A!, partition: 0, offset: 0 }, { ...B!, partition: 1, offset: 1 }],
  deadLetters: [letterOf(SENT[2]!, "id_conflict"), letterOf(SENT[3]!, "json")],
  lines: [
    { ...LINE, partition: 0, next: 3, duplicates: 1 },
    { ...LINE, partition: 1, next: 2, duplicates: 0 },
  ],
};

function sentAt(
  partition: number,
  offset: number,
  { key, value, truth }: ReturnType<typeof messageOf>,
): SentMessage {
  return { partition, offset, key: new TextEncoder().encode(key ?? ""), value, truth };
}

function letterOf(
  { partition, offset, key, value }: SentMessage,
  reason: string,
): StoredDeadLetter {
  const sha256 = createHash("sha256").update(value!).digest("hex");
  return { partition, offset, reason, payload: value, payloadBytes: value!.length, sha256, key };
}

Deno.test("findProblems() finds none where all is well", () => {
  assert.deepEqual(findProblems(SENT, WELL), []);
});

Deno.test("findProblems() sees every kind of fault", async (t) => {
  const [row, ...rows] = WELL.rows as [StoredRow, ...StoredRow[]];
  const [letter, ...letters] = WELL.deadLetters as [StoredDeadLetter, ...StoredDeadLetter[]];
  const withRow = (changes: Partial<StoredRow>): Partial<Stored> => ({
    rows: [{ ...row, ...changes }, ...rows],
  });
  const withLetter = (changes: Partial<StoredDeadLetter>): Partial<Stored> => ({
    deadLetters: [{ ...letter, ...changes }, ...letters],
  });
  const cases: [string, Partial<Stored>, RegExp][] = [
    ["a row missing", { rows }, /^row .*: missing$/],
    ["a row twice", { rows: [row, ...WELL.rows] }, /: stored twice$/],
    ["a row of nobody", withRow({ unique_reading_id: "x" }), /has no message with this id$/],
    ["a row from the repeat", withRow({ offset: 1 }), /expected the first, 0$/],
    ["a microsecond off", withRow({ timestampUs: row.timestampUs + 1n }), /: timestampUs is /],
    ["a rounded value", withRow({ value: Math.fround(row.value) + 1 }), /: value is /],
    ["a trimmed text", withRow({ unit: "" }), /: unit is /],
    ["the conflict's content", withRow({ status: "broken" }), /: status is broken/],
    ["a dead letter missing", { deadLetters: letters }, /missing, expected id_conflict$/],
    ["a dead letter twice", { deadLetters: [letter, letter, ...letters] }, /: kept twice$/],
    ["a reading as dead letter", withLetter({ offset: 0 }), /id_conflict, expected none$/],
    ["another reason", withLetter({ reason: "json" }), /is json, expected id_conflict$/],
    ["other bytes", withLetter({ payload: new Uint8Array() }), /payload, .* differ$/],
    ["another hash", withLetter({ sha256: "" }), /hash or key differ$/],
    ["another key", withLetter({ key: null }), /hash or key differ$/],
    ["no line", { lines: WELL.lines.slice(1) }, /^partition 0: no line/],
    ["a line behind", { lines: [{ ...WELL.lines[0]!, next: 2 }, WELL.lines[1]!] }, /next is 2/],
    ["a count moved", {
      lines: [{ ...WELL.lines[0]!, duplicates: 0, skipped: 1 }, WELL.lines[1]!],
    }, /duplicates is 0, expected 1$/],
  ];
  for (const [name, fault, expected] of cases) {
    await t.step(name, () => {
      const problems = findProblems(SENT, { ...WELL, ...fault });
      assert.ok(problems.some((problem) => expected.test(problem)), problems.join("\n"));
    });
  }
});

Deno.test("findLastValueProblems() sees an older value, an older score, a sensor too many", () => {
  const older = { ...sampleRow({ sensor_id: "s", timestampUs: 1n }), partition: 0, offset: 0 };
  const newer = { ...sampleRow({ sensor_id: "s", timestampUs: 2n }), partition: 0, offset: 1 };
  const problemsOf = (last: StoredRow, index: Record<string, string>): readonly string[] =>
    findLastValueProblems(
      [newer, older],
      new Map([["s", JSON.stringify({ unique_reading_id: last.unique_reading_id })]]),
      new Map(Object.entries(index)),
    );
  assert.deepEqual(problemsOf(newer, { s: "2" }), []);
  assert.match(problemsOf(older, { s: "2" }).join(), /^last:s is of /);
  assert.match(problemsOf(newer, { s: "1" }).join(), /^last:index of s is 1, expected 2$/);
  assert.match(problemsOf(newer, { s: "2", t: "1" }).join(), /has 2 sensors, expected 1$/);
});
