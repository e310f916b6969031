/**
 * A command in a terminal, as a person has it: prompts, lines that wrap, keys that send signals. Deno
 * has no pseudo-terminals; `terminal.py` opens one.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { inherited } from "../../campaign/child.ts";
import { findProgram } from "../../tools/stack/program.ts";
import { pass, read } from "../integration/processes.ts";
import { Screen } from "./screen.ts";

/** How long a command may take to show something, or to end, ms: the machine may be busy. */
const PATIENCE_MS = 60_000;
const POLL_MS = 20;

const KEYS = { "ctrl-c": "\x03", "ctrl-d": "\x04", "enter": "\r" } as const;

/** What runs, and in which terminal. */
export interface TerminalOptions {
  /** A program and its arguments. */
  readonly command: readonly string[];
  /** Width. @default 80 */
  readonly columns?: number;
  /** Height. @default 24 */
  readonly rows?: number;
  /** Where it runs. @default the project's directory */
  readonly cwd?: string;
  /** What it sees beside the little that every command sees. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A terminal and the command that runs in it. It is ended with the block that it is declared in. */
export class Terminal implements AsyncDisposable {
  /** What is on it. */
  readonly screen: Screen;
  readonly #name: string;
  readonly #helper: Deno.ChildProcess;
  readonly #orders: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #running: Promise<unknown>;
  #transcript = "";
  #faults = "";
  #code: number | undefined;

  private constructor(python: string, options: TerminalOptions) {
    const { command, columns = 80, rows = 24, cwd, env = {} } = options;
    this.screen = new Screen(columns, rows);
    this.#name = command.join(" ");
    this.#helper = new Deno.Command(python, {
      args: [`${import.meta.dirname}/terminal.py`, String(columns), String(rows), ...command],
      cwd: cwd ?? join(import.meta.dirname!, "../.."),
      clearEnv: true,
      env: { ...inherited(), TERM: "xterm-256color", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#orders = this.#helper.stdin.getWriter();
    this.#running = Promise.all([
      read(this.#helper.stdout, (text) => {
        this.#transcript += text;
        this.screen.write(text);
      }),
      read(this.#helper.stderr, (text) => this.#faults += text),
      this.#helper.status.then(({ code }) => this.#code = code),
    ]);
  }

  /** Opens a terminal and starts the command in it. */
  static async open(options: TerminalOptions): Promise<Terminal> {
    const install = "apt-get install -y python3";
    return new Terminal(await findProgram({ name: "python3", install }), options);
  }

  /** Everything that was written, escape sequences and what was rewritten included. */
  get transcript(): string {
    return this.#transcript;
  }

  /** Presses a key. */
  async press(key: keyof typeof KEYS): Promise<void> {
    await this.type(KEYS[key]);
  }

  /** Types a text. */
  async type(keys: string): Promise<void> {
    await this.#order({ keys });
  }

  /** Makes the terminal wider, narrower, higher or lower. */
  async resize(columns: number, rows: number): Promise<void> {
    this.screen.resize(columns, rows);
    await this.#order({ size: [columns, rows] });
  }

  /** Waits until something is on it; fails if it takes longer, or if the command ends without. */
  async until(text: string | RegExp, withinMs = PATIENCE_MS): Promise<void> {
    const isThere = (): boolean => this.screen.lines.join("\n").search(text) >= 0;
    await this.untilHolds(`it shows ${text}`, isThere, withinMs);
  }

  /** Waits for a condition, see {@linkcode Terminal.until}. */
  async untilHolds(what: string, holds: () => boolean, withinMs = PATIENCE_MS): Promise<void> {
    const startMs = performance.now();
    while (!holds()) {
      const hasEnded = this.#code !== undefined;
      if (hasEnded) await this.#running;
      if (hasEnded && !holds()) this.fail(`ended with exit code ${this.#code} before: ${what}`);
      if (performance.now() - startMs > withinMs) this.fail(`not seen in ${withinMs} ms: ${what}`);
      await pass(POLL_MS);
    }
  }

  /** Waits until the command has ended by itself, and gives its exit code; fails if it shows `unless`. */
  async ended({ unless }: { readonly unless?: RegExp } = {}): Promise<number> {
    const startMs = performance.now();
    while (this.#code === undefined) {
      if (unless?.test(this.#transcript)) this.fail(`it shows ${unless}`);
      if (performance.now() - startMs > PATIENCE_MS) this.fail(`did not end in ${PATIENCE_MS} ms`);
      await pass(POLL_MS);
    }
    await this.#running;
    assert.equal(this.#faults, "", "the terminal itself");
    return this.#code;
  }

  /** Fails and shows what is on the terminal. */
  fail(fault: string): never {
    assert.fail(`${this.#name}: ${fault}; on its screen:\n${this.screen.lines.join("\n")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#orders.close().catch(() => {});
    await this.#running;
  }

  async #order(order: unknown): Promise<void> {
    await this.#orders.write(new TextEncoder().encode(`${JSON.stringify(order)}\n`));
  }
}
