import assert from "node:assert/strict";
import { settingNames } from "../../lib/settings/names.ts";
import { readSettings } from "../../lib/settings/read.ts";
import { secretsOf } from "../../lib/settings/secrets.ts";
import { GROUPS, type Settings } from "../../lib/settings/table.ts";
import { BY_TOKEN, faultsOf, read, type Variables } from "./read_settings.ts";

Deno.test("readSettings() gives every default", () => {
  assert.deepEqual(read({}), {
    kafka: {
      brokers: ["localhost:9092"],
      tls: "disable",
      ca: undefined,
      certificate: undefined,
      key: undefined,
      saslMechanism: "none",
      user: undefined,
      password: undefined,
      oauthTokenUrl: undefined,
      oauthClientId: undefined,
      oauthClientSecret: undefined,
      oauthScope: undefined,
      topic: "iot-sensor-data",
      groupId: "iot-consumer-group",
      sessionTimeoutMs: 10_000,
      fetchWaitMs: 100,
      fetchPartitionBytes: 1_048_576,
    },
    postgres: {
      url: undefined,
      host: "localhost",
      port: 5432,
      database: "iotdb",
      user: "iotuser",
      password: "iotpassword",
      readUser: undefined,
      readPassword: undefined,
      tls: "disable",
      ca: undefined,
      certificate: undefined,
      key: undefined,
      channelBinding: "disable",
      schema: undefined,
      applicationName: "sensor-ledger",
      poolMax: 4,
      statementTimeoutMs: 8_000,
      connectTimeoutMs: 5_000,
    },
    redis: {
      url: undefined,
      host: "localhost",
      port: 6379,
      user: undefined,
      password: undefined,
      tls: "disable",
      ca: undefined,
      certificate: undefined,
      key: undefined,
      database: 0,
      prefix: undefined,
      ttlSeconds: 3_600,
      budgetMs: 250,
    },
    limits: { futureSkewSecondsMax: 3_600, pastDaysMax: 3_650 },
    consumer: {
      batchesConcurrent: 3,
      batchMessagesMax: 5_000,
      watchdogSeconds: 45,
      deadLetterAlarmShare: 0.2,
      deadLetterAlarmMessages: 1_000,
      httpPort: 8_000,
    },
    producer: {
      enableDuplicates: true,
      lingerMs: 5,
      batchBytesMax: 524_288,
      bufferBytesMax: 16_777_216,
      compression: "zstd",
      httpPort: 0,
    },
    http: {
      host: "127.0.0.1",
      allowedHosts: undefined,
      token: undefined,
    },
    stop: { deadlineMs: 5_000 },
    log: { level: "info", format: "auto" },
  });
});

Deno.test("readSettings() reads values", async (t) => {
  const rows: [string, Variables, (settings: Settings) => unknown, unknown][] = [
    ["an empty text as not set", { TOPIC_NAME: "" }, (s) => s.kafka.topic, "iot-sensor-data"],
    ["white space as not set", { REDIS_PORT: "  " }, (s) => s.redis.port, 6379],
    ["a number between spaces", { REDIS_PORT: " 6380\t" }, (s) => s.redis.port, 6380],
    ["the lowest number", { KAFKA_FETCH_WAIT_MS: "1" }, (s) => s.kafka.fetchWaitMs, 1],
    ["the highest number", { POSTGRES_POOL_MAX: "50" }, (s) => s.postgres.poolMax, 50],
    [
      "no watchdog beside a long session",
      { WATCHDOG_SECONDS: "0", KAFKA_SESSION_TIMEOUT_MS: "300000" },
      (s) => s.kafka.sessionTimeoutMs,
      300_000,
    ],
    ["a share", { DEAD_LETTER_ALARM_SHARE: ".05" }, (s) => s.consumer.deadLetterAlarmShare, 0.05],
    ["a whole share", { DEAD_LETTER_ALARM_SHARE: "1" }, (s) => s.consumer.deadLetterAlarmShare, 1],
    ["0 where it is allowed", { MAX_PAST_DAYS: "0" }, (s) => s.limits.pastDaysMax, 0],
    [
      "a flag in any case",
      { ENABLE_DUPLICATES: "False" },
      (s) => s.producer.enableDuplicates,
      false,
    ],
    ["a choice in any case", { LOG_LEVEL: "WARN" }, (s) => s.log.level, "warn"],
    [
      "brokers: ports, spaces, repeats, IPv6",
      { KAFKA_BROKER: "kafka:29092, b2 ,10.0.0.3:9094,b2:9092,[::1]:9095,[fe80::1]" },
      (s) => s.kafka.brokers,
      ["kafka:29092", "b2:9092", "10.0.0.3:9094", "[::1]:9095", "[fe80::1]:9092"],
    ],
    [
      "a password with its spaces",
      { POSTGRES_PASSWORD: " p w " },
      (s) => s.postgres.password,
      " p w ",
    ],
  ];
  for (const [name, variables, pick, want] of rows) {
    await t.step(name, () => assert.deepEqual(pick(read(variables)), want));
  }
});

