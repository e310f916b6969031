import assert from "node:assert/strict";
import { idsOf, marksOf } from "../../fakes/mark_texts.ts";
import { systemClock } from "../../lib/clock.ts";
import { describeError, NoAnswerError, TransientError } from "../../lib/errors.ts";
import { createLog, type Log } from "../../lib/log.ts";
import { Breaker } from "../../lib/redis/breaker.ts";
import { LEASE_MS } from "../../lib/redis/cache.ts";
import { openCache, type RedisCache, type RedisSettings } from "../../lib/redis/client.ts";
import { NO_MARKS } from "../../lib/redis/marks.ts";
import { LAST_SCRIPT, scriptName } from "../../lib/redis/scripts.ts";
import { cacheContract, DATA_SET, lastValueAt, ours } from "../contracts/cache.ts";
import { PrivateRedis, until } from "./private_redis.ts";

const SENSOR = "sensor-1";
const TIME_US = Date.UTC(2026, 10, 24, 10) * 1_000 + 123_456;
const [ID_A, ID_B, ID_C] = ["0a", "5f", "f0"].map((head) =>
  `${head}000000-0000-4000-8000-000000000000`
) as [string, string, string];

function recordedLog(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  return { log: createLog({ level: "debug", format: "json", write, clock: systemClock }), lines };
}

function open(port: number, options: Partial<RedisSettings> = {}): RedisCache {
  const settings = { host: "127.0.0.1", port, password: undefined, ttlSeconds: 3_600, ...options };
  return openCache(settings, { clock: systemClock, log: recordedLog().log });
}

/** Resolves when the cache answers. */
function answers(cache: RedisCache): Promise<void> {
  return until("the cache answers", () => cache.lastValue("any").then(() => true, () => false));
}

async function indexOf(server: PrivateRedis): Promise<ReadonlyMap<string, number>> {
  const lines = await server.cli("ZRANGE", "last:index", "0", "-1", "WITHSCORES");
  const entries = new Map<string, number>();
  for (let row = 0; row < lines.length; row += 2) entries.set(lines[row]!, Number(lines[row + 1]));
  return entries;
}

/** A server and a cache that is connected to it, both gone after `use`. */
async function withRedis(
  use: (server: PrivateRedis, cache: RedisCache) => Promise<void>,
): Promise<void> {
  await using server = await PrivateRedis.start();
  await using cache = open(server.port);
  await cache.connected();
  await use(server, cache);
}

cacheContract("RedisCache", async (use) => {
  await using server = await PrivateRedis.start();
  // Short, for one law waits for it; long enough for the largest call of the others.
  const ttlSeconds = 3;
  await using cache = open(server.port, { ttlSeconds });
  await cache.connected();
  await use({
    cache,
    passLifeOfMark: async (part = 1) => {
      if (part < 1) return await systemClock.sleep(ttlSeconds * 1_000 * part);
      await until("every mark has expired", async () => {
        return (await server.cli("--scan", "--pattern", "reading:*")).length === 0;
      });
    },
    passLease: async (part) => {
      // The server's own clock cannot be moved; the time that is left can.
      const [leftMs] = await server.cli("PTTL", "ledger:last-lease");
      const leaseMs = Math.round(Number(leftMs) - LEASE_MS * part);
      await server.cli("PEXPIRE", "ledger:last-lease", String(leaseMs));
    },
    occupy: async (key) => void await server.cli("RPUSH", key, "of another program"),
    flush: async () => void await server.cli("FLUSHALL"),
    goAway: () => server.kill(),
    comeBack: async () => {
      await server.up();
      await answers(cache);
    },
    index: () => indexOf(server),
  });
});

