import assert from "node:assert/strict";
import Schema from "typebox/schema";
import { MemoryCache } from "../fakes/cache.ts";
import { MemoryKafka } from "../fakes/kafka_cluster.ts";
import openapi from "../docs/openapi.json" with { type: "json" };
import { consume } from "../lib/consumer/consumer.ts";
import type { FlowObserver } from "../lib/consumer/observer.ts";
import { openConsumerSite } from "../lib/http/consumer_site.ts";
import { createLog } from "../lib/log.ts";
import { storeOn } from "../lib/postgres/client.ts";
import { discardDeadLetters } from "../lib/postgres/dead_letters.ts";
import { migrate } from "../lib/postgres/migrate.ts";
import type { SqlPool } from "../lib/postgres/pool.ts";
import { Breaker } from "../lib/redis/breaker.ts";
import { NO_MARKS } from "../lib/redis/marks.ts";
import { FakeClock } from "./fake_clock.ts";
import { withPglite } from "./pglite_pool.ts";
import { sampleText, utf8 } from "./sample_message.ts";
import { projectMigrations } from "./sql_store.ts";
import { consumerOptions } from "./memory_pipeline.ts";

const NOW_MS = Date.UTC(2026, 10, 24, 12);
const SENSOR = "greenhouse-1";
const READINGS = 300;
/** Two readings a second apart from the others. */
const PEAK = { index: 123, value: 999 };

/** A site on tables, a topic and last values that hold a little of everything. */
class TestSite {
  readonly clock = new FakeClock(NOW_MS);
  /** Runs ahead of the other one while messages are stored. */
  readonly flowClock = new FakeClock(NOW_MS);
  readonly kafka = new MemoryKafka({ topic: "readings", partitions: 1, clock: this.flowClock });
  readonly cache = new MemoryCache({ clock: this.clock, ttlSeconds: 60 });
  url = "";
  readonly #breaker = new Breaker({ clock: this.clock, budgetMs: 250 });
  readonly breakers = { read: this.#breaker, write: this.#breaker };

  constructor(readonly pool: SqlPool) {}

  /** Takes messages through the real flow. */
  async store(values: readonly (Uint8Array | null)[]): Promise<void> {
    const clock = this.flowClock;
    this.kafka.append(0, values.map((value) => ({ key: null, value, timestampMs: NOW_MS })));
    let isDone = false;
    const done = consume(
      {
        member: this.kafka.member("g"),
        store: storeOn(this.pool),
        cache: this.cache,
        breakers: this.breakers,
        clock,
        log: createLog({ level: "error", format: "text", write: fail, clock }),
      },
      consumerOptions({
        batchMessagesMax: 1_000,
        batchesConcurrent: 1,
        startFrom: { kind: "beginning" },
        until: "end",
        shutdownDeadlineMs: 60_000,
        watchdogSeconds: 0,
        deadLetterAlarmShare: 0,
      }),
    ).finally(() => isDone = true);
    while (!isDone) await clock.advance(10);
    const { inserted, duplicates, deadLetters } = await done;
    assert.equal(inserted + duplicates + deadLetters, values.length);
  }

  /** The site's own. */
  observer: Partial<FlowObserver> = {};

  async get(path: string): Promise<Response> {
    return await fetch(`${this.url}${path}`);
  }

  // deno-lint-ignore no-explicit-any -- what it is, the schema has checked before
  async json(path: string): Promise<any> {
    const response = await this.get(path);
    assert.equal(response.status, 200, path);
    return await response.json();
  }
}

function reading(index: number): Uint8Array {
  return utf8(sampleText({
    unique_reading_id: `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`,
    sensor_id: SENSOR,
    sensor_type: "co2",
    unit: index === 0 ? "=ppm" : "ppm",
    timestamp: new Date(NOW_MS - (READINGS - index) * 1_000).toISOString(),
    value: index === PEAK.index ? PEAK.value : index % 10,
  }));
}

async function withSite(
  use: (site: TestSite) => Promise<void>,
  token?: string,
): Promise<void> {
  await withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    const site = new TestSite(pool);
    const log = createLog({ level: "error", format: "text", write: fail, clock: site.clock });
    await using served = await openConsumerSite({ host: "127.0.0.1", port: 0, token }, {
      ...site,
      member: site.kafka.member("g"),
      pools: { monitor: pool, readers: pool },
      clock: site.clock,
      log,
    });
    site.url = served.url;
    site.observer = served.observer;
    await site.store([
      ...Array.from({ length: READINGS }, (_, index) => reading(index)),
      utf8("<script>alert(1)</script>\x1b[31m"),
      null,
      utf8("[]"),
      Uint8Array.of(0x7b, 0xff),
      reading(5),
      utf8(sampleText({ sensor_id: "quiet", timestamp: "2026-11-24T11:00:00Z" })),
    ]);
    await site.clock.advance(1_500);
    await use(site);
  });
}

