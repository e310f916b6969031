/**
 * `deno task demo`: the whole flow in one process, with nothing installed. Serves the dashboard,
 * shows what happens, and verifies the tables at the end.
 *
 * @module
 */
import process from "node:process";
import { Command } from "commander";
import { systemClock } from "../lib/clock.ts";
import { runCommandLine, whole } from "../lib/command_line.ts";
import { createLog } from "../lib/log.ts";
import { verifyText } from "../lib/postgres/verify.ts";
import { EXIT, openProgram } from "../lib/program.ts";
import {
  canRewrite,
  errorColumns,
  outputColumns,
  print,
  printText,
  tell,
  writeError,
} from "../lib/standard_streams.ts";
import { type Demo, openDemo } from "./demo/demo.ts";
import { addressLine, type Place, showProgress, type Sums, sumsLine } from "./demo/view.ts";

const SECONDS_MAX = 86_400;
const RATE_MAX = 20_000;
const SENSORS_MAX = 10_000;

interface Flags {
  readonly seconds?: number;
  readonly rate: number;
  readonly sensors: number;
  readonly keep?: string;
}

const cli = new Command("demo")
  .description(
    "Shows the whole flow with nothing installed: simulated sensors, a topic and marks in memory,\n" +
      "and PostgreSQL inside this process.",
  )
  .option("--seconds <n>", "stop after this time (default: at Ctrl-C)", whole(1, SECONDS_MAX))
  .option("--rate <n>", "messages per second", whole(1, RATE_MAX), 200)
  .option("--sensors <n>", "how many sensors report", whole(1, SENSORS_MAX), 50)
  .option("--keep <dir>", "keep the database in this directory (default: in memory)")
  .addHelpText(
    "after",
    "\nIn memory it keeps the newest rows, about 120,000; what it deletes is counted." +
      "\nThe dashboard is at HTTP_HOST and HTTP_PORT, or at a free port." +
      "\nExit code: 0 if every message is accounted for, 1 if not.",
  )
  .action(run);

await runCommandLine(cli);

async function run(flags: Flags): Promise<void> {
  const { settings, signal } = openProgram(["http", "consumer"]);
  const clock = systemClock;
  // Trouble alone: what goes well is on the line and on the page.
  const log = createLog({
    level: "warn",
    format: "auto",
    isTerminal: process.stderr.isTTY === true,
    write: writeError,
    columns: errorColumns,
    clock,
  });
  tell(`Starting PostgreSQL in this process${flags.keep === undefined ? "" : ", its data kept"} …`);
  const opening = openDemo({
    ratePerSecond: flags.rate,
    sensors: flags.sensors,
    keepDir: flags.keep,
    http: { ...settings.http, port: settings.consumer.httpPort },
  }, { clock, log });
  // A directory that is half made would be no use the next time.
  const opened = flags.keep === undefined ? await orStopped(opening, signal) : await opening;
  if (opened === undefined) return;
  await using demo = opened;
  await print(introduction(flags));
  const view = { sums: () => sumsOf(demo), url: demo.site.url, place: placeOfLines(), clock };
  if (view.place === "elsewhere") await print(`  ${addressLine(view.url)}\n`);
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const ended = new AbortController();
  const showing = showProgress(view, ended.signal);
  if (flags.seconds !== undefined) {
    clock.sleep(flags.seconds * 1_000, either).then(() => stop.abort());
  }
  const report = await demo.run(either);
  ended.abort();
  await showing;
  await print(`${sumsLine(view.sums(), outputColumns())}\n`);
  await printText(verifyText(report, outputColumns()));
  process.exitCode = report.ok ? EXIT.ok : EXIT.failed;
}

/** What is being opened, or undefined if the signal comes first: the end of the process ends it. */
async function orStopped<T>(opening: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  const stopped = Promise.withResolvers<undefined>();
  if (signal.aborted) return undefined;
  signal.addEventListener("abort", () => stopped.resolve(undefined), { once: true });
  return await Promise.race([opening, stopped.promise]);
}

function introduction({ sensors, rate }: Flags): string {
  return `${sensors} sensors send ${rate} messages/s: 10 % come twice, 2 % contradict an\n` +
    "earlier one, 2 % are broken, 2 % are late. Everything runs in this process.\n";
}

/** The sums are printed to standard output, so that it must be the terminal, too. */
function placeOfLines(): Place {
  return canRewrite() && outputColumns() !== undefined ? "terminal" : "elsewhere";
}

function sumsOf(demo: Demo): Sums {
  const { sinceStart, nowMs, startedAtMs } = demo.site.status();
  const { conflicts, deadLetters } = sinceStart;
  return {
    ...sinceStart,
    seconds: Math.round((nowMs - startedAtMs) / 1_000),
    broken: deadLetters - conflicts,
  };
}
