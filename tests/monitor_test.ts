import assert from "node:assert/strict";
import { MemoryCache } from "../fakes/cache.ts";
import { MemoryKafka } from "../fakes/kafka_cluster.ts";
import { createMemoryStore } from "../fakes/store.ts";
import { NoAnswerError, TransientError } from "../lib/errors.ts";
import { type TopicIdentity, UNKNOWN_EPOCH } from "../lib/kafka/message.ts";
import { liveness, readiness } from "../lib/monitor/health.ts";
import { SlidingHistogram } from "../lib/monitor/histogram.ts";
import { etaSeconds, TopicHistory } from "../lib/monitor/lag.ts";
import {
  isFresh,
  ledgerSums,
  type LivePartition,
  type LiveStatus,
  liveStatus,
} from "../lib/monitor/live_status.ts";
import { Monitor, type MonitorParts, type SeenHeldBack } from "../lib/monitor/monitor.ts";
import { Servers } from "../lib/monitor/servers.ts";
import { FlowStatistics } from "../lib/monitor/statistics.ts";
import type { BatchReport } from "../lib/consumer/observer.ts";
import { Breaker } from "../lib/redis/breaker.ts";
import { FakeClock } from "./fake_clock.ts";

function near(actual: number | undefined, wanted: number, tolerance: number): void {
  assert(actual !== undefined && Math.abs(actual - wanted) <= tolerance, `${actual} ~ ${wanted}`);
}

Deno.test("SlidingHistogram.quantile() is within 6 % of the exact value", async (t) => {
  const rows: readonly [string, readonly number[], number, number][] = [
    ["one", [12], 0.5, 12],
    ["the lower half", [1, 2, 3, 100], 0.5, 2],
    ["the longest", [1, 2, 3, 100], 0.99, 100],
    ["a hundred", Array.from({ length: 100 }, (_, index) => index + 1), 0.99, 99],
    ["hours", [7_200_000], 0.5, 7_200_000],
  ];
  for (const [name, durations, quantile, wanted] of rows) {
    await t.step(name, () => {
      const histogram = new SlidingHistogram(new FakeClock());
      histogram.recordAll(durations);
      near(histogram.quantile(quantile), wanted, wanted * 0.06);
    });
  }
  await t.step("of clocks that differ counts as nearly nothing", () => {
    const histogram = new SlidingHistogram(new FakeClock());
    histogram.record(-500);
    near(histogram.quantile(0.5), 0, 0.1);
  });
  await t.step("of nothing is undefined", () => {
    assert.equal(new SlidingHistogram(new FakeClock()).quantile(0.5), undefined);
  });
});

Deno.test("SlidingHistogram forgets what is older than a minute", async () => {
  const clock = new FakeClock();
  const histogram = new SlidingHistogram(clock);
  histogram.record(1_000);
  await clock.advance(30_000);
  histogram.record(10);
  near(histogram.quantile(0.99), 1_000, 60);
  await clock.advance(31_000);
  near(histogram.quantile(0.99), 10, 1);
  await clock.advance(60_000);
  assert.equal(histogram.quantile(0.99), undefined);
});

/** A look at a topic of one partition. */
function look(atMs: number, end: number, passed: number): Parameters<TopicHistory["add"]>[0] {
  return { atMs, ends: new Map([[0, end]]), passed };
}

Deno.test("TopicHistory.rates() are those of the last five seconds", () => {
  const history = new TopicHistory();
  assert.equal(history.rates(), undefined);
  history.add(look(0, 0, 0));
  assert.equal(history.rates(), undefined, "one look says nothing of a rate");
  for (let second = 1; second <= 10; second++) {
    history.add(look(second * 1_000, second * 100, second * 10));
  }
  assert.deepEqual(history.rates(), { atMs: 10_000, inPerSecond: 100, storedPerSecond: 10 });
  // A topic that was recreated.
  history.add(look(11_000, 0, 0));
  assert.deepEqual(history.rates(), { atMs: 11_000, inPerSecond: 0, storedPerSecond: 0 });
  history.add(look(60_000, 0, 0));
  assert.equal(history.rates(), undefined, "nobody looked for a long time before");
});

