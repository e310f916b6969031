/**
 * How fast one, two or three consumers of a group work off the same backlog.
 *
 * The clock must not run while they start and share out the partitions. So the ledger is locked
 * until all of them have joined: each has its partitions then and waits for the place to read from.
 *
 * @module
 */
import { join } from "node:path";
import { systemClock } from "../../lib/clock.ts";
import { TransientError } from "../../lib/errors.ts";
import { openGroupMember } from "../../lib/kafka/kafkajs_group_member.ts";
import { createLog } from "../../lib/log.ts";
import {
  type Bed,
  type BenchDatabase,
  consumerEnv,
  createDatabase,
  emptyRedis,
  offsetsPassed,
} from "./bed.ts";
import { type ChildProgram, startProgram } from "./child_program.ts";
import { assertStored, type Backlog, writeBacklog } from "./drain.ts";
import type { Figure } from "./figures.ts";
import type { WorkloadOptions } from "./workload.ts";

/** Bound of the wait for the members, ms. Statements of the consumers may wait as long for the lock. */
const WAIT_MS_MAX = 30_000;
const POLL_MS = 20;
const MEMBERS_POLL_MS = 250;

/** From the last member's arrival to the partitions being shared out: one heartbeat and a bit. */
const SETTLE_MS = 5_000;

/** Partitions are not equally full; the last one's end would measure a single consumer. */
const MEASURED_PART = 0.9;

const REPEATS = 0.1;

/** What to measure. */
export interface ScalingOptions extends Pick<WorkloadOptions, "sensors"> {
  /** Messages of the backlog, one in ten a repeat. */
  readonly messages: number;
  /** Numbers of consumers. */
  readonly consumers: readonly number[];
  /** How often each number is measured, in turns. */
  readonly rounds: number;
  /** Called with a line of text for each step. */
  readonly report: (line: string) => void;
}

/** What was measured with one number of consumers; one value a round. */
export interface ScalingResult {
  /** How many consumers. */
  readonly consumers: number;
  /** Of all of them together. */
  readonly messagesPerSecond: readonly number[];
  /** Of all of them together, start and end included. */
  readonly cpuSecondsPer100k: readonly number[];
}

/**
 * Fills a topic, and works it off with each number of consumers in turn, each time into a new
 * database.
 *
 * @throws {Error} If a consumer fails, or a table does not hold each reading once.
 */
export async function measureScaling(bed: Bed, options: ScalingOptions): Promise<ScalingResult[]> {
  const { messages, sensors, rounds, report } = options;
  const work: WorkloadOptions = {
    messages,
    sensors,
    ids: "v4",
    repeats: REPEATS,
    startMs: Date.now() - 3_600_000,
  };
  const backlog = await writeBacklog(bed, { topic: "bench-scaling", work, report });
  const results = options.consumers.map((consumers) => {
    return { consumers, messagesPerSecond: [] as number[], cpuSecondsPer100k: [] as number[] };
  });
  for (let round = 1; round <= rounds; round++) {
    for (const { consumers, messagesPerSecond, cpuSecondsPer100k } of results) {
      const name = `bench_scaling_${consumers}_${round}`;
      const result = await measureGroup(bed, backlog, { name, consumers });
      messagesPerSecond.push(result.messagesPerSecond);
      cpuSecondsPer100k.push(result.cpuSecondsPer100k);
      report(`${consumers} consumers, ${round}: ${result.messagesPerSecond.toFixed(0)} messages/s`);
    }
  }
  return results;
}

async function measureGroup(
  bed: Bed,
  backlog: Backlog,
  { name, consumers }: { readonly name: string; readonly consumers: number },
): Promise<{ messagesPerSecond: number; cpuSecondsPer100k: number }> {
  await using database = await createDatabase(bed, name);
  await emptyRedis(bed);
  await using programs = new AsyncDisposableStack();
  const group: ChildProgram[] = [];
  await database.pool.transaction("read_committed", async (session) => {
    await session.query({ action: "hold the ledger", text: "LOCK TABLE ledger" });
    for (let number = 1; number <= consumers; number++) {
      const program = await startProgram("consume", [], {
        env: {
          ...consumerEnv(bed, backlog.topic, database.settings),
          // It would listen on the same port as its neighbour, and ask for the ledger.
          HTTP_PORT: "0",
          POSTGRES_STATEMENT_TIMEOUT_MS: String(WAIT_MS_MAX),
        },
        logFile: join(bed.dir, `${name}_${number}.log`),
      });
      group.push(programs.use(program));
    }
    await waitForMembers(bed, { topic: backlog.topic, groupId: name }, group);
  });
  const startMs = performance.now();
  const measured = backlog.messages * MEASURED_PART;
  await waitUntilStored(group, database, measured);
  const messagesPerSecond = measured / (performance.now() - startMs) * 1_000;
  await waitUntilStored(group, database, backlog.messages);
  for (const program of group) {
    await program.stop();
    await program.succeeded();
  }
  await assertStored(database, backlog);
  const cpuSeconds = group.reduce((sum, { usage }) => sum + usage.cpuSeconds, 0);
  return { messagesPerSecond, cpuSecondsPer100k: cpuSeconds / backlog.messages * 100_000 };
}

async function waitForMembers(
  bed: Bed,
  group: { readonly topic: string; readonly groupId: string },
  programs: readonly ChildProgram[],
): Promise<void> {
  const startMs = performance.now();
  while (await countMembers(bed, group) < programs.length) {
    await assertRunning(programs);
    if (performance.now() - startMs > WAIT_MS_MAX - SETTLE_MS) {
      throw new Error(`Cannot measure: ${programs.length} consumers do not come together`);
    }
    await systemClock.sleep(MEMBERS_POLL_MS);
  }
  await systemClock.sleep(SETTLE_MS);
}

async function countMembers(
  bed: Bed,
  group: { readonly topic: string; readonly groupId: string },
): Promise<number> {
  const log = createLog({ level: "error", format: "text", write: () => {}, clock: systemClock });
  const connection = { ...bed.settings.kafka, clientId: "sensor-ledger-bench" };
  try {
    await using member = await openGroupMember(
      connection,
      { ...bed.settings.kafka, ...group },
      log,
    );
    return (await member.liveMembers()).length;
  } catch (error) {
    // The brokers make a coordinator for their first group, and that takes a moment.
    if (error instanceof TransientError) return 0;
    throw error;
  }
}

/** Resolves when so many messages are stored. */
async function waitUntilStored(
  group: readonly ChildProgram[],
  { pool }: BenchDatabase,
  messages: number,
): Promise<void> {
  while (await offsetsPassed(pool) < messages) {
    await assertRunning(group);
    await systemClock.sleep(POLL_MS);
  }
}

async function assertRunning(programs: readonly ChildProgram[]): Promise<void> {
  for (const program of programs) {
    if (program.exitCode === undefined) continue;
    await program.succeeded();
    throw new Error("Cannot measure: a consumer has ended by itself");
  }
}

/** What {@linkcode measureScaling} found, as figures; each number also against the first. */
export function scalingFigures(results: readonly ScalingResult[]): Figure[] {
  const [first] = results;
  return results.flatMap(({ consumers, messagesPerSecond, cpuSecondsPer100k }) => [
    { name: `consumers: ${consumers}, messages/s`, rounds: messagesPerSecond, digits: 0 },
    {
      name: `  against ${first?.consumers}`,
      rounds: messagesPerSecond.map((rate, round) => rate / first!.messagesPerSecond[round]!),
      digits: 2,
    },
    { name: "  CPU s per 100,000", rounds: cpuSecondsPer100k, digits: 2 },
  ]);
}
