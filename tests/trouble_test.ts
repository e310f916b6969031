import assert from "node:assert/strict";
import { Trouble } from "../lib/consumer/trouble.ts";
import { FakeClock } from "./fake_clock.ts";
import { keptLog } from "./kept_log.ts";

/** Without spread: the first wait is 75 ms, the longest 1.5 s. */
function open(): { clock: FakeClock; lines: string[]; trouble: Trouble; told: string[] } {
  const clock = new FakeClock();
  const told: string[] = [];
  const { log, lines } = keptLog(clock);
  const observer = {
    failed: (step: string, partitions: readonly number[]) => told.push(`${step} ${partitions}`),
    wentOn: (partition: number) => told.push(`went on ${partition}`),
  };
  return { clock, lines, told, trouble: new Trouble({ clock, log, observer, random: () => 0.5 }) };
}

Deno.test("Trouble lets each partition wait for itself, longer after each failure in a row", async () => {
  const { clock, trouble, told } = open();
  trouble.failed("storing", [0], "refused");
  assert.equal(trouble.waitMsOf(0), 75);
  assert.equal(trouble.waitMsOf(1), 0);
  for (let times = 0; times < 6; times++) trouble.failed("storing", [0], "refused");
  assert.equal(trouble.waitMsOf(0), 1_500);
  trouble.failed("placing", [1], "refused");
  trouble.ended(1);
  assert.equal(trouble.waitMsOf(0), 1_500, "the end of another one's trouble is not its end");
  await clock.advance(1_000);
  assert.equal(trouble.waitMsOf(0), 500);
  trouble.ended(0);
  assert.equal(trouble.waitMsOf(0), 0);
  assert.equal(trouble.stepOf(0), undefined);
  assert.equal(trouble.failuresOf(0), 7);
  assert.deepEqual(told.slice(-3), ["placing 1", "went on 1", "went on 0"]);
});

Deno.test("Trouble lets partitions that failed together try again together", () => {
  const { trouble } = open();
  trouble.failed("placing", [0], "refused");
  trouble.failed("placing", [0, 1], "refused");
  assert.equal(trouble.waitMsOf(0), 150);
  assert.equal(trouble.waitMsOf(1), 150);
});

Deno.test("Trouble tells the same cause once, and its end when no partition has it", () => {
  const { trouble, lines } = open();
  for (let times = 0; times < 5; times++) {
    for (const partition of [0, 1]) trouble.failed("storing", [partition], "refused");
    trouble.failed("storing", [2], "disk full");
  }
  trouble.ended(0);
  assert.deepEqual(lines, [
    "WARN  waiting: refused  partitions=0",
    "WARN  waiting: disk full  partitions=2",
  ]);
  trouble.ended(1);
  trouble.ended(1);
  assert.deepEqual(lines.slice(2), ['INFO  going on  after=refused  waited="0 s"']);
  trouble.assign([0, 1]);
  assert.equal(lines.length, 3, "what is another member's has not ended");
});

Deno.test("Trouble that flaps fills no log, and one that lasts is told all the same", async () => {
  const { clock, trouble, lines } = open();
  for (let times = 0; times < 1_000; times++) {
    trouble.failed("storing", [0], `Cannot store ${times}`);
    trouble.ended(0);
    await clock.advance(20);
  }
  assert.equal(lines.length, 20, "ten troubles and their ends");
  trouble.failed("storing", [0], "refused");
  await clock.advance(60_000);
  trouble.failed("storing", [0], "refused");
  assert.match(lines.at(-1)!, /waiting: refused/);
});
