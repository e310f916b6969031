/** What a person sees who has typed something wrong: one clear line and exit code 2. */
import assert from "node:assert/strict";
import { freePort } from "../../tools/stack/free_ports.ts";
import { type Environment, Program } from "./processes.ts";
import { RealPipeline } from "./real_pipeline.ts";

const ENDED_MS = 30_000;
/** How long a consumer that waits may take to stop, on a machine with others, ms. */
const STOPPED_MS = 3_000;

interface Mistake {
  readonly name: string;
  readonly program?: "producer";
  readonly args: readonly string[];
  readonly env?: Environment;
  /** What standard error says, and how to fix it. */
  readonly says: RegExp;
}

const MISTAKES: readonly Mistake[] = [
  {
    name: "unknown topic",
    args: ["run", "--until-end"],
    env: { TOPIC_NAME: "no-such-topic" },
    says: /topic no-such-topic: the topic does not exist; create it.*--ensure-topic/,
  },
  {
    name: "unknown topic, asked for the status",
    args: ["status"],
    env: { TOPIC_NAME: "no-such-topic" },
    says: /topic no-such-topic: the topic does not exist/,
  },
  {
    name: "unknown topic, to produce to",
    program: "producer",
    args: ["--count", "1"],
    env: { TOPIC_NAME: "no-such-topic" },
    says: /topic does not exist; create it.*--ensure-topic/,
  },
  {
    name: "wrong password of PostgreSQL",
    args: ["run"],
    env: { POSTGRES_PASSWORD: "not-the-password" },
    says: /password authentication failed.*Check POSTGRES_USER and POSTGRES_PASSWORD/,
  },
  {
    name: "database missing",
    args: ["migrate"],
    env: { POSTGRES_DB: "no_such_database" },
    says: /"no_such_database" does not exist.*Create the database, or check POSTGRES_DB/,
  },
  {
    name: "tables missing, to run",
    args: ["run", "--until-end"],
    env: { POSTGRES_DB: "postgres" },
    says: /run: deno task migrate/,
  },
  {
    name: "tables missing, to verify",
    args: ["verify"],
    env: { POSTGRES_DB: "postgres" },
    says: /deno task migrate/,
  },
  { name: "unknown flag", args: ["run", "--until-ned"], says: /--until-ned.*--until-end/ },
  { name: "unknown command", args: ["verfiy"], says: /unknown command 'verfiy'.*verify/ },
  { name: "no argument", args: ["last"], says: /missing required argument 'sensor_id'/ },
  {
    name: "a start that is none",
    args: ["run", "--from", "yesterday"],
    says: /Cannot start from "yesterday": give beginning, a date/,
  },
  {
    name: "a rate that is no number",
    program: "producer",
    args: ["--rate", "fast"],
    says: /'--rate <n>' argument 'fast' is invalid\. It must be a number/,
  },
  {
    name: "flags that exclude each other",
    program: "producer",
    args: ["--from", "-", "--seed", "1"],
    says: /'--from <file>' cannot be used with option '--seed/,
  },
  {
    name: "file missing",
    program: "producer",
    args: ["--from", "/no/such/file.ndjson"],
    says: /Cannot read \/no\/such\/file\.ndjson: .*no such file/i,
  },
];

