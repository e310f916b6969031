/**
 * The servers that the integration tests may disturb. `deno task test:integration` starts them and
 * says so in the environment; without that, nothing is touched.
 *
 * @module
 */
import { readSettings, type Settings } from "../../lib/settings.ts";
import { MARKER } from "../../tools/with_stack.ts";

/** The settings of the private stack. */
export function testSettings(): Settings {
  if (Deno.env.get(MARKER) === undefined) {
    throw new Error("Cannot run without a stack of its own; run: deno task test:integration");
  }
  return readSettings((name) => Deno.env.get(name));
}
