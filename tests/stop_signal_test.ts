import assert from "node:assert/strict";
import { SAME_WISH_MS, stopOnce, type StopSignal } from "../lib/stop_signal.ts";
import { FakeClock } from "./fake_clock.ts";

/** A name and after how many milliseconds from the one before it comes. */
type Sent = readonly [name: StopSignal, afterMs: number];

const CASES: readonly (readonly [name: string, signals: readonly Sent[], want: string])[] = [
  ["one stops", [["SIGTERM", 0]], "stop SIGTERM"],
  ["Ctrl-C and what deno task sends on", [["SIGINT", 0], ["SIGINT", 3]], "stop SIGINT"],
  ["a burst is one wish", Array(20).fill(["SIGINT", 20]), "stop SIGINT"],
  ["just before", [["SIGINT", 0], ["SIGINT", SAME_WISH_MS - 1]], "stop SIGINT"],
  ["a second wish", [["SIGINT", 0], ["SIGINT", SAME_WISH_MS]], "stop SIGINT, end"],
  ["another signal", [["SIGINT", 0], ["SIGTERM", 1_000]], "stop SIGINT, end"],
  ["counted from the first", [["SIGINT", 0], ["SIGINT", 300], ["SIGINT", 300]], "stop SIGINT, end"],
  ["a terminal that closes", [["SIGHUP", 0], ["SIGHUP", 5_000]], "stop SIGHUP"],
  ["and a wish after it", [["SIGHUP", 0], ["SIGINT", 5_000]], "stop SIGHUP, end"],
];

Deno.test("stopOnce() tells a second wish from the same signal twice", async (t) => {
  for (const [name, signals, want] of CASES) {
    await t.step(name, async () => {
      const clock = new FakeClock();
      const done: string[] = [];
      const take = stopOnce({
        stop: (signal) => done.push(`stop ${signal}`),
        end: () => done.push("end"),
      }, clock);
      for (const [signal, afterMs] of signals) {
        await clock.advance(afterMs);
        take(signal);
      }
      assert.equal(done.join(", "), want);
    });
  }
});
