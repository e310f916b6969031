/**
 * A shell with a prompt, in which one command after the other is typed and interrupted.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Terminal, type TerminalOptions } from "./terminal.ts";

const PROMPT = "ready>";

/** How a command ended that was typed into a shell. */
export interface Typed {
  /** Its exit code. */
  readonly code: number;
  /** What it and its echo have left, from the line after the command to the one before the prompt. */
  readonly lines: readonly string[];
}

/** An interactive shell in a terminal. */
export class Shell implements AsyncDisposable {
  readonly #terminal: Terminal;
  #seenLines = 0;

  private constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Starts the shell. */
  static async open(options: Omit<TerminalOptions, "command">): Promise<Shell> {
    const terminal = await Terminal.open({ ...options, command: ["sh", "-i"] });
    const shell = new Shell(terminal);
    await terminal.until(/[#$]$/);
    // Two words, or the echo of what is typed would look like the prompt.
    await terminal.type(`PS1='ready''> '\n`);
    await shell.#untilPrompt();
    return shell;
  }

  /** The terminal that it runs in. */
  get terminal(): Terminal {
    return this.#terminal;
  }

  /** Types a command, and waits until it shows something. */
  async start(command: string, shows: RegExp): Promise<void> {
    this.#seenLines = this.#terminal.screen.lines.length;
    await this.#terminal.type(`${command}\n`);
    await this.#terminal.untilHolds(
      `it shows ${shows}`,
      () => shows.test(this.#since().join("\n")),
    );
  }

  /** Waits until the prompt is back. It must have a line of its own. */
  async ended(): Promise<Typed> {
    await this.#untilPrompt();
    const lines = this.#since().slice(0, -1);
    this.#seenLines = this.#terminal.screen.lines.length;
    await this.#terminal.type("echo code $?\n");
    await this.#untilPrompt();
    const code = this.#since().join("\n").match(/^code (\d+)$/m)?.[1];
    assert(code !== undefined, this.#terminal.screen.lines.join("\n"));
    return { code: Number(code), lines };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#terminal[Symbol.asyncDispose]();
  }

  #since(): readonly string[] {
    return this.#terminal.screen.lines.slice(this.#seenLines);
  }

  async #untilPrompt(): Promise<void> {
    const isBack = (): boolean => this.#since().at(-1)?.endsWith(PROMPT) === true;
    await this.#terminal.untilHolds("the prompt is back", isBack);
    const line = this.#since().at(-1)!;
    if (line !== PROMPT) this.#terminal.fail(`the prompt is not on a line of its own: ${line}`);
  }
}
