/**
 * What cannot be seen at a gentle rate: a consumer with a million messages before it, while
 * PostgreSQL is away, and while Redis is. On a topic and a database of its own.
 *
 * @module
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensureTopic } from "../lib/kafka/kafkajs_topic_writer.ts";
import { freePorts } from "../tools/stack/free_ports.ts";
import { signalServer, startServer, stopServer } from "../tools/stack/server.ts";
import { ensureDatabase } from "../tools/stack/postgres.ts";
import type { Bed } from "./bed.ts";
import { Child } from "./child.ts";
import { openDirectly } from "./cluster.ts";
import { openDatabase } from "./database.ts";
import { waitUntil } from "./wait_until.ts";

/** What was measured. */
export interface Bounds {
  /** Messages before the consumer when PostgreSQL went away. */
  readonly backlogMessages: number;
  /** How long it was away, ms. */
  readonly outageMs: number;
  /** How much the consumer's memory grew meanwhile, MB. */
  readonly grownMb: number;
  /** Messages per second with Redis and without, one after the other. */
  readonly ratePerSecond: { readonly withRedis: number; readonly withoutRedis: number };
  /** How often a batch waited for Redis, how often beyond its budget, and how often for very long. */
  readonly redisWaits: {
    readonly all: number;
    readonly overBudget: number;
    readonly overSecond: number;
  };
  /** What does not hold in the end, a sentence for each. */
  readonly problems: readonly string[];
}

/** What is promised. */
export const PROMISED = {
  /** Most memory that an outage of PostgreSQL may cost, MB. */
  grownMbMax: 64,
  /** Least part of the rate that is left without Redis. */
  rateShareMin: 0.5,
  /** Most part of the questions to Redis that a busy machine answers beyond their budget. */
  lateShareMax: 0.02,
} as const;

const TOPIC = "bounds";
const DATABASE = "bounds";
const PARTITIONS = 12;
const MESSAGES = 1_200_000;
/** Stored before the outage, so that the consumer is warm. */
const WARM_MESSAGES = 100_000;
/** Stored while each rate is taken. */
const RATE_MESSAGES = 250_000;
const STORED_MS_MAX = 240_000;
const LOOK_MS = 250;
/** The budget of one question to Redis is 250 ms; a timer is late by what the loop is busy with. */
const BUDGET_BUCKET = "0.3";
const SECOND_BUCKET = "1";

/** Measures; the servers must be whole, and nobody else at work. */
export async function measureBounds(
  { bed, dir, outageMs }: {
    readonly bed: Bed;
    /** Takes logs. */
    readonly dir: string;
    /** How long PostgreSQL stays away, ms. */
    readonly outageMs: number;
  },
): Promise<Bounds> {
  const { user, password } = bed.direct.postgres;
  await ensureTopic(openDirectly(bed), TOPIC, PARTITIONS);
  await ensureDatabase(bed.postgres, { database: DATABASE, user, password });
  const httpPort = freePorts().kafka;
  const env = {
    ...bed.settings,
    TOPIC_NAME: TOPIC,
    POSTGRES_DB: DATABASE,
    KAFKA_GROUP_ID: "bounds",
    HTTP_PORT: String(httpPort),
    LOG_FORMAT: "json",
  };
  const start = (file: string, ...args: readonly string[]): Child =>
    new Child({ file, args, env, logFile: join(dir, "bounds.log") });
  await succeeded(start("main_consumer.ts", "migrate"));
  const send = ["--rate", "0", "--count", String(MESSAGES), "--bad", "0.001"];
  await succeeded(start("main_producer.ts", ...send));

  const consumer = start("main_consumer.ts", "run");
  try {
    await passed(bed, WARM_MESSAGES);
    const grownMb = await growthInOutage(bed, consumer, outageMs);
    const from = await passed(bed, WARM_MESSAGES + 50_000);
    const withRedis = await rateUpTo(bed, from + RATE_MESSAGES);
    await signalServer(bed.redis, "SIGSTOP");
    const withoutRedis = await rateUpTo(bed, from + 2 * RATE_MESSAGES);
    const redisWaits = await readRedisWaits(httpPort);
    await signalServer(bed.redis, "SIGCONT");
    await passed(bed, MESSAGES);
    consumer.signal("SIGTERM");
    await succeeded(consumer);
    return {
      backlogMessages: MESSAGES - WARM_MESSAGES,
      outageMs,
      grownMb,
      ratePerSecond: { withRedis, withoutRedis },
      redisWaits,
      problems: await verify(start),
    };
  } finally {
    await signalServer(bed.redis, "SIGCONT");
    consumer.signal("SIGKILL");
    await consumer.ended;
  }
}

