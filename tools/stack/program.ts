/**
 * The programs that the stack needs from the machine: finding them, naming the command that
 * installs a missing one, and running one to its end.
 *
 * @module
 */
import { delimiter, join } from "node:path";
import { ConfigurationError } from "../../lib/errors.ts";

/** A program that somebody has to install. */
export interface Program {
  /** Name of the executable. */
  readonly name: string;
  /** Directories to look in before those of `PATH`. */
  readonly dirs?: readonly string[];
  /** The command that installs it on Debian. */
  readonly install: string;
}

/** The user and group that a program runs as. */
export interface Account {
  /** Number of the user. */
  readonly uid: number;
  /** Number of the user's group. */
  readonly gid: number;
}

/** How a program runs. */
export interface RunOptions {
  /**
   * Whom it runs as.
   * @default the caller
   */
  readonly account?: Account | undefined;
  /** Added to the caller's environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * The path of a program.
 *
 * @throws {ConfigurationError} If it is not installed; the message holds the command that does it.
 */
export async function findProgram(program: Program): Promise<string> {
  const onPath = (Deno.env.get("PATH") ?? "").split(delimiter).filter((dir) => dir !== "");
  for (const dir of [...program.dirs ?? [], ...onPath]) {
    const path = join(dir, program.name);
    if (await isFile(path)) return path;
  }
  throw new ConfigurationError(
    `Cannot find the program ${program.name}: install it with "${program.install}"`,
  );
}

/**
 * Runs a program to its end, away from the caller's directory, and returns its standard output.
 *
 * @throws {Error} If it exits with a code other than 0; the message holds the end of its output.
 */
export async function runProgram(
  command: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const [path = "", ...args] = command;
  const { success, code, stdout, stderr } = await new Deno.Command(path, {
    ...options.account,
    args,
    // The account may have no right to enter the caller's directory.
    cwd: "/",
    env: { ...options.env },
    // Ctrl-C in our terminal does not reach it: whoever started it can end in good order.
    detached: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn().output();
  const text = new TextDecoder();
  if (success) return text.decode(stdout);
  const said = `${text.decode(stdout)}\n${text.decode(stderr)}`;
  throw new Error(`Cannot run ${path}: exit code ${code}: ${lastLines(said, 8)}`);
}

/** The last `count` lines of a text that are not blank. */
export function lastLines(text: string, count: number): string {
  return text.split("\n").filter((line) => line.trim() !== "").slice(-count).join("\n");
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}
