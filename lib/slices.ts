/**
 * Long work in short pieces: between them the event loop goes on with what else there is, the flow
 * above all.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";

/** Cheap steps of one piece: some tenths of a millisecond. */
export const SLICE_STEPS = 4_000;

/** Lets everything else that is due go first. */
export async function nextTurn(): Promise<void> {
  await setImmediate();
}

/** Does `work` for each item, a piece at a time. */
export async function forEachInSlices<Item>(
  items: Iterable<Item>,
  work: (item: Item) => void,
): Promise<void> {
  let steps = 0;
  for (const item of items) {
    if (++steps % SLICE_STEPS === 0) await nextTurn();
    work(item);
  }
}

/** The items in their order, sorted a piece at a time. Equal ones stay as they stood. */
export async function sortedInSlices<Item>(
  items: readonly Item[],
  compare: (a: Item, b: Item) => number,
): Promise<Item[]> {
  let from: Item[] = [];
  for (let start = 0; start < items.length; start += SLICE_STEPS) {
    for (const item of items.slice(start, start + SLICE_STEPS).sort(compare)) from.push(item);
    if (from.length < items.length) await nextTurn();
  }
  for (let width = SLICE_STEPS; width < from.length; width *= 2) {
    from = await mergedPairs(from, width, compare);
  }
  return from;
}

/** Merges sorted runs of `width`, two and two. */
async function mergedPairs<Item>(
  from: readonly Item[],
  width: number,
  compare: (a: Item, b: Item) => number,
): Promise<Item[]> {
  const to: Item[] = [];
  for (let start = 0; start < from.length; start += 2 * width) {
    const middle = Math.min(start + width, from.length);
    const end = Math.min(start + 2 * width, from.length);
    let [left, right] = [start, middle];
    while (left < middle || right < end) {
      const takesLeft = right >= end || (left < middle && compare(from[left]!, from[right]!) <= 0);
      to.push(from[takesLeft ? left++ : right++]!);
      if (to.length % SLICE_STEPS === 0) await nextTurn();
    }
  }
  return to;
}
