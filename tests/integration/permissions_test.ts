/** The programs with exactly the permissions that their settings call for, and with one less. */
import assert from "node:assert/strict";
import { settingNames } from "../../lib/settings/names.ts";
import { permissionFlags, type PermissionSet, SET_GROUPS } from "../../tools/permissions.ts";
import { type Ended, type Environment, Program } from "./processes.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";

/** A command of each program that reaches all of its servers and ends on its own. */
const COMMANDS: Readonly<Record<PermissionSet, readonly string[]>> = {
  produce: ["--count", "20", "--rate", "0"],
  consume: ["run", "--until-end"],
};

Deno.test("the programs with exact permissions", async (t) => {
  const dir = await Deno.makeTempDir();
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  const { POSTGRES_PASSWORD, ...others } = pipeline.env;
  const passwordFile = `${dir}/password`;
  await Deno.writeTextFile(passwordFile, POSTGRES_PASSWORD!);
  const env: Environment = { ...others, POSTGRES_PASSWORD_FILE: passwordFile, HTTP_PORT: "0" };
  const variable = (name: string): string | undefined => env[name];
  const source = { env: variable, readFile: Deno.readTextFileSync };

  const run = async (
    set: PermissionSet,
    flags: readonly string[],
    { args = COMMANDS[set], changes = {} }: {
      readonly args?: readonly string[];
      readonly changes?: Environment;
    } = {},
  ): Promise<Ended> => {
    const start = set === "consume" ? Program.consumer : Program.producer;
    await using program = start(args, { ...env, ...changes }, flags);
    return await program.ended(DONE_MS);
  };
  const assertRefused = ({ code, stderr }: Ended, named: string): void => {
    assert.notEqual(code, 0, `it needs no ${named}`);
    const lines = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
    assert.equal(lines.length, 1, stderr);
    assert(lines[0]!.includes(named), stderr);
  };

  for (const set of ["produce", "consume"] as const) {
    const [, net, read] = permissionFlags(set, source) as [string, string, string];

    await t.step(`${set} needs no more`, async () => {
      const env = `--allow-env=${settingNames(SET_GROUPS[set]).join(",")}`;
      const { code, stderr } = await run(set, [net, read, env]);
      assert.equal(code, 0, stderr);
    });

    const hosts = net.slice("--allow-net=".length).split(",");
    for (const host of hosts) {
      await t.step(`${set} without ${host}`, async () => {
        const rest = hosts.filter((other) => other !== host);
        const flag = rest.length === 0 ? "--deny-net" : `--allow-net=${rest.join(",")}`;
        const ended = await run(set, [flag, read]);
        assert.equal(ended.code, 2);
        assertRefused(ended, host);
      });
    }
  }

  await t.step("consume without the file of the password", async () => {
    const [, net] = permissionFlags("consume", source) as [string, string];
    const ended = await run("consume", [net, "--allow-read=migrations"]);
    assert.equal(ended.code, 2);
    assert.match(ended.stderr, /POSTGRES_PASSWORD_FILE: .*password" is not among the files/);
  });

  await t.step("doctor needs no more", async () => {
    const flags = permissionFlags("consume", source);
    const { code, stderr, stdout } = await run("consume", flags, { args: ["doctor"] });
    assert.equal(code, 0, stdout + stderr);
  });

  await t.step("consume without the migrations", async () => {
    const [, net] = permissionFlags("consume", source) as [string, string];
    const ended = await run("consume", [net, `--allow-read=${passwordFile}`]);
    assert.equal(ended.code, 2);
    assertRefused(ended, "/migrations");
  });

  await t.step("a host that the settings do not name is denied", async () => {
    const flags = permissionFlags("consume", source);
    assertRefused(await run("consume", flags, { changes: { POSTGRES_PORT: "9" } }), "127.0.0.1:9");
    const changes = { KAFKA_BROKER: "localhost:9" };
    assertRefused(await run("consume", flags, { changes }), "localhost");
    const producer = permissionFlags("produce", source);
    assertRefused(await run("produce", producer, { changes }), "localhost");
  });

  await Deno.remove(dir, { recursive: true });
});
