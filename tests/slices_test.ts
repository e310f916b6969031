import assert from "node:assert/strict";
import fc from "fast-check";
import { forEachInSlices, SLICE_STEPS, sortedInSlices } from "../lib/slices.ts";
import { turnsDuring } from "./turns_during.ts";

Deno.test("sortedInSlices() sorts as sort() does, equal ones as they stood", async () => {
  const lengths = [0, 1, SLICE_STEPS - 1, SLICE_STEPS, SLICE_STEPS + 1, 5 * SLICE_STEPS + 7];
  for (const length of lengths) {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1_000 }), async (range) => {
        const items = Array.from({ length }, (_, at) => ({ key: (at * 7_919) % range, at }));
        const sorted = await sortedInSlices(items, (a, b) => a.key - b.key);
        assert.deepEqual(sorted, items.toSorted((a, b) => a.key - b.key));
      }),
      { numRuns: 5 },
    );
  }
});

Deno.test("long work lets others have their turn", async (t) => {
  const items = Array.from({ length: 20 * SLICE_STEPS }, (_, at) => -at);
  await t.step("forEachInSlices()", async () => {
    let sum = 0;
    assert.ok(await turnsDuring(() => forEachInSlices(items, (item) => sum += item)) >= 19);
    assert.equal(sum, items.reduce((total, item) => total + item, 0));
  });
  await t.step("sortedInSlices()", async () => {
    const turns = await turnsDuring(async () => {
      await sortedInSlices(items, (a, b) => a - b);
    });
    // Once for each piece, and again in each of five rounds of merging.
    assert.ok(turns >= 5 * 19, `${turns} turns`);
  });
});