Deno.test("readSettings() refuses values, names the variable and what is allowed", async (t) => {
  const rows: [string, Variables, string][] = [
    [
      "a space",
      { REDIS_PREFIX: "p q" },
      'REDIS_PREFIX: "p q" is not 1 to 64 of A-Z a-z 0-9 . _ : / -',
    ],
    [
      "what Kubernetes sets beside a Service of the same name",
      { REDIS_PORT: "tcp://10.96.0.12:6379" },
      `REDIS_PORT: "tcp://10.96.0.12:6379" is not a whole number from 1 to 65535. Kubernetes set ` +
      "it for a Service named redis: set enableServiceLinks: false in the pod, or set REDIS_PORT there",
    ],
    ["letters", { REDIS_PORT: "abc" }, `REDIS_PORT: "abc" is not a whole number from 1 to 65535`],
    ["below", { REDIS_PORT: "0" }, `REDIS_PORT: "0" is not a whole number from 1 to 65535`],
    ["above", { REDIS_PORT: "65536" }, `REDIS_PORT: "65536" is not a whole number from 1 to 65535`],
    [
      "a unit",
      { KAFKA_FETCH_WAIT_MS: "5s" },
      `KAFKA_FETCH_WAIT_MS: "5s" is not a whole number from 1 to 5000 ms`,
    ],
    [
      "a fraction",
      { BATCH_MESSAGES_MAX: "1.5" },
      `BATCH_MESSAGES_MAX: "1.5" is not a whole number from 1 to 10000 messages`,
    ],
    [
      "a sign",
      { BATCH_MESSAGES_MAX: "+5" },
      `BATCH_MESSAGES_MAX: "+5" is not a whole number from 1 to 10000 messages`,
    ],
    [
      "hexadecimal",
      { BATCH_MESSAGES_MAX: "0x10" },
      `BATCH_MESSAGES_MAX: "0x10" is not a whole number from 1 to 10000 messages`,
    ],
    [
      "a share above 1",
      { DEAD_LETTER_ALARM_SHARE: "1.01" },
      `DEAD_LETTER_ALARM_SHARE: "1.01" is not a number from 0 to 1`,
    ],
    [
      "a share in percent",
      { DEAD_LETTER_ALARM_SHARE: "20%" },
      `DEAD_LETTER_ALARM_SHARE: "20%" is not a number from 0 to 1`,
    ],
    [
      "a topic that Kafka refuses",
      { TOPIC_NAME: ".." },
      `TOPIC_NAME: ".." is not 1 to 249 of A-Z a-z 0-9 . _ -`,
    ],
    [
      "a flag",
      { ENABLE_DUPLICATES: "yes" },
      `ENABLE_DUPLICATES: "yes" is not one of true, false`,
    ],
    [
      "a choice",
      { LOG_LEVEL: "trace" },
      `LOG_LEVEL: "trace" is not one of debug, info, warn, error`,
    ],
    [
      "a URL as host",
      { REDIS_HOST: "redis://h" },
      `REDIS_HOST: "redis://h" is not a host name or address`,
    ],
    [
      "an escape sequence, which is shown escaped",
      { POSTGRES_DB: "a\u001b[2Jb" },
      `POSTGRES_DB: "a\\u001b[2Jb" is not 1 to 63 printable characters`,
    ],
  ];
  for (const [name, variables, want] of rows) {
    await t.step(name, () => assert.deepEqual(faultsOf(variables), [want]));
  }
  const badBrokers = ["", "a:b", "a:0", "a:65536", "a,,b", "a b", ":9092", "http://a:1", "::1"];
  for (const given of badBrokers.filter((text) => text !== "")) {
    await t.step(`KAFKA_BROKER ${given}`, () => {
      assert.match(
        faultsOf({ KAFKA_BROKER: given })[0]!,
        /^KAFKA_BROKER: .* is not a list of host/,
      );
    });
  }
  await t.step("a long value is shortened", () => {
    assert(faultsOf({ POSTGRES_DB: "x".repeat(5_000) })[0]!.length < 200);
  });
});

