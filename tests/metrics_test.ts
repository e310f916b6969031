import assert from "node:assert/strict";
import { MemoryCache } from "../fakes/cache.ts";
import { MemoryKafka } from "../fakes/kafka_cluster.ts";
import { createMemoryStore, type MemoryStore } from "../fakes/store.ts";
import { ConsumerMetrics, ProducerMetrics, SERIES_MAX } from "../lib/metrics.ts";
import { TransientError } from "../lib/errors.ts";
import { Monitor } from "../lib/monitor/monitor.ts";
import { FlowStatistics } from "../lib/monitor/statistics.ts";
import { Breaker } from "../lib/redis/breaker.ts";
import { FakeClock } from "./fake_clock.ts";

const PARTITIONS = 100;

interface Scrape {
  /** Value by series, as it is written: `name{label="value"}`. */
  readonly series: ReadonlyMap<string, number>;
  readonly text: string;
}

/** Reads the text format, and refuses what is not in it. */
function parse(text: string): Scrape {
  const series = new Map<string, number>();
  let family = "";
  for (const line of text.split("\n").filter((each) => each !== "")) {
    const head = /^# (?:HELP|TYPE) ([a-z_]+) \S/.exec(line);
    if (head !== null) {
      family = head[1]!;
      continue;
    }
    const match = /^([a-z_]+)(\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})? (\S+)$/.exec(line);
    assert(match !== null && match[1]!.startsWith(family), line);
    const [, name, labels = "", value] = match;
    assert(!series.has(name + labels), `twice: ${line}`);
    assert(value === "+Inf" || Number.isFinite(Number(value)), line);
    series.set(name + labels, Number(value));
  }
  return { series, text };
}

/** A consumer of many partitions that has stored a batch. */
async function scrapes(
  use: (parts: {
    readonly scrape: () => Promise<Scrape>;
    readonly statistics: FlowStatistics;
    readonly clock: FakeClock;
    readonly kafka: MemoryKafka;
    readonly store: MemoryStore;
  }) => Promise<void>,
): Promise<void> {
  const clock = new FakeClock();
  const kafka = new MemoryKafka({ topic: "readings", partitions: PARTITIONS, clock });
  const store = createMemoryStore({ clock });
  const metrics = new ConsumerMetrics();
  const statistics = new FlowStatistics({ clock, onStored: (report) => metrics.stored(report) });
  const breaker = new Breaker({ clock, budgetMs: 250 });
  const monitor = new Monitor({
    member: kafka.member("g"),
    tables: { ledger: () => store.readLedger(), openDeadLetters: () => store.openDeadLetters() },
    statistics,
    cache: new MemoryCache({ clock, ttlSeconds: 60 }),
    breakers: { read: breaker, write: breaker },
    clock,
  });
  metrics.register({ statistics, monitor, clock });
  const stop = new AbortController();
  const running = monitor.run(stop.signal);
  for (let number = 0; number < PARTITIONS; number++) {
    kafka.append(number, Array.from({ length: number }, () => ({ key: null, value: null })));
  }
  for (let number = 0; number < 30; number++) kafka.setLeader(number, "none");
  kafka.transactionalProducer().append(98, [{ key: null, value: null }]);
  statistics.assigned(kafka.partitionNumbers());
  statistics.stored({
    partition: 99,
    nextOffset: 10,
    messages: 1,
    timestampsMs: Float64Array.of(clock.now() - 70),
    inserted: 6,
    duplicates: 2,
    rejections: new Map([["json", 1], ["id_conflict", 1]]),
    skipped: 3,
    stageMs: { parse: 1, redis: 2, store: 30, mark: 4 },
    storedAtMs: clock.now(),
  });
  await clock.advance(2_500);
  await use({ scrape: async () => parse(await metrics.text()), statistics, clock, kafka, store });
  stop.abort();
  await running;
}

