/**
 * The permission sets of `deno.json`: enough for the programs to start, and no more than stated.
 *
 * @module
 */
import assert from "node:assert/strict";
import { visiblePrefixes } from "../lib/settings/names.ts";
import { permissionFlags, type PermissionSet, SET_GROUPS } from "../tools/permissions.ts";
import config from "../deno.json" with { type: "json" };

Deno.test("permissions in deno.json show a program its settings, names like theirs and no others", async (t) => {
  for (const [name, groups] of Object.entries(SET_GROUPS)) {
    await t.step(name, () => {
      // TERM says whether the terminal knows colours and lines that move.
      const { env } = config.permissions[name as PermissionSet];
      assert.deepEqual([...env.allow].sort(), [...visiblePrefixes(groups), "TERM"].sort());
      // What else the libraries look for is not there for them: nobody is asked, nothing fails.
      assert.equal(env.ignore, true);
    });
  }
});

Deno.test("permissionFlags() names the hosts and files of the settings, and no others", async (t) => {
  const flags = (set: PermissionSet, values: Readonly<Record<string, string>>): string[] => {
    return [...permissionFlags(set, {
      env: (name) => values[name],
      readFile: () => "-----BEGIN CERTIFICATE-----",
      files: ["a.ndjson"],
    })];
  };
  const values = {
    KAFKA_BROKER: "k1,k2:9093",
    KAFKA_TLS: "verify-full",
    KAFKA_TLS_CA: "/ca.pem",
    DATABASE_URL: "postgres://[::1]:5433/d",
    REDIS_PASSWORD_FILE: "/run/secrets/redis",
    HTTP_PORT: "8001",
    PRODUCER_HTTP_PORT: "0",
  };
  await t.step("consume", () => {
    assert.deepEqual(flags("consume", values), [
      "--no-prompt",
      "--allow-net=k1:9092,k2:9093,[::1]:5433,localhost:6379,127.0.0.1:8001",
      "--allow-read=./migrations,/ca.pem,/run/secrets/redis,a.ndjson",
      "--deny-write",
    ]);
  });
  await t.step("produce", () => {
    assert.deepEqual(flags("produce", values), [
      "--no-prompt",
      "--allow-net=k1:9092,k2:9093",
      "--allow-read=/ca.pem,a.ndjson",
    ]);
  });
  await t.step("the token server", () => {
    const oauth = {
      KAFKA_BROKER: "[::1]:9093",
      KAFKA_SASL_MECHANISM: "oauthbearer",
      KAFKA_OAUTH_CLIENT_ID: "id",
      KAFKA_OAUTH_CLIENT_SECRET: "secret",
    };
    const rows: [url: string, address: string][] = [
      ["https://login.example/t", "login.example:443"],
      ["http://127.0.0.1:8080/t", "127.0.0.1:8080"],
      ["http://[::1]/t", "[::1]:80"],
    ];
    for (const [url, address] of rows) {
      const [, net] = flags("produce", { ...oauth, KAFKA_OAUTH_TOKEN_URL: url });
      assert.equal(net, `--allow-net=[::1]:9093,${address}`);
    }
  });
  await t.step("no file at all", () => {
    const [, , read] = permissionFlags("produce", { env: () => undefined });
    assert.equal(read, "--deny-read");
  });
  for (const path of ["/a,b", "/a b"]) {
    await t.step(`a path that would be two: ${path}`, () => {
      assert.throws(() => flags("consume", { REDIS_PASSWORD_FILE: path }), {
        name: "ConfigurationError",
        message: /has a comma or a space/,
      });
    });
  }
});

Deno.test("permissionFlags() lets a program read and write the socket that it connects to", () => {
  const env = (name: string): string | undefined =>
    ({ DATABASE_URL: "postgres:///d?host=/run/postgresql", HTTP_PORT: "0" })[name];
  assert.deepEqual(permissionFlags("consume", { env }), [
    "--no-prompt",
    "--allow-net=localhost:9092,unix:/run/postgresql/.s.PGSQL.5432,localhost:6379",
    "--allow-read=./migrations,/run/postgresql/.s.PGSQL.5432",
    "--allow-write=/run/postgresql/.s.PGSQL.5432",
  ]);
});

Deno.test("permissions in deno.json allow the network, files to read and the usual sockets alone", () => {
  const { produce, consume } = config.permissions;
  assert.deepEqual(Object.keys(config.permissions), Object.keys(SET_GROUPS));
  const env = undefined;
  assert.deepEqual({ ...produce, env }, { net: true, read: true, env });
  // To connect to a Unix socket counts as writing it.
  const write = ["/run/postgresql", "/var/run/postgresql"];
  assert.deepEqual({ ...consume, env }, { net: true, read: true, write, env });
});

Deno.test("tasks with a permission set never ask for more", async (t) => {
  for (const [name, { command }] of Object.entries(config.tasks)) {
    if (!/ -P=/.test(command)) continue;
    await t.step(name, () => assert.match(command, / --no-prompt /));
  }
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
  }
});

async function start(
  set: string,
  entrypoint: string,
  args: readonly string[],
): Promise<{ code: number; stderr: string }> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-prompt", `-P=${set}`, `main_${entrypoint}.ts`, ...args],
    cwd: new URL("..", import.meta.url),
    env: { NO_COLOR: "1" },
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}
