/**
 * Runs a command with a stack of its own: starts Kafka, PostgreSQL and Redis on free ports with
 * empty data, gives the command the settings to find them, and ends and removes them afterwards.
 *
 *     deno run -A tools/with_stack.ts -- deno test -A tests/integration
 *
 * @module
 */
import { join } from "node:path";
import { type Ports, startStack } from "./stack/stack.ts";

/** Set for the command: what it finds in its environment is a stack that it may disturb. */
export const MARKER = "SENSOR_LEDGER_TEST_STACK";

/** Below the ports that systems give to outgoing connections, which could take one at any time. */
const PORTS_FROM = 20_000;
const PORT_BLOCKS = 1_200;
/** A block holds up to three brokers, two ports each, then PostgreSQL and Redis. */
const PORTS_IN_BLOCK = 10;

/** Ports of a block that nothing listens on now. */
function freePorts(): Ports {
  for (let tries = 0; tries < 100; tries++) {
    const block = PORTS_FROM + Math.floor(Math.random() * PORT_BLOCKS) * PORTS_IN_BLOCK;
    const ports = { kafka: block, postgres: block + 8, redis: block + 9 };
    if ([block, block + 1, ports.postgres, ports.redis].every(isFree)) return ports;
  }
  throw new Error("Cannot find free ports");
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch {
    return false;
  }
}

function reportLine(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
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
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, forward);
    return (await child.status).code;
  } finally {
    await stack.remove();
  }
}

if (import.meta.main) {
  const args = Deno.args[0] === "--" ? Deno.args.slice(1) : Deno.args;
  Deno.exit(await runWithStack(args));
}
