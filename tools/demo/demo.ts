/**
 * The whole flow in one process: the producer, the consumer loop and the processor as they are,
 * between servers that are embedded. What is shown here is what runs on real ones.
 *
 * @module
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { MemoryCache } from "../../fakes/cache.ts";
import { MemoryKafka } from "../../fakes/kafka_cluster.ts";
import type { Clock } from "../../lib/clock.ts";
import { consume } from "../../lib/consumer/consumer.ts";
import { ConfigurationError, describeError } from "../../lib/errors.ts";
import {
  type ConsumerSite,
  type ConsumerSiteParts,
  type ConsumerSiteSettings,
  openConsumerSite,
} from "../../lib/http/consumer_site.ts";
import type { TopicWriter } from "../../lib/kafka/topic_writer.ts";
import type { Log } from "../../lib/log.ts";
import { storeOn } from "../../lib/postgres/client.ts";
import { loadMigrations, migrate } from "../../lib/postgres/migrate.ts";
import { openPool, type SqlPool } from "../../lib/postgres/pool.ts";
import { verifyLedger, type VerifyReport } from "../../lib/postgres/verify.ts";
import { produce, type ProduceObserver } from "../../lib/producer/producer.ts";
import { Breaker } from "../../lib/redis/breaker.ts";
import { simulate } from "../../lib/producer/simulator.ts";
import { keepSmall, rowsKeptMs } from "./housekeeping.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "./embedded_postgres.ts";

/** What to show. */
export interface DemoOptions {
  /** Messages per second. */
  readonly ratePerSecond: number;
  /** How many sensors report. */
  readonly sensors: number;
  /** Where the database is kept; undefined: in memory. */
  readonly keepDir: string | undefined;
  /** Where the dashboard is served, and for whom. */
  readonly http: ConsumerSiteSettings;
}

/** What the demo works with. */
export interface DemoContext {
  /** Paces everything. */
  readonly clock: Clock;
  /** Hears of trouble. */
  readonly log: Log;
}

/** A demo that is ready to run. */
export interface Demo extends AsyncDisposable {
  /** The topic, to look at and to send to. */
  readonly kafka: MemoryKafka;
  /** The accelerator, to take away. */
  readonly cache: MemoryCache;
  /** The database, to take away. */
  readonly postgres: EmbeddedPostgres;
  /** Its only connection, to do what a command does. */
  readonly pool: SqlPool;
  /** The dashboard. */
  readonly site: ConsumerSite;
  /** Sends and stores until the signal aborts, then stores the rest and verifies. */
  run(signal: AbortSignal, observer?: ProduceObserver): Promise<VerifyReport>;
}

/** The topic of the demo. */
export const DEMO_TOPIC = "iot-sensor-data";

/** A part of everything that can go wrong with messages. */
export const DEMO_RATIOS = { duplicate: 0.1, conflict: 0.02, bad: 0.02, late: 0.02 } as const;

const PARTITIONS = 4;
const GROUP = "demo";
const SEED = 1;
/** The simulator repeats readings of the last seconds. */
const MARK_TTL_SECONDS = 10;
const REDIS_BUDGET_MS = 250;

/** Messages of a partition that wait to be stored; when there are more, the producer waits. */
const BACKLOG_MESSAGES_MAX = 3_000;
const BACKLOG_LOOK_MS = 20;

/** How long the last messages may take once nothing more is sent. */
const DRAIN_MS = 10_000;
const DRAIN_LOOK_MS = 50;

const MIGRATIONS = new URL("../../migrations", import.meta.url).pathname;

