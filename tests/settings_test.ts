import assert from "node:assert/strict";
import { makeCertificates } from "./integration/certificates.ts";
import { ConfigurationError } from "../lib/errors.ts";
import { envExample, settingsPage } from "../lib/settings/documents.ts";
import { settingNames } from "../lib/settings/names.ts";
import { readSettings } from "../lib/settings/read.ts";
import { secretsOf } from "../lib/settings/secrets.ts";
import { GROUPS, type Settings } from "../lib/settings/table.ts";

type Variables = Readonly<Record<string, string>>;

function read(variables: Variables, files: Variables = {}): Settings {
  return readSettings(GROUPS, {
    env: (name) => variables[name],
    readFile: (path) => {
      const content = files[path];
      if (content === undefined) throw new Error("no such file");
      return content;
    },
  });
}

function faultsOf(variables: Variables, files: Variables = {}): string[] {
  let message = "";
  assert.throws(() => read(variables, files), (error) => {
    assert(error instanceof ConfigurationError);
    message = error.message;
    return true;
  });
  const [title, ...faults] = message.split("\n");
  assert.equal(title, "Cannot use these settings:");
  return faults;
}

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

Deno.test("readSettings() reads secrets from files", async (t) => {
  const path = { POSTGRES_PASSWORD_FILE: "/run/secrets/pg" };
  await t.step("without the line end at the end", () => {
    assert.equal(read(path, { "/run/secrets/pg": "a b\r\n" }).postgres.password, "a b");
    assert.equal(read(path, { "/run/secrets/pg": "a\n\n" }).postgres.password, "a\n");
  });
  await t.step("both given", () => {
    assert.deepEqual(
      faultsOf({ ...path, POSTGRES_PASSWORD: "hunter2" }, { "/run/secrets/pg": "x" }),
      ["POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set: set one of them"],
    );
  });
  await t.step("an empty password beside a file counts as not set", () => {
    const settings = read({ ...path, POSTGRES_PASSWORD: "" }, { "/run/secrets/pg": "x" });
    assert.equal(settings.postgres.password, "x");
  });
  await t.step("an empty file", () => {
    assert.deepEqual(faultsOf(path, { "/run/secrets/pg": "\n" }), [
      `POSTGRES_PASSWORD_FILE: "/run/secrets/pg" is empty`,
    ]);
  });
  await t.step("a file that cannot be read", () => {
    assert.deepEqual(faultsOf(path), [
      `POSTGRES_PASSWORD_FILE: "/run/secrets/pg" cannot be read: no such file`,
    ]);
  });
  await t.step("a file that no one can read for us", () => {
    assert.throws(
      () =>
        readSettings(["redis"], {
          env: (name) => name === "REDIS_PASSWORD_FILE" ? "/x" : undefined,
        }),
      { name: "ConfigurationError", message: /REDIS_PASSWORD_FILE: .*reads no files/ },
    );
  });
  await t.step("other settings have no file", () => {
    assert.equal(read({ TOPIC_NAME_FILE: "/x" }).kafka.topic, "iot-sensor-data");
  });
});