Deno.test("TopicHistory.lagSeconds() is the age of the oldest message that is not stored", async (t) => {
  const history = new TopicHistory();
  for (let second = 0; second <= 10; second++) {
    history.add(look(second * 1_000, 5 + second, 0));
  }
  const rows: readonly [string, number, number | undefined, number][] = [
    ["seen for the first time at second 3", 7, undefined, 7],
    ["just seen", 14, undefined, 0],
    ["nothing waits", 15, undefined, 0],
    ["older than all looks: at least the first look", 0, undefined, 10],
    ["older than all looks: the message before it tells", 0, 60_000, 60],
    ["the message before it says nothing of one that was seen to come", 7, 60_000, 7],
  ];
  for (const [name, nextOffset, lastMessageAgeMs, wanted] of rows) {
    await t.step(name, () => {
      const at = { partition: 0, nextOffset };
      const now = { elapsedMs: 10_000, lastMessageAgeMs };
      assert.equal(history.lagSeconds(at, now), wanted);
    });
  }
});

Deno.test("etaSeconds() tells when the lag is gone", async (t) => {
  const rows: readonly [string, number, number, number, number | undefined][] = [
    ["no lag", 0, 10, 0, 0],
    ["it shrinks", 500, 50, 100, 10],
    ["it stays", 500, 100, 100, undefined],
    ["it grows", 500, 100, 50, undefined],
  ];
  for (const [name, lag, inPerSecond, storedPerSecond, wanted] of rows) {
    await t.step(name, () => {
      assert.equal(etaSeconds(lag, { inPerSecond, storedPerSecond }), wanted);
    });
  }
});

Deno.test("Servers keep since when a state has lasted", async () => {
  const clock = new FakeClock(0);
  const servers = new Servers(clock);
  const noAnswer = (text: string): NoAnswerError => new NoAnswerError(text, { server: "redis" });
  assert.equal(servers.states.redis.state, "never_reached");
  servers.failed("redis", noAnswer("refused"));
  assert.deepEqual(servers.states.redis, {
    state: "never_reached",
    sinceMs: 0,
    answeredAtMs: null,
    detail: "refused",
  });
  servers.answered("redis", undefined);
  await clock.advance(1_000);
  servers.failed("redis", noAnswer("refused"));
  await clock.advance(1_000);
  servers.failed("redis", noAnswer("timed out"));
  const away = { state: "away", sinceMs: 1_000, answeredAtMs: 0, detail: "timed out" };
  assert.deepEqual(servers.states.redis, away);
  servers.answered("redis", "refuses to write");
  assert.deepEqual(servers.states.redis, {
    state: "degraded",
    sinceMs: 2_000,
    answeredAtMs: 2_000,
    detail: "refuses to write",
  });
  servers.failed("redis", new TransientError("no right"));
  assert.deepEqual(servers.states.redis, {
    state: "refuses",
    sinceMs: 2_000,
    answeredAtMs: 2_000,
    detail: "no right",
  }, "a refusal is an answer");
});

const TOPIC: TopicIdentity = {
  clusterId: "memory-cluster",
  topic: "readings",
  topicId: "00000000-0000-4000-8000-000000000001",
};

function report(changes: Partial<BatchReport> = {}): BatchReport {
  return {
    partition: 0,
    nextOffset: 3,
    messages: 2,
    timestampsMs: Float64Array.of(900, 950),
    inserted: 1,
    duplicates: 0,
    rejections: new Map([["json", 1]]),
    skipped: 1,
    stageMs: { parse: 1, redis: 2, store: 3, mark: 4 },
    storedAtMs: 1_000,
    ...changes,
  };
}

Deno.test("FlowStatistics add up what was stored", () => {
  const told: BatchReport[] = [];
  const statistics = new FlowStatistics({
    clock: new FakeClock(1_000),
    onStored: (each) => told.push(each),
  });
  statistics.assigned([0, 1]);
  statistics.placed(0, 0);
  statistics.stored(report());
  statistics.stored(report({ nextOffset: 5, rejections: new Map([["json", 2], ["utf8", 1]]) }));
  assert.deepEqual(statistics.totals, {
    messages: 4,
    inserted: 2,
    duplicates: 0,
    deadLetters: 4,
    skipped: 2,
    batches: 2,
    rebalances: 1,
    retries: { placing: 0, storing: 0 },
  });
  assert.deepEqual(statistics.rejections, new Map([["json", 3], ["utf8", 1]]));
  assert.deepEqual(statistics.positions.get(0), { nextOffset: 5, lastMessageAtMs: 950 });
  assert.equal(statistics.lastProgressAtMs, 1_000);
  near(statistics.delay.quantile(0.5), 50, 3);
  near(statistics.stages.store.quantile(0.5), 3, 0.2);
  assert.equal(told.length, 2);
});

