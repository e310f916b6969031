import assert from "node:assert/strict";
import { MemoryCache } from "../../fakes/cache.ts";
import { idsOf, marksOf } from "../../fakes/mark_texts.ts";
import { TransientError } from "../../lib/errors.ts";
import { LEASE_MS } from "../../lib/redis/cache.ts";
import { cacheContract, ours } from "../contracts/cache.ts";
import { FakeClock } from "../fake_clock.ts";

const TTL_SECONDS = 3_600;
const ID = "0a000000-0000-4000-8000-000000000000";

function openMemory(): { cache: MemoryCache; clock: FakeClock } {
  const clock = new FakeClock();
  return { cache: new MemoryCache({ clock, ttlSeconds: TTL_SECONDS }), clock };
}

cacheContract("MemoryCache", async (use) => {
  const { cache, clock } = openMemory();
  const setAway = (isAway: boolean) => (): Promise<void> => {
    cache.isAway = isAway;
    return Promise.resolve();
  };
  await use({
    cache,
    passLease: (part) => clock.advance(LEASE_MS * part),
    occupy: (key) => Promise.resolve(cache.occupy(key)),
    passLifeOfMark: (part = 1) => clock.advance(TTL_SECONDS * 1_000 * part),
    flush: () => Promise.resolve(cache.flush()),
    goAway: setAway(true),
    comeBack: setAway(false),
    index: () => {
      const entries = [...cache.lastValues].map(([id, last]) => [id, last.eventTimeUs] as const);
      return Promise.resolve(new Map(entries));
    },
  });
});

Deno.test("MemoryCache: a mark lives to the end of its life, whatever the wall clock does", async () => {
  const { cache, clock } = openMemory();
  await cache.remember(marksOf([{ id: ID, value: "1" }]), ours());
  clock.jump(10 * 365 * 86_400_000);
  await clock.advance(TTL_SECONDS * 1_000 - 1);
  assert.deepEqual([...cache.liveMarks()], [[ID, "1"]]);
  await clock.advance(1);
  assert.deepEqual([...cache.liveMarks()], []);
});

Deno.test("failNext() fails the next call of its method, once, and changes nothing", async () => {
  const { cache } = openMemory();
  cache.failNext("remember", new TransientError("busy"));
  assert.deepEqual(await cache.marks(idsOf([ID])), [null]);
  await assert.rejects(cache.remember(marksOf([{ id: ID, value: "1" }]), ours()), {
    name: "TransientError",
    message: "busy",
  });
  assert.deepEqual(await cache.marks(idsOf([ID])), [null]);
  await cache.remember(marksOf([{ id: ID, value: "1" }]), ours());
  assert.deepEqual(await cache.marks(idsOf([ID])), ["1"]);
});

Deno.test("hangNext() leaves the next call of its method without an answer", async () => {
  const { cache, clock } = openMemory();
  cache.hangNext("marks");
  let answered = false;
  void cache.marks(idsOf([ID])).finally(() => answered = true);
  await clock.advance(1_000_000);
  assert.equal(answered, false);
  assert.deepEqual(await cache.marks(idsOf([ID])), [null]);
});
