/**
 * Command lines: how they are read, what is said of a wrong one, and how a program ends after its
 * action. Every task of this project that takes flags takes them here.
 *
 * @module
 */
import process from "node:process";
import * as commander from "commander";
import { isPermissionFault } from "./connect_fault.ts";
import { ConfigurationError, describeError } from "./errors.ts";
import { EXIT } from "./program.ts";
import {
  errorColumns,
  flushErrors,
  outputColumns,
  printed,
  printText,
  tell,
} from "./standard_streams.ts";

/**
 * A command line with its commands and flags, as the library has it.
 *
 * @internal
 */
export type CommandLine = import("commander").Command;

/**
 * Makes the reader of a flag that takes a whole number.
 *
 * @returns a function that throws what the library tells as a wrong flag.
 */
export function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new commander.InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/** Makes the reader of a flag that takes some of these names, separated by commas. */
export function someOf<Name extends string>(
  names: readonly Name[],
): (text: string) => readonly Name[] {
  return (text) =>
    text.split(",").map((word) => {
      const name = names.find((each) => each === word.trim());
      if (name !== undefined) return name;
      throw new commander.InvalidArgumentError(
        `It must be one of ${names.join(", ")}, or several with commas between them.`,
      );
    });
}

/**
 * Runs a command line and ends the process.
 *
 * The process is ended and not left to end on its own: a library's timer, or a connection to a
 * server that no longer answers, must not keep a finished program alive.
 *
 * @param cli its actions set `process.exitCode` for anything but success
 */
export async function runCommandLine(cli: CommandLine): Promise<never> {
  configure(cli);
  const code = await exitCodeOf(cli);
  await flushErrors();
  process.exit(code);
}

async function exitCodeOf(cli: CommandLine): Promise<number | string> {
  try {
    refuseUnknownCommand(cli, process.argv[2]);
    await parse(cli);
    await printed();
    return process.exitCode ?? EXIT.ok;
  } catch (error) {
    if (error instanceof commander.CommanderError) return EXIT.misconfigured;
    tell(describeError(error));
    const isForPerson = error instanceof ConfigurationError || isPermissionFault(error);
    return isForPerson ? EXIT.misconfigured : EXIT.failed;
  }
}

/** Runs the action. Help and the version were asked for: that the library ends there is no fault. */
async function parse(cli: CommandLine): Promise<void> {
  try {
    await cli.parseAsync(process.argv);
  } catch (error) {
    if (!(error instanceof commander.CommanderError) || error.exitCode !== 0) throw error;
  }
}

/** Of a help that no terminal shows. */
const HELP_COLUMNS = 80;

/** Faults of flags become exceptions, and name the nearest flag that exists. */
function configure(command: CommandLine): void {
  command.exitOverride().showSuggestionAfterError();
  command.configureOutput({
    getOutHelpWidth: () => outputColumns() ?? HELP_COLUMNS,
    getErrHelpWidth: () => errorColumns() ?? HELP_COLUMNS,
    writeErr: (text) => tell(text.trimEnd()),
    writeOut: (text) => void printText(text.trimEnd()),
    outputError: (text, write) => write(faultText(text)),
  });
  for (const child of command.commands) configure(child);
}

/** What the library says, in one line, and where there is more. */
function faultText(text: string): string {
  return `${text.trim().replace(/\s*\n\s*/g, " ").replace(/\.$/, "")}; see --help`;
}

/** With a default command, commander would take a mistyped one for an argument of the default. */
function refuseUnknownCommand(cli: CommandLine, word: string | undefined): void {
  const names = cli.commands.map((command) => command.name());
  if (names.length === 0 || word === undefined || word.startsWith("-")) return;
  if (word !== "help" && !names.includes(word)) {
    cli.error(`error: unknown command '${word}'; there are: ${names.join(", ")}`);
  }
}
