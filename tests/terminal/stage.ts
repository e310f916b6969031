/**
 * What the tests on terminals have in common: servers that they may use, and what no terminal should
 * ever show.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { MARKER } from "../../tools/with_stack.ts";
import { Terminal, type TerminalOptions } from "./terminal.ts";

/** The project's directory. */
export const ROOT: string = join(import.meta.dirname!, "../..");

/** Deno asks, and would wait for ever. */
const QUESTION = /Deno requests|Allow\? \[/;

/** What Deno says in the place of a program that lacks a permission. */
const REFUSAL = /NotCapable|--(allow|deny)-(env|net|read|write|run|sys|ffi|all)\b/;

/** How `deno task` shows what it runs: as long as what was typed. */
const ECHO = /^Task |^ {2}main_(producer|consumer)\.ts /;

/** Settings for the servers of the private stack. Its pages are off: several programs run at a time. */
export function stackSettings(): Readonly<Record<string, string>> {
  stackDir();
  const found = Object.entries(Deno.env.toObject())
    .filter(([name]) => /^(KAFKA|TOPIC|POSTGRES|REDIS)_/.test(name));
  return { ...Object.fromEntries(found), HTTP_PORT: "0" };
}

/** Directory of the private stack. */
export function stackDir(): string {
  const dir = Deno.env.get(MARKER);
  assert(dir !== undefined, "run: deno task test:terminal");
  return dir;
}

/** A command as a person types it, and the terminal in which it is played. */
export interface Played extends Omit<TerminalOptions, "command"> {
  /** For the shell. */
  readonly line: string;
}

/** Plays a command to its end, and fails at what no terminal should show. */
export async function play(
  { line, ...options }: Played,
): Promise<{ readonly code: number; readonly terminal: Terminal; readonly text: string }> {
  await using terminal = await Terminal.open({ ...options, command: ["sh", "-c", line] });
  const code = await terminal.ended({ unless: QUESTION });
  expectClean(terminal);
  return { code, terminal, text: terminal.screen.lines.join("\n") };
}

/** Fails if Deno asked or refused anything, or if a line was longer than the terminal is wide. */
export function expectClean(terminal: Terminal): void {
  const isOurs = (line: string): boolean => !ECHO.test(line);
  const lines = terminal.screen.lines.filter(isOurs);
  const spoken = lines.find((line) => QUESTION.test(line) || REFUSAL.test(line));
  if (spoken !== undefined) terminal.fail(`Deno speaks: ${spoken}`);
  const [wrapped] = terminal.screen.wrapped.filter(isOurs);
  if (wrapped !== undefined) terminal.fail(`a line wraps: ${wrapped}`);
}

/** A directory for files that a command names: a path is never cut, so a long one would wrap. */
export function makeShortDir(): Promise<string> {
  return Deno.makeTempDir({ dir: "/tmp" });
}
