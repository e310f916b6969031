/**
 * `deno task bench`: what the project does on this machine, measured on a stack of its own.
 *
 * Everything shares the machine: the servers, the programs and this one. Rates differ from machine
 * to machine; the ratio of drain to floor, taken in turns, says more.
 *
 * @module
 */
import { Command, Option } from "commander";
import { runCommandLine, someOf, whole } from "../lib/command_line.ts";
import { outputColumns, print, printText, tell } from "../lib/standard_streams.ts";
import { type Bed, prepareBed } from "./bench/bed.ts";
import { measureCompression } from "./bench/compression.ts";
import { type Figure, figuresText, type Run, runsText } from "./bench/figures.ts";
import { backlogOf, type FlowOptions, measureFlow, ratiosOf, RUNS, secured } from "./bench/flow.ts";
import { growthFigures, measureGrowth } from "./bench/growth.ts";
import { measureCommit, measureLatency } from "./bench/latency.ts";
import { measureStations, slowestLeg, stationFigures } from "./bench/stations.ts";
import { measureScaling, scalingFigures } from "./bench/scaling.ts";
import { measureSeen, seenFigures, type SeenResult } from "./bench/seen.ts";
import { PARTITIONS, type WorkloadOptions } from "./bench/workload.ts";

/** What is measured by itself, after what is measured in turns. */
const ALONE = ["latency", "seen"] as const;
const PARTS = [...RUNS, ...ALONE];
type Part = typeof PARTS[number];

/** Whoever looks at the flow is measured on request: it takes as long as all the rest. */
const PARTS_DEFAULT = PARTS.filter((part) => part !== "seen");

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

async function bench(flags: Flags, bed: Bed): Promise<Measured> {
  const work: WorkloadOptions = { ...flags, repeats: REPEATS, startMs: Date.now() - 3_600_000 };
  const kinds = RUNS.filter((kind) => flags.only.includes(kind));
  const options: FlowOptions = { kinds, work, rounds: flags.rounds, report: tell };
  const runs = await measureFlow(bed, options);
  const figures: Figure[] = ratiosOf(runs);
  if (flags.only.includes("latency")) {
    const load = { ...flags, rates: LATENCY_RATES, seconds: LATENCY_SECONDS };
    figures.push(...await latency(bed, load));
    if (flags.only.includes("tls")) {
      figures.push(...await latency(await secured(bed), load, "TLS, "));
    }
  }
  if (flags.only.includes("seen")) figures.push(...await seen(bed, options));
  return { json: { ...work, runs, figures }, figures, runs, messages: flags.messages };
}

interface GrowthFlags {
  readonly sizes: readonly number[];
  readonly rounds: number;
  readonly batches: number;
  readonly sensors: number;
  readonly json?: true;
}

async function growth(flags: GrowthFlags, bed: Bed): Promise<Measured> {
  const points = await measureGrowth(bed, { ...flags, runBatches: flags.batches, report: tell });
  return { json: { points }, figures: growthFigures(points), indent: 2 };
}

interface LatencyFlags {
  readonly sensors: number;
  readonly rates: readonly number[];
  readonly seconds: number;
  readonly stations?: true;
  readonly json?: true;
}

async function latencyAlone(flags: LatencyFlags, bed: Bed): Promise<Measured> {
  const load = { ...flags, ids: "v4" } as const;
  const figures = flags.stations ? await stations(bed, load) : await latency(bed, load);
  return { json: { figures }, figures };
}

