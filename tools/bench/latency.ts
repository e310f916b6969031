/**
 * How long a reading is under way at a steady rate: from the time in the message, taken when the
 * producer makes it, to the COMMIT of its row.
 *
 * PostgreSQL keeps the time of each commit (`track_commit_timestamp`), read on the same machine's
 * clock as the producer's. It takes that time when it begins to write the commit record; the flush
 * to disk comes after and is measured apart.
 *
 * @module
 */
import { join } from "node:path";
import { systemClock } from "../../lib/clock.ts";
import type { MessageToSend } from "../../lib/kafka/message.ts";
import type { TopicWriter } from "../../lib/kafka/topic_writer.ts";
import type { SqlPool } from "../../lib/postgres/pool.ts";
import { produce } from "../../lib/producer/producer.ts";
import {
  type Bed,
  type BenchDatabase,
  consumerEnv,
  createDatabase,
  emptyRedis,
  offsetsPassed,
  openTopic,
} from "./bed.ts";
import { type ChildOptions, type ChildProgram, startProgram } from "./child_program.ts";
import { median } from "./figures.ts";
import { createSource, PARTITIONS, type WorkloadOptions } from "./workload.ts";

/** What goes before the measured seconds, and is left out: both programs get warm. */
export const WARM_UP_SECONDS = 3;

const WAIT_MS_MAX = 30_000;
const POLL_MS = 50;
const COMMITS = 200;

/** The load. */
export interface LatencyOptions extends Pick<WorkloadOptions, "sensors" | "ids"> {
  /** Readings sent per second. */
  readonly perSecond: number;
  /** How long it is measured. */
  readonly seconds: number;
}

/** What was measured, ms. */
export interface LatencyResult {
  /** Measured readings per second, as a check that the load was there. */
  readonly perSecond: number;
  /** Half of them took no longer. */
  readonly p50Ms: number;
  /** 99 of 100 took no longer. */
  readonly p99Ms: number;
  /** None took longer. */
  readonly maxMs: number;
}

/**
 * Runs the consumer, sends at the asked rate, and asks PostgreSQL how long each row took.
 *
 * @throws {Error} If a program fails, or not all that was sent is stored in the end.
 */
export async function measureLatency(
  bed: Bed,
  options: LatencyOptions,
  name: string,
): Promise<LatencyResult> {
  return await withLoad(bed, name, {
    options,
    start: (run) => startProgram("consume", [], run),
    read: (database) => readLatencies(database, options),
  });
}

/** How readings are sent through a consumer, and what is read when all of them are stored. */
export interface LoadParts<Result> {
  /** The load. */
  readonly options: LatencyOptions;
  /** Starts the consumer. */
  readonly start: (run: ChildOptions) => Promise<ChildProgram>;
  /** Stands before the real writer. @default the real one alone */
  readonly before?: (writer: TopicWriter) => TopicWriter;
  /** Is called once the consumer has ended. */
  readonly read: (database: BenchDatabase, consumer: ChildProgram) => Result | Promise<Result>;
}

/**
 * Runs a consumer on a database and a topic of its own, and sends at the asked rate.
 *
 * @throws {Error} If a program fails, or not all that was sent is stored in the end.
 */
export async function withLoad<Result>(
  bed: Bed,
  name: string,
  { options, start, before = (writer) => writer, read }: LoadParts<Result>,
): Promise<Result> {
  await using database = await createDatabase(bed, name);
  await emptyRedis(bed);
  await using writer = await openTopic(bed, name);
  await using consumer = await start({
    env: consumerEnv(bed, name, database.settings),
    logFile: join(bed.dir, `${name}.log`),
  });
  await waitFor(consumer, async () => await openLines(database.pool) === PARTITIONS);
  const sent = await sendSteadily(bed, before(writer), options);
  await waitFor(consumer, async () => await offsetsPassed(database.pool) === sent);
  await consumer.stop();
  await consumer.succeeded();
  return await read(database, consumer);
}