Deno.test("RedisCache keeps the keys that the table of keys names", () =>
  withRedis(async (server, cache) => {
    const last = lastValueAt(TIME_US, ID_A);
    await cache.remember(marksOf([{ id: ID_A, value: "content" }]), ours([last]));
    await cache.setLastComplete(DATA_SET);
    assert.deepEqual((await server.cli("--scan")).sort(), [
      "last:index",
      `last:${SENSOR}`,
      "ledger:last-complete",
      "ledger:last-lease",
      "ledger:last-owner",
      `reading:${ID_A}`,
    ]);
    assert.deepEqual(await server.cli("GET", `reading:${ID_A}`), ["content"]);
    assert.deepEqual(await server.cli("GET", `last:${SENSOR}`), [last.text]);
    assert.deepEqual(await server.cli("ZSCORE", "last:index", SENSOR), [String(TIME_US)]);
    const [ttl] = await server.cli("TTL", `reading:${ID_A}`);
    assert(Number(ttl) > 3_590 && Number(ttl) <= 3_600, `TTL ${ttl}`);
    assert.deepEqual(await server.cli("TTL", `last:${SENSOR}`), ["-1"]);
  }));

Deno.test("remember() reads the stored message where the index does not know the sensor", async (t) => {
  const at = (timestamp: string): string =>
    JSON.stringify({ unique_reading_id: ID_B, sensor_id: SENSOR, timestamp });
  const surrogate = `{"timestamp":"2026-11-24T10:00:00.123457Z","unique_reading_id":"${ID_B}",` +
    `"note":"\\ud800 \\\\ud800"}`;
  const rows: [name: string, stored: string, wins: "stored" | "candidate"][] = [
    ["older by a microsecond", at("2026-11-24T10:00:00.123455+00:00"), "candidate"],
    ["newer by a microsecond", at("2026-11-24T10:00:00.123457+00:00"), "stored"],
    ["equal, smaller id", at("2026-11-24T10:00:00.123456Z").replace(ID_B, ID_A), "candidate"],
    ["equal, larger id", at("2026-11-24T10:00:00.123456Z").replace(ID_B, ID_C), "stored"],
    [
      "equal, the same id in capitals",
      at("2026-11-24T10:00:00.123456Z").toUpperCase()
        .replaceAll(/"[A-Z_]+":/g, (key) => key.toLowerCase()),
      "stored",
    ],
    ["newer, in a zone ahead", at("2026-11-24T15:30:00.2+05:30"), "stored"],
    ["older, in a zone ahead", at("2026-11-24T15:30:00.1+05:30"), "candidate"],
    ["newer, in a zone behind", at("2026-11-23T22:30:00.2-11:30"), "stored"],
    ["older, in a zone behind", at("2026-11-23T22:30:00.1-11:30"), "candidate"],
    ["newer, without a fraction", at("2026-11-24t10:00:01z"), "stored"],
    ["newer, a leap day", at("2028-02-29T00:00:00Z"), "stored"],
    ["older, the last day of a leap year", at("2024-12-31T23:59:59Z"), "candidate"],
    ["newer, beside half a surrogate pair", surrogate, "stored"],
    ["no JSON", "not JSON", "candidate"],
    ["no object", "7", "candidate"],
    ["no timestamp", `{"unique_reading_id":"${ID_C}"}`, "candidate"],
    ["a timestamp of another kind", at("yesterday"), "candidate"],
    ["a timestamp without a zone", at("2030-01-01T00:00:00"), "candidate"],
  ];
  await withRedis(async (server, cache) => {
    for (const [name, stored, wins] of rows) {
      await t.step(name, async () => {
        await server.cli("FLUSHALL");
        await server.cli("SET", `last:${SENSOR}`, stored);
        const candidate = lastValueAt(TIME_US, ID_B);
        await cache.remember(NO_MARKS, ours([candidate]));
        const want = wins === "stored" ? stored : candidate.text;
        assert.equal(await cache.lastValue(SENSOR), want);
        const timestamp = JSON.parse(want).timestamp.toUpperCase();
        const index = await indexOf(server);
        // Date knows milliseconds; the microseconds are decided above.
        assert.equal(Math.floor(index.get(SENSOR)! / 1_000), Date.parse(timestamp));
      });
    }
  });
});

