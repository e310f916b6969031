/** What consumers, producers and the demo show of themselves, on real servers. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { generate, MIXED } from "../../campaign/generated_messages.ts";
import { Program } from "./processes.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";

const MESSAGES = 3_000;
const SEED = 5;

/** How many clients ask for nothing and stay. */
const SLOW_CLIENTS = 500;

function freePort(): string {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return String((listener.addr as Deno.NetAddr).port);
}

// deno-lint-ignore no-explicit-any -- tests/http_api_test.ts compares answers with their schema
async function json(url: string): Promise<any> {
  return await (await fetch(url)).json();
}

async function statusOf(url: string): Promise<number> {
  const response = await fetch(url).catch(() => undefined);
  await response?.body?.cancel();
  return response?.status ?? 0;
}

const PROMTOOL = "promtool";

function hasPromtool(): boolean {
  const dirs = (Deno.env.get("PATH") ?? "").split(":");
  return dirs.some((dir) => existsSync(`${dir}/${PROMTOOL}`));
}

/** What Prometheus's own tool says about metrics. */
async function promtool(metrics: string): Promise<string> {
  const child = new Deno.Command(PROMTOOL, {
    args: ["check", "metrics"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(metrics));
  await writer.close();
  const { stdout, stderr } = await child.output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

Deno.test("a consumer shows its work on real servers", async (t) => {
  await using pipeline = await RealPipeline.open();
  await pipeline.send(generate(MESSAGES, MIXED, SEED));
  const port = freePort();
  const url = `http://127.0.0.1:${port}`;
  await using consumer = pipeline.consumer(["run"], { HTTP_PORT: port });
  await pipeline.reached(consumer, MESSAGES);

  await t.step(
    "/readyz says yes",
    () => consumer.until("ready", async () => await statusOf(`${url}/readyz`) === 200, DONE_MS),
  );

  await t.step("/api/status sees three servers, no lag, and a ledger that adds up", async () => {
    await consumer.until("no lag", async () => {
      const { lag, ledger, servers } = await json(`${url}/api/status`);
      // A machine with much to do has Redis answer too late for a while.
      if (servers.redis.state === "degraded") return false;
      return ledger.passed === MESSAGES && lag.messages === 0;
    }, DONE_MS);
    const { servers, ledger, sinceStart, topic } = await json(`${url}/api/status`);
    for (const name of ["kafka", "redis", "postgres"]) {
      assert.equal(servers[name].state, "ok", `${name}: ${JSON.stringify(servers[name])}`);
    }
    assert.equal(ledger.unaccounted, 0);
    assert.equal(sinceStart.messages, MESSAGES);
    assert.equal(sinceStart.inserted, await pipeline.rowCount());
    assert.equal(topic, pipeline.topic);
  });

  await t.step("/api/sensors are those of Redis, and one has a history", async () => {
    const { sensors, source, total } = await json(`${url}/api/sensors?limit=5`);
    assert.equal(source, "redis");
    const [row] = await pipeline.query("SELECT count(DISTINCT sensor_id) AS n FROM sensor_events");
    assert.equal(total, Number(row!.n));
    const path = `/api/sensors/${sensors[0].sensorId}/readings?from=2026-01-01&to=2026-12-31`;
    const { points } = await json(url + path);
    assert.ok(points.length > 0);
  });

  await t.step({
    name: "promtool finds no fault in /metrics",
    ignore: !hasPromtool(),
    fn: async () => {
      const text = await (await fetch(`${url}/metrics`)).text();
      assert.match(text, /^sensor_ledger_messages_total/m);
      assert.equal(await promtool(text), "");
    },
  });

  await t.step("a second consumer on the same port goes without a page", async () => {
    await using second = pipeline.consumer(["run"], { HTTP_PORT: port });
    await second.until("assigned", () => second.said("partitions assigned") > 0, DONE_MS);
    assert.equal(second.said("there is no dashboard"), 1);
  });

  await t.step("a page is there for others while many hold connections open", async () => {
    const sockets: Socket[] = [];
    for (let opened = 0; opened < SLOW_CLIENTS; opened++) {
      const socket = connect(Number(port), "127.0.0.1");
      socket.on("error", () => {});
      sockets.push(socket);
    }
    await pipeline.send(generate(MESSAGES, MIXED, SEED + 1));
    await pipeline.reached(consumer, 2 * MESSAGES);
    assert.equal(await statusOf(`${url}/healthz`), 200);
    for (const socket of sockets) socket.destroy();
  });

  await t.step("SIGTERM ends it with exit code 0, whoever watches", async () => {
    const watching = await fetch(`${url}/api/events`);
    consumer.signal("SIGTERM");
    await consumer.succeeded(DONE_MS);
    await watching.body?.cancel().catch(() => {});
  });
});

Deno.test("a producer shows its work", async () => {
  await using pipeline = await RealPipeline.open();
  const port = freePort();
  const settings = { ...pipeline.env, PRODUCER_HTTP_PORT: port };
  await using producer = Program.producer(["--rate", "200"], settings);
  const acknowledged = /^sensor_ledger_producer_messages_total\{outcome="acknowledged"\} (\d+)$/m;
  await producer.until("acknowledged messages", async () => {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => undefined);
    return Number(acknowledged.exec(await response?.text() ?? "")?.[1] ?? 0) > 50;
  }, DONE_MS);
  assert.equal(await statusOf(`http://127.0.0.1:${port}/readyz`), 200);
  assert.equal(await statusOf(`http://127.0.0.1:${port}/`), 404);
  producer.signal("SIGTERM");
  await producer.succeeded(DONE_MS);
});

Deno.test("the demo verifies itself, and keeps its tables where it is told", async (t) => {
  const dir = await Deno.makeTempDir();
  try {
    const rows: number[] = [];
    for (const run of ["first", "again"]) {
      await t.step(run, async () => {
        const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
          args: [
            ...["run", "-q", "-A", "tools/demo.ts"],
            ...["--seconds", "2", "--rate", "300", "--keep", `${dir}/new/demo`],
          ],
          cwd: new URL("../..", import.meta.url),
          env: { HTTP_PORT: freePort(), NO_COLOR: "1" },
        }).output();
        const text = new TextDecoder().decode(stdout);
        assert.match(new TextDecoder().decode(stderr), /^Starting PostgreSQL in this process.*\n$/);
        assert.equal(code, 0, text);
        assert.match(text, /Dashboard: http:\/\/127\.0\.0\.1:\d+/);
        rows.push(Number(/the table holds ([\d,]+) rows/.exec(text)?.[1]?.replaceAll(",", "")));
      });
    }
    assert.ok(rows[0]! > 0 && rows[1]! > rows[0]!, String(rows));
    assert.deepEqual(Array.from(Deno.readDirSync(`${dir}/new/demo`), ({ name }) => name), [
      "postgres",
    ]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
