/**
 * The parts of the stack that need no server: its plan, its configuration files, and the handling
 * of processes, with other programs in the place of servers.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { exchange } from "../tools/stack/exchange.ts";
import { brokerProperties, brokersInMetadata, newClusterId } from "../tools/stack/kafka.ts";
import { findProgram, lastLines, runProgram } from "../tools/stack/program.ts";
import { type Server, serverPid, startServer, stopServer } from "../tools/stack/server.ts";
import {
  planStack,
  PORTS_DEFAULT,
  type StackOptions,
  stackSettings,
  type StoredPlan,
} from "../tools/stack/stack.ts";

const STORED: StoredPlan = {
  dir: "/data",
  ports: { kafka: 19092, postgres: 15432, redis: 16379 },
  kinds: ["postgres"],
  brokers: 1,
  clusterId: "AAAAAAAAAAAAAAAAAAAAAA",
};

Deno.test("planStack() completes what was asked for", async (t) => {
  const cases: [name: string, options: Partial<StackOptions>, want: Partial<StoredPlan>][] = [
    ["nothing stored", {}, {
      ports: PORTS_DEFAULT,
      kinds: ["kafka", "postgres", "redis"],
      brokers: 1,
    }],
    ["one port given", { ports: { redis: 7000 } }, { ports: { ...PORTS_DEFAULT, redis: 7000 } }],
    ["some kinds given", { only: ["redis"] }, { kinds: ["redis"] }],
    ["three brokers", { brokers: 3 }, { brokers: 3 }],
  ];
  for (const [name, options, want] of cases) {
    await t.step(name, () => {
      const plan = planStack({ dir: "/data", ...options });
      assert.deepEqual({ ...plan, ...want }, plan);
    });
  }
});

Deno.test("planStack() keeps the ports, the cluster and the kinds that a stack had", () => {
  const plan = planStack({ dir: "/data", only: ["redis"], ports: { redis: 7000 } }, STORED);
  assert.deepEqual(plan, {
    ...STORED,
    ports: { kafka: 19092, postgres: 15432, redis: 7000 },
    kinds: ["postgres", "redis"],
  });
});

Deno.test("planStack() refuses a plan that cannot work", async (t) => {
  const cases: [name: string, options: Partial<StackOptions>, message: RegExp][] = [
    ["no broker", { brokers: 0 }, /Cannot plan 0 brokers: from 1 to 3/],
    ["too many brokers", { brokers: 4 }, /Cannot plan 4 brokers/],
    ["half a broker", { brokers: 1.5 }, /Cannot plan 1.5 brokers/],
    ["two servers on one port", { ports: { redis: 5432 } }, /Cannot use port 5432/],
    ["redis on the controller's port", { ports: { redis: 9093 } }, /Cannot use port 9093/],
    ["port 0", { ports: { redis: 0 } }, /Cannot use port 0/],
    ["controller's port too large", { ports: { kafka: 65_535 } }, /Cannot use port 65536/],
  ];
  for (const [name, options, message] of cases) {
    await t.step(name, () => {
      const plan = (): unknown => planStack({ dir: "/data", ...options });
      assert.throws(plan, { name: "ConfigurationError", message });
    });
  }
  await t.step("another number of brokers than the data were made for", () => {
    const plan = (): unknown => planStack({ dir: "/data", brokers: 3 }, STORED);
    assert.throws(plan, { name: "ConfigurationError", message: /it was made for 1/ });
  });
});

Deno.test("stackSettings() names what the plan has, and nothing else", async (t) => {
  await t.step("three brokers alone", () => {
    const plan: StoredPlan = { ...STORED, kinds: ["kafka"], brokers: 3 };
    assert.deepEqual(stackSettings(plan, "readings"), {
      KAFKA_BROKER: "127.0.0.1:19092,127.0.0.1:19094,127.0.0.1:19096",
      TOPIC_NAME: "readings",
    });
  });
  await t.step("all kinds", () => {
    const settings = stackSettings(
      { ...STORED, kinds: ["kafka", "postgres", "redis"] },
      "readings",
    );
    assert.equal(settings.POSTGRES_PORT, "15432");
    assert.equal(settings.REDIS_PORT, "16379");
    assert.equal(settings.KAFKA_BROKER, "127.0.0.1:19092");
  });
});

Deno.test("brokerProperties() makes topics survive one broker where there are three", async (t) => {
  const place = (nodeId: number): Parameters<typeof brokerProperties>[1] => ({
    nodeId,
    dir: `/data/kafka-${nodeId}`,
    port: 9090 + 2 * nodeId,
    controllerPort: 9091 + 2 * nodeId,
  });
  const cases: [name: string, brokers: number, want: string[]][] = [
    ["one broker", 1, [
      "controller.quorum.voters=1@127.0.0.1:9093",
      "min.insync.replicas=1",
      "offsets.topic.replication.factor=1",
      "auto.create.topics.enable=false",
    ]],
    ["three brokers", 3, [
      "controller.quorum.voters=1@127.0.0.1:9093,2@127.0.0.1:9095,3@127.0.0.1:9097",
      "min.insync.replicas=2",
      "offsets.topic.replication.factor=3",
      "node.id=3",
      "advertised.listeners=PLAINTEXT://127.0.0.1:9096",
    ]],
  ];
  for (const [name, count, want] of cases) {
    await t.step(name, () => {
      const brokers = Array.from({ length: count }, (_, index) => place(index + 1));
      const lines = brokerProperties({ id: STORED.clusterId, brokers }, place(count)).split("\n");
      assert.deepEqual(want.filter((line) => !lines.includes(line)), []);
    });
  }
});

Deno.test("brokerProperties() sends clients of a detour to the proxy, and nobody else", () => {
  const detour = { port: 9094, proxyPort: 40_000 };
  const broker = { nodeId: 1, dir: "/data", port: 9092, controllerPort: 9093, detour };
  const lines = brokerProperties({ id: STORED.clusterId, brokers: [broker] }, broker).split("\n");
  const want = [
    "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093,DETOUR://127.0.0.1:9094",
    "advertised.listeners=PLAINTEXT://127.0.0.1:9092,DETOUR://127.0.0.1:40000",
    "inter.broker.listener.name=PLAINTEXT",
  ];
  assert.deepEqual(want.filter((line) => !lines.includes(line)), []);
});

Deno.test("newClusterId() is what Kafka takes for one", () => {
  // Every 64th id would begin with a dash.
  for (let count = 0; count < 2_000; count++) {
    assert.match(newClusterId(), /^[A-Za-z0-9_][A-Za-z0-9_-]{21}$/);
  }
});

Deno.test("brokersInMetadata() reads the count behind size, correlation id and throttle time", () => {
  const bytes = new Uint8Array([9, 9, 9, 0, 0, 0, 99, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3]);
  assert.equal(brokersInMetadata(bytes.subarray(3)), 3);
});

Deno.test("exchange() puts an answer together from its pieces", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serve = async (): Promise<void> => {
    using connection = await listener.accept();
    await connection.read(new Uint8Array(8));
    for (const piece of ["+P", "ON", "G"]) await connection.write(bytesOf(piece));
    await connection.read(new Uint8Array(1));
  };
  const [answer] = await Promise.all([exchange(portOf(listener), bytesOf("PING"), 5), serve()]);
  assert.equal(new TextDecoder().decode(answer), "+PONG");
});

Deno.test("exchange() refuses an answer that ends early", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serve = async (): Promise<void> => {
    using connection = await listener.accept();
    await connection.read(new Uint8Array(8));
    await connection.write(bytesOf("+PO"));
  };
  const asked = exchange(portOf(listener), bytesOf("PING"), 5);
  const refused = assert.rejects(asked, { name: "Error", message: /the connection was closed/ });
  await Promise.all([refused, serve()]);
});

Deno.test("findProgram() looks in the given directories first", async () => {
  await withDir(async (dir) => {
    await Deno.writeTextFile(join(dir, "sh"), "");
    const path = await findProgram({ name: "sh", dirs: ["/nowhere", dir], install: "-" });
    assert.equal(path, join(dir, "sh"));
  });
});

Deno.test("findProgram() names the command that installs what is missing", async () => {
  const found = findProgram({ name: "no-such-program", install: "apt-get install -y it" });
  await assert.rejects(found, {
    name: "ConfigurationError",
    message: 'Cannot find the program no-such-program: install it with "apt-get install -y it"',
  });
});

Deno.test("runProgram() gives the output, or says why there is none", async (t) => {
  await t.step("success", async () => {
    assert.equal(
      await runProgram(["/bin/sh", "-c", "echo $WORD"], { env: { WORD: "hi" } }),
      "hi\n",
    );
  });
  await t.step("failure", async () => {
    const run = runProgram(["/bin/sh", "-c", "echo bad luck >&2; exit 3"]);
    await assert.rejects(run, {
      name: "Error",
      message: "Cannot run /bin/sh: exit code 3: bad luck",
    });
  });
});

Deno.test("lastLines() drops blank lines and what comes before", () => {
  assert.equal(lastLines("a\nb\n\nc\n \n", 2), "b\nc");
});

Deno.test("startServer() starts a server once, and stopServer() ends it", async () => {
  await withDir(async (dir) => {
    const server = patientServer(dir);
    assert.equal(await startServer(server), "started");
    const pid = await serverPid(server);
    assert.equal(await startServer(server), "running");
    assert.equal(await serverPid(server), pid);
    assert.equal(await stopServer(server), "stopped");
    assert.equal(await serverPid(server), undefined);
    assert.equal(await stopServer(server), "was not running");
  });
});

Deno.test("startServer() keeps a server out of reach of Ctrl-C in our terminal", async () => {
  await withDir(async (dir) => {
    const server = patientServer(dir);
    await startServer(server);
    try {
      const pids = [Deno.pid, await serverPid(server)].join(",");
      const groups = (await runProgram(["ps", "-o", "pgid=", "-p", pids])).trim().split(/\s+/);
      assert.equal(new Set(groups).size, 2, `process groups ${groups}`);
    } finally {
      await stopServer(server);
    }
  });
});

Deno.test("startServer() says how a server ended that cannot start", async () => {
  await withDir(async (dir) => {
    const server = { ...testServer(dir, ["/bin/sh", "-c", "echo no luck", dir]), ask: never };
    const message = /^Cannot start dummy: it ended; see .*server\.log: no luck$/;
    await assert.rejects(startServer(server), { name: "Error", message });
  });
});

Deno.test("startServer() does not start a server whose port is taken", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const port = portOf(listener);
  await withDir(async (dir) => {
    const server = { ...patientServer(dir), ports: [port] };
    const message = new RegExp(`^Cannot start dummy: port ${port} is taken by another program`);
    await assert.rejects(startServer(server), { name: "ConfigurationError", message });
  });
});

Deno.test("stopServer() leaves alone a process that only has the old process id", async () => {
  await withDir(async (dir) => {
    await Deno.writeTextFile(join(dir, "server.pid"), String(Deno.pid));
    assert.equal(await stopServer(patientServer(dir), "SIGKILL"), "was not running");
  });
});

/** A program in the place of a server that answers at once. */
function testServer(dir: string, command: readonly string[]): Server {
  return {
    name: "dummy",
    dir,
    ports: [],
    marker: dir,
    stopSignal: "SIGTERM",
    prepare: () => Promise.resolve(command),
    ask: () => Promise.resolve(),
  };
}

/** A server that runs until it is ended. */
function patientServer(dir: string): Server {
  return testServer(dir, ["tail", "-f", "/dev/null", dir]);
}

function never(): Promise<void> {
  return Promise.reject(new Error("Cannot ask: no answer"));
}

async function withDir(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await work(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function portOf(listener: Deno.Listener): number {
  return (listener.addr as Deno.NetAddr).port;
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
