/**
 * `deno task simulate`: runs worlds by their seeds, then shows that the oracle finds every planted
 * bug.
 *
 *     deno task simulate --seeds 20000       all seeds from 0, on all cores, and the table of bugs
 *     deno task simulate --seed 437          one seed, with its last events
 *
 * It exits 1 if a world was wrong, or if a bug was not found.
 *
 * @module
 */
import { Command, InvalidArgumentError } from "commander";
import process from "node:process";
import { runCommandLine, whole } from "../lib/command_line.ts";
import { EXIT } from "../lib/program.ts";
import { printText } from "../lib/standard_streams.ts";
import { endAtStop } from "../lib/stop_signal.ts";
import { PLANTED_BUGS } from "./planted_bugs.ts";
import { openWorker, runJobOn, type SeedSummary } from "./run_seeds.ts";
import { type PlantedBug, runWorld } from "./world.ts";

/** Seeds within which each planted bug must be found. */
const BUG_SEEDS_MAX = 2_000;
/** A worker holds one world at a time; more workers than this are not worth their start. */
const WORKERS_MAX = 8;
const SEED_MAX = 10 ** 15 - 1;

interface Arguments {
  readonly seeds: number;
  readonly first: number;
  readonly seed?: number;
  readonly bug?: PlantedBug;
  readonly bugs: boolean;
}

function commandLine(): Command {
  return new Command("simulate")
    .description("Run simulated worlds, each from its seed, and find planted bugs")
    .option("--seeds <number>", "how many worlds", whole(0, SEED_MAX), 5_000)
    .option("--first <seed>", "the first seed", whole(0, SEED_MAX), 0)
    .option("--seed <seed>", "run only this world, and show its last events", whole(0, SEED_MAX))
    .option("--bug <text>", "with --seed: plant the bug whose name contains this", bugNamed)
    .option("--no-bugs", "skip the planted bugs")
    .action(async (given: Arguments) => {
      if (!await simulate(given)) process.exitCode = EXIT.failed;
    });
}

function bugNamed(text: string): PlantedBug {
  const bug = PLANTED_BUGS.find(({ name }) => name.includes(text));
  if (bug !== undefined) return bug;
  throw new InvalidArgumentError("There is no such bug.");
}

function say(line: string): void {
  void printText(line);
}

async function showSeed({ seed = 0, bug }: Arguments): Promise<boolean> {
  const report = await runWorld(seed, { trace: "events", ...(bug && { bug }) });
  for (const event of report.trace) say(event);
  for (const violation of report.violations) say(`seed=${seed}  ${violation}`);
  say(`seed=${seed}  trace ${report.traceHash}, ${report.messages} messages`);
  return report.violations.length === 0;
}

async function runSeeds(workers: readonly Worker[], { seeds, first }: Arguments): Promise<boolean> {
  const startedMs = performance.now();
  const summary = await runJobOn(workers, {
    firstSeed: first,
    endSeed: first + seeds,
    step: 1,
    after: "find: go on",
  });
  const seconds = (performance.now() - startedMs) / 1_000;
  sayCounts(summary);
  say(
    `${summary.worlds} worlds in ${seconds.toFixed(1)} s ` +
      `(${Math.round(summary.worlds / seconds)}/s), at rest ` +
      `${(summary.restMsMax / 1_000).toFixed(1)} s after the storm at the latest`,
  );
  for (const { seed, violation } of summary.finds) say(`seed=${seed}  ${violation}`);
  const lowest = summary.finds[0];
  if (lowest !== undefined) {
    say(`to see it again: deno task simulate --seed ${lowest.seed}`);
    const again = await runWorld(lowest.seed, { trace: "events" });
    for (const event of again.trace) say(event);
  }
  return summary.finds.length === 0;
}

function sayCounts({ messages, excuses, batches }: SeedSummary): void {
  say(
    `${messages} messages; lost by the servers before they were stored, and therefore not expected:`,
  );
  sayEach(excuses);
  say("batches, as they came to the database:");
  sayEach(batches);
}

function sayEach(counts: Readonly<Record<string, number>>): void {
  const sorted = Object.entries(counts).sort(([a], [b]) => a < b ? -1 : 1);
  for (const [what, count] of sorted) say(`  ${String(count).padStart(8)}  ${what}`);
}

async function findBugs(workers: readonly Worker[]): Promise<boolean> {
  let allFound = true;
  say(`planted bug${" ".repeat(60)} seed  found by`);
  for (const { name } of PLANTED_BUGS) {
    const find = await findBug(workers, name);
    allFound &&= find !== undefined;
    say(
      `${name.padEnd(70)} ${String(find?.seed ?? "-").padStart(5)}  ` +
        `${find?.violation ?? `NOT FOUND within ${BUG_SEEDS_MAX} seeds`}`,
    );
  }
  return allFound;
}

/** The lowest seed that finds the bug. Each worker stops at its own first find. */
async function findBug(
  workers: readonly Worker[],
  bugName: string,
): Promise<SeedSummary["finds"][number] | undefined> {
  const job = { firstSeed: 0, endSeed: BUG_SEEDS_MAX, step: 1, bugName } as const;
  return (await runJobOn(workers, { ...job, after: "find: stop" })).finds[0];
}

async function simulate(given: Arguments): Promise<boolean> {
  if (given.seed !== undefined) return await showSeed(given);
  const count = Math.min(navigator.hardwareConcurrency, WORKERS_MAX);
  const workers = Array.from({ length: count }, openWorker);
  try {
    const areWell = await runSeeds(workers, given);
    return given.bugs ? await findBugs(workers) && areWell : areWell;
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

if (import.meta.main) {
  endAtStop();
  await runCommandLine(commandLine());
}
