/** Each command is started with one wrong setting in every group, and must name those that it reads. */
import assert from "node:assert/strict";
import type { Group } from "../../lib/settings/table.ts";

const WRONG: Readonly<Record<Group, readonly [name: string, value: string]>> = {
  kafka: ["KAFKA_BROKER", "a:b"],
  postgres: ["POSTGRES_PORT", "nonsense"],
  redis: ["REDIS_PORT", "tcp://10.96.0.12:6379"],
  limits: ["MAX_PAST_DAYS", "nonsense"],
  consumer: ["WATCHDOG_SECONDS", "nonsense"],
  producer: ["PRODUCER_LINGER_MS", "nonsense"],
  http: ["HTTP_HOST", "a b"],
  stop: ["SHUTDOWN_DEADLINE_MS", "nonsense"],
  log: ["LOG_LEVEL", "nonsense"],
};

/** What each reads besides the last two, which are for all. */
const COMMANDS: readonly (readonly [command: string, groups: readonly Group[]])[] = [
  ["main_producer.ts", ["kafka", "producer", "http"]],
  ["main_consumer.ts run", ["kafka", "postgres", "redis", "limits", "consumer", "http"]],
  ["main_consumer.ts migrate", ["postgres"]],
  ["main_consumer.ts status", ["kafka", "postgres"]],
  ["main_consumer.ts last s", ["postgres", "redis"]],
  [
    "main_consumer.ts doctor",
    ["kafka", "postgres", "redis", "limits", "consumer", "producer", "http"],
  ],
  ["main_consumer.ts dead-letters list", ["postgres"]],
  ["main_consumer.ts dead-letters show 1", ["postgres", "limits"]],
  ["main_consumer.ts dead-letters replay 1", ["postgres", "redis", "limits"]],
  ["main_consumer.ts rewind --to beginning", ["kafka", "postgres"]],
  ["main_consumer.ts rebuild-last", ["postgres", "redis"]],
  ["main_consumer.ts retain --older-than 90d", ["kafka", "postgres"]],
  ["main_health.ts consumer", ["consumer", "http"]],
  ["main_health.ts producer", ["producer", "http"]],
];

Deno.test("each command reads the settings that it needs, and is not stopped by the others", async (t) => {
  for (const [command, groups] of COMMANDS) {
    await t.step(command, async () => {
      const { code, stderr } = await start(command, Object.fromEntries(Object.values(WRONG)));
      assert.equal(code, 2, stderr);
      const named = [...stderr.matchAll(/^([A-Z_]+): /gm)].map(([_, name]) => name);
      assert.deepEqual(named, [...groups, "stop", "log"].map((group) => WRONG[group as Group][0]));
    });
  }
});

Deno.test("a program names a misspelt variable when it starts, and goes on", async () => {
  const { code, stderr } = await start("main_health.ts consumer", {
    HTTP_PORT: "0",
    HTTP_HOTS: "a",
    // Of a group that it does not read.
    TOPC_NAME: "x",
  });
  assert.equal(code, 0, stderr);
  const lines = stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.equal(lines.length, 1, stderr);
  assert.equal(lines[0].level, "warn");
  assert.match(lines[0].message, /^HTTP_HOTS is not a setting.*HTTP_HOST\?$/);
});

/** Starts a program with its permissions, to its end. */
async function start(
  command: string,
  env: Readonly<Record<string, string>>,
): Promise<{ readonly code: number; readonly stderr: string }> {
  const set = /producer/.test(command) ? "produce" : "consume";
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-prompt", `-P=${set}`, ...command.split(" ")],
    cwd: new URL("../..", import.meta.url),
    env: { ...env, NO_COLOR: "1" },
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}
