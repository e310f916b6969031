import assert from "node:assert/strict";
import { decidePlacement, parseStartFrom, type Placement } from "../lib/consumer/placement.ts";
import { type EpochEnd, UNKNOWN_EPOCH } from "../lib/kafka/message.ts";
import { sampleLine } from "./sample_line.ts";

Deno.test("decidePlacement() follows the ledger and says what the log forces", async (t) => {
  const log = { low: 10, high: 20 };
  const rows: readonly [string, number | undefined, number | undefined, Placement][] = [
    ["the ledger's next", 15, undefined, { kind: "continue", offset: 15 }],
    ["a start does not move a known partition", 15, 11, { kind: "continue", offset: 15 }],
    ["at the end", 20, undefined, { kind: "continue", offset: 20 }],
    ["at the first message kept", 10, undefined, { kind: "continue", offset: 10 }],
    ["messages deleted unread", 4, undefined, { kind: "gap", fromOffset: 4, offset: 10 }],
    [
      "the log lost its end",
      21,
      undefined,
      { kind: "rewind", fromOffset: 21, offset: 10, epoch: UNKNOWN_EPOCH },
    ],
    ["no line: the beginning", undefined, undefined, { kind: "open", offset: 10 }],
    ["no line: the start given", undefined, 12, { kind: "open", offset: 12 }],
    ["no line: a start at the end", undefined, 20, { kind: "open", offset: 20 }],
    ["no line: a start that is deleted", undefined, 3, { kind: "open", offset: 10 }],
    ["no line: a start beyond the end", undefined, 21, { kind: "open", offset: 10 }],
  ];
  for (const [name, next, start, want] of rows) {
    await t.step(name, () => {
      const line = next === undefined ? undefined : sampleLine(next);
      assert.deepEqual(decidePlacement(line, { watermarks: log, end: undefined }, start), want);
    });
  }
});

Deno.test("decidePlacement() believes the leaders' epochs more than offsets", async (t) => {
  const log = { low: 10, high: 20 };
  const goesOn = (offset: number): Placement => ({ kind: "continue", offset });
  const goesBack = (fromOffset: number, offset: number, epoch: number): Placement => ({
    kind: "rewind",
    fromOffset,
    offset,
    epoch,
  });
  const rows: readonly [string, [next: number, epoch: number], EpochEnd, Placement][] = [
    ["the epoch goes on", [15, 3], { leaderEpoch: 3, endOffset: 20 }, goesOn(15)],
    ["the epoch ended here", [15, 3], { leaderEpoch: 3, endOffset: 15 }, goesOn(15)],
    [
      "it was cut, and others followed",
      [15, 3],
      { leaderEpoch: 3, endOffset: 13 },
      goesBack(15, 13, 3),
    ],
    ["nothing of it is left", [15, 3], { leaderEpoch: 2, endOffset: 13 }, goesBack(15, 10, -1)],
    [
      "another took its place and more",
      [15, 3],
      { leaderEpoch: 2, endOffset: 18 },
      goesBack(15, 10, -1),
    ],
    [
      "it was cut below what is kept",
      [15, 3],
      { leaderEpoch: 3, endOffset: 10 },
      goesBack(15, 10, -1),
    ],
    ["the watermark was wrong", [25, 3], { leaderEpoch: 3, endOffset: 30 }, goesOn(25)],
    ["no epoch, the watermark was wrong", [25, -1], { leaderEpoch: 3, endOffset: 25 }, goesOn(25)],
    [
      "no epoch, the log lost its end",
      [25, -1],
      { leaderEpoch: 3, endOffset: 24 },
      goesBack(25, 10, -1),
    ],
  ];
  for (const [name, [next, leaderEpoch], end, want] of rows) {
    await t.step(name, () => {
      const line = sampleLine(next, { leaderEpoch });
      assert.deepEqual(decidePlacement(line, { watermarks: log, end }, undefined), want);
    });
  }
  await t.step("messages deleted unread are a gap, whatever their epoch", () => {
    const facts = { watermarks: log, end: { leaderEpoch: 3, endOffset: 10 } };
    const want = { kind: "gap", fromOffset: 4, offset: 10 };
    assert.deepEqual(decidePlacement(sampleLine(4, { leaderEpoch: 3 }), facts, undefined), want);
  });
  await t.step("a start that the watermark does not reach, and the log does", () => {
    const facts = { watermarks: log, end: { leaderEpoch: 3, endOffset: 30 } };
    assert.deepEqual(decidePlacement(undefined, facts, 25), { kind: "open", offset: 25 });
  });
});

Deno.test("parseStartFrom() takes a place or says what it takes", async (t) => {
  const ms = Date.UTC(2026, 10, 24, 10);
  await t.step("nothing", () => assert.deepEqual(parseStartFrom(undefined), { kind: "committed" }));
  await t.step("beginning", () => {
    assert.deepEqual(parseStartFrom("beginning"), { kind: "beginning" });
  });
  for (const text of ["2026-11-24T10:00:00Z", "2026-11-24T11:00:00+01:00"]) {
    await t.step(text, () => {
      assert.deepEqual(parseStartFrom(text), { kind: "time", timestampMs: ms });
    });
  }
  for (const text of ["end", "yesterday", "2026-13-01", "10", "2026-11-24T10:00:00", ""]) {
    await t.step(`refuses "${text}"`, () => {
      assert.throws(() => parseStartFrom(text), {
        name: "ConfigurationError",
        message: /give beginning/,
      });
    });
  }
});
