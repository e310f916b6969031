/** Strict servers: the programs run with exactly the rights of `security/`, and say what is wrong. */
import assert from "node:assert/strict";
import { openPool } from "../../lib/postgres/pool.ts";
import { readSettings } from "../../lib/settings/read.ts";
import { DONE_MS } from "./real_pipeline.ts";
import { type Ended, type Environment, Program } from "./processes.ts";
import { freePort } from "../../tools/stack/free_ports.ts";
import { PASSWORDS, SecureServers } from "./secure_servers.ts";

/** A refusal is told at once and not tried again and again. */
const REFUSED_MS = 20_000;

/** Pages of the consumer that show the state of something, and those that need no token. */
const GUARDED_PAGES = [
  ...["/", "/main.js", "/metrics", "/api/status", "/api/sensors", "/api/dead-letters"],
  "/api/ledger",
];
const OPEN_PAGES = ["/healthz", "/readyz"];

type Mistake = readonly [
  name: string,
  env: (servers: SecureServers) => Environment,
  says: RegExp,
];

const MISTAKES: Readonly<Record<"kafka" | "postgres" | "redis", readonly Mistake[]>> = {
  kafka: [
    ["wrong password", () => ({ KAFKA_PASSWORD: "mistaken" }), /refuse this user and password/],
    [
      "wrong password by plain",
      () => ({ KAFKA_PASSWORD: "mistaken", KAFKA_SASL_MECHANISM: "plain" }),
      /refuse this user and password/,
    ],
    [
      "wrong authority",
      ({ certificates }) => ({ KAFKA_TLS_CA: certificates.strangerCa }),
      /certificate is not trusted.*unable to verify/,
    ],
    ["the system's authorities", () => ({ KAFKA_TLS_CA: "" }), /certificate is not trusted/],
    ["a topic without the right to it", () => ({ TOPIC_NAME: "other" }), /no right to the topic/],
  ],
  postgres: [
    [
      "wrong password",
      () => ({ POSTGRES_PASSWORD: "mistaken" }),
      /password authentication failed.*Check POSTGRES_USER and POSTGRES_PASSWORD/,
    ],
    [
      "wrong password of the reader",
      () => ({ POSTGRES_READ_PASSWORD: "mistaken", HTTP_PORT: String(freePort()) }),
      /Check POSTGRES_READ_USER, POSTGRES_READ_PASSWORD.*password authentication failed/,
    ],
    [
      "wrong authority",
      ({ certificates }) => ({ POSTGRES_TLS_CA: certificates.strangerCa }),
      /certificate is not trusted.*Check POSTGRES_TLS and POSTGRES_TLS_CA/,
    ],
    [
      "a name that is not in the certificate",
      () => ({ POSTGRES_HOST: "localhost" }),
      /certificate is not trusted.*does not match/,
    ],
  ],
  redis: [
    [
      "wrong password",
      () => ({ REDIS_PASSWORD: "mistaken" }),
      /Cannot use Redis.*WRONGPASS.*Check REDIS_USER and REDIS_PASSWORD/,
    ],
    ["wrong user", () => ({ REDIS_USER: "nobody" }), /Check REDIS_USER and REDIS_PASSWORD/],
    [
      "wrong authority",
      ({ certificates }) => ({ REDIS_TLS_CA: certificates.strangerCa }),
      /check REDIS_TLS and REDIS_TLS_CA.*certificate is not trusted|unable to verify/,
    ],
  ],
};