Deno.test("readSettings() takes URLs apart, and what they name wins", async (t) => {
  const DATABASE_URL = "postgresql://an%40a:p%2Fw@db:5433/events?sslmode=require";
  await t.step("every part", () => {
    const parts = {
      POSTGRES_HOST: "x",
      POSTGRES_PASSWORD_FILE: "/nowhere",
      POSTGRES_TLS: "disable",
    };
    const { postgres } = read({ ...parts, DATABASE_URL });
    const { host, port, database, user, password, tls } = postgres;
    assert.deepEqual([host, port, database, user, password, tls], [
      ...["db", 5433, "events", "an@a", "p/w", "require"],
    ]);
  });
  await t.step("what it leaves out comes from the other settings", () => {
    const { postgres } = read({ POSTGRES_DB: "d", DATABASE_URL: "postgres://[::1]" });
    const { host, port, database, user } = postgres;
    assert.deepEqual([host, port, database, user], ["::1", 5432, "d", "iotuser"]);
  });
  await t.step("from a file", () => {
    const files = { "/run/secrets/url": `${DATABASE_URL}\n` };
    assert.equal(read({ DATABASE_URL_FILE: "/run/secrets/url" }, files).postgres.host, "db");
  });
  await t.step("Redis, with and without TLS", () => {
    const { redis } = read({ REDIS_URL: "rediss://me:pw@cache:6380/7", REDIS_HOST: "x" });
    assert.equal(redis.database, 7);
    assert.deepEqual(
      [redis.host, redis.port, redis.user, redis.password, redis.tls],
      ["cache", 6380, "me", "pw", "verify-full"],
    );
    assert.equal(
      read({ REDIS_URL: "redis://cache", REDIS_TLS: "verify-full" }).redis.tls,
      "disable",
    );
  });
  await t.step("a part is checked like any other value", () => {
    assert.deepEqual(faultsOf({ DATABASE_URL: "postgres://db/d?schema=a%3Bb" }), [
      'POSTGRES_SCHEMA: "a;b" is not a schema, or several separated by commas, as in search_path',
    ]);
  });
  const doubtful = [
    "hunter2",
    "mysql://db/d",
    "postgres://u:1/hunter2@db/d",
    "postgres://u:1?hunter2@db/d",
    "postgres://u:1#hunter2@db/d",
    "postgres://u:hunter2%@db/d",
    "postgres:///d",
    "postgres://u:1?sslmode=hunter2@db/d",
    "postgres://u:1?host=x&hunter2@db/d",
    "postgres://db/d?hunter2=1",
    "postgres://db/d?sslmode=hunter2",
    "postgres://db/d?options=hunter2",
  ];
  for (const url of doubtful) {
    await t.step(`refused, and not shown: ${url}`, () => {
      const [fault, ...others] = faultsOf({ DATABASE_URL: url });
      assert.match(fault!, /^DATABASE_URL: its value is not postgres:\/\/user:password@host/);
      assert.deepEqual(others, []);
      assert.doesNotMatch(fault!, /hunter2/);
    });
  }
  for (
    const url of ["redis://cache/a", "redis://cache/1/2", "redis://cache?db=1", "http://cache"]
  ) {
    await t.step(`refused: ${url}`, () => {
      assert.match(faultsOf({ REDIS_URL: url })[0]!, /^REDIS_URL: its value is not redis:/);
    });
  }
});

