import assert from "node:assert/strict";
import type { ConsumeSummary } from "../lib/consumer/consumer.ts";
import { tellAll } from "../lib/consumer/observer.ts";
import { findStuck, type Sight } from "../lib/consumer/watchdog.ts";
import { RowDataError, TransientError } from "../lib/errors.ts";
import { MemoryPipeline, messageTexts, type RunningConsumer } from "./memory_pipeline.ts";

/** What a consumer may take from its last sign of life to its end. */
const END_MS_MAX = 60_000;

Deno.test("findStuck() counts from the last sign of life and from the first message", async (t) => {
  const rows: [string, Partial<Sight>, string | undefined][] = [
    ["nothing waits and nothing is done", { behind: new Map() }, undefined],
    ["nothing was fetched for long", {}, "nothing is being fetched"],
    ["the message came lately", { behind: waitingSince(60_000) }, undefined],
    ["something ended lately", { signMs: 60_000 }, undefined],
    ["one short of the limit", { nowMs: 44_999 }, undefined],
    ["just at the limit", { nowMs: 45_000 }, "nothing is being fetched"],
    [
      "a batch hangs while others end",
      { signMs: 99_000, works: [{ on: 1, signMs: 99_000 }, { on: 0, signMs: 1 }] },
      "a batch of partition 0 does not finish",
    ],
    [
      "a batch hangs of a partition that others read now",
      { signMs: 99_000, works: [{ on: 7, signMs: 1 }], behind: new Map() },
      "a batch of partition 7 does not finish",
    ],
    ["a batch goes on", { signMs: 99_000, works: [{ on: 0, signMs: 90_000 }] }, undefined],
    [
      "placing hangs before a message waits",
      { signMs: 99_000, works: [{ on: "placing", signMs: 1 }], behind: new Map() },
      "placing partitions does not finish",
    ],
    [
      "placing hangs on brokers that have answered again for a short time",
      { signMs: 99_000, works: [{ on: "placing", signMs: 1 }], answeredSinceMs: 60_000 },
      undefined,
    ],
  ];
  for (const [name, changes, want] of rows) {
    await t.step(name, () => {
      const sight = { ...QUIET, behind: waitingSince(0), ...changes };
      assert.equal(findStuck(sight, 45_000)?.what, want);
    });
  }
});

Deno.test("findStuck() says how much waits where, and for how long", () => {
  const behind = new Map([
    [4, { sinceMs: 3_000, messages: 5, signMs: 0 }],
    [1, { sinceMs: 10_000, messages: 2, signMs: 0 }],
  ]);
  assert.deepEqual(findStuck({ ...QUIET, behind, nowMs: 50_000 }, 45_000), {
    what: "nothing is being fetched",
    partitions: [1, 4],
    lagMessages: 7,
    quietMs: 47_000,
  });
});

Deno.test("findStuck() gives one partition four times as long while others move", async (t) => {
  const moving = { sinceMs: 0, messages: 9, signMs: 299_000 };
  const rows: [string, Partial<Sight>, readonly number[] | undefined][] = [
    ["just at the limit", {}, [1]],
    ["one short of it", { nowMs: 299_999 }, undefined],
    [
      "nothing has waited for that long",
      { behind: new Map([[1, { ...STILL, sinceMs: 120_001 }]]) },
      undefined,
    ],
    [
      "a batch of it has ended since",
      { behind: new Map([[1, { ...STILL, signMs: 120_001 }]]) },
      undefined,
    ],
    ["the brokers have answered for less long", { answeredSinceMs: 120_001 }, undefined],
  ];
  for (const [name, changes, want] of rows) {
    await t.step(name, () => {
      const behind = new Map([[0, moving], [1, STILL]]);
      const sight = { ...QUIET, nowMs: 300_000, signMs: 299_000, behind, ...changes };
      assert.deepEqual(findStuck(sight, 45_000)?.partitions, want);
    });
  }
});

/** Nothing has happened to it for four times 45 s at 300 s. */
const STILL = { sinceMs: 0, messages: 5, signMs: 120_000 };

const QUIET = { nowMs: 100_000, answeredSinceMs: 0, signMs: 0, works: [] };

function waitingSince(sinceMs: number): Sight["behind"] {
  return new Map([[0, { sinceMs, messages: 5, signMs: 0 }]]);
}

