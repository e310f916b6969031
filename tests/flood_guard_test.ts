import assert from "node:assert/strict";
import { type Flood, FloodGuard } from "../lib/consumer/flood_guard.ts";
import { tellAll } from "../lib/consumer/observer.ts";
import { createLog } from "../lib/log.ts";
import type { OpenDeadLetters } from "../lib/postgres/store.ts";
import type { RejectionReason } from "../lib/reading/rejection.ts";
import { FakeClock } from "./fake_clock.ts";
import { MemoryPipeline, messageTexts } from "./memory_pipeline.ts";

/** A guard with everything that it says and tells. */
class Guarded {
  readonly clock = new FakeClock();
  readonly lines: Record<string, unknown>[] = [];
  readonly told: (Flood | undefined)[] = [];
  /** What the table answers; by hand, for the order of answers matters. */
  readonly asked: PromiseWithResolvers<OpenDeadLetters>[] = [];
  readonly #guard: FloodGuard;

  constructor(share = 0.5, messages = 100) {
    const settings = { deadLetterAlarmShare: share, deadLetterAlarmMessages: messages };
    this.#guard = new FloodGuard(settings, {
      clock: this.clock,
      store: {
        openDeadLetters: () => {
          this.asked.push(Promise.withResolvers());
          return this.asked.at(-1)!.promise;
        },
      },
      log: createLog({
        level: "info",
        format: "json",
        clock: this.clock,
        write: (line) => this.lines.push(JSON.parse(line)),
      }),
      observer: { flooded: (flood) => this.told.push(flood) },
    });
  }

  /** A batch of so many messages, of which some are bad. */
  store(messages: number, rejections: Partial<Record<RejectionReason, number>> = {}): void {
    this.#guard.stored({
      messages,
      rejections: new Map(Object.entries(rejections) as [RejectionReason, number][]),
    });
  }

  /** Begins to look whether all is resolved. */
  look(givenUp = new AbortController().signal): Promise<void> {
    return this.#guard.look(givenUp);
  }

  /** Levels of what was said. */
  get levels(): unknown[] {
    return this.lines.map(({ level }) => level);
  }
}

Deno.test("FloodGuard says once how many of the last messages are bad, why, and what to do", () => {
  const guarded = new Guarded();
  guarded.store(100, { json: 20, missing: 15, utf8: 10, range: 5 });
  assert.deepEqual(guarded.lines, [], "half of them is not more than half");
  guarded.store(10, { json: 10 });
  guarded.store(1, { json: 1 });
  const [said, ...more] = guarded.lines;
  const { level, message, deadLetters, ofTheLast, reasons, see } = said!;
  assert.deepEqual({ level, deadLetters, ofTheLast, reasons, see }, {
    level: "error",
    deadLetters: 60,
    ofTheLast: 110,
    reasons: "json 30, missing 15, utf8 10",
    see: "deno task dead-letters list",
  });
  assert.match(String(message), /not valid readings.*kept as dead letters.*continues/);
  assert.deepEqual(more, []);
  assert.deepEqual(guarded.told.map((flood) => flood?.deadLetters), [60, 61]);
});

Deno.test("FloodGuard looks at the last messages only", async (t) => {
  await t.step("what is bad at the start counts against messages that have not come", () => {
    const guarded = new Guarded();
    guarded.store(50, { json: 50 });
    assert.deepEqual(guarded.levels, []);
    guarded.store(1, { json: 1 });
    assert.deepEqual(guarded.levels, ["error"]);
  });
  await t.step("what is old is forgotten", () => {
    const guarded = new Guarded();
    for (let batch = 0; batch < 100; batch++) guarded.store(10, { json: batch % 2 === 0 ? 8 : 0 });
    assert.deepEqual(guarded.levels, [], "40 % all the time");
    for (let batch = 0; batch < 6; batch++) guarded.store(10, { utf8: 10 });
    assert.deepEqual(guarded.levels, ["error"]);
    assert.equal(guarded.lines[0]?.ofTheLast, 100);
  });
  await t.step("one batch can be larger than all that is looked at", () => {
    const guarded = new Guarded();
    guarded.store(5_000, { json: 2_501 });
    assert.deepEqual(guarded.levels, ["error"]);
  });
  await t.step("a batch without messages says nothing", () => {
    const guarded = new Guarded(0.5, 1);
    guarded.store(0);
    guarded.store(1, { json: 1 });
    guarded.store(0);
    assert.deepEqual([guarded.levels, guarded.told.length], [["error"], 1]);
  });
});

