/**
 * The two programs as child processes, started as a person starts them: `main_producer.ts` and
 * `main_consumer.ts` with the permissions that their tasks give them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { inherited } from "../../campaign/child.ts";

const ROOT = `${import.meta.dirname}/../..`;

/** How often a condition is looked at, ms. */
const POLL_MS = 25;

/** Names and values of environment variables. */
export type Environment = Readonly<Record<string, string>>;

/** How a program ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One line of a program's log. */
export type LogLine = Readonly<Record<string, unknown>> & {
  readonly level: string;
  readonly message: string;
};

/** A program that runs. It is ended with the block that it is declared in. */
export class Program implements AsyncDisposable {
  readonly #name: string;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;
  #stdout = "";
  #stderr = "";
  #code: number | undefined;

  private constructor(
    file: string,
    args: readonly string[],
    { env, flags = [] }: { readonly env: Environment; readonly flags?: readonly string[] },
  ) {
    this.#name = [file, ...args].join(" ");
    const permissions = file === "main_producer.ts" ? "produce" : "consume";
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "--no-prompt", `-P=${permissions}`, ...flags, file, ...args],
      cwd: ROOT,
      clearEnv: true,
      env: { ...inherited(), ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#reading = Promise.all([
      read(this.#child.stdout, (text) => this.#stdout += text),
      read(this.#child.stderr, (text) => this.#stderr += text),
      this.#child.status.then(({ code }) => this.#code = code),
    ]);
  }

  /**
   * Starts `main_consumer.ts`.
   *
   * @param flags Deno's own; a permission among them takes the place of the task's
   */
  static consumer(
    args: readonly string[],
    env: Environment,
    flags: readonly string[] = [],
  ): Program {
    return new Program("main_consumer.ts", args, { env, flags });
  }

  /** Starts `main_producer.ts`, see {@linkcode Program.consumer}. */
  static producer(
    args: readonly string[],
    env: Environment,
    flags: readonly string[] = [],
  ): Program {
    return new Program("main_producer.ts", args, { env, flags });
  }

  /** Starts another program, with the permissions of a consumer. */
  static start(file: string, env: Environment): Program {
    return new Program(file, [], { env });
  }

  /** What it has written to standard error so far. */
  get stderr(): string {
    return this.#stderr;
  }

  /** The lines of its log so far. */
  get log(): readonly LogLine[] {
    return this.#stderr.split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"))
      .map((line) => JSON.parse(line));
  }

  /** How many lines of its log say this. */
  said(message: string | RegExp): number {
    return this.log.filter((line) =>
      typeof message === "string" ? line.message === message : message.test(line.message)
    ).length;
  }

  /** Sends a signal, unless it has ended. */
  signal(signal: Deno.Signal): void {
    if (this.#code === undefined) this.#child.kill(signal);
  }

  /** Waits until it has ended on its own; fails if that takes longer. */
  async ended(withinMs: number): Promise<Ended> {
    await this.until("it ends", () => this.#code !== undefined, withinMs, "may end");
    await this.#reading;
    return { code: this.#code!, stdout: this.#stdout, stderr: this.#stderr };
  }

  /** Waits until it has ended with exit code 0. */
  async succeeded(withinMs: number): Promise<Ended> {
    const ended = await this.ended(withinMs);
    assert.equal(ended.code, 0, this.#report(`ended with exit code ${ended.code}`));
    return ended;
  }

  /** Waits for a condition; fails if it takes longer, or if the program ends meanwhile. */
  async until(
    what: string,
    holds: () => boolean | Promise<boolean>,
    withinMs: number,
    end: "may end" | "must run" = "must run",
  ): Promise<void> {
    const startMs = performance.now();
    while (!await holds()) {
      if (end === "must run" && this.#code !== undefined) {
        assert.fail(this.#report(`ended with exit code ${this.#code} before: ${what}`));
      }
      if (performance.now() - startMs > withinMs) {
        assert.fail(this.#report(`not seen within ${withinMs} ms: ${what}`));
      }
      await pass(POLL_MS);
    }
  }

  /** Its memory now, MB; 0 where there is no /proc. */
  residentMb(): Promise<number> {
    return this.#memoryMb("VmRSS");
  }

  /** The most memory that it has had, MB; 0 where there is no /proc. */
  peakMb(): Promise<number> {
    return this.#memoryMb("VmHWM");
  }

  async #memoryMb(field: string): Promise<number> {
    const text = await Deno.readTextFile(`/proc/${this.#child.pid}/status`).catch(() => "");
    return Number(text.match(`${field}:\\s*(\\d+) kB`)?.[1] ?? 0) / 1_024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.#reading;
  }

  #report(fault: string): string {
    return `${this.#name}: ${fault}; it wrote:\n${this.#stdout}${this.#stderr}`;
  }
}

/** Lets time pass. */
export function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Hands over what a stream carries, as text, until it ends. */
export async function read(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  take: (text: string) => void,
): Promise<void> {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) take(text);
}