Deno.test("remember() knows every day of 500 years", () =>
  withRedis(async (server, cache) => {
    const DAY_MS = 86_400_000;
    const firstMs = Date.UTC(1700, 0, 1);
    const days = Array.from({ length: 182_622 }, (_, day) => firstMs + day * DAY_MS);
    for (let from = 0; from < days.length; from += 20_000) {
      const chunk = days.slice(from, from + 20_000);
      await server.cli("FLUSHALL");
      // An older candidate makes the script read the stored message's time into the index.
      const stored = chunk.map((ms) => lastValueAt(ms * 1_000, ID_B, { sensorId: `s${ms}` }));
      for (const step of [stored, stored.map((last) => ({ ...last, eventTimeUs: -1e16 }))]) {
        await cache.remember(NO_MARKS, ours(step));
        if (step === stored) await server.cli("DEL", "last:index");
      }
      const index = await indexOf(server);
      assert.equal(index.size, chunk.length);
      for (const ms of chunk) assert.equal(index.get(`s${ms}`), ms * 1_000);
    }
  }));

Deno.test("remember() rewrites a last value whose key was evicted, from an equal reading on", () =>
  withRedis(async (server, cache) => {
    const last = lastValueAt(TIME_US, ID_B);
    await cache.remember(NO_MARKS, ours([last]));
    await server.cli("DEL", `last:${SENSOR}`);
    await cache.remember(NO_MARKS, ours([lastValueAt(TIME_US - 1, ID_C)]));
    assert.equal(await cache.lastValue(SENSOR), null);
    await cache.remember(NO_MARKS, ours([last]));
    assert.equal(await cache.lastValue(SENSOR), last.text);
  }));

Deno.test("clearing deletes what our index names, and no key of another program", () =>
  withRedis(async (server, cache) => {
    await cache.remember(NO_MARKS, ours([lastValueAt(TIME_US, ID_A)]));
    await server.cli("SET", "last:login:4711", "another app");
    await server.cli("RPUSH", "last:queue", "another app");
    await server.cli("DEL", "ledger:last-lease");
    const claim = await cache.claimLastValues({ dataSetId: "another" });
    assert.equal(claim.kind, "incomplete");
    assert.deepEqual((await server.cli("--scan")).sort(), [
      "last:login:4711",
      "last:queue",
      "ledger:last-lease",
      "ledger:last-owner",
    ]);
  }));

Deno.test("last values that an earlier version has completed are ours, without an owner", () =>
  withRedis(async (server, cache) => {
    const last = lastValueAt(TIME_US, ID_A);
    await cache.remember(NO_MARKS, ours([last]));
    await cache.setLastComplete(DATA_SET);
    await server.cli("DEL", "ledger:last-owner", "ledger:last-lease");
    assert.deepEqual(await cache.claimLastValues({ dataSetId: DATA_SET }), { kind: "complete" });
    await server.cli("DEL", "ledger:last-owner", "ledger:last-lease");
    assert.deepEqual(await cache.claimLastValues({ dataSetId: "b" }), { kind: "incomplete" });
    assert.equal(await cache.lastValue(SENSOR), null);
  }));

Deno.test("caches with other prefixes or databases do not see each other", async () => {
  await using server = await PrivateRedis.start();
  const settings = [{}, { prefix: "p:" }, { database: 1 }, { database: 1, prefix: "p:" }];
  const last = lastValueAt(TIME_US, ID_A);
  for (const [index, setting] of settings.entries()) {
    await using cache = open(server.port, setting);
    await cache.connected();
    const dataSetId = `data set of ${index}`;
    assert.deepEqual(await cache.claimLastValues({ dataSetId }), { kind: "incomplete" });
    const mark = { id: ID_A, value: String(index) };
    await cache.remember(marksOf([mark]), { dataSetId, values: [last] });
    assert.equal(await cache.setLastComplete(dataSetId), true);
    assert.deepEqual(await cache.marks(idsOf([ID_A])), [String(index)]);
    const all = { fromUs: -Infinity, skip: 0, limit: 10 };
    assert.deepEqual(await cache.lastTimes(all), [[SENSOR, TIME_US]]);
    assert.equal(await cache.lastValue(SENSOR), last.text);
    assert.equal((await cache.facts()).lastValues.owner, dataSetId);
  }
  const names = [
    "last:index",
    `last:${SENSOR}`,
    "ledger:last-complete",
    "ledger:last-lease",
    "ledger:last-owner",
    `reading:${ID_A}`,
  ];
  for (const database of ["0", "1"]) {
    const keys = await server.cli("-n", database, "--scan");
    assert.deepEqual(keys.sort(), [...names, ...names.map((name) => `p:${name}`)].sort());
  }
});