Deno.test("FlowStatistics tell nothing of partitions that were taken away", () => {
  const statistics = new FlowStatistics({ clock: new FakeClock() });
  statistics.assigned([0]);
  statistics.placed(0, 10);
  statistics.assigned([1]);
  assert.deepEqual([...statistics.positions.keys()], []);
  // A batch that was under way: counted, but the partition is not ours.
  statistics.stored(report({ partition: 0 }));
  assert.deepEqual([...statistics.positions.keys()], []);
  assert.equal(statistics.totals.inserted, 1);
});

Deno.test("FlowStatistics keep the trouble of each partition until it goes on", async () => {
  const clock = new FakeClock(0);
  const statistics = new FlowStatistics({ clock });
  statistics.assigned([0, 1, 2]);
  statistics.failed("storing", [2], new TransientError("disk full"));
  await clock.advance(5_000);
  statistics.failed("storing", [2], new TransientError("disk still full"));
  statistics.failed("storing", [0], new TransientError("disk still full"));
  const text = "disk still full";
  assert.deepEqual(statistics.troubles, [
    { step: "storing", partitions: [0, 2], text, sinceMs: 0 },
  ]);
  statistics.placed(0, 0);
  statistics.stored(report());
  assert.equal(statistics.troubles.length, 1, "others tell nothing about it");
  statistics.wentOn(0);
  assert.deepEqual(statistics.troubles, [{ step: "storing", partitions: [2], text, sinceMs: 0 }]);
  statistics.assigned([0, 1]);
  assert.deepEqual(statistics.troubles, [], "somebody else's now");
  assert.deepEqual(statistics.totals.retries, { placing: 0, storing: 3 });
});

Deno.test("liveness() is a matter of the loop alone", async (t) => {
  const clock = new FakeClock();
  const statistics = new FlowStatistics({ clock });
  await t.step("it waits for servers to begin", async () => {
    await clock.advance(600_000);
    assert.deepEqual(liveness(statistics), { ok: true, reasons: [] });
  });
  await t.step("it ticks", () => {
    statistics.ticked();
    assert.deepEqual(liveness(statistics), { ok: true, reasons: [] });
  });
  await t.step("it is silent", async () => {
    await clock.advance(11_000);
    assert.deepEqual(liveness(statistics).reasons, ["the loop has not moved for 11 s"]);
  });
  await t.step("it ticks again, with a batch that never ends", async () => {
    statistics.batchBegan(3);
    for (let second = 0; second < 301; second++) {
      await clock.advance(1_000);
      statistics.ticked();
    }
    assert.deepEqual(liveness(statistics).reasons, ["a batch has taken 301 s so far"]);
    statistics.batchEnded(3);
    assert.equal(liveness(statistics).ok, true);
  });
});