Deno.test("readSettings() reports all faults at once", () => {
  const faults = faultsOf({ REDIS_PORT: "x", LOG_FORMAT: "xml", POSTGRES_POOL_MAX: "0" });
  assert.deepEqual(faults.map((fault) => fault.split(":")[0]), [
    "POSTGRES_POOL_MAX",
    "REDIS_PORT",
    "LOG_FORMAT",
  ]);
});

Deno.test("readSettings() takes a token server that nobody can listen to", async (t) => {
  for (const url of ["https://login.example/t?a=b", "http://127.0.0.1:1/t", "http://[::1]/t"]) {
    await t.step(url, () => {
      const variables = { ...BY_TOKEN, KAFKA_OAUTH_TOKEN_URL: url };
      assert.equal(read(variables).kafka.oauthTokenUrl, url);
    });
  }
  for (const url of ["http://login.example/t", "https://u:p@login.example", "ftp://x", "login"]) {
    await t.step(`refused: ${url}`, () => {
      const [fault] = faultsOf({ ...BY_TOKEN, KAFKA_OAUTH_TOKEN_URL: url });
      assert.match(fault!, /^KAFKA_OAUTH_TOKEN_URL: .* is not https:/);
    });
  }
});

Deno.test("settings never show a secret", async (t) => {
  const secrets = { POSTGRES_PASSWORD: "s3cret-pg", REDIS_PASSWORD: "s3cret-redis" };
  await t.step("the text of a fault", () => {
    const [fault] = faultsOf({ POSTGRES_PASSWORD: `s3cret${"x".repeat(8_192)}` });
    assert.equal(fault, "POSTGRES_PASSWORD: its value is not 1 to 8192 characters");
  });
  await t.step("a token that is too short", () => {
    const want = "HTTP_TOKEN: its value is not 16 to 200 of A-Z a-z 0-9 . _ ~ + / = -";
    assert.deepEqual(faultsOf({ HTTP_TOKEN: "s3cret" }), [want]);
  });
  await t.step("names for the pages", () => {
    const { allowedHosts } = read({ HTTP_ALLOWED_HOSTS: "Ledger.example, consumer,consumer" }).http;
    assert.deepEqual(allowedHosts, ["ledger.example", "consumer"]);
    assert.equal(read({}).http.allowedHosts, undefined);
    for (const given of ["ledger.example:443", "https://ledger.example", "*", "a,,b"]) {
      assert.match(
        faultsOf({ HTTP_ALLOWED_HOSTS: given })[0]!,
        /^HTTP_ALLOWED_HOSTS: .* is not host names/,
      );
    }
  });
  await t.step("secretsOf() names those that are set", () => {
    assert.deepEqual(secretsOf(read(secrets)), ["s3cret-pg", "s3cret-redis"]);
    const REDIS_URL = "redis://:s3c%2Fret@h";
    assert.deepEqual(secretsOf(read({ REDIS_URL })), ["iotpassword", REDIS_URL, "s3c/ret"]);
    assert.deepEqual(secretsOf(read({})), ["iotpassword"]);
  });
});

Deno.test("settingNames() is exactly what readSettings() asks for", async (t) => {
  for (const groups of [...GROUPS.map((group) => [group]), GROUPS]) {
    await t.step(groups.join(", "), () => {
      const asked = new Set<string>();
      readSettings(groups, {
        env: (name) => {
          asked.add(name);
          return undefined;
        },
      });
      assert.deepEqual([...settingNames(groups)].sort(), [...asked].sort());
    });
  }
});

Deno.test("readSettings() is not stopped by a fault in a group that it was not asked for", () => {
  const variables: Variables = {
    POSTGRES_PORT: "nonsense",
    DATABASE_URL: "nonsense",
    REDIS_PASSWORD_FILE: "/nowhere",
    PRODUCER_LINGER_MS: "nonsense",
    WATCHDOG_SECONDS: "1",
  };
  const { kafka, ...others } = readSettings(["kafka"], { env: (name) => variables[name] });
  assert.equal(kafka.topic, "iot-sensor-data");
  assert.deepEqual(others, {});
  // What contradicts another group counts only beside it.
  readSettings(["consumer"], { env: (name) => variables[name] });
  assert.throws(
    () => readSettings(["consumer", "kafka"], { env: (name) => variables[name] }),
    { name: "ConfigurationError", message: /WATCHDOG_SECONDS must be longer than KAFKA_SESSION/ },
  );
});