Deno.test("ConsumerMetrics tell what the flow has done", async () => {
  await scrapes(async ({ scrape, statistics, clock }) => {
    statistics.flooded({ deadLetters: 2, messages: 2, reasons: [] });
    const { series } = await scrape();
    const wanted: Record<string, number> = {
      'sensor_ledger_messages_total{outcome="inserted"}': 6,
      'sensor_ledger_messages_total{outcome="duplicate"}': 2,
      'sensor_ledger_messages_total{outcome="dead_letter"}': 2,
      'sensor_ledger_messages_total{outcome="skipped"}': 3,
      'sensor_ledger_dead_letters_total{reason="json"}': 1,
      'sensor_ledger_dead_letters_total{reason="utf8"}': 0,
      sensor_ledger_batch_messages_count: 1,
      'sensor_ledger_stage_seconds_sum{stage="store"}': 0.03,
      'sensor_ledger_delay_seconds_bucket{le="0.05"}': 0,
      'sensor_ledger_delay_seconds_bucket{le="0.1"}': 1,
      sensor_ledger_rebalances_total: 1,
      'sensor_ledger_degraded{server="redis"}': 0,
      'sensor_ledger_partition_offline{partition="7"}': 1,
      'sensor_ledger_lag_messages{partition="99"}': 99,
      'sensor_ledger_held_back_messages{partition="98"}': 1,
      sensor_ledger_open_dead_letters: 0,
      'sensor_ledger_measured_timestamp_seconds{what="topic"}': (clock.now() - 500) / 1_000,
      'sensor_ledger_measured_timestamp_seconds{what="ledger"}': (clock.now() - 500) / 1_000,
      sensor_ledger_assigned_partitions: PARTITIONS,
      sensor_ledger_unaccounted_offsets: 0,
      sensor_ledger_dead_letter_flood: 1,
      sensor_ledger_last_progress_timestamp_seconds: (clock.now() - 2_500) / 1_000,
    };
    for (const [name, value] of Object.entries(wanted)) {
      assert.equal(series.get(name), value, name);
    }
    // A second scrape gives the same counters: they are set and not added up.
    assert.equal((await scrape()).series.get("sensor_ledger_rebalances_total"), 1);
    statistics.flooded(undefined);
    assert.equal((await scrape()).series.get("sensor_ledger_dead_letter_flood"), 0);
  });
});

Deno.test("ConsumerMetrics leave out what they do not know any more", async () => {
  await scrapes(async ({ scrape, clock, kafka, store }) => {
    const told = async (name: string): Promise<number> =>
      [...(await scrape()).series.keys()].filter((series) => series.startsWith(name)).length;
    const fromTopic = ["lag_messages", "lag_seconds", "held_back_messages", "partition_offline"]
      .map((name) => `sensor_ledger_${name}`);
    const fromTables = ["sensor_ledger_unaccounted_offsets", "sensor_ledger_open_dead_letters"];
    for (const name of [...fromTopic, ...fromTables]) assert.notEqual(await told(name), 0, name);
    kafka.setBrokersAway(true);
    for (let look = 0; look < 30; look++) {
      store.failNext("readLedger", new TransientError("refused"));
    }
    const lastMs = clock.now() - 500;
    await clock.advance(20_000);
    for (const name of [...fromTopic, ...fromTables]) assert.equal(await told(name), 0, name);
    const { series } = await scrape();
    assert.equal(series.get('sensor_ledger_degraded{server="kafka"}'), 1);
    for (const what of ["topic", "ledger"]) {
      const name = `sensor_ledger_measured_timestamp_seconds{what="${what}"}`;
      assert.equal(series.get(name), lastMs / 1_000, name);
    }
  });
});

