/**
 * Runs seeds on all cores that it is given.
 *
 * @module
 */
import { PLANTED_BUGS } from "./planted_bugs.ts";
import { runWorld, type WorldReport } from "./world.ts";

/** Seeds to run, in one program or in another. */
export interface SeedJob {
  /** The first seed. */
  readonly firstSeed: number;
  /** One past the last. */
  readonly endSeed: number;
  /** From one seed to the next: each of several workers takes every nth. */
  readonly step: number;
  /** The planted bug; absent: the real program. */
  readonly bugName?: string;
  /** Whether to go on after a seed that found something. */
  readonly after: "find: stop" | "find: go on";
}

/** A seed that found something. */
export interface Find {
  /** Makes it happen again. */
  readonly seed: number;
  /** The first thing that was wrong. */
  readonly violation: string;
}

/** What came of a job. */
export interface SeedSummary {
  /** How many seeds were run. */
  readonly worlds: number;
  /** The lowest seeds that found something. */
  readonly finds: readonly Find[];
  /** Messages that reached a log. */
  readonly messages: number;
  /** Of these, messages that nobody can ask for, by cause. */
  readonly excuses: Readonly<Record<string, number>>;
  /** What became of batches at the database, by way and what went wrong. */
  readonly batches: Readonly<Record<string, number>>;
  /** Longest way from the end of a storm to rest, in virtual ms. */
  readonly restMsMax: number;
}

/** Finds that a summary shows; a program that is all wrong finds something in every world. */
const FINDS_MAX = 20;

/** Runs a job here. */
export async function runJob(job: SeedJob): Promise<SeedSummary> {
  const { stackTraceLimit } = Error;
  // Much of the time would go into stacks that nobody reads.
  Error.stackTraceLimit = 0;
  try {
    return await runAll(job);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

async function runAll(job: SeedJob): Promise<SeedSummary> {
  const bug = PLANTED_BUGS.find(({ name }) => name === job.bugName);
  let summary = EMPTY_SUMMARY;
  for (let seed = job.firstSeed; seed < job.endSeed; seed += job.step) {
    summary = sum(summary, summaryOf(await runWorld(seed, bug === undefined ? {} : { bug })));
    if (summary.finds.length > 0 && job.after === "find: stop") break;
  }
  return summary;
}

/** Runs a job on several workers, seed by seed in turn. */
export async function runJobOn(workers: readonly Worker[], job: SeedJob): Promise<SeedSummary> {
  const parts = workers.map((worker, index) => {
    const share = { ...job, firstSeed: job.firstSeed + index, step: workers.length };
    return askWorker(worker, share);
  });
  return (await Promise.all(parts)).reduce(sum, EMPTY_SUMMARY);
}

/** A worker that answers a {@linkcode SeedJob} with its {@linkcode SeedSummary}. */
export function openWorker(): Worker {
  return new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
}

function askWorker(worker: Worker, job: SeedJob): Promise<SeedSummary> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<SeedSummary>) => resolve(data);
    worker.onerror = (event) => reject(new Error(`Cannot run seeds: ${event.message}`));
    worker.postMessage(job);
  });
}

const EMPTY_SUMMARY: SeedSummary = {
  worlds: 0,
  finds: [],
  messages: 0,
  excuses: {},
  batches: {},
  restMsMax: 0,
};

function summaryOf(
  { seed, violations, messages, excuses, batches, restMs }: WorldReport,
): SeedSummary {
  const violation = violations[0];
  return {
    worlds: 1,
    finds: violation === undefined ? [] : [{ seed, violation }],
    messages,
    excuses: Object.fromEntries(excuses),
    batches: Object.fromEntries(batches),
    restMsMax: restMs,
  };
}

function sum(one: SeedSummary, other: SeedSummary): SeedSummary {
  return {
    worlds: one.worlds + other.worlds,
    finds: [...one.finds, ...other.finds].sort((a, b) => a.seed - b.seed).slice(0, FINDS_MAX),
    messages: one.messages + other.messages,
    excuses: sumEach(one.excuses, other.excuses),
    batches: sumEach(one.batches, other.batches),
    restMsMax: Math.max(one.restMsMax, other.restMsMax),
  };
}

function sumEach(
  one: Readonly<Record<string, number>>,
  other: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  const sums = { ...one };
  for (const [name, count] of Object.entries(other)) sums[name] = (sums[name] ?? 0) + count;
  return sums;
}