/** Lets time pass until the consumer has ended on its own; how long that took, ms. */
async function untilEnded(
  pipeline: MemoryPipeline,
  consumer: RunningConsumer,
): Promise<{ readonly summary: ConsumeSummary; readonly tookMs: number }> {
  const beganMs = pipeline.clock.elapsedMs();
  let summary: ConsumeSummary | undefined;
  consumer.done.then((ended) => summary = ended);
  for (let steps = 0; steps < 1_000 && summary === undefined; steps++) {
    await pipeline.clock.advance(100);
  }
  assert.ok(summary !== undefined, "it goes on for ever");
  return { summary, tookMs: pipeline.clock.elapsedMs() - beganMs };
}

async function assertEndsStuck(
  pipeline: MemoryPipeline,
  consumer: RunningConsumer,
  what: RegExp,
): Promise<void> {
  const { summary, tookMs } = await untilEnded(pipeline, consumer);
  assert.equal(summary.ended, "stuck");
  assert.ok(tookMs > 40_000 && tookMs < END_MS_MAX - 5_000, `after ${tookMs} ms`);
  const said = pipeline.logged.filter((line) => line.includes("stuck"));
  assert.equal(said.length, 1, pipeline.logged.join(""));
  assert.match(said[0]!, what);
}

/** Never settles: neither an answer nor a failure. */
function hang(): Promise<never> {
  return new Promise(() => {});
}

async function stored(pipeline: MemoryPipeline, count: number): Promise<void> {
  await pipeline.until(`${count} rows`, () => pipeline.store.readings.size === count);
}

Deno.test("consume() ends within a minute when a batch does not come to an end", async (t) => {
  await t.step("the only one", async () => {
    const pipeline = new MemoryPipeline(1);
    const consumer = pipeline.start();
    pipeline.append(0, messageTexts(1, 10));
    await stored(pipeline, 10);
    pipeline.store.storeBatch = hang;
    pipeline.append(0, messageTexts(11, 10));
    await assertEndsStuck(pipeline, consumer, /a batch of partition 0 .*lagMessages=10/);
  });
  await t.step("one of two partitions", async () => {
    const pipeline = new MemoryPipeline(2);
    const { store } = pipeline;
    const { storeBatch } = store;
    store.storeBatch = (batch, way) => batch.partition === 0 ? hang() : storeBatch(batch, way);
    pipeline.append(0, messageTexts(1, 10));
    const consumer = pipeline.start();
    const filling = new AbortController();
    const fill = async (): Promise<void> => {
      for (let number = 1_000; !filling.signal.aborted; number++) {
        pipeline.append(1, messageTexts(number, 1));
        await pipeline.clock.sleep(500, filling.signal);
      }
    };
    const filled = fill();
    await assertEndsStuck(pipeline, consumer, /a batch of partition 0/);
    assert.ok(store.readings.size > 50, "the other one goes on");
    filling.abort();
    await filled;
  });
});

Deno.test("consume() ends within a minute when a hanging batch holds what others need", async () => {
  const pipeline = new MemoryPipeline(2);
  const { store } = pipeline;
  const { storeBatch } = store;
  store.storeBatch = (batch, way) => batch.partition === 1 ? hang() : storeBatch(batch, way);
  const consumer = pipeline.start({ batchesConcurrent: 1 });
  pipeline.append(1, messageTexts(1, 10));
  await pipeline.clock.advance(1_000);
  // It takes the partition of the batch that hangs, and the only slot is still held.
  const other = pipeline.kafka.member("g");
  await other.start({
    assigned: () => other.pause([0, 1]),
    batch: hang,
    refused: () => {},
    crashed: () => {},
  });
  await pipeline.clock.advance(1_000);
  await assertEndsStuck(pipeline, consumer, /a batch of partition 1/);
  await other.stop();
});

Deno.test("consume() ends within a minute when the member has silently stopped to fetch", async () => {
  const pipeline = new MemoryPipeline(1);
  const consumer = pipeline.start();
  pipeline.append(0, messageTexts(1, 10));
  await stored(pipeline, 10);
  // Idle for long: what counts is how long the next message waits.
  await pipeline.clock.advance(600_000);
  consumer.member.pause([0]);
  await pipeline.clock.advance(1_000);
  pipeline.append(0, messageTexts(11, 10));
  await assertEndsStuck(pipeline, consumer, /nothing is being fetched/);
});