Deno.test("readSettings() takes the parameters of a database URL, or names the one that it does not", async (t) => {
  const good: [name: string, url: string, want: Partial<Settings["postgres"]>][] = [
    ["encrypted, and bound to it", "postgresql://u:p@h/d?sslmode=require&channel_binding=require", {
      ...{ host: "h", port: 5432, user: "u", password: "p", tls: "require" },
      channelBinding: "require",
    }],
    [
      "a name for the server's views",
      "postgresql://u:p@h:5432/d?sslmode=disable&application_name=ledger",
      {
        ...{ tls: "disable", applicationName: "ledger" },
      },
    ],
    ["a pooler", "postgresql://u:p@h:6543/d?pgbouncer=true", { port: 6543, database: "d" }],
    ["a schema", "postgresql://u:p@h:5432/d?options=-csearch_path%3Diot", { schema: "iot" }],
    ["a schema, otherwise written", "postgres://h/d?options=-c%20search_path%3Diot,public", {
      schema: "iot,public",
    }],
    ["a schema, as another driver says it", "postgres://h/d?schema=iot", { schema: "iot" }],
    ["a socket", "postgresql://u:p@/d?host=/var/run/postgresql", {
      ...{ host: "/var/run/postgresql", port: 5432, user: "u", password: "p", database: "d" },
    }],
    ["a socket without a user", "postgresql:///d?host=/tmp&port=5433", {
      host: "/tmp",
      port: 5433,
    }],
    ["a socket as host", "postgres://u:p@%2Fvar%2Frun%2Fpostgresql/d", {
      host: "/var/run/postgresql",
    }],
    ["a time limit", "postgres://h/d?connect_timeout=10", { connectTimeoutMs: 10_000 }],
    ["binding if it can be had", "postgres://h/d?channel_binding=prefer", {
      channelBinding: "disable",
    }],
    ["a password with every special character", `postgres://u:${encodeURIComponent(SPECIAL)}@h/d`, {
      ...{ host: "h", user: "u", password: SPECIAL, database: "d" },
    }],
  ];
  for (const [name, DATABASE_URL, want] of good) {
    await t.step(name, () => {
      const { postgres } = read({ DATABASE_URL });
      assert.deepEqual({ ...postgres, ...want }, postgres);
    });
  }
  const bad: [url: string, fault: RegExp][] = [
    [
      "postgres://h/d?sslmode=prefer",
      /: sslmode=prefer is not one of disable, require, verify-full$/,
    ],
    ["postgres://h/d?channel_binding=x", /channel_binding is not one of/],
    [
      "postgres://h/d?connect_timeout=0",
      /connect_timeout is not a number of seconds from 1 to 60$/,
    ],
    ["postgres://h/d?options=-cwork_mem%3D1", /options: only -csearch_path=… is supported$/],
    [
      "postgres://h/d?sslrootcert=%2Fca",
      /: sslrootcert is not supported: set POSTGRES_TLS_CA instead$/,
    ],
    ["postgres://h/d?target_session_attrs=primary", /: target_session_attrs is not supported$/],
    ["postgres://h/d?schema=a&options=-csearch_path%3Db", /options repeats/],
    ["postgres://h1:1,h2:2/d", /its host or port cannot be read/],
    ["postgres://u:p%@h/d", /a % that does not begin an encoded character. Write .*%25/],
    ["postgres://u:p#@h/d", /it has a #.*%23|cannot be read/],
    ["h/d", /it does not begin with postgres:\/\/ or postgresql:\/\/$/],
    ["postgres:///d", /it names no host$/],
  ];
  for (const [DATABASE_URL, fault] of bad) {
    await t.step(`refused: ${DATABASE_URL}`, () => {
      assert.match(faultsOf({ DATABASE_URL })[0]!, fault);
    });
  }
  await t.step("a password raw, and longer than most", () => {
    const POSTGRES_PASSWORD = `${SPECIAL}${"x".repeat(4_000)}`;
    assert.equal(read({ POSTGRES_PASSWORD }).postgres.password, POSTGRES_PASSWORD);
    const files = { "/pw": `${SPECIAL}\n` };
    assert.equal(read({ POSTGRES_PASSWORD_FILE: "/pw" }, files).postgres.password, SPECIAL);
  });
  await t.step("what contradicts", () => {
    assert.match(
      faultsOf({ DATABASE_URL: "postgres://h/d?channel_binding=require" })[0]!,
      /POSTGRES_CHANNEL_BINDING is require: set POSTGRES_TLS/,
    );
    assert.match(
      faultsOf({ POSTGRES_HOST: "/tmp", POSTGRES_TLS: "require" })[0]!,
      /POSTGRES_HOST is a Unix socket, which is never encrypted/,
    );
  });
});

/** Every character that means something in a URL, a shell, SQL or an INI file; and others. */
const SPECIAL = " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~%2Fä€😀";

Deno.test("readSettings() reads certificates from the file that a setting names", async (t) => {
  const pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
  const trusting = { KAFKA_TLS: "verify-full", KAFKA_TLS_CA: "/ca.pem" };
  await t.step("its content", () => {
    assert.equal(read(trusting, { "/ca.pem": `${pem}\n` }).kafka.ca, pem);
  });
  await t.step("a file that is none", () => {
    assert.deepEqual(faultsOf(trusting, { "/ca.pem": "hello" }), [
      "KAFKA_TLS_CA: its value is not the path of a PEM file",
    ]);
    assert.deepEqual(faultsOf(trusting), [`KAFKA_TLS_CA: "/ca.pem" cannot be read: no such file`]);
  });
});

Deno.test("readSettings() reads a certificate of our own together with its key", async (t) => {
  const dir = await Deno.makeTempDir();
  try {
    const { client, certificate } = await makeCertificates(dir);
    const text = (path: string): string => Deno.readTextFileSync(path).trimEnd();
    const files = {
      "/cert.pem": text(client.certificate),
      "/other.pem": text(certificate),
      "/key.pem": text(client.key),
    };
    for (const server of ["KAFKA", "POSTGRES", "REDIS"]) {
      const variables = {
        [`${server}_TLS`]: "verify-full",
        [`${server}_TLS_CERT`]: "/cert.pem",
        [`${server}_TLS_KEY`]: "/key.pem",
      };
      const key = server.toLowerCase() as "kafka" | "postgres" | "redis";
      await t.step(`${server}: both`, () => {
        const read1 = read(variables, files)[key];
        assert.equal(read1.certificate, files["/cert.pem"]);
        assert.equal(read1.key, files["/key.pem"]);
      });
      const both = `${server}_TLS_CERT and ${server}_TLS_KEY`;
      const rows: [name: string, changed: Variables, want: string][] = [
        ["no key", { [`${server}_TLS_KEY`]: "" }, `${both} go together: set both or none`],
        ["no certificate", { [`${server}_TLS_CERT`]: "" }, `${both} go together: set both or none`],
        [
          "the key of another certificate",
          { [`${server}_TLS_CERT`]: "/other.pem" },
          `${both}: the key is that of another certificate`,
        ],
        [
          "without TLS",
          { [`${server}_TLS`]: "disable" },
          `${server}_TLS_CERT is set: set ${server}_TLS to verify-full, too`,
        ],
        [
          "a certificate in the place of the key",
          { [`${server}_TLS_KEY`]: "/cert.pem" },
          `${server}_TLS_KEY: its value is not the path of a PEM file with an unencrypted key`,
        ],
      ];
      for (const [name, changed, want] of rows) {
        await t.step(`${server}: ${name}`, () => {
          assert.deepEqual(faultsOf({ ...variables, ...changed }, files), [want]);
        });
      }
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

const BY_TOKEN = {
  KAFKA_SASL_MECHANISM: "oauthbearer",
  KAFKA_OAUTH_TOKEN_URL: "https://login.example/token",
  KAFKA_OAUTH_CLIENT_ID: "id",
  KAFKA_OAUTH_CLIENT_SECRET: "s3cret",
};

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

Deno.test("readSettings() refuses settings that contradict each other", async (t) => {
  const pem = { "/ca.pem": "-----BEGIN CERTIFICATE-----" };
  const rows: [Variables, string][] = [
    [{ KAFKA_TLS_CA: "/ca.pem" }, "KAFKA_TLS_CA is set: set KAFKA_TLS to verify-full, too"],
    [
      { POSTGRES_TLS_CA: "/ca.pem", POSTGRES_TLS: "require" },
      "POSTGRES_TLS_CA is set: set POSTGRES_TLS to verify-full, too",
    ],
    [{ REDIS_TLS_CA: "/ca.pem" }, "REDIS_TLS_CA is set: set REDIS_TLS to verify-full, too"],
    [
      { KAFKA_SASL_MECHANISM: "plain", KAFKA_USER: "u" },
      "KAFKA_SASL_MECHANISM is set: set KAFKA_USER and KAFKA_PASSWORD, too",
    ],
    [
      { KAFKA_PASSWORD: "p" },
      "KAFKA_USER or KAFKA_PASSWORD is set: set KAFKA_SASL_MECHANISM, too",
    ],
    [
      { ...BY_TOKEN, KAFKA_USER: "u" },
      "KAFKA_USER and KAFKA_PASSWORD do not apply to KAFKA_SASL_MECHANISM=oauthbearer: remove them",
    ],
    [
      { ...BY_TOKEN, KAFKA_OAUTH_CLIENT_ID: "" },
      "KAFKA_SASL_MECHANISM is oauthbearer: set KAFKA_OAUTH_TOKEN_URL, KAFKA_OAUTH_CLIENT_ID and " +
      "KAFKA_OAUTH_CLIENT_SECRET, too",
    ],
    [
      { KAFKA_OAUTH_SCOPE: "readings" },
      "KAFKA_OAUTH_… is set: set KAFKA_SASL_MECHANISM to oauthbearer, too",
    ],
    [{ REDIS_USER: "u" }, "REDIS_USER is set: set REDIS_PASSWORD, too"],
    [
      { POSTGRES_READ_USER: "u" },
      "POSTGRES_READ_USER and POSTGRES_READ_PASSWORD go together: set both or none",
    ],
    [
      { KAFKA_SESSION_TIMEOUT_MS: "45000" },
      "WATCHDOG_SECONDS must be longer than KAFKA_SESSION_TIMEOUT_MS: the group may wait that long",
    ],
    [
      { WATCHDOG_SECONDS: "13", POSTGRES_CONNECT_TIMEOUT_MS: "5000" },
      "WATCHDOG_SECONDS must be longer than POSTGRES_CONNECT_TIMEOUT_MS and " +
      "POSTGRES_STATEMENT_TIMEOUT_MS together: a batch may take that long",
    ],
  ];
  for (const [variables, want] of rows) {
    await t.step(want, () => assert.deepEqual(faultsOf(variables, pem), [want]));
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

Deno.test("envExample() is the file in the repository, and changes no default", async (t) => {
  const file = await Deno.readTextFile(new URL("../.env.example", import.meta.url));
  await t.step("the same text", () => {
    assert.equal(file, envExample(), "run: deno task generate");
  });
  await t.step("every setting, at its default", () => {
    const pairs = file.split("\n").filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => line.split("=") as [string, string]);
    assert.deepEqual(
      pairs.map(([name]) => name),
      settingNames().filter((name) => !name.endsWith("_FILE")),
    );
    assert.deepEqual(read(Object.fromEntries(pairs)), read({}));
  });
});

Deno.test("settingsPage() has a row of four cells for each setting", () => {
  const rows = settingsPage().split("\n").filter((line) => line.startsWith("| `"));
  assert.equal(rows.length, settingNames().filter((name) => !name.endsWith("_FILE")).length);
  for (const row of rows) assert.equal(row.split("|").length, 6, row);
});
