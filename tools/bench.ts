/**
 * `deno task bench`: what the project does on this machine, measured on a stack of its own.
 *
 * Everything shares the machine: the servers, the programs and this one. Rates differ from machine
 * to machine; the ratio of drain to floor, taken in turns, says more.
 *
 * @module
 */
import { join } from "node:path";
import { Command, Option } from "commander";
import { runCommandLine, someOf, whole } from "../lib/command_line.ts";
import { outputColumns, print, printText, tell } from "../lib/standard_streams.ts";
import { type Bed, PARTITIONS, prepareBed } from "./bench/bed.ts";
import { type Backlog, type DrainResult, measureDrain, writeBacklog } from "./bench/drain.ts";
import { type Figure, figuresText } from "./bench/figures.ts";
import { floorBatches, measureFloor } from "./bench/floor.ts";
import { growthFigures, measureGrowth } from "./bench/growth.ts";
import { measureCommit, measureLatency } from "./bench/latency.ts";
import { measureProducer, type ProducerResult, writeLines } from "./bench/producer.ts";
import { measureScaling, scalingFigures } from "./bench/scaling.ts";
import { measureSeen, seenFigures, type SeenResult } from "./bench/seen.ts";
import { workload, type WorkloadOptions } from "./bench/workload.ts";

const PARTS = ["drain", "floor", "seen", "latency", "producer"] as const;
type Part = typeof PARTS[number];

const REPEATS = 0.1;
const LATENCY_SECONDS = 15;
const LATENCY_RATES = [1_000, 10_000];

interface Flags {
  readonly messages: number;
  readonly sensors: number;
  readonly ids: "v4" | "v7";
  readonly rounds: number;
  readonly only: readonly Part[];
  readonly json?: true;
}

async function bench(flags: Flags): Promise<void> {
  const [loadBefore = 0] = Deno.loadavg();
  const bed = await prepareBed();
  const work: WorkloadOptions = { ...flags, repeats: REPEATS, startMs: Date.now() - 3_600_000 };
  const figures: Figure[] = [];
  const backlog = flags.only.includes("drain") || flags.only.includes("seen")
    ? await writeBacklog(bed, { topic: "bench-drain", work, report: tell })
    : undefined;
  if (flags.only.includes("drain") || flags.only.includes("floor")) {
    figures.push(...await throughput(bed, { work, backlog }, flags));
  }
  if (backlog !== undefined && flags.only.includes("seen")) {
    figures.push(...await seen(bed, backlog, flags));
  }
  if (flags.only.includes("latency")) figures.push(...await latency(bed, flags));
  if (flags.only.includes("producer")) figures.push(...await producer(bed, work, flags));
  const machine = await describeMachine(bed, loadBefore);
  if (flags.json) await print(JSON.stringify({ machine, ...work, figures }));
  else await sayFigures(machine, figures);
}

interface GrowthFlags {
  readonly sizes: readonly number[];
  readonly rounds: number;
  readonly batches: number;
  readonly sensors: number;
  readonly json?: true;
}

async function growth(flags: GrowthFlags): Promise<void> {
  const [loadBefore = 0] = Deno.loadavg();
  const bed = await prepareBed();
  const points = await measureGrowth(bed, { ...flags, runBatches: flags.batches, report: tell });
  const machine = await describeMachine(bed, loadBefore);
  if (flags.json) await print(JSON.stringify({ machine, points }, null, 2));
  else await sayFigures(machine, growthFigures(points));
}

interface ScalingFlags {
  readonly messages: number;
  readonly sensors: number;
  readonly consumers: readonly number[];
  readonly rounds: number;
  readonly json?: true;
}

async function scaling(flags: ScalingFlags): Promise<void> {
  const [loadBefore = 0] = Deno.loadavg();
  const bed = await prepareBed();
  const results = await measureScaling(bed, { ...flags, report: tell });
  const machine = await describeMachine(bed, loadBefore);
  if (flags.json) await print(JSON.stringify({ machine, results }, null, 2));
  else await sayFigures(machine, scalingFigures(results));
}

/** Drain and floor in turns, so that both see the same machine. */
async function throughput(
  bed: Bed,
  { work, backlog }: { readonly work: WorkloadOptions; readonly backlog: Backlog | undefined },
  flags: Flags,
): Promise<Figure[]> {
  const wants = (part: Part): boolean => flags.only.includes(part);
  const batches = wants("floor") ? floorBatches(workload(work)) : [];
  const drains: DrainResult[] = [];
  const floors: number[] = [];
  for (let round = 1; round <= flags.rounds; round++) {
    if (backlog !== undefined && wants("drain")) {
      drains.push(await measureDrain(bed, backlog, { name: `bench_drain_${round}` }));
      tell(`drain ${round}: ${drains.at(-1)!.messagesPerSecond.toFixed(0)} messages/s`);
    }
    if (wants("floor")) {
      floors.push(await measureFloor(bed, batches, `bench_floor_${round}`));
      tell(`floor ${round}: ${floors.at(-1)!.toFixed(0)} rows/s`);
    }
  }
  return throughputFigures(drains, floors);
}

function throughputFigures(drains: readonly DrainResult[], floors: readonly number[]): Figure[] {
  const figure = (name: string, digits: number, rounds: readonly number[]): Figure[] =>
    rounds.length === 0 ? [] : [{ name, digits, rounds }];
  const ratios = drains.length === floors.length
    ? drains.map((each, round) => each.messagesPerSecond / floors[round]!)
    : [];
  return [
    ...figure("drain, messages/s", 0, drains.map((each) => each.messagesPerSecond)),
    ...figure(
      "  with start and end of the process",
      0,
      drains.map((each) => each.wallMessagesPerSecond),
    ),
    ...figure("floor, rows/s", 0, floors),
    ...figure("drain / floor", 2, ratios),
    ...figure("consumer, CPU s per 100,000", 2, drains.map((each) => each.cpuSecondsPer100k)),
    ...figure("consumer, peak memory in MB", 0, drains.map((each) => each.peakRssMb)),
  ];
}

