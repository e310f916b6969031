/**
 * Who we are to strict servers, beside passwords: certificates of our own, tokens, rights that come
 * and go, and brokers at IPv6 addresses.
 */
import assert from "node:assert/strict";
import { DONE_MS } from "./real_pipeline.ts";
import { type Ended, type Environment, Program } from "./processes.ts";
import { PASSWORDS, SecureServers } from "./secure_servers.ts";

/** A refusal is told at once and not tried again and again. */
const REFUSED_MS = 20_000;

/** Life of a token whose renewal is to be seen, seconds. */
const SHORT_LIFE_SECONDS = 25;

type Server = "KAFKA" | "POSTGRES" | "REDIS";

Deno.test("certificates, tokens and rights on strict servers", async (t) => {
  await using servers = await SecureServers.start();
  const { certificates, tokens } = servers;
  const written: string[] = [];

  const start = (env: Environment, args: readonly string[] = ["run"]): Program =>
    Program.consumer(args, env, [servers.readFlag]);
  const ended = async (program: Program): Promise<Ended> => {
    await using running = program;
    const end = await running.ended(DONE_MS);
    written.push(end.stdout, end.stderr);
    return end;
  };
  const consumer = (env: Environment, args: readonly string[]): Promise<Ended> =>
    ended(start(env, args));
  const produce = async (env: Environment): Promise<void> => {
    const end = await ended(Program.producer(["--count", "50", "--rate", "0"], env));
    assert.equal(end.code, 0, end.stderr);
  };
  const assertStored = async (env: Environment): Promise<void> => {
    await produce(servers.env("producer"));
    const end = await consumer(env, ["run", "--until-end"]);
    assert.equal(end.code, 0, end.stderr);
    const { lagMessages } = JSON.parse(
      (await consumer(servers.env("consumer"), ["status", "--json"])).stdout,
    );
    assert.equal(lagMessages, 0);
  };
  const assertRefused = async (env: Environment, says: RegExp): Promise<void> => {
    const startMs = performance.now();
    const { code, stderr } = await consumer(env, ["run"]);
    const lines = stderr.split("\n")
      .filter((line) => line !== "" && !/^{.*"level":"(debug|info)"/.test(line));
    assert.equal(code, 2, stderr);
    assert.equal(lines.length, 1, stderr);
    assert.match(lines[0]!, says);
    assert(performance.now() - startMs < REFUSED_MS);
  };
  /** Waits until a consumer has said what it waits for, and for the end of that. */
  const assertWaits = async (
    env: Environment,
    { disturb, mend, says }: {
      disturb: (program: Program) => Promise<void>;
      mend: (program: Program) => Promise<void>;
      says: RegExp;
    },
  ): Promise<void> => {
    await using program = start(env);
    await program.until("it runs", () => program.said("partitions assigned") > 0, DONE_MS);
    await disturb(program);
    await program.until("it says so", () => program.said(says) > 0, 60_000);
    const joined = program.said("partitions assigned");
    await mend(program);
    await produce(servers.env("producer"));
    await program.until("it goes on", () => program.said("partitions assigned") > joined, 60_000);
    program.signal("SIGTERM");
    written.push((await program.succeeded(DONE_MS)).stderr);
  };

  await t.step("the tables", async () => {
    const env = { ...servers.env("consumer"), POSTGRES_USER: "sensor_ledger_migrator" };
    const end = await consumer(env, ["migrate"]);
    assert.equal(end.code, 0, end.stderr);
    await servers.applyRoles();
  });

  await t.step("brokers at an IPv6 address, which they also advertise", async () => {
    await produce(servers.ipv6Env("producer"));
    await assertStored(servers.ipv6Env("consumer"));
    const doctor = await consumer(servers.ipv6Env("consumer"), ["doctor"]);
    assert.match(doctor.stdout, /^ok +kafka +leaders +all leaders answer/m);
  });

  await t.step("a certificate of our own, shown to all three servers", async () => {
    await assertStored(servers.mutualEnv());
    const doctor = await consumer(servers.mutualEnv(), ["doctor"]);
    assert.doesNotMatch(doctor.stdout, /^failure /m);
  });

  const pick = (env: Environment, server: Server): Environment =>
    Object.fromEntries(
      Object.entries(env).filter(([name]) => name.startsWith(`${server}_TLS_`)),
    );
  const none = (server: Server): Environment => ({
    [`${server}_TLS_CERT`]: "",
    [`${server}_TLS_KEY`]: "",
  });
  const wrong: readonly [name: string, server: Server, env: Environment, says: RegExp][] = [
    ["none", "KAFKA", none("KAFKA"), /requires a client certificate/],
    [
      "none",
      "POSTGRES",
      none("POSTGRES"),
      /requires a valid client certificate.*POSTGRES_TLS_CERT/,
    ],
    ["none", "REDIS", none("REDIS"), /CertificateRequired.*REDIS_TLS_CERT/],
    ...(["KAFKA", "POSTGRES", "REDIS"] as const).flatMap((server) =>
      [
        [
          "of another authority",
          server,
          pick(servers.mutualEnv(certificates.strangerClient), server),
          new RegExp(`${server}_TLS_CERT and ${server}_TLS_KEY`),
        ],
        [
          "expired",
          server,
          pick(servers.mutualEnv(certificates.expiredClient), server),
          new RegExp(`${server}_TLS_CERT and ${server}_TLS_KEY`),
        ],
      ] as [string, Server, Environment, RegExp][]
    ),
    [
      "revoked",
      "POSTGRES",
      pick(servers.mutualEnv(certificates.revokedClient), "POSTGRES"),
      /our client certificate has been revoked.*Check POSTGRES_TLS_CERT/,
    ],
  ];
  for (const [name, server, env, says] of wrong) {
    await t.step(`${server}, a certificate ${name}: one clear line, exit code 2`, async () => {
      await assertRefused({ ...servers.mutualEnv(), ...env }, says);
    });
  }

  await t.step("a token in the place of a password", async () => {
    await assertStored(servers.tokenEnv());
  });

  const refusedTokens: readonly [name: string, () => Environment, RegExp][] = [
    [
      "the token server refuses us",
      () => ({ KAFKA_OAUTH_CLIENT_SECRET: "mistaken" }),
      /token server answers 401 invalid_client; check KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET/,
    ],
    [
      "there is no token server",
      () => ({ KAFKA_OAUTH_TOKEN_URL: tokens.keysUrl }),
      /the token server's answer contains none; check KAFKA_OAUTH_TOKEN_URL/,
    ],
    [
      "the brokers refuse the token",
      () => {
        tokens.mode = "of another key";
        return {};
      },
      /the brokers refuse the token \(.*invalid_token/,
    ],
  ];
  for (const [name, change, says] of refusedTokens) {
    await t.step(`${name}: one clear line, exit code 2`, async () => {
      try {
        await assertRefused({ ...servers.tokenEnv(), ...change() }, says);
      } finally {
        tokens.mode = "good";
      }
    });
  }

  await t.step("a token server that is away at the start is waited for", async () => {
    tokens.mode = "away";
    using _ = { [Symbol.dispose]: () => void (tokens.mode = "good") };
    await using program = start(servers.tokenEnv());
    await program.until("it says so", () => program.said(/^waiting: .*answers 503/) > 0, DONE_MS);
    tokens.mode = "good";
    await program.until("it runs", () => program.said("partitions assigned") > 0, DONE_MS);
    program.signal("SIGTERM");
    await program.succeeded(DONE_MS);
  });

  await t.step("a token is renewed before it ends, on connections that stay", async () => {
    tokens.lifeSeconds = SHORT_LIFE_SECONDS;
    await using program = start(servers.tokenEnv());
    await program.until("it runs", () => program.said("partitions assigned") > 0, DONE_MS);
    const given = tokens.given;
    await program.until("several tokens", () => tokens.given > given + 4, 90_000);
    assert.equal(program.said("partitions assigned"), 1, "it never had to join again");
    assert.equal(program.said(/^waiting/), 0);
    program.signal("SIGTERM");
    written.push((await program.succeeded(DONE_MS)).stderr);
  });

  await t.step("a token that is refused while it runs is told and waited for", async () => {
    await assertWaits(servers.tokenEnv(), {
      disturb: () => {
        tokens.mode = "refused";
        return Promise.resolve();
      },
      mend: () => {
        tokens.mode = "good";
        return Promise.resolve();
      },
      says: /^waiting: .*token server answers 401 invalid_client/,
    });
    tokens.lifeSeconds = 3_600;
  });

  await t.step("a right that is taken away is told and waited for", async () => {
    await assertWaits(servers.env("consumer"), {
      disturb: () => servers.setGroupRight("remove"),
      mend: () => servers.setGroupRight("add"),
      says: /^waiting: .*no right to the group; grant READ on it/,
    });
  });

  await t.step("no secret in anything that was written, at level debug", () => {
    const text = written.join("\n");
    for (const secret of [...Object.values(PASSWORDS), "mistaken", "PRIVATE KEY"]) {
      for (const form of [secret, encodeURIComponent(secret), btoa(secret)]) {
        assert(!text.includes(form), `${form} was written`);
      }
    }
  });
});
