/**
 * `deno task demo`: the whole flow in one process, with nothing installed. Serves the dashboard,
 * shows what happens, and verifies the tables at the end.
 *
 * @module
 */
import process from "node:process";
import { Command } from "commander";
import { type Clock, systemClock } from "../lib/clock.ts";
import { runCommandLine, whole } from "../lib/command_line.ts";
import { ConfigurationError } from "../lib/errors.ts";
import { createLog, type Log } from "../lib/log.ts";
import { verifyText } from "../lib/postgres/verify.ts";
import { EXIT, openProgram } from "../lib/program.ts";
import { outputColumns, print, printRaw, printText, writeError } from "../lib/standard_streams.ts";
import { type Demo, type DemoOptions, openDemo } from "./demo/demo.ts";

/** How often the line changes on a terminal, and comes elsewhere, ms. */
const TERMINAL_MS = 250;
const PLAIN_MS = 5_000;

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
    clock,
  });
  const options = { ratePerSecond: flags.rate, sensors: flags.sensors, keepDir: flags.keep };
  await using demo = await openAnywhere({
    ...options,
    http: { ...settings.http, port: settings.consumer.httpPort },
  }, { clock, log });
  await print(
    `${flags.sensors} sensors send ${flags.rate} messages/s: 10 % come twice, 2 % contradict an`,
  );
  await print("earlier one, 2 % are broken, 2 % are late. Everything runs in this process.\n");
  await print(`  Dashboard: ${demo.site.url}\n`);
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const ended = new AbortController();
  const showing = showProgress(demo, clock, ended.signal);
  if (flags.seconds !== undefined) {
    clock.sleep(flags.seconds * 1_000, either).then(() => stop.abort());
  }
  const report = await demo.run(either);
  ended.abort();
  await showing;
  await print(`\n${progressLine(demo)}\n`);
  await printText(verifyText(report, outputColumns()));
  process.exitCode = report.ok ? EXIT.ok : EXIT.failed;
}

/** On the port of the settings, or on a free one if that is taken. */
async function openAnywhere(
  options: DemoOptions,
  context: { readonly clock: Clock; readonly log: Log },
): Promise<Demo> {
  try {
    return await openDemo(options, context);
  } catch (error) {
    if (!(error instanceof ConfigurationError) || options.http.port === 0) throw error;
    return await openDemo({ ...options, http: { ...options.http, port: 0 } }, context);
  }
}

async function showProgress(demo: Demo, clock: Clock, signal: AbortSignal): Promise<void> {
  const isTerminal = process.stdout.isTTY === true;
  while (!signal.aborted) {
    await clock.sleep(isTerminal ? TERMINAL_MS : PLAIN_MS, signal);
    if (signal.aborted) break;
    if (isTerminal) await printRaw(`\x1b[K  ${progressLine(demo)}\r`);
    else await print(`  ${progressLine(demo)}`);
  }
  if (isTerminal) await printRaw("\x1b[K");
}

function progressLine(demo: Demo): string {
  const { sinceStart, nowMs, startedAtMs } = demo.site.status();
  const { messages, inserted, duplicates, conflicts, deadLetters } = sinceStart;
  return [
    `${Math.round((nowMs - startedAtMs) / 1_000)} s`,
    `${grouped(messages)} messages`,
    `${grouped(inserted)} stored`,
    `${grouped(duplicates)} duplicates caught`,
    `${grouped(conflicts)} conflicts and ${grouped(deadLetters - conflicts)} broken set aside`,
  ].join("   ");
}

function grouped(count: number): string {
  return count.toLocaleString("en-US");
}
