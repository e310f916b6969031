/** `doctor` on real servers: what it says, and with which exit code. */
import assert from "node:assert/strict";
import type { Finding } from "../../lib/doctor/finding.ts";
import { createLog } from "../../lib/log.ts";
import { systemClock } from "../../lib/clock.ts";
import { readKafkaFacts } from "../../lib/kafka/kafka_facts.ts";
import { startServer, stopServer } from "../../tools/stack/server.ts";
import { generate, PLAIN } from "../../campaign/generated_messages.ts";
import type { Environment } from "./processes.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";
import { testServers } from "./test_stack.ts";

/** What `doctor --json` prints. */
interface Report {
  readonly ok: boolean;
  readonly failures: number;
  readonly warnings: number;
  readonly findings: readonly Finding[];
}

async function examine(
  pipeline: RealPipeline,
  env: Environment = {},
): Promise<Report & { readonly code: number }> {
  await using program = pipeline.consumer(["doctor", "--json"], env);
  const { code, stdout, stderr } = await program.ended(DONE_MS);
  assert.equal(stderr, "");
  return { ...JSON.parse(stdout), code };
}

/** What is not ok, as `kafka topic: failure`. */
function wrong({ findings }: Report): readonly string[] {
  return findings.filter(({ state }) => state !== "ok")
    .map(({ subject, check, state }) => `${subject} ${check}: ${state}`);
}

/** What a stack of one broker is warned of, whose topic has no settings of its own. */
const STACK_WARNINGS = ["kafka replication: warning", "kafka message time: warning"];

Deno.test("main_consumer.ts doctor names what is wrong with real servers", async (t) => {
  await using pipeline = await RealPipeline.open({ partitions: 2 });

  await t.step("servers that are well: warnings alone, exit code 0", async () => {
    await pipeline.send(generate(20, PLAIN, 1));
    const report = await examine(pipeline);
    assert.deepEqual(wrong(report), STACK_WARNINGS);
    assert.deepEqual([report.ok, report.failures, report.warnings, report.code], [true, 0, 2, 0]);
    const lag = report.findings.find(({ check }) => check === "lag");
    assert.match(lag?.text ?? "", /^20 messages are waiting/);
  });

  await t.step("for people: a line each", async () => {
    const { stdout } = await pipeline.run("doctor");
    const lines = stdout.trimEnd().split("\n");
    assert.equal(lines.filter((line) => /^(ok|warning) {2,}[a-z]+ /.test(line)).length > 25, true);
    assert.match(lines.at(-1)!, /^ok: \d+, warnings: 2, failures: 0$/);
  });

  await t.step("a topic that is not there", async () => {
    const report = await examine(pipeline, { TOPIC_NAME: "no-such-topic" });
    assert.deepEqual(wrong(report), ["kafka topic: failure"]);
    assert.equal(report.code, 1);
  });

  await t.step("an eviction policy that drops last values", async () => {
    await pipeline.redis.cli("CONFIG", "SET", "maxmemory", "100mb");
    await pipeline.redis.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    const report = await examine(pipeline);
    assert.deepEqual(wrong(report), [...STACK_WARNINGS, "redis eviction: failure"]);
    assert.equal(report.code, 1);
  });

  await t.step("a consumer that starts logs it, a line each, and goes on", async () => {
    await using consumer = pipeline.consumer(["run"]);
    const hasSpoken = (): boolean => consumer.said(/^doctor: redis, eviction: /) > 0;
    await consumer.until("it has spoken", hasSpoken, DONE_MS);
    await pipeline.reached(consumer, 20);
    assert.equal(consumer.said(/^doctor: /), STACK_WARNINGS.length + 1, consumer.stderr);
    consumer.signal("SIGTERM");
    await consumer.succeeded(DONE_MS);
    await pipeline.redis.cli("CONFIG", "SET", "maxmemory-policy", "noeviction");
  });

  await t.step("a unique key that is gone", async () => {
    await pipeline.query("ALTER TABLE sensor_events DROP CONSTRAINT sensor_events_pkey");
    const report = await examine(pipeline);
    assert.deepEqual(wrong(report), [...STACK_WARNINGS, "postgres unique keys: failure"]);
    assert.equal(report.code, 1);
    await pipeline.query("ALTER TABLE sensor_events ADD PRIMARY KEY (unique_reading_id)");
  });

  await t.step("a migration that is pending", async () => {
    const applied = await pipeline.query(
      "DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations) " +
        "RETURNING name, sha256",
    );
    const { name, sha256 } = applied[0]!;
    const report = await examine(pipeline);
    assert.deepEqual(wrong(report), [...STACK_WARNINGS, "postgres migrations: failure"]);
    const found = report.findings.find(({ check }) => check === "migrations");
    assert.equal(found?.text, `1 pending: ${name}`);
    assert.equal(report.code, 1);
    await pipeline.query(`INSERT INTO schema_migrations VALUES ('${name}', '${sha256}')`);
  });

  await t.step("contradicting settings", async () => {
    const report = await examine(pipeline, { POSTGRES_POOL_MAX: "1", MAX_PAST_DAYS: "1" });
    const expected = [
      "settings connections: warning",
      "kafka replication: warning",
      "kafka age limit: warning",
      "kafka message time: warning",
    ];
    assert.deepEqual(wrong(report), expected);
    assert.equal(report.code, 0);
  });

  await t.step("wrong settings: exit code 2", async () => {
    await using program = pipeline.consumer(["doctor"], { REDIS_PORT: "none" });
    assert.equal((await program.ended(DONE_MS)).code, 2);
  });

  await t.step("Redis does not answer", async () => {
    await pipeline.redis.kill();
    const report = await examine(pipeline);
    assert.deepEqual(wrong(report), [...STACK_WARNINGS, "redis reach: failure"]);
    assert.equal(report.code, 1);
    await pipeline.redis.up();
  });

  await t.step("PostgreSQL is stopped", async () => {
    const [postgres] = (await testServers()).postgres;
    await stopServer(postgres!, "SIGINT");
    try {
      const report = await examine(pipeline);
      assert.deepEqual(wrong(report), [...STACK_WARNINGS, "postgres reach: failure"]);
      assert.equal(report.code, 1);
    } finally {
      await startServer(postgres!);
    }
  });

  await t.step("and well again", async () => {
    assert.equal((await examine(pipeline)).code, 0);
  });
});

