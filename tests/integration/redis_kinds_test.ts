/** Redis servers that are not one primary server, or do not do all that is asked of them. */
import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { idsOf, marksOf } from "../../fakes/mark_texts.ts";
import { systemClock } from "../../lib/clock.ts";
import { describeError } from "../../lib/errors.ts";
import { createLog } from "../../lib/log.ts";
import { openCache, type RedisCache } from "../../lib/redis/client.ts";
import { ours } from "../contracts/cache.ts";
import { PrivateRedis, until } from "./private_redis.ts";

function open(port: number): RedisCache {
  const log = createLog({ level: "info", format: "json", write: () => {}, clock: systemClock });
  const settings = { host: "127.0.0.1", port, password: undefined, ttlSeconds: 60 };
  return openCache(settings, { clock: systemClock, log });
}

const ID = "00000000-0000-4000-8000-000000000000";
const MARK = marksOf([{ id: ID, value: "1" }]);

/** A name that leads to one server, and later to another one. */
class Name implements AsyncDisposable {
  connections = 0;
  target: number;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((near) => {
    this.connections++;
    const far = connect(this.target, "127.0.0.1");
    near.pipe(far).pipe(near);
    for (const [socket, other] of [[near, far], [far, near]] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => other.destroy()).on("close", () => other.destroy());
    }
  });

  constructor(target: number) {
    this.target = target;
  }

  async listen(): Promise<number> {
    const listening = Promise.withResolvers<void>();
    this.#server.listen(0, "127.0.0.1", listening.resolve);
    await listening.promise;
    const address = this.#server.address();
    assert(address !== null && typeof address === "object");
    return address.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => closed.resolve());
    await closed.promise;
  }
}

Deno.test("a primary that became a replica is left, and the new primary is found by its name", async () => {
  await using former = await PrivateRedis.start();
  await using present = await PrivateRedis.start();
  await using name = new Name(former.port);
  await using cache = open(await name.listen());
  await cache.connected();
  await cache.remember(MARK, ours());
  await former.cli("REPLICAOF", "127.0.0.1", String(present.port));
  await until("the former primary is a replica", async () => {
    const lines = await former.cli("INFO", "replication");
    return lines.some((line) => line.startsWith("master_link_status:up"));
  });
  await assert.rejects(cache.remember(MARK, ours()), (error) => {
    assert.match(describeError(error), /READONLY .*Set REDIS_HOST to the primary server/);
    return true;
  });
  // Nobody has moved the name yet: each try connects again, and none makes more of it.
  assert.ok(name.connections < 10, `${name.connections} connections`);
  name.target = present.port;
  await until("the new primary is written to", async () => {
    await cache.remember(MARK, ours()).catch(() => {});
    return (await present.cli("EXISTS", `reading:${ID}`))[0] === "1";
  });
});

/** What doctor, the start and a running consumer say of a server. */
async function refusalOf(port: number): Promise<string> {
  await using running = open(port);
  await using starting = open(port);
  let refusal = "";
  await assert.rejects(starting.connected(), (error: Error) => {
    refusal = describeError(error);
    return error.name === "ConfigurationError";
  });
  await assert.rejects(running.marks(idsOf([ID])), (error: Error) => {
    assert.match(describeError(error), /Redis (Cluster|Sentinel)/);
    return error.name === "TransientError";
  });
  return refusal;
}

Deno.test("a node of Redis Cluster is refused plainly", async () => {
  const nodes = await Deno.makeTempFile({ prefix: "nodes-" });
  await Deno.remove(nodes);
  await using server = await PrivateRedis.start(
    ...["--cluster-enabled", "yes", "--cluster-config-file", nodes.slice("/tmp/".length)],
  );
  await server.cli("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
  await until("the cluster is up", async () => {
    return (await server.cli("CLUSTER", "INFO")).some((line) =>
      line.startsWith("cluster_state:ok")
    );
  });
  assert.match(await refusalOf(server.port), /node of Redis Cluster\. .*use a single server/);
  await server.kill();
  await Deno.remove(nodes);
});

Deno.test("a Redis Sentinel is refused plainly", async () => {
  await using primary = await PrivateRedis.start();
  const dir = await Deno.makeTempDir();
  const file = `${dir}/sentinel.conf`;
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  await Deno.writeTextFile(
    file,
    `bind 127.0.0.1\nport ${port}\ndir ${dir}\nsentinel monitor m 127.0.0.1 ${primary.port} 1\n`,
  );
  const sentinel = new Deno.Command("redis-server", {
    args: [file, "--sentinel"],
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    await until("the sentinel answers", async () => {
      await using cache = open(port);
      return await cache.connected().then(() => false, (error) => error.name !== "TransientError");
    });
    assert.match(await refusalOf(port), /Redis Sentinel and keeps no keys\. .*use a single server/);
  } finally {
    sentinel.kill("SIGKILL");
    await sentinel.status;
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("what a server does not do is said with its cure", async (t) => {
  await t.step("a command renamed", async () => {
    await using server = await PrivateRedis.start("--rename-command", "EVALSHA", "");
    await using cache = open(server.port);
    await cache.connected();
    await assert.rejects(cache.remember(MARK, ours()), (error) => {
      assert.match(
        describeError(error),
        /unknown command.*EVALSHA.*none of the needed commands renamed/,
      );
      return true;
    });
    await assert.rejects(cache.facts(), (error) => /renamed/.test(describeError(error)));
  });
  await t.step("a right that is missing, in a script and outside", async () => {
    await using server = await PrivateRedis.start();
    await using cache = open(server.port);
    await cache.connected();
    await server.cli("ACL", "SETUSER", "default", "-setex", "-mget");
    for (const call of [() => cache.remember(MARK, ours()), () => cache.marks(idsOf([ID]))]) {
      await assert.rejects(call, (error) => {
        assert.match(describeError(error), /permission|can't run.*security\/redis\.acl/);
        return true;
      });
    }
  });
  await t.step("a database that there is not", async () => {
    await using server = await PrivateRedis.start();
    const settings = { host: "127.0.0.1", port: server.port, password: undefined, ttlSeconds: 60 };
    const log = createLog({ level: "error", format: "json", write: () => {}, clock: systemClock });
    await using cache = openCache({ ...settings, database: 99 }, { clock: systemClock, log });
    await assert.rejects(cache.connected(), (error: Error) => {
      assert.match(describeError(error), /DB index is out of range\. Lower REDIS_DATABASE/);
      return error.name === "ConfigurationError";
    });
  });
});
