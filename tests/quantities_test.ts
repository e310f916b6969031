import assert from "node:assert/strict";
import { counted, durationText } from "../lib/quantities.ts";

Deno.test("counted() has a noun that fits its number", () => {
  assert.equal(counted(1, "sensor"), "1 sensor");
  assert.equal(counted(0, "sensor"), "0 sensors");
  assert.equal(counted(1_200, "sensor"), "1,200 sensors");
  assert.equal(counted(1, "batch", "batches"), "1 batch");
  assert.equal(counted(2, "batch", "batches"), "2 batches");
});

Deno.test("durationText() names the two largest units", () => {
  const rows: [seconds: number, text: string][] = [
    [0, "0 s"],
    [59.4, "59 s"],
    [59.6, "1 min"],
    [200, "3 min 20 s"],
    [3_599, "59 min 59 s"],
    [18_420, "5 h 7 min"],
    [86_400, "1 d"],
    [1_000_000, "11 d 13 h"],
  ];
  for (const [seconds, text] of rows) assert.equal(durationText(seconds), text);
});