async function seen(bed: Bed, backlog: Backlog, flags: Flags): Promise<Figure[]> {
  const results: SeenResult[] = [];
  for (let round = 1; round <= flags.rounds; round++) {
    const result = await measureSeen(bed, backlog, round);
    results.push(result);
    const rates = Object.entries(result).map(([way, { messagesPerSecond }]) =>
      `${way} ${messagesPerSecond.toFixed(0)}`
    );
    tell(`seen ${round}: ${rates.join(", ")} messages/s`);
  }
  return seenFigures(results);
}

async function latency(bed: Bed, flags: Flags): Promise<Figure[]> {
  const commitMs = await measureCommit(bed, "bench_commit");
  const figures: Figure[] = [{ name: "commit of one row, ms", rounds: [commitMs], digits: 2 }];
  for (const perSecond of LATENCY_RATES) {
    const name = `bench_latency_${perSecond}`;
    const result = await measureLatency(
      bed,
      { ...flags, perSecond, seconds: LATENCY_SECONDS },
      name,
    );
    tell(`latency at ${perSecond}/s: p50 ${result.p50Ms} ms, p99 ${result.p99Ms} ms`);
    const at = `at ${perSecond.toLocaleString("en-US")}/s`;
    figures.push(
      { name: `latency ${at}, p50 ms`, rounds: [result.p50Ms], digits: 1 },
      { name: `latency ${at}, p99 ms`, rounds: [result.p99Ms], digits: 1 },
      { name: `latency ${at}, longest ms`, rounds: [result.maxMs], digits: 1 },
    );
  }
  return figures;
}

async function producer(bed: Bed, work: WorkloadOptions, flags: Flags): Promise<Figure[]> {
  const file = { path: join(bed.dir, "bench.ndjson"), lines: work.messages };
  await writeLines(file.path, workload(work));
  const results: ProducerResult[] = [];
  for (let round = 1; round <= flags.rounds; round++) {
    const result = await measureProducer(bed, file, `bench-producer-${round}`);
    tell(`producer ${round}: ${result.messagesPerSecond} messages/s`);
    results.push(result);
  }
  const rounds = (key: keyof ProducerResult): number[] => results.map((each) => each[key]);
  return [
    { name: "producer, acknowledged/s", rounds: rounds("messagesPerSecond"), digits: 0 },
    {
      name: "  with start and end of the process",
      rounds: rounds("wallMessagesPerSecond"),
      digits: 0,
    },
    { name: "producer, peak memory in MB", rounds: rounds("peakRssMb"), digits: 0 },
  ];
}

/** What the figures depend on most. */
async function describeMachine(bed: Bed, loadBefore: number): Promise<string> {
  const { rows } = await bed.postgres.asSuperuser(
    "postgres",
    (session) => session.query("SHOW server_version"),
  );
  const memoryGib = Deno.systemMemoryInfo().total / 2 ** 30;
  return `${navigator.hardwareConcurrency} cores, ${memoryGib.toFixed(0)} GiB, Deno ` +
    `${Deno.version.deno}, PostgreSQL ${rows[0]?.server_version}, all on one machine ` +
    `(load before: ${loadBefore.toFixed(1)})`;
}

/** A comma list of whole numbers. */
function wholes(min: number, max: number): (text: string) => readonly number[] {
  return (text) => text.split(",").map((each) => whole(min, max)(each.trim()));
}

function commandLine(): Command {
  const cli = new Command("bench").description("Measure speed and cost on a stack of its own.");
  const command = (name: string, description: string, isDefault = false): Command =>
    cli.command(name, { isDefault }).description(description)
      .option("--sensors <n>", "sensors behind the messages", whole(1, 100_000), 500)
      .option("--rounds <n>", "rounds of each measurement", whole(1, 20), 3)
      .option("--json", "print JSON");
  command("flow", "throughput, cost and latency (the default)", true)
    .option("--messages <n>", "backlog and file, messages", whole(10_000, 10_000_000), 500_000)
    .addOption(
      new Option("--ids <version>", "UUIDs of the readings").choices(["v4", "v7"]).default("v4"),
    )
    .option("--only <parts>", `some of ${PARTS.join(",")}`, someOf(PARTS), PARTS)
    .action(bench);
  command("growth", "how fast batches are stored in large tables")
    .option("--sizes <n,…>", "rows in the tables, ascending", wholes(10_000, 100_000_000), [
      1_000_000,
      10_000_000,
      30_000_000,
    ])
    .option("--batches <n>", "batches of one run, 5,000 rows each", whole(2, 1_000), 40)
    .action(growth);
  command("scaling", "how fast several consumers store one backlog")
    .option("--messages <n>", "backlog, messages", whole(10_000, 10_000_000), 1_000_000)
    .option("--consumers <n,…>", "how many at a time", wholes(1, PARTITIONS), [1, 2, 3])
    .action(scaling);
  return cli;
}

function sayFigures(machine: string, figures: readonly Figure[]): Promise<void> {
  return printText(`${machine}\n\n${figuresText(figures, outputColumns())}`);
}

if (import.meta.main) await runCommandLine(commandLine());
