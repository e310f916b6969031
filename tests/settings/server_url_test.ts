import assert from "node:assert/strict";
import type { Settings } from "../../lib/settings/table.ts";
import { faultsOf, read, SPECIAL } from "./read_settings.ts";

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