Deno.test("FloodGuard says it again each minute while it lasts, and when it is over", async () => {
  const guarded = new Guarded();
  for (let second = 0; second < 150; second++) {
    guarded.store(10, { json: 10 });
    await guarded.clock.advance(1_000);
  }
  assert.deepEqual(guarded.levels, ["error", "error", "error"]);
  for (let batch = 0; batch < 7; batch++) guarded.store(10);
  assert.equal(guarded.told.at(-1)?.deadLetters, 30);
  assert.equal(guarded.levels.length, 3, "half as many as allowed are the end, and not just fewer");
  guarded.store(10);
  assert.deepEqual(guarded.levels, ["error", "error", "error", "info"]);
  assert.equal(guarded.told.at(-1), undefined);
  guarded.store(100, { json: 100 });
  assert.deepEqual(guarded.levels.at(-1), "error", "the next flood is said at once");
});

Deno.test("FloodGuard is over when every dead letter has been resolved", async (t) => {
  const resolved: OpenDeadLetters = { count: 0, isMore: false };
  const guarded = new Guarded();
  await t.step("nobody is asked without a flood", async () => {
    await guarded.look();
    assert.deepEqual(guarded.asked, []);
  });
  await t.step("it goes on while one is open", async () => {
    guarded.store(100, { json: 100 });
    const looking = guarded.look();
    guarded.asked[0]!.resolve({ count: 1, isMore: false });
    await looking;
    assert.equal(guarded.told.at(-1)?.deadLetters, 100);
  });
  await t.step("a count from before a batch does not know its dead letters", async () => {
    const looking = guarded.look();
    guarded.store(100, { json: 100 });
    guarded.asked[1]!.resolve(resolved);
    await looking;
    assert.equal(guarded.told.at(-1)?.deadLetters, 100);
  });
  await t.step("an answer that was given up changes nothing", async () => {
    const looking = guarded.look(AbortSignal.abort());
    guarded.asked[2]!.resolve(resolved);
    await looking;
    assert.equal(guarded.told.at(-1)?.deadLetters, 100);
  });
  await t.step("all are resolved", async () => {
    const looking = guarded.look();
    guarded.asked[3]!.resolve(resolved);
    await looking;
    assert.equal(guarded.told.at(-1), undefined);
    assert.match(String(guarded.lines.at(-1)?.message), /every dead letter has been resolved/);
  });
  await t.step("what had been handled does not count again", () => {
    guarded.store(10, { json: 5 });
    assert.deepEqual(guarded.levels, ["error", "info"]);
    guarded.store(100, { json: 100 });
    assert.deepEqual(guarded.levels, ["error", "info", "error"], "the next flood is said at once");
  });
});

Deno.test("FloodGuard with share 0 is off", () => {
  const guarded = new Guarded(0);
  guarded.store(1_000, { json: 1_000 });
  assert.deepEqual([guarded.lines, guarded.told], [[], []]);
});

Deno.test("consume() ends the alarm when all is resolved, also if no message comes any more", async () => {
  const pipeline = new MemoryPipeline(1);
  let flood: Flood | undefined;
  const consumer = pipeline.start(
    { deadLetterAlarmShare: 0.5, deadLetterAlarmMessages: 200 },
    (parts) => ({ ...parts, observer: tellAll([{ flooded: (told) => flood = told }]) }),
  );
  pipeline.append(0, Array.from({ length: 300 }, () => "{"));
  await pipeline.until("the alarm", () => flood !== undefined);
  await pipeline.clock.advance(30_000);
  assert.notEqual(flood, undefined, "they are open");
  pipeline.store.resolveDeadLetters();
  await pipeline.clock.advance(10_000);
  assert.equal(flood, undefined);
  await pipeline.stop(consumer);
});

Deno.test("consume() with nothing but bad messages says so, and stores what comes after", async () => {
  const pipeline = new MemoryPipeline(1);
  const flooded = { deadLetterAlarmShare: 0.5, deadLetterAlarmMessages: 200 };
  const consumer = pipeline.start(flooded);
  pipeline.append(0, Array.from({ length: 300 }, () => "{"));
  pipeline.append(0, messageTexts(1, 5));
  await pipeline.until("rows", () => pipeline.store.readings.size === 5);
  await pipeline.stop(consumer);
  assert.equal(pipeline.store.deadLetters.length, 300);
  const said = pipeline.logged.filter((line) => line.includes("not valid readings"));
  assert.equal(said.length, 1, pipeline.logged.join(""));
  assert.match(said[0]!, /ERROR .*json 200/);
});