/** How much the memory grows beyond what the consumer has when PostgreSQL goes away, MB. */
async function growthInOutage(bed: Bed, consumer: Child, outageMs: number): Promise<number> {
  const beforeMb = await consumer.residentMb();
  await stopServer(bed.postgres, "SIGQUIT");
  let mostMb = beforeMb;
  for (let waitedMs = 0; waitedMs < outageMs; waitedMs += LOOK_MS) {
    await sleep(LOOK_MS);
    mostMb = Math.max(mostMb, await consumer.residentMb());
  }
  await startServer(bed.postgres);
  return mostMb - beforeMb;
}

/** Messages per second from now until the ledger has passed so many. */
async function rateUpTo(bed: Bed, messages: number): Promise<number> {
  const startMs = performance.now();
  const before = await readPassed(bed);
  const after = await passed(bed, messages);
  return (after - before) / ((performance.now() - startMs) / 1_000);
}

/** Waits until the ledger has passed so many messages; gives how many it has passed. */
async function passed(bed: Bed, messages: number): Promise<number> {
  let count = 0;
  await waitUntil(`${messages} messages are stored`, STORED_MS_MAX, async () => {
    count = await readPassed(bed);
    return count >= messages;
  });
  return count;
}

async function readPassed(bed: Bed): Promise<number> {
  await using database = await openDatabase(bed, DATABASE);
  const [row] = await database.query("SELECT coalesce(sum(next_offset), 0) AS passed FROM ledger");
  return Number(row!.passed);
}

/** From the consumer's own metrics: batches, and those that waited for Redis beyond its budget. */
async function readRedisWaits(httpPort: number): Promise<Bounds["redisWaits"]> {
  const answer = await fetch(`http://127.0.0.1:${httpPort}/metrics`);
  const text = await answer.text();
  const sum = (end: string): number => {
    return ["redis", "mark"].reduce((total, stage) => {
      const line = text.split("\n").find((each) =>
        each.startsWith("sensor_ledger_stage_seconds") && each.includes(`stage="${stage}"`) &&
        each.includes(end)
      );
      if (line === undefined) throw new Error(`Cannot find ${end} of stage ${stage} in /metrics`);
      return total + Number(line.split(" ").at(-1));
    }, 0);
  };
  const all = sum("_count");
  const over = (bucket: string): number => all - sum(`le="${bucket}"`);
  return { all, overBudget: over(BUDGET_BUCKET), overSecond: over(SECOND_BUCKET) };
}

async function verify(
  start: (file: string, ...args: readonly string[]) => Child,
): Promise<readonly string[]> {
  const { code } = await start("main_consumer.ts", "verify").ended;
  return code === 0 ? [] : [`verify ended with exit code ${code}`];
}

async function succeeded(child: Child): Promise<void> {
  const { code } = await child.ended;
  if (code !== 0) throw new Error(`A program that measures bounds ended with exit code ${code}`);
}

/** Which of the bounds do not hold, a sentence for each. */
export function brokenBounds(bounds: Bounds): readonly string[] {
  const { grownMb, ratePerSecond: { withRedis, withoutRedis }, redisWaits, problems } = bounds;
  const share = withoutRedis / withRedis;
  return [
    ...grownMb > PROMISED.grownMbMax
      ? [`memory grew by ${grownMb.toFixed(0)} MB while PostgreSQL was away`]
      : [],
    ...share < PROMISED.rateShareMin
      ? [`without Redis the rate is ${share.toFixed(2)} of what it is with it`]
      : [],
    ...redisWaits.overBudget > PROMISED.lateShareMax * redisWaits.all
      ? [`${redisWaits.overBudget} of ${redisWaits.all} questions to Redis took over 0.3 s`]
      : [],
    ...redisWaits.overSecond > 0
      ? [`${redisWaits.overSecond} of ${redisWaits.all} questions to Redis took over a second`]
      : [],
    ...problems,
  ];
}
