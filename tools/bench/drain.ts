/**
 * How fast the consumer works off a backlog, and what it costs.
 *
 * @module
 */
import { join } from "node:path";
import { systemClock } from "../../lib/clock.ts";
import type { MessageToSend } from "../../lib/kafka/message.ts";
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
import { type ServersCpu, withServersCpu } from "./cpu.ts";
import { withBadMessages, workload, type WorkloadOptions } from "./workload.ts";

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

/** What a backlog is made of. */
export interface BacklogOptions {
  /** The new topic. */
  readonly topic: string;
  /** Its messages. */
  readonly work: WorkloadOptions;
  /**
   * After this many messages of a partition comes one that is none.
   *
   * @default never
   */
  readonly badEvery?: number;
  /** Called with a line of text for each step. */
  readonly report: (line: string) => void;
}

/** Writes a backlog to a new topic. */
export async function writeBacklog(
  bed: Bed,
  { topic, work, badEvery = Infinity, report }: BacklogOptions,
): Promise<Backlog> {
  report(`writing ${work.messages} messages to Kafka`);
  const ids = new Set<string>();
  let messages = 0;
  const counted = function* (): Generator<MessageToSend & { readonly key: string }> {
    for (const message of withBadMessages(workload(work), badEvery)) {
      messages++;
      if ("reading" in message) ids.add(message.reading.unique_reading_id);
      yield message;
    }
  };
  await fillTopic(bed, topic, counted());
  return { topic, messages, readings: ids.size };
}

/** How to run the consumer. */
export interface DrainOptions {
  /** Names the database. */
  readonly name: string;
  /** Added to its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Makes the new database ready, before the clock runs. */
  readonly prepare?: (database: BenchDatabase) => Promise<void>;
}

/** What one drain measured. */
export interface DrainResult {
  /** From the first stored batch to the last one; the first batch is not counted. */
  readonly messagesPerSecond: number;
  /** Over the life of the process, start and end included. */
  readonly wallMessagesPerSecond: number;
  /** Of the whole process, start and end included. */
  readonly cpuSeconds: number;
  /** The same for 100,000 messages. */
  readonly cpuSecondsPer100k: number;
  /** What the servers used from its start to its end. */
  readonly serversCpuSeconds: ServersCpu;
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
  { name, env = {}, prepare }: DrainOptions,
): Promise<DrainResult> {
  await using database = await createDatabase(bed, name);
  await emptyRedis(bed);
  await prepare?.(database);
  const { result, cpuSeconds } = await withServersCpu(bed, async () => {
    const startMs = performance.now();
    await using consumer = await startProgram("consume", ["--until-end"], {
      env: { ...consumerEnv(bed, backlog.topic, database.settings), ...env },
      logFile: join(bed.dir, `${name}.log`),
    });
    const messagesPerSecond = await watchLedger(consumer, database, backlog.messages);
    await consumer.succeeded();
    const wallSeconds = (performance.now() - startMs) / 1_000;
    return { messagesPerSecond, wallSeconds, usage: consumer.usage };
  });
  await assertStored(database, backlog);
  return {
    messagesPerSecond: result.messagesPerSecond,
    wallMessagesPerSecond: backlog.messages / result.wallSeconds,
    cpuSeconds: result.usage.cpuSeconds,
    cpuSecondsPer100k: result.usage.cpuSeconds / backlog.messages * 100_000,
    serversCpuSeconds: cpuSeconds,
    peakRssMb: result.usage.peakRssBytes / 1_000_000,
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