Deno.test("readiness() names what is missing", async (t) => {
  const clock = new FakeClock(0);
  const statistics = new FlowStatistics({ clock });
  const servers = new Servers(clock);
  const offline = new Map<number, string>();
  const heldBack = new Map<number, SeenHeldBack>();
  const parts = { statistics, servers, clock, offline, heldBack };
  const reasons = (): readonly string[] => readiness(parts).reasons;
  await t.step("at the start", () => {
    assert.deepEqual(reasons(), [
      "the group has not assigned partitions yet",
      "Kafka has not answered since the start at 00:00:00 UTC: not asked yet",
      "PostgreSQL has not answered since the start at 00:00:00 UTC: not asked yet",
    ]);
  });
  await t.step("a member without partitions is ready, and so is one without Redis", () => {
    statistics.assigned([]);
    servers.answered("kafka", undefined);
    servers.answered("postgres", undefined);
    servers.failed("redis", new Error("refused"));
    assert.deepEqual(reasons(), []);
  });
  await t.step("an answer gets old", async () => {
    await clock.advance(9_000);
    statistics.ticked();
    servers.answered("postgres", undefined);
    await clock.advance(2_000);
    assert.deepEqual(reasons(), ["Kafka last answered 11 s ago"]);
    servers.answered("kafka", undefined);
  });
  await t.step("it does not answer any more, or refuses", () => {
    servers.failed("kafka", new NoAnswerError("connection refused"));
    servers.failed("postgres", new TransientError("no such table"));
    assert.deepEqual(reasons(), [
      "Kafka has not answered since 00:00:11 UTC: connection refused",
      "PostgreSQL has refused since 00:00:11 UTC: no such table",
    ]);
    servers.answered("kafka", undefined);
    servers.answered("postgres", undefined);
  });
  await t.step("one of our partitions has no leader: ready, with a warning", () => {
    statistics.assigned([1, 2]);
    offline.set(2, "no broker leads it").set(7, "somebody else's");
    const text = "partition 2 cannot be read: no broker leads it; start its broker";
    assert.deepEqual(readiness(parts), { ok: true, reasons: [], notes: [text] });
    statistics.assigned([2]);
    assert.deepEqual(readiness(parts), { ok: false, reasons: [text] }, "all of ours");
    statistics.assigned([1, 2, 3, 5]);
    offline.clear();
  });
  await t.step("a step that fails", () => {
    statistics.failed("storing", [3, 5], new TransientError("disk full"));
    assert.deepEqual(reasons(), ["storing fails in partition 3, 5: disk full"]);
    statistics.wentOn(3);
    statistics.wentOn(5);
  });
  await t.step("what a person should know", () => {
    statistics.noticed("neighbours", "another program is in the group");
    assert.deepEqual(reasons(), ["another program is in the group"]);
    statistics.noticed("neighbours", undefined);
    statistics.noticed("offsets", "set by a tool");
    assert.deepEqual(readiness(parts), { ok: true, reasons: [], notes: ["set by a tool"] });
  });
  await t.step("a transaction that stays open: ready, with a warning", async () => {
    const sinceMs = clock.elapsedMs();
    statistics.assigned([2]);
    heldBack.set(2, { offset: 7, messages: 3, sinceMs, seenMs: sinceMs });
    heldBack.set(9, { offset: 0, messages: 1, sinceMs, seenMs: sinceMs });
    assert.deepEqual(readiness(parts).notes, ["set by a tool"], "most of them end soon");
    await clock.advance(60_000);
    statistics.ticked();
    for (const name of ["kafka", "postgres"] as const) servers.answered(name, undefined);
    const text =
      "partition 2: 3 messages wait behind a transaction that has been open since offset 7";
    const wanted = { ok: true, reasons: [], notes: ["set by a tool", text] };
    assert.deepEqual(readiness(parts), wanted, "and those of others are told of by others");
  });
  await t.step("while Kafka is away nothing is said of partitions", () => {
    offline.set(2, "no broker leads it");
    servers.failed("kafka", new NoAnswerError("refused"));
    assert.deepEqual(readiness(parts), {
      ok: false,
      reasons: ["Kafka has not answered since 00:01:11 UTC: refused"],
      notes: ["set by a tool"],
    });
  });
});

/** A monitor on servers in memory, after its first looks. */
class Watched {
  readonly clock = new FakeClock();
  readonly kafka = new MemoryKafka({ topic: "readings", partitions: 2, clock: this.clock });
  readonly store = createMemoryStore({ clock: this.clock });
  readonly cache = new MemoryCache({ clock: this.clock, ttlSeconds: 60 });
  readonly breakers = { read: this.#breaker(), write: this.#breaker() };
  readonly statistics = new FlowStatistics({ clock: this.clock });
  readonly parts: MonitorParts = {
    member: this.kafka.member("g"),
    tables: {
      ledger: () => this.store.readLedger(),
      openDeadLetters: () => this.store.openDeadLetters(),
    },
    cache: this.cache,
    breakers: this.breakers,
    statistics: this.statistics,
    clock: this.clock,
  };
  readonly monitor = new Monitor(this.parts);
  readonly #stop = new AbortController();
  readonly #running = this.monitor.run(this.#stop.signal);

  #breaker(): Breaker {
    return new Breaker({ clock: this.clock, budgetMs: 250 });
  }

  async seconds(count: number): Promise<void> {
    for (let second = 0; second < count; second++) {
      this.statistics.ticked();
      await this.clock.advance(1_000);
    }
  }

  summary(): ReturnType<typeof liveStatus>["summary"] {
    return liveStatus(this).summary;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    assert.equal(this.clock.sleeping, 0);
  }
}