/** Milliseconds that a commit of one row takes on the idle server, the way there and back included. */
export async function measureCommit(bed: Bed, name: string): Promise<number> {
  await using database = await createDatabase(bed, name);
  const { pool } = database;
  await pool.query({ action: "make a table", text: "CREATE TABLE commits (number integer)" });
  const times: number[] = [];
  for (let number = 0; number < COMMITS; number++) {
    const startMs = performance.now();
    await pool.query({
      action: "commit one row",
      text: "INSERT INTO commits VALUES ($1)",
      values: [number],
    });
    times.push(performance.now() - startMs);
  }
  return median(times);
}

/** A message, and when it was made: ms since 1970, with fractions. */
export interface LiveMessage extends MessageToSend {
  /** The time in the message. */
  readonly madeMs: number;
}

/** Sends at the asked rate; returns how many messages were sent. */
async function sendSteadily(
  bed: Bed,
  writer: TopicWriter,
  options: LatencyOptions,
): Promise<number> {
  const { producer } = bed.settings;
  const messagesMax = options.perSecond * (WARM_UP_SECONDS + options.seconds);
  const { acknowledged, failed } = await produce(liveMessages(options), writer, {
    ...producer,
    // Nothing waits for company; batches form while the one before is under way.
    lingerMs: 0,
    clock: systemClock,
    signal: new AbortController().signal,
    drainMs: WAIT_MS_MAX,
    batchMessagesMax: 1_000,
    ratePerSecond: options.perSecond,
    messagesMax,
  });
  if (failed > 0) throw new Error(`Cannot measure: ${failed} of ${messagesMax} messages failed`);
  return acknowledged;
}

function* liveMessages(options: LatencyOptions): Generator<LiveMessage, never, void> {
  const nextMessage = createSource(options);
  const nowUs = createMicrosecondClock();
  while (true) {
    const madeUs = nowUs();
    yield { ...nextMessage(madeUs), madeMs: madeUs / 1_000 };
  }
}

/**
 * Wall time in whole microseconds. `Date.now()` counts in milliseconds, so the moment at which it
 * changes is waited for, and the steady clock gives the rest.
 */
function createMicrosecondClock(): () => number {
  const before = Date.now();
  let wallMs = before;
  while (wallMs === before) wallMs = Date.now();
  const offsetMs = wallMs - performance.now();
  return () => Math.floor((offsetMs + performance.now()) * 1_000);
}

/** How many partitions the consumer has placed. */
async function openLines(pool: SqlPool): Promise<number> {
  const { rows } = await pool.query({
    action: "count the ledger's lines",
    text: "SELECT count(*) AS lines FROM ledger",
  });
  return Number(rows[0]?.lines);
}

/**
 * Waits until the condition holds.
 *
 * @throws {Error} If the consumer ends before, or time is up.
 */
async function waitFor(
  consumer: ChildProgram,
  condition: () => Promise<boolean>,
): Promise<void> {
  const startMs = performance.now();
  while (!await condition()) {
    if (consumer.exitCode !== undefined) await consumer.succeeded();
    if (performance.now() - startMs > WAIT_MS_MAX) {
      throw new Error(`Cannot measure: the consumer is not there after ${WAIT_MS_MAX} ms`);
    }
    await systemClock.sleep(POLL_MS);
  }
}

async function readLatencies(
  { pool }: BenchDatabase,
  { seconds }: LatencyOptions,
): Promise<LatencyResult> {
  const { rows } = await pool.query({
    action: "read the latencies",
    text: `
      WITH measured AS (
        SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - "timestamp") * 1000 AS ms
        FROM sensor_events
        WHERE "timestamp" >= (SELECT min("timestamp") FROM sensor_events)
          + make_interval(secs => ${WARM_UP_SECONDS})
      )
      SELECT count(*) AS readings, max(ms) AS max_ms,
        percentile_disc(0.50) WITHIN GROUP (ORDER BY ms) AS p50_ms,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY ms) AS p99_ms
      FROM measured`,
  });
  const row = rows[0] ?? {};
  return {
    perSecond: Number(row.readings) / seconds,
    p50Ms: Number(row.p50_ms),
    p99Ms: Number(row.p99_ms),
    maxMs: Number(row.max_ms),
  };
}