Deno.test("ConsumerMetrics stay within their series, and name no sensor", async () => {
  await scrapes(async ({ scrape }) => {
    const { series, text } = await scrape();
    assert(series.size <= SERIES_MAX, `${series.size} series`);
    assert.doesNotMatch(text, /sensor_id|sensor="/);
    const partitions = [...series.keys()].filter((name) => name.includes("lag_messages"));
    assert.equal(partitions.length, 24);
    assert(partitions.includes('sensor_ledger_lag_messages{partition="76"}'), "the worst ones");
    const offline = [...series.keys()].filter((name) => name.includes("partition_offline"));
    assert.equal(offline.length, 24);
  });
});

Deno.test("ConsumerMetrics tell the lag of partitions that nobody reads, if this member is to", async () => {
  await scrapes(async ({ scrape, statistics }) => {
    statistics.assigned([37]);
    statistics.orphaned([39]);
    const { series } = await scrape();
    const lags = [...series.keys()].filter((name) => name.startsWith("sensor_ledger_lag_messages"));
    assert.deepEqual(lags.sort(), [
      'sensor_ledger_lag_messages{partition="37"}',
      'sensor_ledger_lag_messages{partition="39"}',
    ]);
  });
});

Deno.test("ConsumerMetrics tell no lag of partitions that were taken away", async () => {
  await scrapes(async ({ scrape, statistics }) => {
    statistics.assigned([37]);
    const { series } = await scrape();
    const lags = [...series.keys()].filter((name) => name.startsWith("sensor_ledger_lag_"));
    assert.deepEqual(lags, [
      'sensor_ledger_lag_messages{partition="37"}',
      'sensor_ledger_lag_seconds{partition="37"}',
    ]);
  });
});

Deno.test("ProducerMetrics count, and are not ready while a partition is not acknowledged", async () => {
  const clock = new FakeClock(0);
  const metrics = new ProducerMetrics(clock);
  metrics.waiting(new TransientError("connection refused"));
  assert.deepEqual(metrics.readiness(), {
    ok: false,
    reasons: ["it has waited for Kafka since 00:00:00 UTC: connection refused"],
  });
  metrics.waiting(undefined);
  assert.deepEqual(metrics.readiness(), { ok: true, reasons: [] });
  metrics.taken();
  metrics.taken();
  metrics.acknowledged(0, [1]);
  metrics.retrying(1, new Error("broker away"));
  const texts = ["partition 1 is not acknowledged: broker away"];
  const warned = { ok: true, reasons: [], notes: texts };
  const refused = { ok: false, reasons: texts };
  assert.deepEqual(metrics.readiness(), warned, "the other one flows");
  metrics.held(1);
  assert.deepEqual(metrics.readiness(), refused, "the source waits");
  metrics.acknowledged(1, [2]);
  assert.deepEqual(metrics.readiness(), { ok: true, reasons: [] });
  metrics.retrying(1, new Error("broker away"));
  await clock.advance(10_000);
  assert.deepEqual(metrics.readiness(), refused, "no other one has been acknowledged for long");
  metrics.acknowledged(1, []);
  const { series } = parse(await metrics.text());
  assert.deepEqual(Object.fromEntries(series), {
    'sensor_ledger_producer_messages_total{outcome="taken"}': 2,
    'sensor_ledger_producer_messages_total{outcome="acknowledged"}': 2,
    sensor_ledger_producer_retries_total: 2,
  });
});

const MONITORING = new URL("../monitoring/", import.meta.url);

Deno.test("monitoring/ uses metrics that exist, and all of them", async (t) => {
  await scrapes(async ({ scrape }) => {
    const producer = await new ProducerMetrics(new FakeClock()).text();
    const { series } = await scrape();
    const names = (texts: Iterable<string>): Set<string> =>
      new Set([...texts].map((text) => /^[a-z_]+/.exec(text)![0]));
    const existing = names([...series.keys(), ...parse(producer).series.keys()]);
    const used = new Set<string>();
    for (const path of ["alerts.yml", "grafana/dashboards/sensor-ledger.json"]) {
      await t.step(path, async () => {
        const text = await Deno.readTextFile(new URL(path, MONITORING));
        const found = new Set(text.match(/sensor_ledger_[a-z_]+/g));
        assert(found.size > 5);
        assert.deepEqual([...found].filter((name) => !existing.has(name)), []);
        for (const name of found) used.add(name.replace(/_(bucket|sum|count)$/, ""));
      });
    }
    await t.step("nothing is measured in vain", () => {
      const families = [...existing].map((name) => name.replace(/_(bucket|sum|count)$/, ""));
      assert.deepEqual([...new Set(families)].filter((name) => !used.has(name)), []);
    });
  });
});
