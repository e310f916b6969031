/** Whose last values a consumer keeps in Redis, and what becomes of those of others. */
import assert from "node:assert/strict";
import { TransientError } from "../lib/errors.ts";
import { type Cache, LEASE_MS } from "../lib/redis/cache.ts";
import { NO_MARKS } from "../lib/redis/marks.ts";
import { idOf, MemoryPipeline, messageText } from "./memory_pipeline.ts";

/** Lets time pass, a second at a time. */
async function pass(pipeline: MemoryPipeline, seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) await pipeline.clock.advance(1_000);
}

/** A pipeline whose last values of one sensor are complete. */
async function openComplete(): Promise<{
  pipeline: MemoryPipeline;
  run: ReturnType<MemoryPipeline["start"]>;
}> {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, [messageText(1, { sensor_id: "gone" })]);
  const run = pipeline.start();
  await pipeline.until("complete", () => pipeline.cache.lastComplete !== null);
  assert.deepEqual([...pipeline.cache.lastValues.keys()], ["gone"]);
  return { pipeline, run };
}

Deno.test("consume() clears last values of a data set that is gone, though nothing comes", async (t) => {
  const assertCleared = async ({ cache, store }: MemoryPipeline): Promise<void> => {
    assert.equal(cache.lastComplete, await store.dataSetId());
    assert.equal(cache.lastValues.size, 0);
  };
  await t.step("it was emptied while no consumer ran", async () => {
    const { pipeline, run } = await openComplete();
    await pipeline.stop(run);
    pipeline.store.emptyReadings();
    const next = pipeline.start();
    await pass(pipeline, LEASE_MS / 1_000 + 10);
    await assertCleared(pipeline);
    assert.deepEqual(pipeline.logged, [], "it was never alive, so there is no neighbour to name");
    await pipeline.stop(next);
  });
  await t.step("it is emptied while one runs: at once", async () => {
    const { pipeline, run } = await openComplete();
    pipeline.store.emptyReadings();
    await pass(pipeline, 10);
    await assertCleared(pipeline);
    await pipeline.stop(run);
  });
});

Deno.test("consume() clears in steps that may take long together, and loses nothing meanwhile", async (t) => {
  for (const traffic of ["idle", "busy"] as const) {
    await t.step(traffic, async () => {
      const { pipeline, run } = await openComplete();
      await pipeline.stop(run);
      const { cache, clock, store } = pipeline;
      const many = Array.from(
        { length: 30_000 },
        (_, n) => ({ sensorId: `gone${n}`, eventTimeUs: 1, id: "x", text: "{}" }),
      );
      await cache.remember(NO_MARKS, { dataSetId: await store.dataSetId(), values: many });
      store.emptyReadings();
      pipeline.append(0, [messageText(2, { sensor_id: "quiet" })]);
      const slow = (flow: Cache): Cache => ({
        marks: (ids) => flow.marks(ids),
        remember: (marks, last) => flow.remember(marks, last),
        setLastComplete: (id) => flow.setLastComplete(id),
        lastValue: (sensorId) => flow.lastValue(sensorId),
        claimLastValues: async (claimant) => {
          await clock.sleep(1_000);
          return await flow.claimLastValues(claimant);
        },
      });
      const next = pipeline.start({}, (parts) => ({ ...parts, cache: slow(parts.cache) }));
      for (let second = 0; second < 150; second++) {
        if (traffic === "busy" && second % 3 === 0) {
          pipeline.append(0, [messageText(100 + second, { sensor_id: "busy" })]);
        }
        await clock.advance(1_000);
      }
      assert.equal(cache.lastComplete, await store.dataSetId());
      const want = traffic === "busy" ? ["busy", "quiet"] : ["quiet"];
      assert.deepEqual([...cache.lastValues.keys()].sort(), want);
      await pipeline.stop(next);
    });
  }
});

Deno.test("consume() leaves the last values of a neighbour alone, and says so", async () => {
  const pipeline = new MemoryPipeline(1);
  const { cache, clock } = pipeline;
  const theirs = { sensorId: "theirs", eventTimeUs: 1, id: "x", text: "{}" };
  await cache.remember(NO_MARKS, { dataSetId: "neighbour", values: [theirs] });
  pipeline.append(0, [messageText(1, { sensor_id: "ours" })]);
  const run = pipeline.start();
  for (let second = 0; second < 120; second++) {
    if (second % 5 === 0) await cache.claimLastValues({ dataSetId: "neighbour" });
    await clock.advance(1_000);
  }
  assert.deepEqual([...cache.lastValues.keys()], ["theirs"]);
  assert.equal(cache.lease?.dataSetId, "neighbour");
  assert.deepEqual([...cache.liveMarks().keys()], [idOf(1)], "marks go on");
  const said = pipeline.logged.filter((line) => line.includes("neighbour"));
  assert.equal(said.length, 1);
  assert.match(said[0]!, /not being written.*REDIS_PREFIX/);
  // It ends for good: what is ours comes back on its own.
  await pass(pipeline, LEASE_MS / 1_000 + 10);
  assert.deepEqual([...cache.lastValues.keys()], ["ours"]);
  await pipeline.stop(run);
});

Deno.test("consume() keeps its last values from a neighbour while PostgreSQL is away", async () => {
  const { pipeline, run } = await openComplete();
  const { cache, store } = pipeline;
  const away = (): Promise<never> => Promise.reject(new TransientError("away"));
  store.dataSetId = away;
  store.readLedger = away;
  for (let second = 0; second < 120; second += 7) {
    await pass(pipeline, 7);
    assert.equal((await cache.claimLastValues({ dataSetId: "neighbour" })).kind, "foreign");
  }
  await pipeline.stop(run);
});
