import assert from "node:assert/strict";
import { MemoryCache } from "../fakes/cache.ts";
import { createMemoryStore, type MemoryStore } from "../fakes/store.ts";
import { repairLastValues } from "../lib/consumer/last_values.ts";
import { LastValuesUpkeep } from "../lib/consumer/last_values_upkeep.ts";
import { TooMuchError } from "../lib/errors.ts";
import { createLog } from "../lib/log.ts";
import { Breaker } from "../lib/redis/breaker.ts";
import { type LastValue, LEASE_MS } from "../lib/redis/cache.ts";
import { NO_MARKS } from "../lib/redis/marks.ts";
import { batchOf, readingAt, TOPIC } from "./contracts/store.ts";
import { FakeClock } from "./fake_clock.ts";

const NEVER = new AbortController().signal;
const GONE = { dataSetId: "another", values: [lastValueOf("gone")] };

function lastValueOf(sensorId: string): LastValue {
  return { sensorId, eventTimeUs: 1, id: "x", text: "{}" };
}

interface Parts {
  readonly store: MemoryStore;
  readonly cache: MemoryCache;
  readonly clock: FakeClock;
  readonly dataSetId: string;
}

async function openParts(): Promise<Parts> {
  const clock = new FakeClock();
  const store = createMemoryStore({ clock });
  await store.openLedgerLine(TOPIC, 0, 0);
  const readings = [readingAt(0, 1, { sensor_id: "a" }), readingAt(1, 2, { sensor_id: "b" })];
  const dataSetId = await store.dataSetId();
  await store.storeBatch(batchOf(dataSetId, { readings }), "compare");
  return { store, cache: new MemoryCache({ clock, ttlSeconds: 60 }), clock, dataSetId };
}

Deno.test("repairLastValues() writes every sensor's newest reading, and says so", async () => {
  const parts = await openParts();
  const repaired = await repairLastValues(parts, parts, NEVER);
  assert.deepEqual(repaired, { kind: "repaired", sensors: 2 });
  assert.deepEqual([...parts.cache.lastValues.keys()], ["a", "b"]);
  assert.equal(parts.cache.lastComplete, parts.dataSetId);
});

Deno.test("repairLastValues() asks for fewer sensors when a page is too much", async () => {
  const parts = await openParts();
  const asked: number[] = [];
  let sensorsMax = 100;
  const lastReadings: MemoryStore["lastReadings"] = (after, limit) => {
    asked.push(limit);
    if (limit > sensorsMax) return Promise.reject(new TooMuchError("57014"));
    return parts.store.lastReadings(after, limit);
  };
  const slow = { ...parts, store: { ...parts.store, lastReadings } };
  assert.deepEqual(await repairLastValues(slow, parts, NEVER), { kind: "repaired", sensors: 2 });
  assert.deepEqual(asked, [500, 250, 125, 62, 62]);
  sensorsMax = 0;
  await assert.rejects(repairLastValues(slow, parts, NEVER), { name: "TooMuchError" });
});

Deno.test("repairLastValues() clears the values of a data set that is gone", async () => {
  const parts = await openParts();
  const { cache, clock } = parts;
  await cache.remember(NO_MARKS, GONE);
  await clock.advance(LEASE_MS);
  await repairLastValues(parts, parts, NEVER);
  assert.deepEqual([...cache.lastValues.keys()], ["a", "b"]);
});

Deno.test("repairLastValues() leaves those of a data set that is alive alone", async () => {
  const parts = await openParts();
  const { cache } = parts;
  await cache.remember(NO_MARKS, GONE);
  const repaired = await repairLastValues(parts, parts, NEVER);
  assert.deepEqual(repaired, { kind: "foreign", dataSetId: "another", leaseMs: LEASE_MS });
  assert.deepEqual([...cache.lastValues.keys()], ["gone"]);
});

