import assert from "node:assert/strict";
import { longestGapMs } from "../../campaign/progress.ts";

const SPAN = { fromMs: 100, toMs: 200 };

Deno.test("longestGapMs() counts from the first bound, between neighbours, and to the last bound", () => {
  assert.equal(longestGapMs([160], SPAN), 60);
  assert.equal(longestGapMs([110, 190], SPAN), 80);
  assert.equal(longestGapMs([110], SPAN), 90);
  assert.equal(longestGapMs([], SPAN), 100);
});

Deno.test("longestGapMs() takes times in any order, and none outside of the bounds", () => {
  assert.equal(longestGapMs([190, 50, 130, 300], SPAN), 60);
});