Deno.test("liveStatus() says in words how the flow is", async (t) => {
  await using watched = new Watched();
  const { kafka, store, cache, statistics, breakers } = watched;
  const says = (state: string, text: RegExp): void => {
    const summary = watched.summary();
    assert.equal(summary.state, state, summary.text);
    assert.match(summary.text, text);
  };
  await t.step(
    "starting",
    () => says("starting", /^Starting: waiting for the first answer of PostgreSQL/),
  );
  await t.step("empty", async () => {
    await watched.seconds(3);
    says("empty", /No messages yet/);
  });
  await t.step("behind", async () => {
    const value = new TextEncoder().encode("{");
    kafka.append(0, Array.from({ length: 30 }, () => ({ key: null, value })));
    await store.openLedgerLine(kafka.identity(), 0, 0);
    statistics.assigned([0]);
    statistics.placed(0, 0);
    await watched.seconds(10);
    says("behind", /30 messages are waiting/);
    const { lag } = liveStatus(watched);
    // The first look came up to a second later.
    assert.deepEqual([lag.messages, lag.seconds, lag.etaSeconds], [30, 9, null]);
    assert.deepEqual(lag.partitions.map(({ isAssigned }) => isAssigned), [true, false]);
  });
  await t.step("working, then idle", async () => {
    statistics.stored(report({ nextOffset: 30, messages: 0, timestampsMs: new Float64Array() }));
    await store.moveLedgerLine(kafka.identity(), 0, {
      fromOffset: 0,
      toOffset: 30,
      toEpoch: UNKNOWN_EPOCH,
    });
    await watched.seconds(3);
    says("working", /Up to date\. Storing \d+ messages\/s/);
    await watched.seconds(10);
    says("idle", /No new messages/);
  });
  await t.step("what a person should know comes before Redis and the lag", () => {
    statistics.noticed("neighbours", "another program is in the group");
    says("degraded", /^Another program is in the group/);
    statistics.noticed("neighbours", undefined);
    statistics.noticed("membership", "no right to the group");
    says("waiting", /^Trying again: no right to the group/);
    statistics.noticed("membership", undefined);
    statistics.noticed("offsets", "set by a tool");
    says("idle", /No new messages/);
  });
  await t.step("degraded: Redis is away", async () => {
    cache.isAway = true;
    await watched.seconds(2);
    says("degraded", /Redis does not answer/);
    cache.isAway = false;
    await watched.seconds(2);
    says("idle", /Up to date/);
  });
  await t.step("degraded: Redis refuses writes", async () => {
    await breakers.write.attempt(() => Promise.reject(new TransientError("OOM")));
    await watched.seconds(2);
    says("degraded", /refuses to write/);
    await breakers.write.attempt(() => Promise.resolve());
    await watched.seconds(2);
  });
  await t.step("degraded: Redis has the last values of a neighbour", async () => {
    statistics.neighboured("another");
    await watched.seconds(2);
    says("degraded", /last values of another data set, another: .*REDIS_PREFIX/);
    statistics.neighboured(undefined);
    await watched.seconds(2);
    says("idle", /Up to date/);
  });
  await t.step("degraded: many messages are not valid readings", () => {
    statistics.flooded({ deadLetters: 700, messages: 1_000, reasons: [["json", 650], ["id", 50]] });
    says("degraded", /Of the last 1,000 messages, 700 are not valid readings: json 650, id 50\./);
    statistics.flooded(undefined);
    says("idle", /Up to date/);
  });
  await t.step("degraded: a step fails in one of two partitions", () => {
    statistics.assigned([0, 1]);
    statistics.failed("storing", [0], new TransientError("disk full"));
    says("degraded", /Trying again with partition 0: disk full/);
  });
  await t.step("waiting: a step fails in all", () => {
    statistics.failed("storing", [1], new TransientError("disk full"));
    says("waiting", /Trying again: disk full/);
  });
  await t.step("degraded: a partition has no leader; its lag is the one seen last", async () => {
    statistics.wentOn(0);
    statistics.wentOn(1);
    kafka.setLeader(1, "none");
    await watched.seconds(2);
    says(
      "degraded",
      /Kafka: partition 1 cannot be read or written: no broker leads it\. Its messages/,
    );
    const { partitions } = liveStatus(watched).lag;
    assert.deepEqual(partitions.map(({ offline }) => offline), [null, "no broker leads it"]);
    kafka.setLeader(1, "there");
    await watched.seconds(2);
    says("idle", /Up to date/);
  });
  await t.step("waiting: Kafka is away", async () => {
    kafka.setBrokersAway(true);
    await watched.seconds(2);
    says("waiting", /Kafka does not answer/);
  });
  await t.step("waiting: PostgreSQL is away, which matters most", async () => {
    store.failNext("readLedger", new TransientError("no such table"));
    await watched.seconds(1);
    says("waiting", /PostgreSQL refuses: no such table\. Kafka does not answer\. Nobody knows/);
    kafka.setBrokersAway(false);
    store.failNext("readLedger", new NoAnswerError("refused"));
    await watched.seconds(1);
    says("waiting", /PostgreSQL does not answer/);
  });
});