Deno.test("repairLastValues() clears in steps: each has its own limit, and none is lost", async () => {
  const parts = await openParts();
  const { cache, clock } = parts;
  const many = Array.from({ length: 30_000 }, (_, n) => lastValueOf(`gone${n}`));
  await cache.remember(NO_MARKS, { dataSetId: "another", values: many });
  await clock.advance(LEASE_MS);
  let steps = 0;
  // Each step takes a second, all of them more than one answer may take.
  const claimLastValues: MemoryCache["claimLastValues"] = async (claimant) => {
    const claim = await cache.claimLastValues(claimant);
    await clock.sleep(1_000);
    steps++;
    return claim;
  };
  const slow = { ...forwarded(cache), claimLastValues };
  const stop = new AbortController();
  const stopped = repairLastValues({ ...parts, cache: slow }, parts, stop.signal);
  await clock.advance(12_000);
  stop.abort();
  await clock.advance(1_000);
  assert.deepEqual(await stopped, { kind: "repaired", sensors: 0 });
  assert.equal(cache.lastComplete, null);
  const left = cache.lastValues.size;
  assert.ok(left > 0 && left < 30_000, `${left} left`);
  const repaired = repairLastValues({ ...parts, cache: slow }, parts, NEVER);
  for (let second = 0; second < 40; second++) await clock.advance(1_000);
  assert.deepEqual(await repaired, { kind: "repaired", sensors: 2 });
  assert.deepEqual([...cache.lastValues.keys()], ["a", "b"]);
  assert.ok(steps >= 30 && steps < 34, `${steps} steps`);
});

/** The methods of a cache as an object of its own. */
function forwarded(cache: MemoryCache): Pick<
  MemoryCache,
  "marks" | "remember" | "claimLastValues" | "setLastComplete" | "lastValue"
> {
  return {
    marks: (ids) => cache.marks(ids),
    remember: (marks, last) => cache.remember(marks, last),
    claimLastValues: (claimant) => cache.claimLastValues(claimant),
    setLastComplete: (dataSetId) => cache.setLastComplete(dataSetId),
    lastValue: (sensorId) => cache.lastValue(sensorId),
  };
}

Deno.test("repairLastValues() leaves no claim behind when Redis is emptied meanwhile", async (t) => {
  const emptying = async (
    whenAfter: string,
  ): Promise<Parts & { flushed: Pick<MemoryStore, "lastReadings"> }> => {
    const parts = await openParts();
    const lastReadings = (
      after: string,
      limit: number,
    ): ReturnType<MemoryStore["lastReadings"]> => {
      if (after === whenAfter) parts.cache.flush();
      return parts.store.lastReadings(after, limit);
    };
    return { ...parts, flushed: { lastReadings } };
  };
  await t.step("before a page", async () => {
    const parts = await emptying("");
    await assert.rejects(repairLastValues({ ...parts, store: parts.flushed }, parts, NEVER), {
      name: "TransientError",
      message: /Redis was emptied/,
    });
    assert.equal(parts.cache.lastComplete, null);
  });
  await t.step("after the last page", async () => {
    const parts = await emptying("b");
    await repairLastValues({ ...parts, store: parts.flushed }, parts, NEVER);
    // Nothing is there, and nothing says that it is: whoever asks next repairs again.
    assert.equal(parts.cache.lastValues.size, 0);
    assert.equal(parts.cache.lastComplete, null);
  });
});

Deno.test("repairLastValues() gives up a server that does not answer", async () => {
  const parts = await openParts();
  parts.store.lastReadings = () => new Promise(() => {});
  const repaired = repairLastValues(parts, parts, NEVER);
  const refused = assert.rejects(repaired, { name: "TransientError", message: /no answer within/ });
  await parts.clock.advance(60_000);
  await refused;
});

/** An upkeep, what it works with, and what it says. */
async function openUpkeep(): Promise<
  Parts & { upkeep: LastValuesUpkeep; logged: string[]; told: (string | undefined)[] }
> {
  const parts = await openParts();
  const { clock } = parts;
  const logged: string[] = [];
  const told: (string | undefined)[] = [];
  const upkeep = new LastValuesUpkeep({
    ...parts,
    breakers: {
      read: new Breaker({ clock, budgetMs: 250 }),
      write: new Breaker({ clock, budgetMs: 250 }),
    },
    log: createLog({ level: "info", format: "text", write: (line) => logged.push(line), clock }),
    observer: { neighboured: (owner) => told.push(owner) },
  });
  return { ...parts, upkeep, logged, told };
}

