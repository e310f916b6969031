import assert from "node:assert/strict";
import { SPARKLINE_MS, SPARKLINE_SLOTS, Sparklines } from "../lib/monitor/sparklines.ts";
import type { Pages } from "../lib/postgres/pages.ts";
import { FakeClock } from "./fake_clock.ts";

const NOW_MS = Date.UTC(2026, 10, 24, 12);

/** Answers with how often it was asked, and writes down by whom. */
function countingPages(): Pick<Pages, "sparklines"> & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    sparklines: (ids, { fromMs, toMs }, slots) => {
      assert.deepEqual([toMs - fromMs, slots], [SPARKLINE_MS, SPARKLINE_SLOTS]);
      asked.push(ids.join());
      return Promise.resolve(new Map(ids.map((id) => [id, [asked.length, null]])));
    },
  };
}

Deno.test("Sparklines.of() reads a line once in ten seconds", async () => {
  const clock = new FakeClock(NOW_MS);
  const pages = countingPages();
  const sparklines = new Sparklines(pages, clock);
  assert.deepEqual([...await sparklines.of(["a", "b"])], [["a", [1, null]], ["b", [1, null]]]);
  await clock.advance(9_999);
  assert.deepEqual([...await sparklines.of(["b", "c"])], [["b", [1, null]], ["c", [2, null]]]);
  await clock.advance(1);
  assert.deepEqual([...await sparklines.of(["a", "c"])], [["c", [2, null]], ["a", [3, null]]]);
  assert.deepEqual(pages.asked, ["a,b", "c", "a"]);
});

Deno.test("Sparklines.of() is complete, however many sensors are looked at", async () => {
  const clock = new FakeClock(NOW_MS);
  const sparklines = new Sparklines(countingPages(), clock);
  for (let page = 0; page < 30; page++) {
    const ids = Array.from({ length: 500 }, (_, index) => `${page}-${index}`);
    assert.equal((await sparklines.of(["always", ...ids])).size, 501);
  }
});