Deno.test("a key of another program is named in the log, once, and told to doctor", async () => {
  await using server = await PrivateRedis.start();
  const { log, lines } = recordedLog();
  const settings = { host: "127.0.0.1", port: server.port, password: undefined, ttlSeconds: 60 };
  await using cache = openCache(settings, { clock: systemClock, log });
  await cache.connected();
  await server.cli("RPUSH", `last:${SENSOR}`, "x");
  for (const us of [TIME_US, TIME_US + 1]) {
    await cache.remember(NO_MARKS, ours([lastValueAt(us, ID_A)]));
  }
  const errors = lines.filter((line) => JSON.parse(line).level === "error");
  assert.equal(errors.length, 1);
  assert.match(errors[0]!, /last:sensor-1 in Redis belongs to another program.*REDIS_PREFIX/);
  assert.equal((await cache.facts()).lastValues.refusedKey, `last:${SENSOR}`);
  assert.deepEqual(await server.cli("TYPE", `last:${SENSOR}`), ["list"]);
});

Deno.test("remember() survives SCRIPT FLUSH", () =>
  withRedis(async (server, cache) => {
    for (let round = 0; round < 2; round++) {
      await server.cli("SCRIPT", "FLUSH");
      await cache.remember(marksOf([{ id: ID_A, value: String(round) }]), ours());
      assert.deepEqual(await cache.marks(idsOf([ID_A])), [String(round)]);
      assert.deepEqual(await server.cli("SCRIPT", "EXISTS", scriptName(LAST_SCRIPT)), ["1"]);
    }
  }));

Deno.test("remember() writes nothing when memory is used up; marks() still answers", () =>
  withRedis(async (server, cache) => {
    await cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours());
    await server.cli("CONFIG", "SET", "maxmemory", "1");
    await assert.rejects(
      cache.remember(marksOf([{ id: ID_B, value: "b" }]), ours([lastValueAt(TIME_US, ID_B)])),
      (error: Error) => {
        assert.equal(error.name, "TransientError");
        assert.match((error.cause as Error).message, /OOM/);
        return true;
      },
    );
    assert.deepEqual(await cache.marks(idsOf([ID_A, ID_B])), ["a", null]);
    await server.cli("CONFIG", "SET", "maxmemory", "0");
    assert.equal(await cache.lastValue(SENSOR), null);
    await cache.remember(marksOf([{ id: ID_B, value: "b" }]), ours());
    assert.deepEqual(await cache.marks(idsOf([ID_B])), ["b"]);
  }));

Deno.test("openCache() does not wait for Redis, and finds it when it comes", async () => {
  await using server = await PrivateRedis.start();
  await server.kill();
  await using cache = open(server.port);
  await assert.rejects(cache.connected(), {
    name: "TransientError",
    message:
      /^Cannot reach Redis at 127\.0\.0\.1:\d+ \(REDIS_HOST, REDIS_PORT\): connection refused$/,
  });
  await assert.rejects(cache.marks(idsOf([ID_A])), {
    name: "TransientError",
    message: /^Cannot reach Redis at /,
  });
  await server.up();
  await answers(cache);
  await cache.connected();
});