Deno.test("LastValuesUpkeep repairs once, and again when something may be missing", async () => {
  const { upkeep, cache, dataSetId } = await openUpkeep();
  assert.deepEqual(upkeep.state, { kind: "unknown" });
  await upkeep.renew();
  assert.equal(cache.lastOwner, null, "unknown, it claims nothing");
  await upkeep.repair(NEVER);
  assert.deepEqual(upkeep.state, { kind: "complete", dataSetId });
  const reasons: [name: string, happen: () => void | Promise<void>][] = [
    ["it is wanted", () => upkeep.want()],
    ["Redis says that they are incomplete", () => upkeep.note("incomplete", dataSetId)],
    ["Redis says that they are not ours", () => upkeep.note("not ours", dataSetId)],
    ["Redis was emptied while nothing came", () => {
      cache.flush();
      return upkeep.renew();
    }],
  ];
  for (const [name, happen] of reasons) {
    cache.flush();
    await upkeep.repair(NEVER);
    assert.equal(cache.lastValues.size, 0, `${name}: without a reason nothing is done`);
    await happen();
    await upkeep.repair(NEVER);
    assert.equal(cache.lastValues.size, 2, name);
    assert.deepEqual(upkeep.state, { kind: "complete", dataSetId }, name);
  }
});

Deno.test("LastValuesUpkeep repairs again after a repair that did not come to its end", async (t) => {
  const interrupted = async (
    interrupt: (upkeep: LastValuesUpkeep, stop: AbortController) => void,
  ): Promise<void> => {
    const { upkeep, store, cache, dataSetId } = await openUpkeep();
    const stop = new AbortController();
    const { lastReadings } = store;
    store.lastReadings = (after, limit) => {
      if (after !== "") interrupt(upkeep, stop);
      return lastReadings(after, Math.min(limit, 1));
    };
    await upkeep.repair(stop.signal);
    assert.equal(upkeep.state.kind, "incomplete");
    store.lastReadings = lastReadings;
    await upkeep.repair(NEVER);
    assert.deepEqual([...cache.lastValues.keys()], ["a", "b"]);
    assert.deepEqual(upkeep.state, { kind: "complete", dataSetId });
  };
  await t.step("it was aborted", () => interrupted((_, stop) => stop.abort()));
  await t.step("something was lost meanwhile", () => interrupted((upkeep) => upkeep.want()));
  await t.step("a server failed", async () => {
    const { upkeep, cache, dataSetId } = await openUpkeep();
    cache.failNext("setLastComplete");
    await assert.rejects(upkeep.repair(NEVER), { name: "TransientError" });
    assert.equal(upkeep.state.kind, "incomplete");
    await upkeep.repair(NEVER);
    assert.deepEqual(upkeep.state, { kind: "complete", dataSetId });
  });
});

Deno.test("LastValuesUpkeep takes the place of a data set that was in its own database at once", async () => {
  const { upkeep, store, cache } = await openUpkeep();
  await upkeep.repair(NEVER);
  assert.equal(cache.lastValues.size, 2);
  store.emptyReadings();
  await upkeep.repair(NEVER);
  assert.equal(cache.lastValues.size, 0);
  assert.equal(cache.lastComplete, await store.dataSetId());
});

Deno.test("LastValuesUpkeep waits for a data set that may be alive, and says so once it is sure", async () => {
  const { upkeep, cache, clock, logged, told } = await openUpkeep();
  await cache.remember(NO_MARKS, GONE);
  const neighbour = { dataSetId: "another" };
  for (let round = 0; round < 3; round++) {
    await upkeep.repair(NEVER);
    await clock.advance(5_000);
    await upkeep.renew();
  }
  assert.equal(upkeep.state.kind, "foreign");
  assert.deepEqual([logged, told], [[], []], "it can just have been stopped, or be gone");
  for (let round = 0; round < 3; round++) {
    await clock.advance(5_000);
    await cache.claimLastValues(neighbour);
    await upkeep.renew();
    await upkeep.repair(NEVER);
  }
  assert.equal(logged.length, 1);
  assert.match(
    logged[0]!,
    /ERROR.*not being written.*owner=another.*REDIS_PREFIX or REDIS_DATABASE/i,
  );
  assert.deepEqual(told, ["another"]);
  assert.deepEqual([...cache.lastValues.keys()], ["gone"]);
  await clock.advance(LEASE_MS);
  await upkeep.repair(NEVER);
  assert.deepEqual([...cache.lastValues.keys()], ["a", "b"]);
  assert.deepEqual(told, ["another", undefined]);
  assert.equal(logged.length, 2);
});