Deno.test("the programs on strict servers", async (t) => {
  await using servers = await SecureServers.start();
  const written: string[] = [];

  const run = async (program: Program, withinMs: number): Promise<Ended> => {
    await using running = program;
    const ended = await running.ended(withinMs);
    written.push(ended.stdout, ended.stderr);
    return ended;
  };
  const consumer = (args: readonly string[], env: Environment = {}): Promise<Ended> =>
    run(
      Program.consumer(args, { ...servers.env("consumer"), ...env }, [servers.readFlag]),
      DONE_MS,
    );
  const producer = (args: readonly string[], env: Environment = {}): Promise<Ended> =>
    run(Program.producer(args, { ...servers.env("producer"), ...env }), DONE_MS);
  const assertDone = (ended: Ended): void => assert.equal(ended.code, 0, ended.stderr);

  await t.step("the migrator makes the tables, and no other role does", async () => {
    const refused = await consumer(["migrate"]);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /permission denied.*Grant the role CREATE on the schema/);
    assertDone(await consumer(["migrate"], { POSTGRES_USER: "sensor_ledger_migrator" }));
    await servers.applyRoles();
  });

  await t.step("the producer writes by every mechanism", async () => {
    for (const mechanism of ["plain", "scram-sha-256", "scram-sha-512"]) {
      assertDone(
        await producer(["--count", "100", "--rate", "0"], { KAFKA_SASL_MECHANISM: mechanism }),
      );
    }
  });

  await t.step("the consumer stores, verifies and shows by every mechanism", async () => {
    for (const mechanism of ["plain", "scram-sha-256", "scram-sha-512"]) {
      assertDone(await consumer(["run", "--until-end"], { KAFKA_SASL_MECHANISM: mechanism }));
    }
    assertDone(await consumer(["verify"]));
    assertDone(await consumer(["status"]));
    const [{ sensor_id }] = await servers.asSuperuser(async (session) =>
      (await session.query("SELECT sensor_id FROM sensor_events LIMIT 1")).rows
    ) as [{ sensor_id: string }];
    assertDone(await consumer(["last", sensor_id]));
  });

  await t.step("doctor may ask all that it asks", async () => {
    const ended = await consumer(["doctor"]);
    assertDone(ended);
    const wrong = ended.stdout.split("\n").filter((line) => /^(warning|failure) /.test(line));
    assert.deepEqual(wrong.map((line) => line.split(/  +/).slice(0, 3).join(" ")), [
      "warning kafka replication",
      "warning kafka message time",
    ]);
  });

  await t.step("doctor looks as the dashboard's role, too", async () => {
    const { code, stdout } = await consumer(["doctor"], { POSTGRES_READ_PASSWORD: "mistaken" });
    assert.equal(code, 1);
    assert.match(stdout, /^failure +postgres +read role +.*password authentication failed/m);
  });

  await t.step("Redis has the marks, so its user had the right to set them", async () => {
    const [marks] = await servers.redis.cli(
      ...["--user", "sensor-ledger", "-a", PASSWORDS.redis, "GET", "ledger:last-complete"],
    );
    assert.match(marks ?? "", /^[0-9a-f-]{36}$/);
  });

  await t.step("URLs in place of the single settings", async () => {
    const { POSTGRES_PORT, REDIS_PORT } = servers.env("consumer");
    const password = encodeURIComponent(PASSWORDS.postgres);
    const env = {
      ...{ POSTGRES_HOST: "nowhere.invalid", POSTGRES_PASSWORD: "mistaken", REDIS_PORT: "1" },
      DATABASE_URL: `postgres://sensor_ledger_app:${password}@127.0.0.1:${POSTGRES_PORT}` +
        `/${servers.database}?sslmode=verify-full`,
      REDIS_URL: `rediss://sensor-ledger:${encodeURIComponent(PASSWORDS.redis)}` +
        `@127.0.0.1:${REDIS_PORT}`,
    };
    assertDone(await consumer(["run", "--until-end"], env));
  });

  await t.step("POSTGRES_TLS=require takes any certificate", async () => {
    const env = { POSTGRES_TLS: "require", POSTGRES_TLS_CA: "", POSTGRES_HOST: "localhost" };
    assertDone(await consumer(["verify"], env));
  });

  await t.step("POSTGRES_CHANNEL_BINDING=require binds the log-in to the certificate", async () => {
    assertDone(await consumer(["verify"], { POSTGRES_CHANNEL_BINDING: "require" }));
  });

  await t.step(
    "the operator does what operators do, and the app goes on",
    async (t) => {
      assertDone(await producer(["--count", "50", "--bad", "0.5", "--rate", "0"]));
      assertDone(await consumer(["run", "--until-end"]));
      const operator = { POSTGRES_USER: "sensor_ledger_operator" };
      const commands = [
        ["dead-letters", "list"],
        ["dead-letters", "discard", "1", "--reason-text", "a test"],
        ["dead-letters", "replay", "2"],
        ["rewind", "--to", "beginning"],
        ["retain", "--older-than", "10000d"],
        ["rebuild-last"],
        ["verify"],
      ];
      for (const command of commands) {
        await t.step(command.join(" "), async () => {
          const { code, stderr } = await consumer(command, operator);
          assert.doesNotMatch(stderr, /permission denied|NOPERM|no right/);
          // A message that is still bad cannot be replayed.
          assert.equal(code, command[1] === "replay" ? 1 : 0, stderr);
        });
      }
      assertDone(await consumer(["run", "--until-end"]));
      assertDone(await consumer(["verify"]));
    },
  );

  await t.step("the pages answer, and are looked through for secrets below", async () => {
    const port = String(freePort());
    const env = { ...servers.env("consumer"), HTTP_PORT: port };
    await using program = Program.consumer(["run"], env, [servers.readFlag]);
    const isReady = async (): Promise<boolean> => {
      const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
      await answer?.body?.cancel();
      return answer?.status === 200;
    };
    await program.until("it is ready", isReady, DONE_MS);
    const ask = async (path: string, headers: HeadersInit): Promise<number> => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { headers });
      written.push(await answer.text());
      return answer.status;
    };
    const authorization = `Bearer ${PASSWORDS.http}`;
    for (const path of OPEN_PAGES) assert.equal(await ask(path, {}), 200, path);
    for (const path of GUARDED_PAGES) {
      assert.equal(await ask(path, {}), 401, path);
      assert.equal(await ask(path, { authorization: "Bearer mistaken" }), 401, path);
      assert.equal(await ask(path, { authorization }), 200, path);
    }
    await servers.asSuperuser(async (session) => {
      await session.query("BEGIN; LOCK TABLE dead_letters");
      const startMs = performance.now();
      assert.equal(await ask("/api/dead-letters", { authorization }), 503);
      const tookMs = performance.now() - startMs;
      assert(tookMs > 1_500 && tookMs < 10_000, `a reader waits 2 s, and not ${tookMs} ms`);
      await session.query("ROLLBACK");
    });
    assert.deepEqual(await rolesConnected(servers), ["sensor_ledger_app", "sensor_ledger_reader"]);
    program.signal("SIGTERM");
    written.push((await program.succeeded(DONE_MS)).stderr);
  });

  await t.step("connections of readers cannot write, whatever the role may do", async () => {
    const env = servers.env("consumer");
    const { postgres } = readSettings(["postgres"], {
      env: (name) => env[name],
      readFile: Deno.readTextFileSync,
    });
    const query = {
      action: "write",
      text: "INSERT INTO sensor_events SELECT * FROM sensor_events LIMIT 0",
    };
    for (const access of ["read_write", "read_only"] as const) {
      const pool = openPool({ ...postgres, access });
      try {
        if (access === "read_write") await pool.query(query);
        else await assert.rejects(pool.query(query), { message: /read-only.*SQLSTATE 25006/ });
      } finally {
        await pool.close();
      }
    }
  });

  for (const [server, mistakes] of Object.entries(MISTAKES)) {
    for (const [name, env, says] of mistakes) {
      await t.step(`${server}, ${name}: one clear line, exit code 2, no loop`, async () => {
        const startMs = performance.now();
        assertRefused(await consumer(["run"], env(servers)), says);
        if (server === "kafka") assertRefused(await producer(["--count", "1"], env(servers)), says);
        assert(performance.now() - startMs < REFUSED_MS);
      });
    }
  }

  await t.step("PostgreSQL without TLS: the same", async () => {
    await servers.setPostgresTls("off");
    try {
      assertRefused(await consumer(["run"]), /does not speak TLS.*Check POSTGRES_TLS/);
    } finally {
      await servers.setPostgresTls("on");
    }
  });

  await t.step("Kafka without TLS: it waits, and says for what", async () => {
    // A broker that is about to start or stop looks the same.
    const env = { ...servers.env("consumer"), KAFKA_BROKER: servers.adminBroker };
    await using program = Program.consumer(["run"], env, [servers.readFlag]);
    await program.until(
      "it says so",
      () => program.said(/^Kafka at .* has not answered since .*secure TLS/) > 0,
      DONE_MS,
    );
    program.signal("SIGTERM");
    await program.succeeded(DONE_MS);
  });

  await t.step("rights that are not given are missed", async (t) => {
    const group = { KAFKA_GROUP_ID: "other" };
    await t.step("another group", async () => {
      assertRefused(await consumer(["run"], group), /no right to the group/);
    });
    await t.step("the consumer's user writes", async () => {
      const user = { KAFKA_USER: "consumer", KAFKA_PASSWORD: PASSWORDS.consumer };
      assertRefused(await producer(["--count", "1"], user), /no right to the topic/);
    });
    await t.step("the producer's user reads", async () => {
      const user = { KAFKA_USER: "producer", KAFKA_PASSWORD: PASSWORDS.producer };
      assertRefused(await consumer(["run"], user), /no right to the (group|topic)/);
    });
    await t.step("the producer makes a topic", async () => {
      const args = ["--count", "1", "--ensure-topic", "1"];
      assertRefused(await producer(args, { TOPIC_NAME: "new" }), /no right|lacks a right/);
    });
    const forbidden: [role: string, text: string][] = [
      ["app", "DELETE FROM sensor_events"],
      ["app", "UPDATE sensor_events SET value = 0"],
      ["app", "DELETE FROM dead_letters"],
      ["app", "UPDATE data_set SET id = id"],
      ["app", "TRUNCATE sensor_events"],
      ["app", "DROP TABLE ledger"],
      ["app", "CREATE TABLE t (n integer)"],
      ["operator", "UPDATE sensor_events SET value = 0"],
      ["operator", "ALTER TABLE ledger ADD COLUMN n integer"],
      ["reader", "INSERT INTO data_set DEFAULT VALUES"],
    ];
    for (const [role, text] of forbidden) {
      await t.step(`sensor_ledger_${role}: ${text}`, async () => {
        await servers.asSuperuser(async (session) => {
          await session.query(`SET ROLE sensor_ledger_${role}`);
          await assert.rejects(session.query(text), {
            message: /permission denied|must be owner/,
          });
        });
      });
    }
  });

  await t.step("no secret in anything that was written, at level debug", () => {
    const text = written.join("\n");
    assert(text.length > 10_000, "there is something to look at");
    for (const secret of [...Object.values(PASSWORDS), "mistaken"]) {
      for (const form of [secret, encodeURIComponent(secret), btoa(secret)]) {
        assert(!text.includes(form), `${form} was written`);
      }
    }
  });
});

/** Who has connections to the database now. */
async function rolesConnected(servers: SecureServers): Promise<readonly unknown[]> {
  const { rows } = await servers.asSuperuser((session) =>
    session.query(
      `SELECT DISTINCT usename FROM pg_stat_activity
       WHERE datname = current_database() AND usename LIKE 'sensor_ledger%' ORDER BY usename`,
    )
  );
  return rows.map(({ usename }) => usename);
}

/** One line says what is wrong; the log adds no warning or error of its own. */
function assertRefused(ended: Ended, says: RegExp): void {
  const lines = ended.stderr.split("\n")
    .filter((line) => line !== "" && !/^{.*"level":"(debug|info)"/.test(line));
  assert.equal(ended.code, 2, ended.stderr);
  assert.equal(lines.length, 1, ended.stderr);
  assert.match(lines[0]!, says);
}
