/**
 * The whole flow in one run: drains in good and in bad times, floors, and the producer, all in turns,
 * so that whatever else the machine does falls on all alike.
 *
 * @module
 */
import { join } from "node:path";
import { freePort } from "../stack/free_ports.ts";
import type { Bed, BenchDatabase } from "./bed.ts";
import { type CopyBatch, copyBatches } from "./copy_floor.ts";
import { type Backlog, type DrainOptions, measureDrain, writeBacklog } from "./drain.ts";
import type { Figure, Run, RunResult } from "./figures.ts";
import { copyAll, floorBatches, type FloorResult, measureCopies, measureInserts } from "./floor.ts";
import { measureProducer, writeLines } from "./producer.ts";
import { secureBed } from "./secure_bed.ts";
import { workload, type WorkloadMessage, type WorkloadOptions } from "./workload.ts";

/** What can be measured in turns. */
export const RUNS = ["drain", "away", "unknown", "bad", "tls", "floor", "producer"] as const;

/** One of {@linkcode RUNS}. */
export type RunKind = typeof RUNS[number];

/** A batch of one partition has about 3,000 messages: what a fetch of 1 MiB holds. */
const BAD_EVERY = 2_500;

/** Every tenth reading is in the table already, and Redis does not know it. */
const UNKNOWN_EVERY = 10;

/** What {@linkcode measureFlow} measures. */
export interface FlowOptions {
  /** What to measure. */
  readonly kinds: readonly RunKind[];
  /** The messages of the backlog and of the file. */
  readonly work: WorkloadOptions;
  /** How often. */
  readonly rounds: number;
  /** Called with a line of text for each step. */
  readonly report: (line: string) => void;
}

/** What is measured in turns with the others. */
interface Turn {
  readonly name: string;
  /** @param id names what it makes: a database, a topic, a log */
  readonly measure: (id: string) => Promise<RunResult>;
}

/** Measures the kinds in turns, as many rounds as asked. */
export async function measureFlow(
  bed: Bed,
  options: FlowOptions,
): Promise<readonly Run[]> {
  const turns: Turn[] = [];
  for (const kind of options.kinds) turns.push(...await PREPARE[kind](bed, options));
  const results = turns.map((): RunResult[] => []);
  for (let round = 1; round <= options.rounds; round++) {
    for (const [index, { name, measure }] of turns.entries()) {
      const result = await measure(`bench_${index}_${round}`);
      results[index]!.push(result);
      options.report(`${name}, ${round}: ${result.perSecond.toFixed(0)} messages/s`);
    }
  }
  return turns.map(({ name }, index) => ({ name, rounds: results[index]! }));
}

const PREPARE: Readonly<
  Record<RunKind, (bed: Bed, options: FlowOptions) => Promise<readonly Turn[]>>
> = {
  drain: async (bed, options) => {
    const backlog = await backlogOf(bed, options);
    return [drainTurn("drain", { bed, backlog })];
  },
  away: async (bed, options) => {
    const backlog = await backlogOf(bed, options);
    // Nobody listens there.
    const env = { REDIS_PORT: String(freePort()) };
    return [drainTurn("drain, Redis away", { bed, backlog, env })];
  },
  unknown: async (bed, options) => {
    const backlog = await backlogOf(bed, options);
    const stored = copyBatches(everyTenth(workload(options.work)));
    const prepare = (database: BenchDatabase): Promise<void> => copyAll(database.settings, stored);
    return [drainTurn("drain, 10 % repeats unknown to Redis", { bed, backlog, prepare })];
  },
  bad: async (bed, { work, report }) => {
    const topic = "bench-bad";
    const backlog = await writeBacklog(bed, { topic, work, badEvery: BAD_EVERY, report });
    return [drainTurn("drain, a bad message in each batch", { bed, backlog })];
  },
  tls: async (bed, options) => {
    const backlog = await backlogOf(bed, options);
    return [drainTurn("drain, TLS to all servers", { bed: await secured(bed), backlog })];
  },
  floor: (bed, { work }) => {
    const inserts = floorBatches(workload(work));
    const copies: readonly CopyBatch[] = copyBatches(workload(work));
    return Promise.resolve([
      floorTurn("floor, INSERT", work, (id) => measureInserts(bed, inserts, id)),
      floorTurn("floor, COPY", work, (id) => measureCopies(bed, copies, id)),
    ]);
  },
  producer: async (bed, { work }) => {
    const path = join(bed.dir, "bench.ndjson");
    await writeLines(path, workload(work));
    return [{
      name: "producer, from a file",
      measure: async (topic) => {
        const result = await measureProducer(bed, { path, lines: work.messages, topic });
        return {
          ...result,
          perSecond: result.messagesPerSecond,
          programCpuSeconds: result.cpuSeconds,
        };
      },
    }];
  },
};

const backlogs = new WeakMap<Bed, Promise<Backlog>>();

/** The one backlog of a bed. */
export function backlogOf(bed: Bed, { work, report }: FlowOptions): Promise<Backlog> {
  const written = backlogs.get(bed) ?? writeBacklog(bed, { topic: "bench-drain", work, report });
  backlogs.set(bed, written);
  return written;
}

const securedBeds = new WeakMap<Bed, Promise<Bed>>();

/** The same servers over TLS. */
export function secured(bed: Bed): Promise<Bed> {
  const made = securedBeds.get(bed) ?? secureBed(bed);
  securedBeds.set(bed, made);
  return made;
}

/** Every tenth message. */
function* everyTenth(messages: Iterable<WorkloadMessage>): Generator<WorkloadMessage> {
  let index = 0;
  for (const message of messages) if (index++ % UNKNOWN_EVERY === 0) yield message;
}

function drainTurn(
  name: string,
  { bed, backlog, ...how }: Omit<DrainOptions, "name"> & {
    readonly bed: Bed;
    readonly backlog: Backlog;
  },
): Turn {
  return {
    name,
    measure: async (id) => {
      const result = await measureDrain(bed, backlog, { ...how, name: id });
      return {
        ...result,
        perSecond: result.messagesPerSecond,
        programCpuSeconds: result.cpuSeconds,
      };
    },
  };
}

/** In messages of the backlog, so that it compares with a drain. */
function floorTurn(
  name: string,
  { messages }: WorkloadOptions,
  measure: (id: string) => Promise<FloorResult>,
): Turn {
  return {
    name,
    measure: async (id) => {
      const { seconds, cpuSeconds } = await measure(id);
      return { perSecond: messages / seconds, serversCpuSeconds: cpuSeconds };
    },
  };
}

/** What the drain reaches of each floor, and each drain of the plain one, round by round. */
export function ratiosOf(runs: readonly Run[]): Figure[] {
  const plain = runs.find(({ name }) => name === "drain");
  if (plain === undefined) return [];
  const ratio = (of: Run, to: Run): readonly number[] =>
    of.rounds.map(({ perSecond }, round) => perSecond / to.rounds[round]!.perSecond);
  return runs.flatMap((run) => {
    if (run.name.startsWith("floor")) {
      return [{ name: `drain / ${run.name}`, rounds: ratio(plain, run), digits: 2 }];
    }
    if (!run.name.startsWith("drain, ")) return [];
    return [{ name: `${run.name} / drain`, rounds: ratio(run, plain), digits: 2 }];
  });
}