async function stations(bed: Bed, load: Load): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const perSecond of load.rates) {
    const name = `bench_stations_${perSecond}`;
    const result = await measureStations(bed, { ...load, perSecond }, name);
    const { messages, blockedMs, notFetchingPart } = result;
    const { leg, part, fromMs } = slowestLeg(messages);
    tell(
      `${perSecond}/s: the slowest hundredth took ${fromMs.toFixed(1)} ms and more; ` +
        `${(part * 100).toFixed(0)} % of it from ${leg}`,
    );
    figures.push(...stationFigures(messages, perSecond), {
      name: "  consumer's event loop held up, longest of a second, ms",
      rounds: blockedMs.map((each) => Math.round(each * 10) / 10),
      digits: 1,
    }, {
      name: "  part of the time without a fetch under way, %",
      rounds: [notFetchingPart * 100],
      digits: 0,
    });
  }
  return figures;
}

interface CompressionFlags {
  readonly messages: number;
  readonly sensors: number;
  readonly rounds: number;
  readonly json?: true;
}

async function compression(flags: CompressionFlags, bed: Bed): Promise<Measured> {
  const startMs = Date.now() - 3_600_000;
  const work: WorkloadOptions = { ...flags, ids: "v4", repeats: REPEATS, startMs };
  const { runs, figures } = await measureCompression(bed, { ...flags, work, report: tell });
  return { json: { ...work, runs, figures }, figures, runs, messages: flags.messages };
}

interface ScalingFlags {
  readonly messages: number;
  readonly sensors: number;
  readonly consumers: readonly number[];
  readonly rounds: number;
  readonly json?: true;
}

async function scaling(flags: ScalingFlags, bed: Bed): Promise<Measured> {
  const results = await measureScaling(bed, { ...flags, report: tell });
  return { json: { results }, figures: scalingFigures(results), indent: 2 };
}

async function seen(bed: Bed, options: FlowOptions): Promise<Figure[]> {
  const backlog = await backlogOf(bed, options);
  const results: SeenResult[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    const result = await measureSeen(bed, backlog, round);
    results.push(result);
    const rates = Object.entries(result).map(([way, { messagesPerSecond }]) =>
      `${way} ${messagesPerSecond.toFixed(0)}`
    );
    tell(`seen ${round}: ${rates.join(", ")} messages/s`);
  }
  return seenFigures(results);
}

interface Load {
  readonly sensors: number;
  readonly ids: "v4" | "v7";
  readonly rates: readonly number[];
  readonly seconds: number;
}

async function latency(bed: Bed, load: Load, way: "" | "TLS, " = ""): Promise<Figure[]> {
  const id = way === "" ? "bench_latency" : "bench_latency_tls";
  const commitMs = await measureCommit(bed, `${id}_commit`);
  const figures: Figure[] = [
    { name: `${way}commit of one row, ms`, rounds: [commitMs], digits: 2 },
  ];
  for (const perSecond of load.rates) {
    const result = await measureLatency(bed, { ...load, perSecond }, `${id}_${perSecond}`);
    tell(`${way}latency at ${perSecond}/s: p50 ${result.p50Ms} ms, p99 ${result.p99Ms} ms`);
    const at = `${way}latency at ${perSecond.toLocaleString("en-US")}/s`;
    figures.push(
      { name: `${at}, p50 ms`, rounds: [result.p50Ms], digits: 1 },
      { name: `${at}, p99 ms`, rounds: [result.p99Ms], digits: 1 },
      { name: `${at}, longest ms`, rounds: [result.maxMs], digits: 1 },
    );
  }
  return figures;
}

