import assert from "node:assert/strict";
import { misspeltNames, misspeltText } from "../../lib/settings/misspelt.ts";
import { settingNames } from "../../lib/settings/names.ts";
import { GROUPS } from "../../lib/settings/table.ts";
import { faultsOf } from "./read_settings.ts";

Deno.test("misspeltNames() names the setting that was meant", async (t) => {
  const rows: [name: string, meant: string][] = [
    ["TOPC_NAME", "TOPIC_NAME"],
    ["TOPICNAME", "TOPIC_NAME"],
    ["KAFKA_BROKERS", "KAFKA_BROKER"],
    ["KAFAK_BROKER", "KAFKA_BROKER"],
    ["POSTGRES_PASWORD", "POSTGRES_PASSWORD"],
    ["POSTGRES_PASSWD", "POSTGRES_PASSWORD"],
    ["POSTGRES_PASSWORD_FLIE", "POSTGRES_PASSWORD_FILE"],
    ["REDIS-HOST", "REDIS_HOST"],
    ["redis_host", "REDIS_HOST"],
    ["KAFKA_TLS_CRT", "KAFKA_TLS_CERT"],
    ["LOG_LEVL", "LOG_LEVEL"],
  ];
  for (const [name, meant] of rows) {
    await t.step(name, () => assert.deepEqual(misspeltNames([name], GROUPS), [{ name, meant }]));
  }
});

Deno.test("misspeltNames() leaves alone what is no near miss", () => {
  // Of Kafka's and PostgreSQL's own programs, of Kubernetes beside a Service named redis, of shells.
  const names = [
    ...["KAFKA_HOME", "KAFKA_OPTS", "KAFKA_HEAP_OPTS", "KAFKA_LOG_DIRS", "KAFKA_CFG_NODE_ID"],
    ...["POSTGRES_HOST_AUTH_METHOD", "POSTGRES_INITDB_ARGS", "POSTGRES_INITDB_WALDIR"],
    ...[
      "REDIS_SERVICE_HOST",
      "REDIS_SERVICE_PORT",
      "REDIS_PORT_6379_TCP",
      "REDIS_PORT_6379_TCP_ADDR",
    ],
    ...["HTTP_PROXY", "HTTPS_PROXY", "LOGNAME", "PROMPT_COMMAND", "TERM", "PATH"],
  ];
  assert.deepEqual(misspeltNames(names, GROUPS), []);
  assert.deepEqual(misspeltNames(settingNames(), GROUPS), [], "those that are right");
});

Deno.test("misspeltNames() tells of the groups that are read, in order, and of a few only", () => {
  assert.deepEqual(misspeltNames(["POSTGRES_PROT", "TOPC_NAME"], ["kafka"]), [
    { name: "TOPC_NAME", meant: "TOPIC_NAME" },
  ]);
  assert.deepEqual(
    misspeltNames(["REDIS_PROT", "KAFKA_TSL"], GROUPS).map(({ name }) => name),
    ["KAFKA_TSL", "REDIS_PROT"],
  );
  const many = Array.from({ length: 26 }, (_, i) => `TOPIC_NAM${String.fromCharCode(97 + i)}`);
  assert.equal(misspeltNames(many, GROUPS).length, 10);
});

Deno.test("readSettings() names a misspelt variable beside the faults that it may have caused", () => {
  assert.deepEqual(faultsOf({ KAFKA_USER: "u", KAFKA_SASL_MECANISM: "plain" }), [
    "KAFKA_USER or KAFKA_PASSWORD is set: set KAFKA_SASL_MECHANISM, too",
    misspeltText({ name: "KAFKA_SASL_MECANISM", meant: "KAFKA_SASL_MECHANISM" }),
  ]);
});
