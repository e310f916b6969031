import assert from "node:assert/strict";
import { Chores } from "../lib/consumer/chores.ts";
import { createLog } from "../lib/log.ts";
import { FakeClock } from "./fake_clock.ts";

function open(): { clock: FakeClock; chores: Chores; logged: string[] } {
  const clock = new FakeClock();
  const logged: string[] = [];
  const write = (line: string): void => void logged.push(line);
  const log = createLog({ level: "debug", format: "text", clock, write });
  return { clock, logged, chores: new Chores({ clock, log }) };
}

Deno.test("Chores.isDue() counts each interval from the first question", async () => {
  const { clock, chores } = open();
  assert.equal(chores.isDue("a", 100), false);
  await clock.advance(99);
  assert.equal(chores.isDue("a", 100), false);
  await clock.advance(1);
  assert.equal(chores.isDue("b", 100), false, "each kind by itself");
  assert.equal(chores.isDue("a", 100), true);
  assert.equal(chores.isDue("a", 100), false);
});

Deno.test("Chores.start() has one of each kind under way", async () => {
  const { chores, clock } = open();
  const began: string[] = [];
  const first = Promise.withResolvers<void>();
  const start = (kind: string, name: string, until: Promise<void>): void =>
    chores.start(kind, async () => {
      began.push(name);
      await until;
    });
  start("a", "first", first.promise);
  start("a", "left out", first.promise);
  start("b", "of another kind", Promise.resolve());
  first.resolve();
  await chores.settled("a");
  start("a", "second", Promise.resolve());
  await chores.settled("a");
  assert.deepEqual(began, ["first", "of another kind", "second"]);
  assert.equal(clock.sleeping, 0);
});

Deno.test("Chores.start() takes one that fails or hangs for done, and says so", async (t) => {
  await t.step("fails", async () => {
    const { chores, logged } = open();
    chores.start("a", () => Promise.reject(new Error("away")), 1_000);
    await chores.settled("a");
    assert.match(logged.join(), /a check failed.*away/);
  });
  await t.step("hangs", async () => {
    const { chores, clock, logged } = open();
    let tries = 0;
    let given: AbortSignal | undefined;
    const hang = (givenUp: AbortSignal): Promise<void> => {
      tries++;
      given ??= givenUp;
      return new Promise(() => {});
    };
    chores.start("a", hang, 1_000);
    await clock.advance(999);
    chores.start("a", hang, 1_000);
    assert.equal(tries, 1);
    assert.equal(given?.aborted, false);
    await clock.advance(1);
    assert.equal(given?.aborted, true, "its late answer must change nothing");
    chores.start("a", hang, 1_000);
    assert.equal(tries, 2);
    assert.match(logged.join(), /a check failed.*no answer within 1000 ms/);
    await clock.advance(1_000);
  });
});
