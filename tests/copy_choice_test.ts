import assert from "node:assert/strict";
import { CopyChoice, type CopyProspect } from "../lib/consumer/copy_choice.ts";

const GOOD: CopyProspect = { hasSuspects: false, areMarksKnown: true };

/** Batches that are compared after a copy in vain, before one is copied again. */
function pauseAfter(choice: CopyChoice): number {
  assert.equal(choice.next(GOOD), "copy");
  choice.wasInVain();
  for (let batches = 0; batches < 1_000; batches++) {
    if (choice.next(GOOD) === "copy") {
      // That one was looked at and not stored.
      return batches;
    }
  }
  assert.fail("nothing is ever copied again");
}

/** A batch without a repeat that was copied. */
function copyWell(choice: CopyChoice): void {
  choice.wasStored("copy", { inserted: 100, duplicates: 0 });
}

Deno.test("CopyChoice copies, but for suspects and unknown marks", () => {
  const choice = new CopyChoice();
  assert.equal(choice.next(GOOD), "copy");
  assert.equal(choice.next({ ...GOOD, hasSuspects: true }), "compare");
  assert.equal(choice.next({ ...GOOD, areMarksKnown: false }), "compare");
  assert.equal(choice.next(GOOD), "copy");
});

Deno.test("CopyChoice pauses longer after each copy in vain, and recovers", () => {
  const choice = new CopyChoice();
  const pauses = Array.from({ length: 8 }, () => pauseAfter(choice));
  assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 64, 64]);
  copyWell(choice);
  copyWell(choice);
  assert.equal(pauseAfter(choice), 32);
  for (let copies = 0; copies < 6; copies++) copyWell(choice);
  assert.equal(pauseAfter(choice), 1);
});

Deno.test("CopyChoice learns nothing from a batch that had no row to copy, or was compared", () => {
  const choice = new CopyChoice();
  assert.deepEqual([pauseAfter(choice), pauseAfter(choice)], [1, 2]);
  choice.wasStored("copy", { inserted: 0, duplicates: 5 });
  choice.wasStored("compare", { inserted: 5, duplicates: 0 });
  assert.equal(pauseAfter(choice), 4);
});

Deno.test("CopyChoice copies without marks where there was no repeat for long", () => {
  const unknown = { ...GOOD, areMarksKnown: false };
  const choice = new CopyChoice();
  for (let batches = 0; batches < 20; batches++) {
    assert.equal(choice.next(unknown), "compare");
    choice.wasStored("compare", { inserted: 5_000, duplicates: 0 });
  }
  assert.equal(choice.next(unknown), "copy");
  assert.equal(choice.next({ ...unknown, hasSuspects: true }), "compare");
  choice.wasStored("copy", { inserted: 4_999, duplicates: 1 });
  assert.equal(choice.next(unknown), "compare");
});
