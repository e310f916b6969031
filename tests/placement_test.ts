import assert from "node:assert/strict";
import { decidePlacement, parseStartFrom, type Placement } from "../lib/consumer/placement.ts";
import { sampleLine } from "./sample_line.ts";

Deno.test("decidePlacement() follows the ledger and says what the log forces", async (t) => {
  const log = { low: 10, high: 20 };
  const rows: readonly [string, number | undefined, number | undefined, Placement][] = [
    ["the ledger's next", 15, undefined, { kind: "continue", offset: 15 }],
    ["a start does not move a known partition", 15, 11, { kind: "continue", offset: 15 }],
    ["at the end", 20, undefined, { kind: "continue", offset: 20 }],
    ["at the first message kept", 10, undefined, { kind: "continue", offset: 10 }],
    ["messages deleted unread", 4, undefined, { kind: "gap", fromOffset: 4, offset: 10 }],
    ["the log lost its end", 21, undefined, { kind: "rewind", fromOffset: 21, offset: 10 }],
    ["no line: the beginning", undefined, undefined, { kind: "open", offset: 10 }],
    ["no line: the start given", undefined, 12, { kind: "open", offset: 12 }],
    ["no line: a start at the end", undefined, 20, { kind: "open", offset: 20 }],
    ["no line: a start that is deleted", undefined, 3, { kind: "open", offset: 10 }],
    ["no line: a start beyond the end", undefined, 21, { kind: "open", offset: 10 }],
  ];
  for (const [name, next, start, want] of rows) {
    await t.step(name, () => {
      const line = next === undefined ? undefined : sampleLine(next);
      assert.deepEqual(decidePlacement(line, log, start), want);
    });
  }
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
