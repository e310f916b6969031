import assert from "node:assert/strict";
import {
  NotOneServerError,
  type RedisFault,
  redisFault,
  requireOneServer,
} from "../lib/redis/redis_fault.ts";

Deno.test("redisFault() says what an answer means and what to do", async (t) => {
  const rows: [answer: string, kind: RedisFault["kind"], cure: RegExp][] = [
    ["WRONGPASS invalid username-password pair or user is disabled.", "refusal", /REDIS_PASSWORD/],
    ["NOAUTH Authentication required.", "refusal", /REDIS_USER and REDIS_PASSWORD/],
    [
      "ERR AUTH <password> called without any password configured for the default user.",
      "refusal",
      /REDIS_PASSWORD/,
    ],
    ["NOPERM this user has no permissions to run the 'mget' command", "refusal", /redis\.acl/],
    [
      "ERR The user executing the script can't run this command or subcommand script: 1, on @user_script:2.",
      "refusal",
      /redis\.acl/,
    ],
    ["ERR unknown command `EVALSHA`, with args beginning with: `a`", "refusal", /Redis 6 or newer/],
    ["ERR unknown command 'HELLO', with args beginning with: ", "refusal", /Redis 6 or newer/],
    ["ERR Unknown Redis command called from script script: 1", "refusal", /renamed/],
    ["MOVED 3999 127.0.0.1:6381", "refusal", /Cluster is not supported/],
    ["ASK 3999 127.0.0.1:6381", "refusal", /Cluster is not supported/],
    ["CLUSTERDOWN Hash slot not served", "refusal", /Cluster is not supported/],
    ["CROSSSLOT Keys in request don't hash to the same slot", "refusal", /use a single server/],
    ["ERR Script attempted to access a non local key in a cluster node", "refusal", /Cluster/],
    ["ERR DB index is out of range", "refusal", /REDIS_DATABASE/],
    ["ERR SELECT is not allowed in cluster mode", "refusal", /REDIS_DATABASE/],
    ["READONLY You can't write against a read only replica.", "replica", /REDIS_HOST/],
    [
      "ERR Error running script (call to f_1): @user_script:9: @user_script: 9: " +
      "-READONLY You can't write against a read only replica.",
      "replica",
      /primary/,
    ],
    [
      "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
      "replica",
      /primary/,
    ],
    ["LOADING Redis is loading the dataset in memory", "busy", /is loading its data/],
    ["BUSY Redis is busy running a script.", "busy", /SCRIPT KILL/],
    ["OOM command not allowed when used memory > 'maxmemory'.", "busy", /Raise Redis's maxmemory/],
    ["MISCONF Redis is configured to save RDB snapshots", "busy", /disk/],
    ["NOREPLICAS Not enough good replicas to write.", "busy", /min-replicas-to-write/],
    ["ERR max number of clients reached", "busy", /maxclients/],
    ["WRONGTYPE Operation against a key holding the wrong kind of value", "busy", /REDIS_PREFIX/],
  ];
  for (const [answer, kind, cure] of rows) {
    await t.step(answer.slice(0, 40), () => {
      const inner = new Error(answer);
      for (const error of [inner, new Error("Cannot do it", { cause: inner })]) {
        const fault = redisFault(error);
        assert.equal(fault?.kind, kind);
        assert.match(fault.cure, cure);
        assert.doesNotMatch(fault.cure, /\.$/);
      }
    });
  }
  for (const unknown of [new Error("connect ECONNREFUSED"), new Error("NOSCRIPT No"), "text"]) {
    await t.step(`nothing of ${unknown}`, () => assert.equal(redisFault(unknown), undefined));
  }
});

Deno.test("requireOneServer() refuses what is no single server", () => {
  for (const mode of ["standalone", undefined]) requireOneServer(mode);
  for (const mode of ["cluster", "sentinel"]) {
    assert.throws(() => requireOneServer(mode), (error: Error) => {
      assert.match(redisFault(error)?.cure ?? "", /not supported: use a single server/);
      return error instanceof NotOneServerError;
    });
  }
});