/** What the figures depend on most. */
async function describeMachine(bed: Bed, loadBefore: number): Promise<string> {
  const { rows } = await bed.servers.postgres.asSuperuser(
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

const FLOW_HELP = `
Parts:
  drain     a backlog, one message in ten a repeat
  away      the same without Redis: what the marks save
  unknown   the same, every tenth reading stored already and unknown to Redis
  bad       the same, and a bad message in each batch
  tls       the same with TLS to all servers; with latency: that, too
  floor     its rows with nothing around them, by INSERT and by COPY
  producer  the backlog from a file
  latency   from a reading's timestamp to COMMIT at 1,000 and 10,000 messages/s
  seen      the drain with a dashboard, Prometheus and hundreds of clients (not by default)
All but seen take about 4 minutes on two quiet cores. CPU seconds hold on a busy machine, rates
do not.`;

function commandLine(): Command {
  const cli = new Command("bench").description("Measure speed and cost on a stack of its own.");
  const single = (name: string, description: string, isDefault = false): Command =>
    cli.command(name, { isDefault }).description(description)
      .option("--sensors <n>", "sensors behind the messages", whole(1, 100_000), 500)
      .option("--json", "print JSON");
  const command = (...words: Parameters<typeof single>): Command =>
    single(...words).option("--rounds <n>", "rounds of each measurement", whole(1, 20), 3);
  command("flow", "throughput, cost and latency (the default)", true)
    .option("--messages <n>", "backlog and file, messages", whole(10_000, 10_000_000), 500_000)
    .addOption(
      new Option("--ids <version>", "UUIDs of the readings").choices(["v4", "v7"]).default("v4"),
    )
    .addOption(
      new Option("--only <parts>", "some of the parts below, separated by commas")
        .argParser(someOf(PARTS)).default(PARTS_DEFAULT, "all but seen"),
    )
    .addHelpText("after", FLOW_HELP)
    .action(measuring(bench));
  command("growth", "how fast batches are stored in large tables")
    .option("--sizes <n,…>", "rows in the tables, ascending", wholes(10_000, 100_000_000), [
      1_000_000,
      10_000_000,
      30_000_000,
    ])
    .option("--batches <n>", "batches of one run, 5,000 rows each", whole(2, 1_000), 40)
    .action(measuring(growth));
  single("latency", "from a reading's timestamp to COMMIT at a steady rate")
    .option("--rates <n,…>", "messages per second", wholes(1, 100_000), LATENCY_RATES)
    .option("--seconds <n>", "how long each is measured", whole(1, 3_600), LATENCY_SECONDS)
    .option("--stations", "trace each message, and name the leg that makes the slowest slow")
    .action(measuring(latencyAlone));
  command("compression", "what each codec of the producer costs and saves")
    .option("--messages <n>", "lines of the file", whole(10_000, 10_000_000), 500_000)
    .action(measuring(compression));
  command("scaling", "how fast several consumers store one backlog")
    .option("--messages <n>", "backlog, messages", whole(10_000, 10_000_000), 1_000_000)
    .option("--consumers <n,…>", "how many at a time", wholes(1, PARTITIONS), [1, 2, 3])
    .action(measuring(scaling));
  return cli;
}

/** What a command has measured. */
interface Measured {
  /** With `--json`, beside the machine. */
  readonly json: object;
  /** How far that is indented. @default on one line */
  readonly indent?: number;
  readonly figures: readonly Figure[];
  readonly runs?: readonly Run[];
  /** How many there are in a run. */
  readonly messages?: number;
}

/** A command that measures on a stack of its own, and says what came out and where. */
function measuring<Flags extends { readonly json?: true }>(
  measure: (flags: Flags, bed: Bed) => Promise<Measured>,
): (flags: Flags) => Promise<void> {
  return async (flags) => {
    const [loadBefore = 0] = Deno.loadavg();
    const bed = await prepareBed();
    const measured = await measure(flags, bed);
    const machine = await describeMachine(bed, loadBefore);
    await (flags.json
      ? print(JSON.stringify({ machine, ...measured.json }, null, measured.indent))
      : printText(textOf(machine, measured)));
  };
}

function textOf(machine: string, { figures, runs = [], messages }: Measured): string {
  const columns = outputColumns();
  return [
    messages === undefined ? machine : `${machine}\n${messages} messages`,
    ...(runs.length === 0 ? [] : [runsText(runs, columns)]),
    ...(figures.length === 0 ? [] : [figuresText(figures, columns)]),
  ].join("\n\n");
}

if (import.meta.main) await runCommandLine(commandLine());