Deno.test("openCache() with a wrong password says so, and gets in when it is right", async () => {
  await using server = await PrivateRedis.start();
  await server.cli("CONFIG", "SET", "requirepass", "right");
  const { log, lines } = recordedLog();
  const settings = { host: "127.0.0.1", port: server.port, ttlSeconds: 60, password: "wrong" };
  await using wrong = openCache(settings, { clock: systemClock, log });
  await using none = open(server.port);
  await using right = open(server.port, { password: "right" });
  await right.connected();
  await assert.rejects(wrong.connected(), {
    name: "ConfigurationError",
    message: /^Cannot use Redis at /,
  });
  await assert.rejects(none.connected(), { name: "ConfigurationError" });
  await assert.rejects(wrong.marks(idsOf([ID_A])), (error) => {
    assert.ok(error instanceof TransientError && !(error instanceof NoAnswerError));
    assert.match(describeError(error), /REDIS_PASSWORD/);
    return true;
  });
  await until(
    "a second attempt",
    () => Promise.resolve(lines.filter((line) => line.includes("not connected")).length >= 2),
  );
  assert(!lines.join("").includes('"wrong"'));
  await server.cli("-a", "right", "CONFIG", "SET", "requirepass", "wrong");
  await answers(wrong);
});

Deno.test("a Breaker keeps a silent Redis from holding anybody up, and a healed one is used", () =>
  withRedis(async (server, cache) => {
    const told: string[] = [];
    const breaker = new Breaker({
      clock: systemClock,
      budgetMs: 100,
      // Each failure is told, and counts once.
      onFailure: () => told.at(-1) === "open" || told.push("open"),
      onClose: () => told.push("closed"),
    });
    const faults: [string, () => unknown, () => unknown][] = [
      // A paused server takes no CLIENT UNPAUSE either: this one heals on its own.
      ["CLIENT PAUSE", () => server.cli("CLIENT", "PAUSE", "1500"), () => {}],
      ["a frozen process", () => server.freeze(), () => server.thaw()],
      ["a crash", () => server.kill(), () => server.up()],
    ];
    for (const [name, hurt, heal] of faults) {
      await hurt();
      const startMs = systemClock.elapsedMs();
      let longestMs = 0;
      let calls = 0;
      while (systemClock.elapsedMs() - startMs < 1_000) {
        const callMs = systemClock.elapsedMs();
        await breaker.attempt(() => cache.remember(marksOf([{ id: ID_A, value: name }]), ours()));
        longestMs = Math.max(longestMs, systemClock.elapsedMs() - callMs);
        calls++;
        await systemClock.sleep(1);
      }
      assert.equal(breaker.isOpen, true, name);
      // 100 ms and what a busy machine adds.
      assert(longestMs < 200, `${name}: one call took ${longestMs} ms`);
      assert(calls > 100, `${name}: only ${calls} calls got through`);
      await heal();
      await until(`closed after ${name}`, async () => {
        await breaker.attempt(() => cache.remember(marksOf([{ id: ID_A, value: name }]), ours()));
        return !breaker.isOpen;
      });
      assert.deepEqual(await cache.marks(idsOf([ID_A])), [name]);
    }
    assert.deepEqual(told, ["open", "closed", "open", "closed", "open", "closed"]);
  }));

/** More than the sockets between two processes hold. */
const MANY = marksOf(Array.from({ length: 50_000 }, (_, n) => ({
  id: `${String(n).padStart(8, "0")}-0000-4000-8000-000000000000`,
  value: "v".repeat(42),
})));

Deno.test("marks that are half sent when the time is up harm no later call", () =>
  withRedis(async (server, cache) => {
    const breaker = new Breaker({ clock: systemClock, budgetMs: 50 });
    server.freeze();
    const last = ours([lastValueAt(TIME_US, ID_A)]);
    assert.equal(await breaker.attempt(() => cache.remember(MANY, last)), undefined);
    const later = cache.marks(idsOf([ID_A, ID_B]));
    server.thaw();
    assert.deepEqual(await later, [null, null]);
    // What was given up takes effect all the same, and is as true as before.
    assert.deepEqual(await server.cli("DBSIZE"), ["50004"]);
  }));

Deno.test("a Redis that dies in the middle of marks takes them along, and no later call", () =>
  withRedis(async (server, cache) => {
    server.freeze();
    const half = cache.remember(MANY, ours([lastValueAt(TIME_US, ID_A)]));
    const refused = assert.rejects(half, {
      name: "TransientError",
      message: /^Cannot remember 50,?000 marks and 1 last value: Redis at .* closed the connection/,
    });
    await server.kill();
    await refused;
    await server.up();
    await answers(cache);
    await cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours());
    assert.deepEqual(await cache.marks(idsOf([ID_A])), ["a"]);
  }));

