import assert from "node:assert/strict";
import { TransientError } from "../lib/errors.ts";
import { Breaker } from "../lib/redis/breaker.ts";
import { FakeClock } from "./fake_clock.ts";

const BUDGET_MS = 250;
/** Without spread the pauses are half of the ceilings 500, 1000, 2000, 4000, 5000, 5000 ms. */
const PAUSES_MS = [250, 500, 1_000, 2_000, 2_500, 2_500];

interface Subject {
  readonly breaker: Breaker;
  readonly clock: FakeClock;
  /** What the breaker told, in order. */
  readonly told: string[];
  /** How often an action was run. */
  runs: number;
  succeed(): Promise<string | undefined>;
  fail(): Promise<string | undefined>;
  hang(): Promise<string | undefined>;
}

function openSubject(): Subject {
  const clock = new FakeClock();
  const told: string[] = [];
  const breaker = new Breaker({
    clock,
    budgetMs: BUDGET_MS,
    random: () => 0,
    onFailure: (cause) => told.push(`open: ${cause.message}`),
    onClose: () => told.push("closed"),
  });
  const run = (outcome: () => Promise<string>): Promise<string | undefined> =>
    breaker.attempt(() => {
      subject.runs++;
      return outcome();
    });
  const subject: Subject = {
    breaker,
    clock,
    told,
    runs: 0,
    succeed: () => run(() => Promise.resolve("done")),
    fail: () => run(() => Promise.reject(new TransientError("refused"))),
    hang: () => run(() => new Promise(() => {})),
  };
  return subject;
}

Deno.test("Breaker gives the result and says nothing while all is well", async () => {
  const { succeed, clock, told, breaker } = openSubject();
  assert.equal(await succeed(), "done");
  assert.equal(breaker.isOpen, false);
  assert.deepEqual(told, []);
  assert.equal(clock.sleeping, 0);
});

Deno.test("Breaker opens at the first failure and leaves calls out, told once", async () => {
  const subject = openSubject();
  assert.equal(await subject.fail(), undefined);
  assert.equal(subject.breaker.isOpen, true);
  for (let call = 0; call < 100; call++) assert.equal(await subject.succeed(), undefined);
  assert.equal(subject.runs, 1);
  assert.deepEqual(subject.told, ["open: refused"]);
});

Deno.test("Breaker makes nobody wait longer than the budget", async () => {
  const subject = openSubject();
  const waiting = subject.hang();
  await subject.clock.advance(BUDGET_MS - 1);
  assert.equal(subject.breaker.isOpen, false);
  await subject.clock.advance(1);
  assert.equal(await waiting, undefined);
  assert.deepEqual(subject.told, [`open: no answer within ${BUDGET_MS} ms`]);
  assert.equal(subject.clock.sleeping, 0);
});

Deno.test("Breaker probes after a pause and closes when the probe succeeds", async () => {
  const subject = openSubject();
  await subject.fail();
  await subject.clock.advance(PAUSES_MS[0]! - 1);
  assert.equal(await subject.succeed(), undefined);
  await subject.clock.advance(1);
  assert.equal(await subject.succeed(), "done");
  assert.equal(subject.breaker.isOpen, false);
  assert.equal(await subject.succeed(), "done");
  assert.deepEqual(subject.told, ["open: refused", "closed"]);
});

Deno.test("Breaker waits longer after each probe that fails, up to 5 s, and tells of each", async () => {
  const subject = openSubject();
  await subject.fail();
  for (const [index, pauseMs] of PAUSES_MS.entries()) {
    await subject.clock.advance(pauseMs - 1);
    assert.equal(await subject.fail(), undefined);
    assert.equal(subject.runs, 1 + index, `before pause ${index} is over`);
    await subject.clock.advance(1);
    await subject.fail();
    assert.equal(subject.runs, 2 + index, `after pause ${index}`);
  }
  assert.deepEqual(subject.told, Array(1 + PAUSES_MS.length).fill("open: refused"));
});

Deno.test("Breaker begins with the shortest pause again once it was closed", async () => {
  const subject = openSubject();
  await subject.fail();
  await subject.clock.advance(PAUSES_MS[0]!);
  await subject.fail();
  await subject.clock.advance(PAUSES_MS[1]!);
  assert.equal(await subject.succeed(), "done");
  await subject.fail();
  await subject.clock.advance(PAUSES_MS[0]!);
  assert.equal(await subject.succeed(), "done");
});

Deno.test("Breaker runs one probe at a time", async () => {
  const subject = openSubject();
  await subject.fail();
  await subject.clock.advance(PAUSES_MS[0]!);
  const probe = subject.hang();
  await subject.clock.advance(BUDGET_MS - 1);
  assert.equal(await subject.succeed(), undefined);
  assert.equal(subject.runs, 2);
  await subject.clock.advance(1);
  assert.equal(await probe, undefined);
  assert.equal(subject.breaker.isOpen, true);
});

Deno.test("Breaker takes no notice of calls that began before it opened", async (t) => {
  await t.step("their failures do not lengthen the pause", async () => {
    const subject = openSubject();
    const both = [subject.hang(), subject.hang()];
    await subject.clock.advance(BUDGET_MS);
    assert.deepEqual(await Promise.all(both), [undefined, undefined]);
    await subject.clock.advance(PAUSES_MS[0]!);
    assert.equal(await subject.succeed(), "done");
    assert.equal(subject.told.length, 2);
  });
  await t.step("their successes do not close it", async () => {
    const subject = openSubject();
    const slow = Promise.withResolvers<string>();
    const early = subject.breaker.attempt(() => slow.promise);
    await subject.fail();
    slow.resolve("late");
    assert.equal(await early, "late");
    assert.equal(subject.breaker.isOpen, true);
  });
});

Deno.test("Breaker lets faults of ours through, and a probe that ends so frees its place", async () => {
  const subject = openSubject();
  const bug = (): Promise<undefined> =>
    subject.breaker.attempt(() => Promise.reject(new TypeError("a bug")));
  await assert.rejects(bug, { name: "TypeError", message: "a bug" });
  assert.equal(subject.breaker.isOpen, false);
  await subject.fail();
  await subject.clock.advance(PAUSES_MS[0]!);
  await assert.rejects(bug, { name: "TypeError" });
  assert.equal(subject.breaker.isOpen, true);
  assert.equal(await subject.succeed(), "done");
});
