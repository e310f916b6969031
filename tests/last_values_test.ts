import assert from "node:assert/strict";
import { repairLastValues } from "../lib/consumer/last_values.ts";
import { createMemoryStore, type MemoryStore } from "../lib/postgres/memory.ts";
import { MemoryCache } from "../lib/redis/memory.ts";
import { batchOf, readingAt, TOPIC } from "./contracts/store.ts";
import { FakeClock } from "./fake_clock.ts";

const NEVER = new AbortController().signal;

async function openParts(): Promise<{ store: MemoryStore; cache: MemoryCache }> {
  const clock = new FakeClock();
  const store = createMemoryStore({ clock });
  await store.openLedgerLine(TOPIC, 0, 0);
  const readings = [readingAt(0, 1, { sensor_id: "a" }), readingAt(1, 2, { sensor_id: "b" })];
  await store.storeBatch(batchOf(await store.dataSetId(), { readings }));
  return { store, cache: new MemoryCache({ clock, ttlSeconds: 60 }) };
}

Deno.test("repairLastValues() writes every sensor's newest reading, and says so", async () => {
  const { store, cache } = await openParts();
  assert.equal(await repairLastValues({ store, cache, clock: new FakeClock() }, null, NEVER), 2);
  assert.deepEqual([...cache.lastValues.keys()], ["a", "b"]);
  assert.equal(cache.lastComplete, await store.dataSetId());
});

Deno.test("repairLastValues() clears the values of another data set", async () => {
  const { store, cache } = await openParts();
  await cache.setLastComplete("another");
  await cache.remember([], [{ sensorId: "gone", eventTimeUs: 1, id: "x", text: "{}" }]);
  await repairLastValues({ store, cache, clock: new FakeClock() }, "another", NEVER);
  assert.deepEqual([...cache.lastValues.keys()], ["a", "b"]);
});

Deno.test("repairLastValues() leaves no claim behind when Redis is emptied meanwhile", async (t) => {
  await t.step("before a page", async () => {
    const { store, cache } = await openParts();
    const emptying = {
      dataSetId: () => store.dataSetId(),
      lastReadings: (after: string, limit: number) => {
        if (after === "") cache.flush();
        return store.lastReadings(after, limit);
      },
    };
    await assert.rejects(
      repairLastValues({ store: emptying, cache, clock: new FakeClock() }, null, NEVER),
      {
        name: "TransientError",
        message: /Redis was emptied/,
      },
    );
    assert.equal(cache.lastComplete, null);
  });
  await t.step("after the last page", async () => {
    const { store, cache } = await openParts();
    const emptying = {
      dataSetId: () => store.dataSetId(),
      lastReadings: (after: string, limit: number) => {
        if (after === "b") cache.flush();
        return store.lastReadings(after, limit);
      },
    };
    await repairLastValues({ store: emptying, cache, clock: new FakeClock() }, null, NEVER);
    // Nothing is there, and nothing says that it is: whoever asks next repairs again.
    assert.equal(cache.lastValues.size, 0);
    assert.equal(cache.lastComplete, null);
  });
});

Deno.test("repairLastValues() gives up a server that does not answer", async () => {
  const { store, cache } = await openParts();
  const clock = new FakeClock();
  store.lastReadings = () => new Promise(() => {});
  const repaired = repairLastValues({ store, cache, clock }, null, NEVER);
  const refused = assert.rejects(repaired, { name: "TransientError", message: /no answer within/ });
  await clock.advance(60_000);
  await refused;
});