function fail(line: string): void {
  assert.fail(line);
}

/** The schema with every reference replaced by what it refers to. */
function resolved(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(resolved);
  if (typeof schema !== "object" || schema === null) return schema;
  if ("$ref" in schema) {
    const name = String(schema.$ref).split("/").at(-1)!;
    return resolved((openapi.components.schemas as Record<string, unknown>)[name]);
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolved(value)]));
}

interface Operation {
  readonly responses: Readonly<
    Record<string, { readonly content: Readonly<Record<string, { readonly schema: unknown }>> }>
  >;
}

async function matchesOpenapi(site: TestSite, path: string, url: string): Promise<void> {
  const { get } = (openapi.paths as unknown as Record<string, { get: Operation }>)[path]!;
  const response = await site.get(url);
  const { content } = get.responses[String(response.status)] ?? get.responses.default!;
  const type = response.headers.get("content-type")?.split(";")[0] ?? "";
  assert(type in content, `${type} of ${url}`);
  if (type !== "application/json") return await response.body?.cancel();
  const value = await response.json();
  const [ok, errors] = Schema.Errors(resolved(content[type]!.schema) as object, value);
  assert(ok, `${url}: ${JSON.stringify(errors)}`);
}

Deno.test("apiHandler() answers as docs/openapi.json says", async (t) => {
  await withSite(async (site) => {
    const asked = new Set<string>();
    const rows: readonly [path: string, url: string][] = [
      ["/api/status", "/api/status"],
      ["/api/status", "/api/status?nothing=1"],
      ["/api/events", "/api/events"],
      ["/api/sensors", "/api/sensors"],
      ["/api/sensors", "/api/sensors?limit=1"],
      ["/api/sensors", "/api/sensors?limit=0"],
      ["/api/sensors/{id}/readings", `/api/sensors/${SENSOR}/readings`],
      ["/api/sensors/{id}/readings", `/api/sensors/${SENSOR}/readings?points=20`],
      ["/api/sensors/{id}/readings", `/api/sensors/nobody/readings`],
      ["/api/sensors/{id}/readings.csv", `/api/sensors/${SENSOR}/readings.csv`],
      ["/api/dead-letters", "/api/dead-letters"],
      ["/api/dead-letters", "/api/dead-letters?limit=1&reason=json"],
      ["/api/dead-letters", "/api/dead-letters?state=open"],
      ["/api/ledger", "/api/ledger"],
      ["/metrics", "/metrics"],
      ["/healthz", "/healthz"],
      ["/readyz", "/readyz"],
    ];
    for (const [path, url] of rows) {
      asked.add(path);
      await t.step(url, () => matchesOpenapi(site, path, url));
    }
    await t.step("every path of the document was asked", () => {
      assert.deepEqual([...asked].sort(), Object.keys(openapi.paths).sort());
    });
    await t.step("the schemas can refuse", () => {
      const status = resolved(openapi.components.schemas.Status) as object;
      assert.equal(Schema.Errors(status, { nowMs: 1 })[0], false);
    });
  });
});

