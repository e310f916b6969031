import assert from "node:assert/strict";
import {
  reject,
  REJECTION_DETAIL_LENGTH_MAX,
  REJECTION_REASONS,
} from "../lib/reading/rejection.ts";

Deno.test("reject() gives a detail that is safe to print", async (t) => {
  const cases: [string, string, string][] = [
    ["plain text", "unit: expected 1 to 64 characters", "unit: expected 1 to 64 characters"],
    ["nothing", "", ""],
    ["line breaks", "a\r\nb", "a\\u{d}\\u{a}b"],
    ["terminal escape", "\u001b[31m", "\\u{1b}[31m"],
    ["U+0000 and U+007F", "\0\u007f", "\\u{0}\\u{7f}"],
    ["accent", "é", "\\u{e9}"],
    ["outside the BMP", "😀", "\\u{1f600}"],
    ["half of a pair", "\ud800x", "\\u{d800}x"],
    ["right to left override", "\u202e", "\\u{202e}"],
    ["the first and the last printable", " ~", " ~"],
  ];
  for (const [name, detail, want] of cases) {
    await t.step(name, () => {
      assert.deepEqual(reject("json", detail), { kind: "rejection", reason: "json", detail: want });
    });
  }
});

Deno.test("reject() bounds the detail and cuts no escape in two", async (t) => {
  const full = "x".repeat(REJECTION_DETAIL_LENGTH_MAX);
  const cases: [string, string, string][] = [
    ["at the bound", full, full],
    ["one over", `${full}y`, full],
    ["a million", "x".repeat(1_000_000), full],
    ["escapes only", "😀".repeat(100), "\\u{1f600}".repeat(22)],
    ["an escape that does not fit", `${full.slice(1)}é`, full.slice(1)],
    ["an escape that just fits", `${full.slice(6)}é`, `${full.slice(6)}\\u{e9}`],
  ];
  for (const [name, detail, want] of cases) {
    await t.step(name, () => {
      assert.equal(reject("json", detail).detail, want);
    });
  }
});

Deno.test("REJECTION_REASONS are distinct and fit for a label", () => {
  assert.equal(new Set(REJECTION_REASONS).size, REJECTION_REASONS.length);
  for (const reason of REJECTION_REASONS) assert.match(reason, /^[a-z0-9_]{1,32}$/);
});
