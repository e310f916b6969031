/**
 * Both images, built from the Dockerfile and run as a person runs them: as nobody, on a read-only
 * root, without capabilities, with the memory of a small machine. `deno task test:images` gives them
 * servers of their own.
 */
import assert from "node:assert/strict";
import { freePort } from "../../tools/stack/free_ports.ts";
import { IMAGE_PROGRAMS } from "../../tools/images.ts";
import { STOP_MARGIN_MS, VERSION } from "../../lib/program.ts";
import { type Ended, pass } from "../integration/processes.ts";
import { testSettings } from "../integration/test_stack.ts";
import { Engine } from "./engine.ts";

/** A backlog for which a consumer with 256 MB is killed. */
const BACKLOG_MESSAGES = 200_000;

/** Most that the packages and one program take, bytes. */
const ADDED_BYTES_MAX = 48 * 1_024 ** 2;

/** How long a consumer may take to its first answer. */
const START_MS_MAX = 30_000;

const STOP_MS_MAX = 5_000 + STOP_MARGIN_MS;

/** A command that has to succeed; what it says. */
async function succeeded(ended: Promise<Ended>): Promise<string> {
  const { code, stdout, stderr } = await ended;
  assert.equal(code, 0, stdout + stderr);
  return stdout;
}

function settings(httpPort: number): Readonly<Record<string, string>> {
  const { kafka, postgres, redis } = testSettings();
  return {
    KAFKA_BROKER: kafka.brokers.join(","),
    TOPIC_NAME: kafka.topic,
    POSTGRES_HOST: postgres.host,
    POSTGRES_PORT: String(postgres.port),
    POSTGRES_DB: postgres.database,
    POSTGRES_USER: postgres.user,
    REDIS_HOST: redis.host,
    REDIS_PORT: String(redis.port),
    HTTP_PORT: String(httpPort),
  };
}

Deno.test("the images are built, and do all of it", async (t) => {
  await using engine = await Engine.open();
  const port = freePort();
  const dir = await Deno.makeTempDir();
  const secret = `${dir}/postgres_password`;
  await Deno.writeTextFile(secret, testSettings().postgres.password);
  const options = {
    env: { ...settings(port), POSTGRES_PASSWORD_FILE: "/run/secrets/postgres_password" },
    flags: ["--volume", `${secret}:/run/secrets/postgres_password:ro`],
  };
  const consumer = (...args: string[]): Promise<Ended> => engine.run("consumer", args, options);

  for (const program of IMAGE_PROGRAMS) {
    await t.step(`${program}: built with ${engine.name}, labelled, and small`, async () => {
      await engine.build(program);
      const labels = JSON.parse(await engine.inspect(program, "{{json .Config.Labels}}"));
      assert.equal(labels["org.opencontainers.image.title"], `sensor-ledger-${program}`);
      assert.equal(labels["org.opencontainers.image.version"], VERSION);
      const added = await engine.addedBytes(program);
      assert(added < ADDED_BYTES_MAX, `${added} bytes`);
    });
  }
  await t.step("the packages are one layer of both", async () => {
    const layers = await Promise.all(
      IMAGE_PROGRAMS.map(async (program): Promise<string[]> =>
        JSON.parse(await engine.inspect(program, "{{json .RootFS.Layers}}"))
      ),
    );
    const [ones, others] = layers as [string[], string[]];
    const shared = ones.filter((layer) => others.includes(layer));
    assert.deepEqual(shared, ones.slice(0, -2), "all but Deno's cache and the program");
  });
  await t.step("migrate, by a password in a file", async () => {
    assert.match(await succeeded(consumer("migrate")), /applied 001_/);
  });
  await t.step("produce", async () => {
    const args = ["--count", String(BACKLOG_MESSAGES), "--rate", "0"];
    await succeeded(engine.run("producer", args, options));
  });
  await t.step("doctor, on a terminal that nobody asks anything", async () => {
    const flags = [...options.flags, "--tty"];
    const said = await succeeded(engine.run("consumer", ["doctor"], { ...options, flags }));
    assert.doesNotMatch(said, /Deno requests|Allow\?/);
  });
  await t.step("consume: catches up with the memory that the README says", async () => {
    await succeeded(consumer("run", "--until-end"));
    const { partitions } = JSON.parse(await succeeded(consumer("verify", "--json")));
    const passed = partitions.map(({ next }: { readonly next: string }): number => Number(next));
    assert.equal(passed.reduce((sum: number, next: number) => sum + next, 0), BACKLOG_MESSAGES);
  });
  await t.step("consume: is healthy, found at its port, and stops in time", async () => {
    await using running = engine.start("consumer", options);
    const untilMs = performance.now() + START_MS_MAX;
    while (!await running.isHealthy(engine.name)) {
      assert(performance.now() < untilMs, await running.logs());
      await pass(250);
    }
    const answer = await fetch(`http://localhost:${port}/healthz`);
    assert.equal(answer.status, 200, await answer.text());
    assert.match(await running.logs(), new RegExp(`http://localhost:${port}`));
    const { exitCode, tookMs } = await running.stop();
    assert.equal(exitCode, 0, await running.logs());
    assert(tookMs < STOP_MS_MAX, `${tookMs} ms`);
  });
  await t.step(
    "a program that takes more than its memory is killed, so the above says something",
    async () => {
      const killed = await engine.run("consumer", ["doctor"], { ...options, memoryMegabytes: 32 });
      assert.equal(killed.code, 137, killed.stdout + killed.stderr);
    },
  );
  await Deno.remove(dir, { recursive: true });
});
