/**
 * A program of the campaign as a child process: started, signalled, armed, and seen to end. What it
 * says goes to a file.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { once } from "node:events";

const ROOT = `${import.meta.dirname}/..`;

/** What a child may see of this environment: where Deno finds itself and its cache. */
const INHERITED = ["PATH", "HOME", "DENO_DIR", "XDG_CACHE_HOME", "TMPDIR"];

/** How a child ended: its exit code, or the signal that ended it. */
export interface ChildEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

/** What to start. */
export interface ChildSpec {
  /** Path of the program from the project's directory. */
  readonly file: string;
  /** Its arguments. */
  readonly args: readonly string[];
  /** Its settings. */
  readonly env: Readonly<Record<string, string>>;
  /** Where its standard error, and its standard output if nobody listens, is appended. */
  readonly logFile: string;
  /** Is told each line of standard output. */
  readonly onLine?: (line: string) => void;
}

/** A child that was started. */
export class Child {
  readonly #process: ChildProcess;
  #end: ChildEnd | undefined;
  /** Settles when it has ended. */
  readonly ended: Promise<ChildEnd>;

  /** Starts it. */
  constructor({ file, args, env, logFile, onLine }: ChildSpec) {
    const log = createWriteStream(logFile, { flags: "a" });
    this.#process = spawn(Deno.execPath(), ["run", "-q", "--no-prompt", "-A", file, ...args], {
      cwd: ROOT,
      env: { ...inherited(), ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#process.stdin!.on("error", () => {});
    this.#process.stderr!.pipe(log, { end: false });
    if (onLine === undefined) this.#process.stdout!.pipe(log, { end: false });
    else this.#process.stdout!.on("data", lineReader(onLine));
    this.ended = once(this.#process, "close").then(([code, signal]) => {
      log.end();
      return this.#end = { code, signal };
    });
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid!;
  }

  /** False once it has ended. */
  get runs(): boolean {
    return this.#end === undefined;
  }

  /** Sends a signal, unless it has ended. */
  signal(signal: "SIGTERM" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    if (this.runs) this.#process.kill(signal);
  }

  /** Has it end itself when it reaches `point` for the `times`-th time from now on. */
  arm(point: string, times: number): void {
    if (this.runs) this.#process.stdin!.write(`${point}:${times}\n`);
  }

  /** Its memory now, MB. */
  async residentMb(): Promise<number> {
    const text = await Deno.readTextFile(`/proc/${this.pid}/status`).catch(() => "");
    return Number(text.match(/VmRSS:\s*(\d+) kB/)?.[1] ?? 0) / 1_024;
  }
}

function inherited(): Record<string, string> {
  return Object.fromEntries(
    INHERITED.map((name) => [name, Deno.env.get(name) ?? ""]).filter(([, value]) => value !== ""),
  );
}

function lineReader(onLine: (line: string) => void): (chunk: Buffer) => void {
  let rest = "";
  return (chunk) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop()!;
    lines.forEach(onLine);
  };
}
