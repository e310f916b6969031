import assert from "node:assert/strict";
import { clockText, durationText } from "../lib/time_text.ts";

Deno.test("durationText() has two units at most", async (t) => {
  const rows: readonly [ms: number, want: string][] = [
    [0, "0 s"],
    [40, "0 s"],
    [250, "0.3 s"],
    [4_000, "4 s"],
    [9_940, "9.9 s"],
    [9_950, "10 s"],
    [59_499, "59 s"],
    [59_500, "1 min"],
    [100_000, "1 min 40 s"],
    [3_600_000, "1 h"],
    [3_725_000, "1 h 2 min"],
    [90_000_000, "1 d 1 h"],
    [86_460_000, "1 d"],
  ];
  for (const [ms, want] of rows) {
    await t.step(`${ms} ms: ${want}`, () => assert.equal(durationText(ms), want));
  }
});

Deno.test("clockText() is the time of day in the log", () => {
  assert.equal(clockText(Date.UTC(2026, 10, 29, 12, 3, 4, 999)), "12:03:04");
});
