/**
 * The permission sets of `deno.json`: enough for the programs to start, and no more than stated.
 *
 * @module
 */
import assert from "node:assert/strict";
import { SETTING_NAMES } from "../lib/settings.ts";
import config from "../deno.json" with { type: "json" };

const SETS = Object.entries(config.permissions);

Deno.test("permissions in deno.json let the programs read every setting", async (t) => {
  for (const [name, set] of SETS) {
    await t.step(name, () => {
      const allowed: readonly string[] = set.env;
      assert.deepEqual(SETTING_NAMES.filter((setting) => !allowed.includes(setting)), []);
    });
  }
});

Deno.test("permissions in deno.json allow files to read, the network and named variables alone", () => {
  const { produce, consume } = config.permissions;
  assert.deepEqual(SETS.map(([name]) => name), ["produce", "consume"]);
  assert.deepEqual({ ...produce, env: [] }, { net: true, read: true, env: [] });
  const read = ["./migrations", "/run/secrets"];
  assert.deepEqual({ ...consume, env: [] }, { net: true, read, env: [] });
});

Deno.test("permissions in deno.json are enough to start", async (t) => {
  for (const [set, entrypoint] of [["produce", "producer"], ["consume", "consumer"]] as const) {
    await t.step(`${entrypoint} prints help`, async () => {
      const { code, stderr } = await start(set, entrypoint, ["--help"]);
      assert.equal(stderr, "");
      assert.equal(code, 0);
    });
    await t.step(`${entrypoint} names an unknown flag`, async () => {
      const { code, stderr } = await start(set, entrypoint, ["--no-such-flag"]);
      assert.match(stderr, /^error: unknown option '--no-such-flag'/);
      assert.equal(code, 2);
    });
    await t.step(`${entrypoint} names a setting that is wrong`, async () => {
      const { code, stderr } = await start(set, entrypoint, [], { REDIS_PORT: "none" });
      assert.match(stderr, /REDIS_PORT/);
      assert.equal(code, 2);
    });
  }
});

async function start(
  set: string,
  entrypoint: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number; stderr: string }> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-prompt", `-P=${set}`, `main_${entrypoint}.ts`, ...args],
    cwd: new URL("..", import.meta.url),
    env: { ...env, NO_COLOR: "1" },
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}
