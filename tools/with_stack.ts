/**
 * Runs a command with a stack of its own: starts Kafka, PostgreSQL and Redis on free ports with
 * empty data, gives the command the settings to find them, and ends and removes them afterwards.
 *
 *     deno run -A tools/with_stack.ts -- deno test -A tests/integration
 *
 * @module
 */
import { join } from "node:path";
import { flushErrors, writeError } from "../lib/standard_streams.ts";
import { freePorts } from "./stack/free_ports.ts";
import { startStack } from "./stack/stack.ts";

/** Set for the command: what it finds in its environment is a stack that it may disturb. */
export const MARKER = "SENSOR_LEDGER_TEST_STACK";

function reportLine(line: string): void {
  writeError(`${line}\n`);
}

async function runWithStack(command: readonly string[]): Promise<number> {
  const [program, ...args] = command;
  if (program === undefined) throw new Error("Cannot run nothing: give a command after --");
  const dir = join(import.meta.dirname!, "..", ".stack", `private-${Deno.pid}`);
  const stack = await startStack({ dir, ports: freePorts(), report: reportLine });
  try {
    const child = new Deno.Command(program, {
      args,
      env: { ...stack.settings, [MARKER]: dir },
    }).spawn();
    const forward = (): void => child.kill("SIGTERM");
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      Deno.addSignalListener(signal, forward);
    }
    return (await child.status).code;
  } finally {
    await stack.remove();
  }
}

if (import.meta.main) {
  const args = Deno.args[0] === "--" ? Deno.args.slice(1) : Deno.args;
  const code = await runWithStack(args);
  await flushErrors();
  Deno.exit(code);
}