Deno.test("main_producer.ts and main_consumer.ts name a mistake in one line: exit code 2", async (t) => {
  await using pipeline = await RealPipeline.open();
  for (const { name, program, args, env, says } of MISTAKES) {
    await t.step(name, async () => {
      const settings = { ...pipeline.env, ...env };
      await using started = program === "producer"
        ? Program.producer(args, settings)
        : Program.consumer(args, settings);
      const { code, stderr } = await started.ended(ENDED_MS);
      assert.match(stderr, says);
      assert.equal(code, 2, stderr);
      assert.doesNotMatch(stderr, /^ +at /m, "a stack trace");
      assert.doesNotMatch(stderr, /not-the-password/);
      const lines = stderr.trimEnd().split("\n").filter((line) =>
        !/^\(Did you mean|^\(see --help\)$/.test(line)
      );
      assert.equal(lines.length, 1, stderr);
    });
  }
});

Deno.test("main_consumer.ts names every wrong setting at once, and shows no secret", async () => {
  await using program = Program.consumer(["run"], {
    KAFKA_BROKER: "localhost:99999",
    POSTGRES_PORT: "5432x",
    POSTGRES_PASSWORD: "hunter2",
    POSTGRES_PASSWORD_FILE: "/run/secrets/password",
    REDIS_TTL_SECONDS: "0",
    BATCH_MESSAGES_MAX: "1e3",
    // The producer's; the consumer does not read it.
    ENABLE_DUPLICATES: "maybe",
    // What is nearly a setting is named, too.
    TOPC_NAME: "t",
  });
  const { code, stderr } = await program.ended(ENDED_MS);
  assert.equal(code, 2);
  const [head, ...faults] = stderr.trimEnd().split("\n");
  assert.equal(head, "Cannot use these settings:");
  const named = faults.map((line) => line.match(/^[A-Z_]+/)?.[0]);
  assert.deepEqual(named, [
    "KAFKA_BROKER",
    "POSTGRES_PORT",
    "POSTGRES_PASSWORD",
    "REDIS_TTL_SECONDS",
    "BATCH_MESSAGES_MAX",
    "TOPC_NAME",
  ]);
  assert.doesNotMatch(stderr, /hunter2/);
});

Deno.test("main_consumer.ts waits for servers that are away, says so once, and stops on SIGTERM", async (t) => {
  await using pipeline = await RealPipeline.open();
  const away = { POSTGRES_PORT: "1", POSTGRES_HOST: "127.0.0.1", KAFKA_BROKER: "127.0.0.1:1" };
  const says =
    /^(Kafka|PostgreSQL) at 127\.0\.0\.1:1 \([A-Z_, ]+\) has not answered since .*: connection refused$/;
  const HTTP_PORT = String(freePort());
  await using consumer = pipeline.consumer(["run"], { ...away, HTTP_PORT });
  await consumer.until("it waits for both", () => consumer.said(says) === 2, ENDED_MS);
  const ask = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${HTTP_PORT}${path}`);
  await t.step("its pages are there, and say what is missing", async () => {
    const health = await ask("/healthz");
    assert.deepEqual([health.status, await health.json()], [200, { ok: true, reasons: [] }]);
    const ready = await ask("/readyz");
    assert.equal(ready.status, 503);
    const { reasons } = await ready.json();
    assert.match(
      reasons[1],
      /^Kafka has not answered since the start at .* UTC: .*connection refused/,
    );
    assert.match(
      reasons[2],
      /^PostgreSQL has not answered since the start at .* UTC: .*connection refused/,
    );
    const { servers, summary } = await (await ask("/api/status")).json();
    assert.equal(summary.state, "starting");
    assert.deepEqual([servers.kafka.state, servers.redis.state], ["never_reached", "ok"]);
    for (const path of ["/", "/metrics"]) {
      const answer = await ask(path);
      await answer.text();
      assert.equal(answer.status, 200, path);
    }
  });
  consumer.signal("SIGTERM");
  const startMs = performance.now();
  await consumer.succeeded(ENDED_MS);
  assert.ok(performance.now() - startMs < STOPPED_MS, consumer.stderr);
  assert.equal(consumer.said(says), 2, consumer.stderr);
});

Deno.test("main_consumer.ts stops as soon while its servers are there and silent", async () => {
  await using pipeline = await RealPipeline.open();
  // Connections are taken by the system, and nobody ever answers.
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const port = String((silent.addr as Deno.NetAddr).port);
  await using consumer = pipeline.consumer(["run"], {
    POSTGRES_HOST: "127.0.0.1",
    POSTGRES_PORT: port,
    KAFKA_BROKER: `127.0.0.1:${port}`,
    HTTP_PORT: String(freePort()),
  });
  const says = /^(Kafka|PostgreSQL) at .* has not answered since .*: no answer within 2500 ms$/;
  await consumer.until("it waits for both", () => consumer.said(says) === 2, ENDED_MS);
  consumer.signal("SIGTERM");
  const startMs = performance.now();
  await consumer.succeeded(ENDED_MS);
  assert.ok(performance.now() - startMs < STOPPED_MS, consumer.stderr);
});

Deno.test("main_consumer.ts waits for tables and a topic that others are about to make", async () => {
  await using pipeline = await RealPipeline.open();
  const topic = `late-${crypto.randomUUID()}`;
  const HTTP_PORT = String(freePort());
  await using consumer = pipeline.consumer(["run"], { TOPIC_NAME: topic, HTTP_PORT });
  await consumer.until(
    "it waits",
    () => consumer.said(/^waiting: .*the topic does not exist; create it/) > 0,
    ENDED_MS,
  );
  const ready = await fetch(`http://127.0.0.1:${HTTP_PORT}/readyz`);
  assert.equal(ready.status, 503);
  assert.match(await ready.text(), /Kafka has refused since .*the topic does not exist; create it/);
  await using producer = Program.producer(["--ensure-topic", "1", "--count", "1"], {
    ...pipeline.env,
    TOPIC_NAME: topic,
  });
  await producer.succeeded(ENDED_MS);
  await consumer.until("it goes on", () => consumer.said("partitions assigned") > 0, ENDED_MS);
  consumer.signal("SIGTERM");
  await consumer.succeeded(ENDED_MS);

  await using tables = pipeline.consumer(["run"], { POSTGRES_DB: "postgres" });
  const waits = /^waiting: .*migrations are pending; run: deno task migrate/;
  await tables.until("it waits", () => tables.said(waits) > 0, ENDED_MS);
  tables.signal("SIGTERM");
  await tables.succeeded(ENDED_MS);
});