Deno.test("liveStatus() says at a start what the other server does", async () => {
  await using watched = new Watched();
  await watched.seconds(1);
  const monitor = new Monitor(watched.parts);
  monitor.servers.answered("postgres", undefined);
  monitor.servers.failed("postgres", new NoAnswerError("refused"));
  const { summary } = liveStatus({ ...watched, monitor });
  assert.deepEqual(summary, {
    state: "starting",
    text: "Starting: waiting for the first answer of Kafka: not asked yet. " +
      "PostgreSQL does not answer.",
  });
});

/** Without a word on what changes all the time. */
function ages(status: LiveStatus): Readonly<Record<string, number | undefined>> {
  const { nowMs, rates, lag, ledger, openDeadLetters } = status;
  const age = (atMs: number | null | undefined): number | undefined =>
    typeof atMs === "number" ? (nowMs - atMs) / 1_000 : undefined;
  return {
    rates: age(rates?.measuredAtMs),
    lag: age(lag.measuredAtMs),
    ledger: age(ledger?.measuredAtMs),
    openDeadLetters: age(openDeadLetters?.measuredAtMs),
  };
}

Deno.test("liveStatus() says of each figure when it was measured", async (t) => {
  await using watched = new Watched();
  const { kafka, store, statistics } = watched;
  await t.step("before the first looks nothing is known", () => {
    const { rates, lag, ledger, openDeadLetters } = liveStatus(watched);
    assert.deepEqual([rates, ledger, openDeadLetters], [null, null, null]);
    assert.deepEqual([lag.messages, lag.seconds, lag.measuredAtMs], [null, null, null]);
  });
  await t.step("what was looked at just now; rates need a second look", async () => {
    await store.openLedgerLine(kafka.identity(), 0, 0);
    kafka.append(0, Array.from({ length: 30 }, () => ({ key: null, value: null })));
    await watched.seconds(11);
    const wanted = { rates: 1, lag: 0, ledger: 0, openDeadLetters: 1 };
    assert.deepEqual(ages(liveStatus(watched)), wanted);
  });
  await t.step("PostgreSQL away: the lag of our own partition is known all the same", async () => {
    statistics.assigned([0, 1]);
    statistics.placed(0, 10);
    statistics.placed(1, 0);
    for (let second = 0; second < 20; second++) {
      store.failNext("readLedger", new TransientError("refused"));
    }
    await watched.seconds(20);
    const status = liveStatus(watched);
    assert.deepEqual(ages(status), { rates: 20, lag: 0, ledger: 20, openDeadLetters: 21 });
    assert.equal(status.lag.messages, 20);
    assert.equal(isFresh(status.ledger, status.nowMs), false);
    assert.equal(status.history.length, 11, "no rate is drawn that was not measured");
    await watched.seconds(3);
  });
  await t.step("Kafka away: what is behind is not known any more", async () => {
    kafka.setBrokersAway(true);
    await watched.seconds(30);
    const status = liveStatus(watched);
    assert.deepEqual(ages(status), { rates: 30, lag: 30, ledger: 0, openDeadLetters: 4 });
    assert.equal(status.lag.messages, 20, "as it was seen last");
    kafka.setBrokersAway(false);
    await watched.seconds(2);
  });
  await t.step("a sum is as old as its oldest part", async () => {
    kafka.setLeader(1, "none");
    await watched.seconds(15);
    const { lag, nowMs } = liveStatus(watched);
    assert.deepEqual(
      lag.partitions.map(({ measuredAtMs }) => (nowMs - measuredAtMs!) / 1_000),
      [0, 15],
    );
    assert.equal(nowMs - lag.measuredAtMs!, 15_000);
  });
  await t.step("a wall clock that jumps makes no figure younger", () => {
    watched.clock.jump(-3_600_000);
    const { lag, nowMs } = liveStatus(watched);
    assert.equal(nowMs - lag.measuredAtMs!, 15_000);
  });
});