Deno.test("consume() ends within minutes when one partition is not fetched while another moves", async () => {
  const pipeline = new MemoryPipeline(2);
  const consumer = pipeline.start();
  pipeline.append(0, messageTexts(1, 10));
  await stored(pipeline, 10);
  consumer.member.pause([0]);
  pipeline.append(0, messageTexts(11, 10));
  let summary: ConsumeSummary | undefined;
  consumer.done.then((ended) => summary = ended);
  let tookMs = 0;
  for (; summary === undefined && tookMs < 300_000; tookMs += 1_000) {
    pipeline.append(1, messageTexts(1_000 + tookMs, 1));
    await pipeline.clock.advance(1_000);
  }
  assert.equal(summary?.ended, "stuck");
  assert.ok(tookMs > 180_000 && tookMs < 240_000, `after ${tookMs} ms`);
  const still = pipeline.logged.filter((line) =>
    line.includes("nothing has happened to partition 0")
  );
  assert.equal(still.length, 1, pipeline.logged.join(""));
  const [said] = pipeline.logged.filter((line) => line.includes("stuck"));
  assert.match(said!, /of these partitions, though others move.*lagMessages=10\s+partitions=0/);
});

Deno.test("consume() goes on when a partition moves again, and says so", async () => {
  const pipeline = new MemoryPipeline(2);
  const noticed: [string, boolean][] = [];
  const observer = tellAll([{
    noticed: (kind, text): void => void noticed.push([kind, text !== undefined]),
  }]);
  const consumer = pipeline.start({}, (parts) => ({ ...parts, observer }));
  pipeline.append(0, messageTexts(1, 10));
  await stored(pipeline, 10);
  consumer.member.pause([0]);
  pipeline.append(0, messageTexts(11, 10));
  const flow = async (seconds: number, from: number): Promise<void> => {
    for (let second = 0; second < seconds; second++) {
      pipeline.append(1, messageTexts(from + second, 1));
      await pipeline.clock.advance(1_000);
    }
  };
  await flow(120, 1_000);
  consumer.member.resume([0]);
  await flow(240, 2_000);
  assert.deepEqual(noticed, [["still", true], ["still", false]]);
  assert.equal((await pipeline.stop(consumer)).ended, "cleanly");
});

Deno.test("consume() ends within a minute when placing does not come to an end", async (t) => {
  for (const call of ["readLedger", "openLedgerLine"] as const) {
    await t.step(call, async () => {
      const pipeline = new MemoryPipeline(1);
      pipeline.append(0, messageTexts(1, 10));
      pipeline.store[call] = hang;
      await assertEndsStuck(pipeline, pipeline.start(), /placing partitions does not/);
    });
  }
  await t.step("before a message waits", async () => {
    const pipeline = new MemoryPipeline(1);
    pipeline.store.readLedger = hang;
    await assertEndsStuck(pipeline, pipeline.start(), /placing partitions does not/);
  });
  await t.step("the group does not let it in", async () => {
    const pipeline = new MemoryPipeline(1);
    pipeline.append(0, messageTexts(1, 10));
    const consumer = pipeline.start({}, (parts) => {
      parts.member.start = hang;
      return parts;
    });
    await assertEndsStuck(pipeline, consumer, /nothing is being fetched/);
  });
});

Deno.test("consume() ends within a minute though the brokers have left a question unanswered", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  pipeline.store.storeBatch = hang;
  const consumer = pipeline.start();
  const { member } = consumer;
  await pipeline.clock.advance(1_000);
  const watermarks = member.watermarks.bind(member);
  member.watermarks = hang;
  await pipeline.clock.advance(12_000);
  member.watermarks = watermarks;
  await assertEndsStuck(pipeline, consumer, /a batch of partition 0/);
});

Deno.test("consume() leaves the group when it is stuck, though nothing ends", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  pipeline.store.storeBatch = hang;
  const consumer = pipeline.start();
  consumer.member.stop = hang;
  await assertEndsStuck(pipeline, consumer, /a batch of partition 0/);
});

/** Lets ten minutes pass and expects the consumer to live. */
async function assertLives(pipeline: MemoryPipeline, consumer: RunningConsumer): Promise<void> {
  let ended: ConsumeSummary | undefined;
  consumer.done.then((summary) => ended = summary);
  for (let steps = 0; steps < 600; steps++) await pipeline.clock.advance(1_000);
  assert.equal(ended, undefined, pipeline.logged.join(""));
}

