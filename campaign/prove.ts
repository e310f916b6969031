/**
 * `deno task prove`: starts real servers, hurts everything that can be hurt while readings flow, and
 * looks for every acknowledged reading at the end.
 *
 *     deno task prove --short         each fault once, for seconds, and thirty kills at points
 *     deno task prove                 faults that hold for up to two minutes, a hundred kills
 *     deno task prove --long 6        schedule after schedule for six hours
 *
 * It exits 1 if anything that is promised does not hold. The same seed draws the same schedule.
 *
 * @module
 */
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import process from "node:process";
import { runCommandLine, whole } from "../lib/command_line.ts";
import { ConfigurationError } from "../lib/errors.ts";
import { createRandom } from "../lib/producer/random.ts";
import { EXIT } from "../lib/program.ts";
import { outputColumns, printText } from "../lib/standard_streams.ts";
import { listenForStop } from "../lib/stop_signal.ts";
import { type CampaignReport, runCampaign } from "./campaign.ts";
import type { Fault } from "./fault.ts";
import { CONSUMER_KILL_POINTS } from "./kill_points.ts";
import {
  COMMAND_FAULTS,
  CONSUMER_FAULTS,
  consumersKilledAt,
  PRODUCER_FAULTS,
} from "./process_faults.ts";
import { proofPage } from "./proof_page.ts";
import { brokenPromises, reportText } from "./report.ts";
import { drawSchedule } from "./schedule.ts";
import { SERVER_FAULTS } from "./server_faults.ts";

/** Each of the eleven points comes about so often: three times, and nine times. */
const POINT_KILLS_MIN = { short: 33, long: 96 } as const;
const SEED_MAX = 2 ** 32 - 1;
const HOURS_MAX = 1_000;
const RATE_MAX = 1_000_000;
const TIMES_MAX = 10_000;

interface Flags {
  readonly short?: true;
  readonly long?: number;
  readonly seed: number;
  readonly rate: number;
  readonly only?: RegExp;
  readonly times: number;
  readonly bounds: boolean;
  readonly page: string;
  readonly keep?: string;
}

function commandLine(): Command {
  return new Command("prove")
    .description(
      "Inject faults into real servers and programs while readings flow, then account for every reading",
    )
    .option("--short", "each fault for seconds, not minutes, and fewer kills")
    .option("--long <hours>", "repeat the schedule for this many hours", whole(1, HOURS_MAX))
    .option(
      "--seed <n>",
      "seed of the order, the victims and the times",
      whole(0, SEED_MAX),
      randomSeed(),
    )
    .option("--rate <n>", "messages per second", whole(1, RATE_MAX), 300)
    .option("--only <pattern>", "only faults whose name matches this regular expression", pattern)
    .option("--times <n>", "play the schedule this many times", whole(1, TIMES_MAX), 1)
    .option("--no-bounds", "skip the backlog of a million messages at the end")
    .option("--page <file>", "where to write the page", "docs/proof.html")
    .option("--keep <dir>", "keep logs and journals in this directory, which must not exist yet")
    .action(async (flags: Flags) => {
      if (!await prove(flags)) process.exitCode = EXIT.failed;
    });
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new InvalidArgumentError("It must be a regular expression.");
  }
}

function randomSeed(): number {
  return Math.floor(Math.random() * SEED_MAX);
}

function say(line: string): void {
  void printText(line);
}

function scheduleOf({ seed, only, times, short }: Flags, round: number): readonly Fault[] {
  const schedule = drawSchedule({
    faults: [...CONSUMER_FAULTS, ...COMMAND_FAULTS, ...PRODUCER_FAULTS, ...SERVER_FAULTS],
    points: CONSUMER_KILL_POINTS,
    pointKillsMin: POINT_KILLS_MIN[short ? "short" : "long"],
    killedAt: consumersKilledAt,
  }, createRandom(seed, round));
  const chosen = only === undefined ? schedule : schedule.filter(({ name }) => only.test(name));
  return Array.from({ length: times }, () => chosen).flat();
}

async function runRound(flags: Flags, round: number, signal: AbortSignal): Promise<CampaignReport> {
  const schedule = scheduleOf(flags, round);
  if (schedule.length === 0 && !flags.bounds) {
    throw new ConfigurationError(`Cannot play "${flags.only?.source}": there is no such fault`);
  }
  const dir = flags.keep ?? await Deno.makeTempDir({ prefix: "prove-" });
  await Deno.mkdir(dir, { recursive: true });
  // The servers run as others, who have to get to their directories.
  await Deno.chmod(dir, 0o755);
  try {
    return await runCampaign({
      seed: flags.seed + round,
      schedule,
      hold: flags.short ? "short" : "long",
      rate: flags.rate,
      withBounds: flags.bounds,
      dir: join(dir, `round-${round}`),
      say: (line) => say(`${new Date().toISOString().slice(11, 19)}  ${line}`),
      signal,
    });
  } finally {
    if (flags.keep === undefined) await Deno.remove(dir, { recursive: true });
  }
}

async function prove(flags: Flags): Promise<boolean> {
  // The second one ends it at once; the servers are then left to `deno task stack down --dir`.
  const signal = listenForStop(() =>
    say("stopping after this fault, with a report; repeat to stop immediately")
  );
  const endMs = Date.now() + (flags.long ?? 0) * 3_600_000;
  let isKept = true;
  let round = 0;
  do {
    const report = await runRound(flags, round++, signal);
    await Deno.writeTextFile(flags.page, proofPage(report));
    say(`\n${reportText(report, outputColumns())}\n\npage: ${flags.page}`);
    isKept &&= brokenPromises(report).length === 0;
  } while (Date.now() < endMs && !signal.aborted);
  return isKept;
}

if (import.meta.main) await runCommandLine(commandLine());