Deno.test("marks are written also where the script is not allowed, and the other way round", () =>
  withRedis(async (server, cache) => {
    const last = ours([lastValueAt(TIME_US, ID_A)]);
    const mark = marksOf([{ id: ID_A, value: "a" }]);
    await cache.remember(NO_MARKS, ours());
    for (
      const [right, want] of [["evalsha", ["a", null]], ["setex", [null, last.values[0]!.text]]]
    ) {
      await server.cli("FLUSHALL");
      await server.cli("ACL", "SETUSER", "default", `-${right}`);
      await assert.rejects(cache.remember(mark, last), (error: Error) => {
        assert.match(describeError(error), /NOPERM.*security\/redis\.acl/);
        return error.name === "TransientError";
      });
      await server.cli("ACL", "SETUSER", "default", `+${right}`);
      const [value = null] = await cache.marks(idsOf([ID_A]));
      assert.deepEqual([value, await cache.lastValue(SENSOR)], want);
    }
  }));

Deno.test("a connection without an answer for 5 s is dropped with all that waits on it", () =>
  withRedis(async (server, cache) => {
    server.freeze();
    const startMs = systemClock.elapsedMs();
    const calls = [
      cache.marks(idsOf([ID_A])),
      cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours()),
    ];
    const results = await Promise.allSettled(calls);
    const tookMs = systemClock.elapsedMs() - startMs;
    assert(tookMs > 4_900 && tookMs < 6_000, `took ${tookMs} ms`);
    for (const result of results) {
      assert.equal(result.status === "rejected" && result.reason.name, "TransientError");
    }
    const droppedMs = systemClock.elapsedMs();
    await assert.rejects(cache.marks(idsOf([ID_A])), { name: "TransientError" });
    assert(
      systemClock.elapsedMs() - droppedMs < 1_000,
      "the next call waited on a dead connection",
    );
    server.thaw();
    await answers(cache);
  }));

Deno.test("close() rejects what waits, and later calls", () =>
  withRedis(async (server, cache) => {
    await server.cli("CLIENT", "PAUSE", "60000");
    const waiting = assert.rejects(cache.marks(idsOf([ID_A])), { name: "TransientError" });
    await cache.close();
    await waiting;
    await assert.rejects(cache.marks(idsOf([ID_A])), (error: Error) => {
      assert.match((error.cause as Error).message, /closed/);
      return error.name === "TransientError";
    });
    await cache.close();
  }));

Deno.test("close() while Redis is silent at login ends at once and leaves nothing behind", async () => {
  await using server = await PrivateRedis.start();
  server.freeze();
  const cache = open(server.port);
  await systemClock.sleep(100);
  const startMs = systemClock.elapsedMs();
  await cache.close();
  assert(systemClock.elapsedMs() - startMs < 1_000);
});

Deno.test("a user with no more rights than the module asks for can do everything", async () => {
  await using server = await PrivateRedis.start();
  const rights =
    "+mget +get +set +setex +unlink +pttl +zadd +zscore +zcard +zrange +zrem +eval +evalsha";
  await server.cli(
    ...["ACL", "SETUSER", "default", "on", ">pw", "resetkeys", "~reading:*", "~last:*"],
    ...["~ledger:*", "-@all", ...rights.split(" ")],
  );
  await using cache = open(server.port, { password: "pw" });
  await cache.connected();
  const last = lastValueAt(TIME_US, ID_A);
  await cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours([last]));
  await cache.remember(NO_MARKS, ours([lastValueAt(TIME_US, ID_B)]));
  await cache.setLastComplete(DATA_SET);
  assert.deepEqual(await cache.marks(idsOf([ID_A])), ["a"]);
  assert.equal((await cache.claimLastValues({ dataSetId: "another" })).kind, "foreign");
  await cache.claimLastValues({ dataSetId: "another", formerly: DATA_SET });
  assert.equal(await cache.lastValue(SENSOR), null);
});