Deno.test("openConsumerSite() shows no last values of a neighbour on the same Redis", async () => {
  await withSite(async (site) => {
    const theirs = { sensorId: "theirs", eventTimeUs: 1, id: "x", text: "{}" };
    const { dataSetId } = site.cache.lease!;
    site.cache.flush();
    await site.cache.remember(NO_MARKS, { dataSetId: "neighbour", values: [theirs] });
    site.observer.neighboured?.("neighbour");
    await site.clock.advance(2_000);
    const { source, sensors } = await site.json("/api/sensors?limit=10");
    assert.equal(source, "postgres");
    assert.deepEqual(sensors.map((each: { sensorId: string }) => each.sensorId), ["quiet", SENSOR]);
    site.observer.neighboured?.(undefined);
    site.cache.flush();
    await site.cache.claimLastValues({ dataSetId });
    await site.clock.advance(6_000);
    assert.equal((await site.json("/api/sensors")).source, "redis");
  });
});

Deno.test("openConsumerSite() asks for the token where docs/openapi.json says so", async () => {
  await withSite(async (site) => {
    for (const [path, { get }] of Object.entries(openapi.paths)) {
      const response = await site.get(path);
      await response.body?.cancel();
      assert.equal(response.status === 401, !("security" in get), path);
    }
  }, "a-token-of-the-test");
});

Deno.test("apiHandler() gives pages, histories and dead letters", async (t) => {
  await withSite(async (site) => {
    await t.step("sensors: the silent one first, then the next page", async () => {
      const first = await site.json("/api/sensors?limit=1&silentAfterSeconds=600");
      assert.deepEqual([first.total, first.silent], [2, 1]);
      assert.equal(first.sensors[0].sensorId, "quiet");
      const after = encodeURIComponent(first.next);
      const second = await site.json(`/api/sensors?limit=1&silentAfterSeconds=600&after=${after}`);
      assert.equal(second.sensors[0].sensorId, SENSOR);
      assert.equal(second.next, null);
      const drawn = second.sensors[0].sparkline.filter((mean: number | null) => mean !== null);
      assert.equal(drawn.length, 16, "five of the last ten minutes, in parts of 20 s");
    });
    const readings = `/api/sensors/${SENSOR}/readings`;
    await t.step("history: every reading while they are few", async () => {
      const { intervalMs, points } = await site.json(`${readings}?points=${READINGS}`);
      assert.equal(intervalMs, 0);
      assert.equal(points.length, READINGS);
      assert.deepEqual(points[1], {
        atMs: NOW_MS - (READINGS - 1) * 1_000,
        ...{ min: 1, mean: 1, max: 1, count: 1 },
      });
    });
    await t.step("history: in intervals, and the peak is kept", async () => {
      const fromMs = NOW_MS - READINGS * 1_000;
      const range = `from=${fromMs}&to=${NOW_MS}`;
      const { intervalMs, points } = await site.json(`${readings}?${range}&points=30`);
      assert.equal(intervalMs, 10_000);
      assert.equal(points.length, 30);
      assert.deepEqual(points[0], {
        atMs: fromMs + 5_000,
        ...{ min: 0, mean: 4.5, max: 9, count: 10 },
      });
      assert.equal(points[12].max, PEAK.value);
      const counted = points.reduce((sum: number, { count }: { count: number }) => sum + count, 0);
      assert.equal(counted, READINGS);
    });
    await t.step("CSV: every reading of the range, and no formula", async () => {
      const response = await site.get(`${readings}.csv`);
      assert.match(response.headers.get("content-disposition")!, /filename="greenhouse-1\.csv"/);
      const lines = (await response.text()).split("\r\n");
      assert.equal(lines.length, READINGS + 2);
      assert.equal(
        lines[1],
        "00000000-0000-4000-8000-000000000000,2026-11-24T11:55:00.000000Z,co2,0,'=ppm,active,87",
      );
    });
    await t.step("dead letters: the newest first, page by page, escaped", async () => {
      const seen: (string | null)[] = [];
      for (let before = "", pages = 0; before !== null && pages < 5; pages++) {
        const page = await site.json(`/api/dead-letters?limit=2&before=${before}`);
        seen.push(...page.deadLetters.map(({ text }: { text: string | null }) => text));
        before = page.next;
      }
      assert.deepEqual(seen, ["{\\x{ff}", "[]", null, "<script>alert(1)</script>\\u{1b}[31m"]);
      const { deadLetters } = await site.json("/api/dead-letters?reason=tombstone");
      assert.deepEqual(deadLetters.map(({ reason }: { reason: string }) => reason), ["tombstone"]);
    });
    await t.step("dead letters: which reasons there are, and what became of each", async () => {
      const before = await site.json("/api/dead-letters");
      // The flow of this site counts nothing: so it is after a restart, too.
      assert.deepEqual((await site.json("/api/status")).sinceStart.rejections, {});
      assert.deepEqual(before.reasons, ["json", "not_object", "tombstone", "utf8"]);
      const [{ id, resolution, resolvedAtMs }] = before.deadLetters;
      assert.deepEqual([resolution, resolvedAtMs], [null, null]);
      await discardDeadLetters(site.pool, [Number(id)], "seen\x1b[31m");
      const [given] = (await site.json("/api/dead-letters")).deadLetters;
      assert.deepEqual([given.id, given.resolution], [id, "discarded"]);
      assert.equal(given.resolutionNote, "seen\\u{1b}[31m");
      assert.equal(typeof given.resolvedAtMs, "number");
      const open = await site.json("/api/dead-letters?state=open");
      const idsOf = (page: { deadLetters: { id: string }[] }): string[] =>
        page.deadLetters.map((letter) => letter.id);
      assert.deepEqual(idsOf(open), idsOf(before).slice(1));
      await site.clock.advance(5_000);
      const { count, isMore } = (await site.json("/api/status")).openDeadLetters;
      assert.deepEqual({ count, isMore }, { count: 3, isMore: false });
    });
    await t.step("the ledger adds up", async () => {
      const { sums, deadLetterReasons, lines } = await site.json("/api/ledger");
      assert.deepEqual(sums, {
        passed: 306,
        inserted: 301,
        duplicates: 1,
        deadLetters: 4,
        skipped: 0,
        gaps: 0,
        unaccounted: 0,
      });
      assert.deepEqual(deadLetterReasons, { json: 1, not_object: 1, tombstone: 1, utf8: 1 });
      assert.equal(lines[0].topic, "readings");
    });
  });
});