Deno.test("liveStatus() does not know the lag of a partition that was never seen", async () => {
  await using watched = new Watched();
  watched.kafka.setLeader(1, "none");
  await watched.seconds(3);
  const { lag } = liveStatus(watched);
  assert.deepEqual([lag.messages, lag.measuredAtMs], [null, null]);
  const unknown = lag.partitions[1]!;
  assert.deepEqual([unknown.endOffset, unknown.lagMessages, unknown.lagSeconds], [
    null,
    null,
    null,
  ]);
});

Deno.test("liveStatus() does not know the lag before the ledger was read", async () => {
  await using watched = new Watched();
  watched.kafka.append(0, [{ key: null, value: null }]);
  for (let look = 0; look < 5; look++) {
    watched.store.failNext("readLedger", new TransientError("refused"));
  }
  await watched.seconds(3);
  const [{ endOffset, lagMessages }] = liveStatus(watched).lag.partitions as [LivePartition];
  assert.deepEqual([endOffset, lagMessages], [1, null], "not the whole log");
});

Deno.test("liveStatus() gives the counts of this process as they were when the ledger was read", async () => {
  await using watched = new Watched();
  const { statistics } = watched;
  statistics.assigned([0]);
  statistics.placed(0, 0);
  await watched.seconds(2);
  statistics.stored(report());
  const before = liveStatus(watched);
  assert.deepEqual([before.ledger?.sinceStart.inserted, before.sinceStart.inserted], [0, 1]);
  await watched.seconds(2);
  assert.equal(liveStatus(watched).ledger?.sinceStart.inserted, 1);
});

Deno.test("liveStatus() tells what waits behind open transactions", async () => {
  await using watched = new Watched();
  watched.kafka.transactionalProducer().append(0, [{ key: null, value: null }]);
  await watched.seconds(7);
  const { nowMs, lag: { partitions: [first, second] } } = liveStatus(watched);
  const { sinceMs, measuredAtMs, ...held } = first!.heldBack!;
  assert.deepEqual(held, { offset: 0, messages: 1 });
  assert.deepEqual([nowMs - sinceMs, nowMs - measuredAtMs], [7_000, 2_000]);
  assert.equal(second!.heldBack, null);
});

Deno.test("Monitor takes a server that never answers for away, and asks it no second time", async () => {
  await using watched = new Watched();
  const { monitor, cache } = watched;
  await watched.seconds(2);
  assert.equal(monitor.servers.states.redis.state, "ok");
  cache.hangNext("marks");
  await watched.seconds(5);
  assert.equal(monitor.servers.states.redis.state, "away");
  assert.match(monitor.servers.states.redis.detail, /no answer within 2500 ms/);
  // The first question is still open, so nothing that Redis does now can be seen.
  await watched.seconds(5);
  assert.equal(monitor.servers.states.redis.state, "away");
  assert.equal(monitor.servers.states.kafka.state, "ok");
});

Deno.test("Monitor tells listeners after each look, until they leave", async () => {
  await using watched = new Watched();
  let looks = 0;
  const leave = watched.monitor.onLook(() => looks++);
  await watched.seconds(3);
  assert.equal(looks, 3);
  leave();
  await watched.seconds(2);
  assert.equal(looks, 3);
  assert.equal(watched.monitor.eventLoopDriftMs, 0);
});

Deno.test("ledgerSums() finds offsets that are not accounted for", () => {
  const line = {
    topic: TOPIC,
    partition: 0,
    first: 10,
    next: 110,
    leaderEpoch: 0,
    inserted: 70,
    duplicates: 20,
    deadLetters: 5,
    skipped: 6,
    gaps: 2,
    rewound: 5,
    updatedAtMs: 0,
  };
  assert.deepEqual(ledgerSums([line, { ...line, partition: 1, inserted: 69 }]), {
    passed: 210,
    inserted: 139,
    duplicates: 40,
    deadLetters: 10,
    skipped: 12,
    gaps: 4,
    unaccounted: 5,
  });
});