/** Starts the embedded servers, makes the tables and serves the dashboard. */
export async function openDemo(options: DemoOptions, context: DemoContext): Promise<Demo> {
  const { clock } = context;
  await using opened = new AsyncDisposableStack();
  const { keepDir } = options;
  if (keepDir !== undefined) await mkdir(keepDir, { recursive: true });
  const dataDir = keepDir === undefined ? undefined : join(keepDir, "postgres");
  const postgres = opened.use(await startEmbeddedPostgres(dataDir));
  // One connection for all: the embedded server mixes up the statements of two that ask at once.
  const pool = openPool(postgres.settings);
  opened.defer(() => pool.close());
  await migrate(pool, await loadMigrations(MIGRATIONS));
  // Each run is a cluster of its own, or kept tables would know offsets that are not there any more.
  const clusterId = `demo-${crypto.randomUUID()}`;
  const kafka = new MemoryKafka({ topic: DEMO_TOPIC, partitions: PARTITIONS, clock, clusterId });
  const cache = new MemoryCache({ clock, ttlSeconds: MARK_TTL_SECONDS });
  const breaker = (): Breaker => new Breaker({ clock, budgetMs: REDIS_BUDGET_MS });
  const flow = { member: kafka.member(GROUP), breakers: { read: breaker(), write: breaker() } };
  const pools = { monitor: pool, readers: pool };
  const site = opened.use(await openSite(options.http, { ...context, ...flow, cache, pools }));
  const parts: FlowParts = { ...context, ...flow, cache, kafka, pool, site };
  const kept = opened.move();
  return {
    kafka,
    cache,
    postgres,
    pool,
    site,
    run: (signal, observer) => run(parts, { ...options, signal, observer }),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** The dashboard on the port of the settings, or on a free one if that cannot be had. */
async function openSite(
  settings: ConsumerSiteSettings,
  parts: ConsumerSiteParts,
): Promise<ConsumerSite> {
  try {
    return await openConsumerSite(settings, parts);
  } catch (error) {
    if (!(error instanceof ConfigurationError) || settings.port === 0) throw error;
    parts.log.warn("the dashboard takes a free port", { cause: describeError(error) });
    return await openConsumerSite({ ...settings, port: 0 }, parts);
  }
}

interface FlowParts extends DemoContext {
  readonly kafka: MemoryKafka;
  readonly member: ReturnType<MemoryKafka["member"]>;
  readonly breakers: { readonly read: Breaker; readonly write: Breaker };
  readonly cache: MemoryCache;
  readonly pool: SqlPool;
  readonly site: ConsumerSite;
}

interface RunOptions extends DemoOptions {
  readonly signal: AbortSignal;
  readonly observer: ProduceObserver | undefined;
}

async function run(parts: FlowParts, options: RunOptions): Promise<VerifyReport> {
  const { kafka, clock, pool, site } = parts;
  const stop = new AbortController();
  const consuming = consume({ ...parts, store: storeOn(pool), observer: site.observer }, {
    batchMessagesMax: 1_000,
    batchesConcurrent: 2,
    limits: { futureSkewSecondsMax: 3_600, pastDaysMax: 0 },
    startFrom: { kind: "beginning" },
    until: "never",
    shutdownDeadlineMs: DRAIN_MS,
    // Nobody would start it again.
    watchdogSeconds: 0,
    deadLetterAlarmShare: 0.5,
    deadLetterAlarmMessages: 1_000,
    signal: stop.signal,
  });
  const { ratePerSecond, sensors, keepDir, signal, observer } = options;
  const cleaning = keepSmall({ ...parts, group: GROUP }, {
    rowsOlderThanMs: keepDir === undefined ? rowsKeptMs(ratePerSecond) : undefined,
    signal: stop.signal,
  });
  const salt = crypto.getRandomValues(new Uint32Array(1))[0]!;
  const messages = simulate({ clock, seed: SEED, salt, sensors, ratios: DEMO_RATIOS });
  await produce(messages, patientWriter(kafka, clock), {
    clock,
    signal,
    drainMs: DRAIN_MS,
    lingerMs: 5,
    batchMessagesMax: 500,
    batchBytesMax: 524_288,
    bufferBytesMax: 16_777_216,
    ratePerSecond,
    ...(observer !== undefined && { observer }),
  });
  const endMs = clock.elapsedMs() + DRAIN_MS;
  while (!isStored(kafka) && clock.elapsedMs() < endMs) await clock.sleep(DRAIN_LOOK_MS);
  stop.abort();
  await Promise.all([consuming, cleaning]);
  return await verifyLedger(pool);
}

/** Writes to the topic, and waits while too much in it is not stored. */
function patientWriter(kafka: MemoryKafka, clock: Clock): TopicWriter {
  const writer = kafka.writer();
  const isFull = (number: number): boolean =>
    kafka.partition(number).next - (kafka.groups.committed.get(GROUP)?.get(number) ?? 0) >
      BACKLOG_MESSAGES_MAX;
  return {
    partitions: writer.partitions,
    close: () => writer.close(),
    send: async (number, messages) => {
      while (isFull(number)) await clock.sleep(BACKLOG_LOOK_MS);
      await writer.send(number, messages);
    },
  };
}

/** Whether the group has committed everything that is in the topic. */
function isStored(kafka: MemoryKafka): boolean {
  const committed = kafka.groups.committed.get(GROUP);
  return kafka.partitionNumbers().every((number) =>
    (committed?.get(number) ?? 0) >= kafka.partition(number).next
  );
}
