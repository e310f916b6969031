/**
 * One of the two programs as a child process, watched from outside: what it costs, how it ends.
 *
 * @module
 */
import { join } from "node:path";
import config from "../../deno.json" with { type: "json" };
import { cpuSecondsOf } from "./cpu.ts";

const PROJECT_DIR = join(import.meta.dirname!, "..", "..");

const SAMPLE_MS = 20;

/** What a process has used. */
export interface Usage {
  /** CPU time of all its threads, in user mode and in the kernel. */
  readonly cpuSeconds: number;
  /** Most memory that it had at any time, bytes. */
  readonly peakRssBytes: number;
}

/** A program that runs or has run. Disposing of it ends it. */
export interface ChildProgram extends AsyncDisposable {
  /** Its standard output so far. */
  readonly output: string;
  /** What it has used so far. After its end: up to 20 ms before. */
  readonly usage: Usage;
  /** Its exit code; undefined while it runs. */
  readonly exitCode: number | undefined;
  /** Asks it to end, and resolves when it has. */
  stop(): Promise<void>;
  /**
   * Resolves when it has ended well.
   *
   * @throws {Error} If its exit code is not 0; the text names its log.
   */
  succeeded(): Promise<void>;
}

/** How a program is started. */
export interface ChildOptions {
  /** Added to the environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Takes its standard error. */
  readonly logFile: string;
}

/**
 * Starts one of the project's programs as its task does, flags and permissions included.
 *
 * @param args What follows the task's own arguments.
 */
export function startProgram(
  task: "consume" | "produce",
  args: readonly string[],
  options: ChildOptions,
): Promise<ChildProgram> {
  return start(task, [...taskArguments(task), ...args], options);
}

/** Starts a script of the bench's own, with the flags of the consumer's engine. */
export function startScript(path: string, options: ChildOptions): Promise<ChildProgram> {
  const flags = taskArguments("consume").filter((word) => word.startsWith("--v8-flags"));
  return start(path, ["run", "-q", "-A", ...flags, path], options);
}

async function start(
  what: string,
  args: readonly string[],
  options: ChildOptions,
): Promise<ChildProgram> {
  const log = await Deno.open(options.logFile, { write: true, create: true, truncate: true });
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: PROJECT_DIR,
    env: options.env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const state = { output: "", usage: { cpuSeconds: 0, peakRssBytes: 0 } };
  let exitCode: number | undefined;
  const reading = child.stdout.pipeThrough(new TextDecoderStream()).pipeTo(
    new WritableStream({ write: (text) => void (state.output += text) }),
  );
  const logging = child.stderr.pipeTo(log.writable);
  const sample = (): void => {
    state.usage = readUsage(child.pid) ?? state.usage;
  };
  const timer = setInterval(sample, SAMPLE_MS);
  const ended = child.status.then(async (status) => {
    clearInterval(timer);
    await Promise.all([reading, logging]);
    exitCode = status.code;
  });
  const stop = async (): Promise<void> => {
    if (exitCode === undefined) child.kill("SIGTERM");
    await ended;
  };
  return {
    get output() {
      return state.output;
    },
    get usage() {
      return state.usage;
    },
    get exitCode() {
      return exitCode;
    },
    stop,
    [Symbol.asyncDispose]: stop,
    succeeded: async () => {
      await ended;
      if (exitCode !== 0) {
        throw new Error(`Cannot measure ${what}: exit code ${exitCode}, see ${options.logFile}`);
      }
    },
  };
}

/** The words after `deno` in a task's command, without the file of somebody's own settings. */
export function taskArguments(task: "consume" | "produce"): readonly string[] {
  // A command can go over several lines.
  const [, ...words] = config.tasks[task].command.split(/[\s\\]+/);
  return words.filter((word) => word !== "--env-file");
}

/** Undefined if the process has ended, or where there is no /proc. */
function readUsage(pid: number): Usage | undefined {
  try {
    return usageOf(
      Deno.readTextFileSync(`/proc/${pid}/stat`),
      Deno.readTextFileSync(`/proc/${pid}/status`),
    );
  } catch {
    return undefined;
  }
}

/**
 * Reads the usage out of a process's `stat` and `status`; undefined if it has ended and only its
 * exit code is left.
 */
export function usageOf(stat: string, status: string): Usage | undefined {
  const cpuSeconds = cpuSecondsOf(stat);
  const peakKib = /^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1];
  if (peakKib === undefined || cpuSeconds === undefined) return undefined;
  return { cpuSeconds, peakRssBytes: Number(peakKib) * 1_024 };
}
