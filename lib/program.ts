/**
 * What both programs do around their work: settings, log, signals, exit codes.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { systemClock } from "./clock.ts";
import { isPermissionFault } from "./connect_fault.ts";
import { createLog, type Log, type LogOptions } from "./log.ts";
import { type Misspelt, misspeltNames, misspeltText } from "./settings/misspelt.ts";
import { readSettings } from "./settings/read.ts";
import { secretsOf } from "./settings/secrets.ts";
import type { Group, Settings } from "./settings/table.ts";
import { errorColumns, flushErrors, sayLostLines, writeError } from "./standard_streams.ts";
import { INTERRUPTED, listenForStop } from "./stop_signal.ts";

/** Exit codes: what a supervisor or a script can tell apart. */
export const EXIT = {
  ok: 0,
  /** It ran and did not succeed. */
  failed: 1,
  /** A wrong flag or setting, or a configuration error that needs manual correction. */
  misconfigured: 2,
  /** Ended by a second signal, without waiting. */
  interrupted: INTERRUPTED,
} as const;

/** The version that `--version` prints. */
export const VERSION = "0.3.0";

/** What each action of a program has, whatever settings it asks for. */
export type BasicGroup = "stop" | "log";

/** What an action of a program works with; it names the groups of settings that it needs. */
export interface Program<Name extends Group = BasicGroup> {
  /** The settings of these groups, checked. */
  readonly settings: Settings<Name | BasicGroup>;
  /** Variables that are nearly called like one of them; the log has told of them. */
  readonly misspelt: readonly Misspelt[];
  /** Writes to standard error. */
  readonly log: Log;
  /** Aborts at the first SIGINT, SIGTERM or SIGHUP, see {@linkcode listenForStop}. */
  readonly signal: AbortSignal;
  /**
   * Aborts a moment after `SHUTDOWN_DEADLINE_MS` have passed since {@linkcode Program.signal}: what is
   * still under way then is ended, and the process soon after, see {@linkcode STOP_MARGIN_MS}.
   */
  readonly overdue: AbortSignal;
}

/**
 * How long after `SHUTDOWN_DEADLINE_MS` the process ends at the latest, ms: for leaving the group and
 * closing the connections. Whatever hangs then is left.
 */
export const STOP_MARGIN_MS = 3_000;

/** Code that watches the deadline itself gets this long to act on it first, ms. */
const OVERDUE_MS = 250;

/**
 * Reads the settings of some groups and no others, and listens for signals.
 *
 * @throws {ConfigurationError} if a setting is wrong; the text names all that are.
 */
export function openProgram<Name extends Group>(groups: readonly Name[]): Program<Name> {
  const all: (Name | BasicGroup)[] = [...groups, "stop", "log"];
  const names = environmentNames();
  const settings = readSettings(all, {
    env: (name) => process.env[name],
    readFile: (path) => readFileSync(path, "utf8"),
    names,
  });
  const options = {
    ...settings.log,
    isTerminal: process.stderr.isTTY === true,
    columns: errorColumns,
    clock: systemClock,
    secrets: secretsOf(settings),
  };
  const log = createLog({ ...options, write: writeError });
  sayLostLines((lines) => lostLine(options, lines));
  const misspelt = misspeltNames(names, all);
  for (const each of misspelt) log.warn(misspeltText(each));
  const signal = listenForStop((name) =>
    log.info("stopping; repeat to stop immediately", { signal: name })
  );
  const overdue = boundStop(signal, settings.stop.deadlineMs, log);
  return { settings, misspelt, log, signal, overdue };
}

/** Empty if this program may read variables and not list them, as with `--allow-env=A,B` alone. */
function environmentNames(): readonly string[] {
  try {
    return Object.keys(process.env);
  } catch (error) {
    if (isPermissionFault(error)) return [];
    throw error;
  }
}

/** What is said of lines that could not be written, in the form of the others. */
function lostLine(options: Omit<LogOptions, "write">, lines: number): string {
  let text = "";
  createLog({ ...options, write: (line) => text = line })
    .error("log lines could not be written", { lines });
  return text;
}

/** The deadline is that of the process, whatever it does and waits for. */
function boundStop(signal: AbortSignal, deadlineMs: number, log: Log): AbortSignal {
  const overdue = new AbortController();
  const watch = async (): Promise<never> => {
    await systemClock.sleep(deadlineMs + OVERDUE_MS);
    overdue.abort();
    await systemClock.sleep(STOP_MARGIN_MS - OVERDUE_MS);
    log.error("did not stop in time: exiting now; see SHUTDOWN_DEADLINE_MS");
    await flushErrors();
    process.exit(EXIT.failed);
  };
  signal.addEventListener("abort", () => void watch(), { once: true });
  return overdue.signal;
}

/** Ends the process after a time, ms, with the exit code that is set then, if it has not ended. */
export function exitWithin(limitMs: number): void {
  void systemClock.sleep(limitMs).then(() => process.exit(process.exitCode ?? EXIT.ok));
}
