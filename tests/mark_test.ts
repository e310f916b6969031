import assert from "node:assert/strict";
import { markTexts } from "../fakes/mark_texts.ts";
import { readingColumns } from "../fakes/reading_rows.ts";
import {
  judgeMark,
  lineageOf,
  type MarkScope,
  type MarkVerdict,
  MarkWriter,
} from "../lib/consumer/mark.ts";
import { parseReading } from "../lib/reading/reading.ts";
import { ReadingColumns } from "../lib/reading/reading_columns.ts";
import { idOf, messageText } from "./memory_pipeline.ts";
import { SAMPLE_LIMITS, utf8 } from "./sample_message.ts";

const TOPIC = { clusterId: "c", topic: "t", topicId: "00000000-0000-4000-8000-000000000001" };
const DATA_SET = "11111111-1111-4111-8111-111111111111";
const LINE = { topic: TOPIC, first: 5, gaps: 0, rewound: 0 };
const SCOPE: MarkScope = {
  lineage: lineageOf(DATA_SET, LINE),
  partition: 3,
  fromOffset: 100,
  fromEpoch: 4,
};
const at = (offset: number, leaderEpoch = 4): { offset: number; leaderEpoch: number } => ({
  offset,
  leaderEpoch,
});
const DIGEST = "0123456789abcd";

/** A mark as {@linkcode MarkWriter} writes it. */
function markValue(
  { lineage, partition }: MarkScope,
  { leaderEpoch, offset }: { readonly leaderEpoch: number; readonly offset: number },
  digest: string,
): string {
  return `${lineage}:${partition}:${leaderEpoch}/${offset}:${digest}`;
}

Deno.test("judgeMark() believes a mark only for stored messages of this history", async (t) => {
  const otherLife = { ...TOPIC, topicId: "00000000-0000-4000-8000-000000000002" };
  const otherSet = "22222222-2222-4222-8222-222222222222";
  const rows: readonly [string, string | null, MarkVerdict][] = [
    ["no mark", null, "unknown"],
    ["stored before this batch", markValue(SCOPE, at(99), DIGEST), "duplicate"],
    ["at the batch's first offset", markValue(SCOPE, at(100), DIGEST), "unknown"],
    ["ahead of the ledger: the database lost it", markValue(SCOPE, at(150), DIGEST), "unknown"],
    ["before the leader changed", markValue(SCOPE, at(99, 3), DIGEST), "unknown"],
    ["from before marks named a leader", `${SCOPE.lineage}:3:99:${DIGEST}`, "unknown"],
    ["another partition", markValue({ ...SCOPE, partition: 2 }, at(5), DIGEST), "unknown"],
    ["other content", markValue(SCOPE, at(99), "ffffffffffffff"), "suspect"],
    [
      "other content in another partition",
      markValue({ ...SCOPE, partition: 2 }, at(5), "ffffffffffffff"),
      "suspect",
    ],
    [
      "another data set",
      markValue({ ...SCOPE, lineage: lineageOf(otherSet, LINE) }, at(99), DIGEST),
      "unknown",
    ],
    [
      "another life of the topic",
      markValue(
        { ...SCOPE, lineage: lineageOf(DATA_SET, { ...LINE, topic: otherLife }) },
        at(99),
        DIGEST,
      ),
      "unknown",
    ],
    ...(["first", "gaps", "rewound"] as const).map((field): [string, string, MarkVerdict] => {
      const lineage = lineageOf(DATA_SET, { ...LINE, [field]: 7 });
      return [
        `of a line with other ${field}`,
        markValue({ ...SCOPE, lineage }, at(99), DIGEST),
        "unknown",
      ];
    }),
    ["the original app's mark", "1", "unknown"],
    ["a mark without content", `${SCOPE.lineage}:::`, "suspect"],
    ["an empty mark", "", "unknown"],
  ];
  for (const [name, mark, want] of rows) {
    await t.step(name, () => assert.equal(judgeMark(mark, SCOPE, DIGEST), want));
  }
});

Deno.test("MarkWriter writes what judgeMark() reads", () => {
  const places: readonly (readonly [offset: number, epoch: number])[] = [
    [0, 4],
    [9, 4],
    [10, 4],
    [99, 2_147_483_647],
    [Number.MAX_SAFE_INTEGER, -1],
    [4_294_967_296, 0],
  ];
  const columns = readingColumns(places.map(([offset], number) => {
    const parsed = parseReading(utf8(messageText(number)), SAMPLE_LIMITS);
    if (parsed.kind === "rejection") assert.fail(parsed.reason);
    return { offset, ...parsed };
  }));
  const writer = new MarkWriter(SCOPE, columns, places.length + 1);
  for (const [row, [, epoch]] of places.entries()) writer.stored(row, epoch);
  writer.conflicting(3);
  assert.deepEqual(markTexts(writer.marks), [
    ...places.map(([offset, leaderEpoch], row) => ({
      id: idOf(row),
      value: markValue(SCOPE, { leaderEpoch, offset }, columns.digestText(row)),
    })),
    { id: idOf(3), value: `${SCOPE.lineage}:::` },
  ]);
});

Deno.test("MarkWriter writes no mark of a batch without a reading", () => {
  const { count, ids, values, ends } = new MarkWriter(SCOPE, new ReadingColumns(0), 0).marks;
  assert.deepEqual([count, ids.length, values.length, ends.length], [0, 0, 0, 0]);
});
