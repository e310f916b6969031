/**
 * The servers that the integration tests may disturb. `deno task test:integration` starts them and
 * says so in the environment; without that, nothing is touched.
 *
 * @module
 */
import { readSettings } from "../../lib/settings/read.ts";
import { GROUPS, type Settings } from "../../lib/settings/table.ts";
import { findStack, type StackServers } from "../../tools/stack/stack.ts";
import { MARKER } from "../../tools/with_stack.ts";

/** The settings of the private stack. */
export function testSettings(): Settings {
  stackDir();
  return readSettings(GROUPS, { env: (name) => Deno.env.get(name) });
}

/** The servers of the private stack, to be stopped and started. */
export async function testServers(): Promise<StackServers> {
  const dir = stackDir();
  const servers = await findStack(dir);
  if (servers === undefined) throw new Error(`Cannot find a stack in ${dir}`);
  return servers;
}

function stackDir(): string {
  const dir = Deno.env.get(MARKER);
  if (dir === undefined) {
    throw new Error("Cannot run without a stack of its own; run: deno task test:integration");
  }
  return dir;
}
