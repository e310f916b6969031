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

/** Bound of one wait, ms. Statements of the consumers may wait as long for the lock. */
const WAIT_MS_MAX = 60_000;
const POLL_MS = 20;

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
      const program = await startProgram("consume", ["--until-end"], {
        env: {
          ...consumerEnv(backlog.topic, database.settings),
          // It would listen on the same port as its neighbour, and ask for the ledger.
          HTTP_PORT: "0",
          POSTGRES_STATEMENT_TIMEOUT_MS: String(WAIT_MS_MAX),
        },
        logFile: join(bed.dir, `${name}_${number}.log`),
      });
      group.push(programs.use(program));
    }
    await waitForMembers(bed, backlog.topic, { groupId: name, members: consumers });
  });
  const messagesPerSecond = await watchLedger(group, database, backlog.messages * MEASURED_PART);
  for (const program of group) await program.succeeded();
  await assertStored(database, backlog);
  const cpuSeconds = group.reduce((sum, { usage }) => sum + usage.cpuSeconds, 0);
  return { messagesPerSecond, cpuSecondsPer100k: cpuSeconds / backlog.messages * 100_000 };
}

async function waitForMembers(
  bed: Bed,
  topic: string,
  { groupId, members }: { readonly groupId: string; readonly members: number },
): Promise<void> {
  const log = createLog({ level: "error", format: "text", write: () => {}, clock: systemClock });
  const connection = { ...bed.settings.kafka, clientId: "sensor-ledger-bench" };
  await using member = await openGroupMember(
    connection,
    { ...bed.settings.kafka, topic, groupId },
    log,
  );
  const startMs = performance.now();
  while ((await member.liveMembers()).length < members) {
    if (performance.now() - startMs > WAIT_MS_MAX) {
      throw new Error(`Cannot measure: fewer than ${members} consumers after ${WAIT_MS_MAX} ms`);
    }
    await systemClock.sleep(POLL_MS);
  }
  await systemClock.sleep(SETTLE_MS);
}

/** Resolves when so many messages are stored, with the messages per second since the call. */
async function watchLedger(
  group: readonly ChildProgram[],
  { pool }: BenchDatabase,
  messages: number,
): Promise<number> {
  const startMs = performance.now();
  for (;;) {
    // Looked at before the question: they can end well between the answer and here.
    const ended = group.filter(({ exitCode }) => exitCode !== undefined);
    const passed = await offsetsPassed(pool);
    if (passed >= messages) return passed / (performance.now() - startMs) * 1_000;
    for (const program of ended) {
      await program.succeeded();
      throw new Error(`Cannot measure: a consumer ended at ${passed} of ${messages} messages`);
    }
    await systemClock.sleep(POLL_MS);
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