Deno.test("consume() outlives what a restart would not mend", async (t) => {
  await t.step("PostgreSQL away for ten minutes", async () => {
    const pipeline = new MemoryPipeline(1);
    const { store } = pipeline;
    const { storeBatch, readLedger } = store;
    const refuse = (): Promise<never> => Promise.reject(new TransientError("Away"));
    const consumer = pipeline.start();
    await pipeline.clock.advance(1_000);
    Object.assign(store, { storeBatch: refuse, readLedger: refuse });
    pipeline.append(0, messageTexts(1, 10));
    await assertLives(pipeline, consumer);
    Object.assign(store, { storeBatch, readLedger });
    await stored(pipeline, 10);
    await pipeline.stop(consumer);
  });
  await t.step("PostgreSQL that answers after 20 s that it cannot", async () => {
    const pipeline = new MemoryPipeline(1);
    pipeline.store.storeBatch = async () => {
      await pipeline.clock.sleep(20_000);
      throw new TransientError("Cannot store: statement timeout");
    };
    pipeline.append(0, messageTexts(1, 10));
    const consumer = pipeline.start();
    await assertLives(pipeline, consumer);
    await pipeline.stop(consumer);
  });
  await t.step("a batch of which every piece takes its time", async () => {
    const pipeline = new MemoryPipeline(1);
    const { store } = pipeline;
    const { storeBatch } = store;
    store.storeBatch = async (batch, way) => {
      await pipeline.clock.sleep(10_000);
      if (batch.nextOffset - batch.fromOffset > 1) {
        throw new RowDataError("Cannot store one of them");
      }
      return await storeBatch(batch, way);
    };
    pipeline.append(0, messageTexts(1, 64));
    const consumer = pipeline.start();
    await assertLives(pipeline, consumer);
    await pipeline.stop(consumer);
  });
  await t.step("brokers away for ten minutes", async () => {
    const pipeline = new MemoryPipeline(1);
    const consumer = pipeline.start();
    await pipeline.clock.advance(1_000);
    pipeline.append(0, messageTexts(1, 10));
    pipeline.kafka.setBrokersAway(true);
    await assertLives(pipeline, consumer);
    pipeline.kafka.setBrokersAway(false);
    await stored(pipeline, 10);
    await pipeline.stop(consumer);
  });
  await t.step("brokers that do not answer at all", async () => {
    const pipeline = new MemoryPipeline(1);
    const consumer = pipeline.start();
    await pipeline.clock.advance(1_000);
    consumer.member.pause([0]);
    pipeline.append(0, messageTexts(1, 10));
    await pipeline.clock.advance(30_000);
    consumer.member.watermarks = hang;
    await assertLives(pipeline, consumer);
    await pipeline.stop(consumer);
  });
  await t.step("a topic on which nothing comes", async () => {
    const pipeline = new MemoryPipeline(2);
    const consumer = pipeline.start();
    pipeline.append(0, messageTexts(1, 10));
    await assertLives(pipeline, consumer);
    await pipeline.stop(consumer);
  });
  await t.step("messages in partitions of others", async () => {
    const pipeline = new MemoryPipeline(2);
    const other = pipeline.kafka.member("g");
    await other.start({
      assigned: () => other.pause([0, 1]),
      batch: hang,
      refused: () => {},
      crashed: () => {},
    });
    const consumer = pipeline.start();
    await pipeline.clock.advance(1_000);
    pipeline.append(0, messageTexts(1, 10));
    await assertLives(pipeline, consumer);
    assert.equal(pipeline.store.readings.size, 0);
    await pipeline.stop(consumer);
    await other.stop();
  });
  await t.step("PostgreSQL that refuses one partition's batches for ten minutes", async () => {
    const pipeline = new MemoryPipeline(2);
    const { store } = pipeline;
    const { storeBatch } = store;
    store.storeBatch = (batch, way) =>
      batch.partition === 0
        ? Promise.reject(new TransientError("Cannot store: locked"))
        : storeBatch(batch, way);
    pipeline.append(0, messageTexts(1, 10));
    const consumer = pipeline.start();
    await assertLives(pipeline, consumer);
    await pipeline.stop(consumer);
  });
  await t.step("whoever has switched it off", async () => {
    const pipeline = new MemoryPipeline(1);
    pipeline.store.storeBatch = hang;
    pipeline.append(0, messageTexts(1, 10));
    const consumer = pipeline.start({ watchdogSeconds: 0 });
    await assertLives(pipeline, consumer);
    await pipeline.stop(consumer);
  });
});

Deno.test("consume() takes time in which it was frozen for no quiet", async () => {
  const pipeline = new MemoryPipeline(1);
  const { store } = pipeline;
  const { storeBatch } = store;
  const thawed = Promise.withResolvers<void>();
  store.storeBatch = async (batch, way) => {
    await thawed.promise;
    return await storeBatch(batch, way);
  };
  pipeline.append(0, messageTexts(1, 10));
  const consumer = pipeline.start();
  await pipeline.clock.advance(1_000);
  pipeline.clock.freeze(300_000);
  await pipeline.clock.advance(12_000);
  thawed.resolve();
  await stored(pipeline, 10);
  assert.equal((await pipeline.stop(consumer)).ended, "cleanly");
});