Deno.test("readKafkaFacts() tells what the brokers know", async (t) => {
  await using pipeline = await RealPipeline.open({ partitions: 2 });
  const log = createLog({ level: "error", format: "json", write: () => {}, clock: systemClock });
  const connection = { brokers: pipeline.env.KAFKA_BROKER!.split(","), clientId: "doctor" };
  const names = { topic: pipeline.topic, groupId: pipeline.group };
  await pipeline.send(generate(10, PLAIN, 2), () => 0);

  await t.step("of the topic", async () => {
    const { brokers, topic } = await readKafkaFacts(connection, names, log);
    assert.equal(brokers, 1);
    assert(!(topic instanceof Error) && !(topic.settings instanceof Error), String(topic));
    assert.deepEqual(
      topic.partitions,
      [0, 1].map((partition) => ({ partition, hasLeader: true, replicas: 1, inSync: 1 })),
    );
    assert.equal(topic.settings.get("retention.ms"), "604800000");
    assert.equal(topic.settings.get("cleanup.policy"), "delete");
    const ends = [[0, { low: 0, high: 10 }], [1, { low: 0, high: 0 }]];
    assert.deepEqual([...topic.watermarks as Map<number, unknown>].toSorted(), ends);
    // All messages are younger than half a week.
    assert.deepEqual([...topic.youngOffsets as Map<number, number>].toSorted(), [[0, 0], [1, 0]]);
  });

  await t.step("of the group, before, during and after", async () => {
    const group = async (): Promise<unknown> => {
      const { group } = await readKafkaFacts(connection, names, log);
      assert(!(group instanceof Error), String(group));
      const { state, protocolType, members } = group.sight;
      const committedByOthers = [...group.committedByOthers];
      return { state, protocolType, members: members.length, committedByOthers };
    };
    const none = { state: "Dead", protocolType: "", members: 0, committedByOthers: [] };
    assert.deepEqual(await group(), none);
    const partitions = [{ partition: 0, offset: "3" }];
    await pipeline.admin.setOffsets({ groupId: names.groupId, topic: names.topic, partitions });
    const empty = { ...none, state: "Empty", protocolType: "consumer" };
    assert.deepEqual(await group(), { ...empty, committedByOthers: [[0, 3]] });
    await using consumer = pipeline.consumer(["run"]);
    await pipeline.reached(consumer, 10);
    const { state, members, protocolType } = await group() as Record<string, unknown>;
    assert.deepEqual([state, members, protocolType], ["Stable", 1, "consumer"]);
    consumer.signal("SIGTERM");
    await consumer.succeeded(DONE_MS);
    // Now the offsets are its own.
    assert.deepEqual(await group(), empty);
  });

  await t.step("without the topic, of the group alone", async () => {
    const { topic, group } = await readKafkaFacts(connection, { ...names, topic: "none" }, log);
    assert(topic instanceof Error);
    assert.match(topic.message, /the topic does not exist/);
    assert(!(group instanceof Error));
  });
});
