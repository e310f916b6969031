/**
 * Runs a command with a stack of its own: starts Kafka, PostgreSQL and Redis on free ports with
 * empty data, gives the command the settings to find them, and ends and removes them afterwards.
 *
 *     deno run -A tools/with_stack.ts -- deno test -A tests/integration
 *
 * @module
 */
import { join } from "node:path";
import process from "node:process";
import { Command } from "commander";
import { runCommandLine } from "../lib/command_line.ts";
import { tell } from "../lib/standard_streams.ts";
import { INTERRUPTED, onStopSignals } from "../lib/stop_signal.ts";
import { freePorts } from "./stack/free_ports.ts";
import { startStack } from "./stack/stack.ts";

/** Set for the command: what it finds in its environment is a stack that it may disturb. */
export const MARKER = "SENSOR_LEDGER_TEST_STACK";

async function runWithStack(program: string, args: readonly string[]): Promise<void> {
  if (args.includes("--help")) return await runAlone(program, args);
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
  process.exitCode = INTERRUPTED;
  const stack = await startStack({ dir, ports: freePorts(), report: tell });
  try {
    if (isStopped) return;
    const env = { ...stack.settings, [MARKER]: dir };
    child = new Deno.Command(program, { args: [...args], env }).spawn();
    process.exitCode = (await child.status).code;
  } finally {
    await stack.remove();
  }
}

/** Nobody who asks for help waits for servers. */
async function runAlone(program: string, args: readonly string[]): Promise<void> {
  const { code } = await new Deno.Command(program, { args: [...args] }).spawn().status;
  process.exitCode = code;
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
  await runCommandLine(
    new Command("with_stack")
      .description("Run a command with a stack of its own, which is removed afterwards.")
      .argument("<command>", "behind --, so that its flags are its own")
      .argument("[args...]")
      .passThroughOptions()
      .action(runWithStack),
  );
}
