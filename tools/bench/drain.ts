/**
 * How fast the consumer works off a backlog, and what it costs.
 *
 * @module
 */
import { join } from "node:path";
import { systemClock } from "../../lib/clock.ts";
import {
  type Bed,
  type BenchDatabase,
  consumerEnv,
  createDatabase,
  emptyRedis,
  fillTopic,
  offsetsPassed,
} from "./bed.ts";
import { type ChildProgram, startProgram } from "./child_program.ts";
import { workload, type WorkloadOptions } from "./workload.ts";

const POLL_MS = 20;

/** The backlog to work off. */
export interface Backlog {
  /** The topic that holds it. */
  readonly topic: string;
  /** Messages in the topic. */
  readonly messages: number;
  /** Different readings among them. */
  readonly readings: number;
}

/** Writes a backlog to a new topic. */
export async function writeBacklog(
  bed: Bed,
  { topic, work, report }: {
    readonly topic: string;
    readonly work: WorkloadOptions;
    readonly report: (line: string) => void;
  },
): Promise<Backlog> {
  const ids = new Set<string>();
  for (const { reading } of workload(work)) ids.add(reading.unique_reading_id);
  report(`writing ${work.messages} messages to Kafka`);
  await fillTopic(bed, topic, workload(work));
  return { topic, messages: work.messages, readings: ids.size };
}

/** How to run the consumer. */
export interface DrainOptions {
  /** Names the database. */
  readonly name: string;
  /** Added to its environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What one drain measured. */
export interface DrainResult {
  /** From the first stored batch to the last one; the first batch is not counted. */
  readonly messagesPerSecond: number;
  /** Over the life of the process, start and end included. */
  readonly wallMessagesPerSecond: number;
  /** Of the whole process, start and end included. */
  readonly cpuSecondsPer100k: number;
  /** Most memory of the process at any time. */
  readonly peakRssMb: number;
}

/**
 * Runs the consumer on the backlog, into a new database and an empty Redis.
 *
 * @throws {Error} If the consumer fails, or the table does not hold each reading once.
 */
export async function measureDrain(
  bed: Bed,
  backlog: Backlog,
  { name, env = {} }: DrainOptions,
): Promise<DrainResult> {
  await using database = await createDatabase(bed, name);
  await emptyRedis(bed);
  const startMs = performance.now();
  await using consumer = await startProgram("consume", ["--until-end"], {
    env: { ...consumerEnv(backlog.topic, database.settings), ...env },
    logFile: join(bed.dir, `${name}.log`),
  });
  const messagesPerSecond = await watchLedger(consumer, database, backlog.messages);
  await consumer.succeeded();
  const wallSeconds = (performance.now() - startMs) / 1_000;
  await assertStored(database, backlog);
  return {
    messagesPerSecond,
    wallMessagesPerSecond: backlog.messages / wallSeconds,
    cpuSecondsPer100k: consumer.usage.cpuSeconds / backlog.messages * 100_000,
    peakRssMb: consumer.usage.peakRssBytes / 1_000_000,
  };
}

/** Resolves when the ledger has passed all messages, with the messages per second on the way. */
async function watchLedger(
  consumer: ChildProgram,
  { pool }: BenchDatabase,
  messages: number,
): Promise<number> {
  let first: { readonly passed: number; readonly atMs: number } | undefined;
  for (;;) {
    // Looked at before the question: it can end well between the answer and here.
    const { exitCode } = consumer;
    const passed = await offsetsPassed(pool);
    const atMs = performance.now();
    if (passed > 0) first ??= { passed, atMs };
    if (first !== undefined && passed >= messages) {
      return (passed - first.passed) / (atMs - first.atMs) * 1_000;
    }
    if (exitCode !== undefined) {
      await consumer.succeeded();
      throw new Error(`Cannot measure the drain: it ended at ${passed} of ${messages} messages`);
    }
    await systemClock.sleep(POLL_MS);
  }
}

/**
 * A rate at which readings are lost would not be worth printing.
 *
 * @throws {Error} If the table does not hold each reading of the backlog once.
 */
export async function assertStored({ pool }: BenchDatabase, backlog: Backlog): Promise<void> {
  const { rows } = await pool.query({
    action: "count the rows",
    text: "SELECT count(*) AS stored FROM sensor_events",
  });
  const stored = Number(rows[0]?.stored);
  if (stored !== backlog.readings) {
    throw new Error(`Cannot trust the drain: ${stored} rows, expected ${backlog.readings}`);
  }
}
