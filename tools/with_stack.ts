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
import { INTERRUPTED, onStopSignals } from "../lib/stop_signal.ts";
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
  let child: Deno.ChildProcess | undefined;
  let isStopped = false;
  // Whatever is asked, the servers are ended and their data removed: they would outlive us.
  onStopSignals({
    stop: () => {
      isStopped = true;
      signalChild(child, "SIGTERM");
    },
    end: () => signalChild(child, "SIGKILL"),
  });
  const stack = await startStack({ dir, ports: freePorts(), report: reportLine });
  try {
    if (isStopped) return INTERRUPTED;
    const env = { ...stack.settings, [MARKER]: dir };
    child = new Deno.Command(program, { args, env }).spawn();
    return (await child.status).code;
  } finally {
    await stack.remove();
  }
}

/** It may have ended already, for the terminal has sent it Ctrl-C, too. */
function signalChild(child: Deno.ChildProcess | undefined, signal: Deno.Signal): void {
  try {
    child?.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
  }
}

if (import.meta.main) {
  const args = Deno.args[0] === "--" ? Deno.args.slice(1) : Deno.args;
  const code = await runWithStack(args);
  await flushErrors();
  Deno.exit(code);
}