Deno.test("apiHandler() refuses what it does not know", async (t) => {
  await withSite(async (site) => {
    const rows: readonly [url: string, status: number, error: RegExp][] = [
      ["/api/nothing", 404, /not found/],
      ["/api/sensors?limit=501", 400, /limit must be a whole number from 1 to 500/],
      ["/api/sensors?limit=1&limit=2", 400, /limit is given twice/],
      ["/api/sensors?after=elsewhere", 400, /after must be/],
      [`/api/sensors?search=${"x".repeat(65)}`, 400, /search must have at most 64/],
      ["/api/sensors/%ff/readings", 400, /not percent-encoded/],
      ["/api/sensors/a%20b/readings", 400, /a sensor's id has/],
      [`/api/sensors/${"x".repeat(65)}/readings`, 400, /a sensor's id has/],
      ["/api/sensors/s/readings?points=2001", 400, /points must be .* 2 to 2000/],
      ["/api/sensors/s/readings?from=yesterday", 400, /from must be a time/],
      ["/api/sensors/s/readings?from=2026-11-24&to=2026-11-24", 400, /from must be before to/],
      ["/api/sensors/s/readings?from=2020-01-01", 400, /400 days/],
      ["/api/sensors/s/readings.csv?points=5", 400, /unknown parameter "points"/],
      ["/api/dead-letters?before=-1", 400, /before must be/],
      ["/api/dead-letters?reason=ugly", 400, /reason must be one of/],
      ["/api/dead-letters?state=ugly", 400, /state must be one of open, all/],
    ];
    for (const [url, status, error] of rows) {
      await t.step(url.slice(0, 60), async () => {
        const response = await site.get(url);
        assert.equal(response.status, status);
        assert.match((await response.json()).error, error);
      });
    }
  });
});
