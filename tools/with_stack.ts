/**
 * Runs a command with a stack of its own: starts Kafka, PostgreSQL and Redis on free ports with
 * empty data, gives the command the settings to find them, and ends and removes them afterwards.
 *
 *     deno run -A tools/with_stack.ts -- deno test -A tests/integration
 *
 * @module
 */
import { join } from "node:path";
import { SERVER_KINDS, startStack } from "./stack/stack.ts";

/** Set for the command: what it finds in its environment is a stack that it may disturb. */
export const MARKER = "SENSOR_LEDGER_TEST_STACK";

/** A port that nothing listens on now, followed by another free one: a broker takes two. */
function freePort(): number {
  for (let tries = 0; tries < 100; tries++) {
    using first = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = first.addr as Deno.NetAddr;
    try {
      using _ = Deno.listen({ hostname: "127.0.0.1", port: port + 1 });
      return port;
    } catch {
      // The neighbour is taken; another one will do.
    }
  }
  throw new Error("Cannot find two free ports in a row");
}

function reportLine(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}

async function runWithStack(command: readonly string[]): Promise<number> {
  const [program, ...args] = command;
  if (program === undefined) throw new Error("Cannot run nothing: give a command after --");
  const dir = join(import.meta.dirname!, "..", ".stack", `private-${Deno.pid}`);
  const ports = Object.fromEntries(SERVER_KINDS.map((kind) => [kind, freePort()]));
  const stack = await startStack({ dir, ports, report: reportLine });
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
