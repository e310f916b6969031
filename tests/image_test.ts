/**
 * The Dockerfile, as far as it can be looked at without an engine that builds it. What comes out of
 * it is tried in `images/images_test.ts`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { VERSION } from "../lib/program.ts";
import { readSettings } from "../lib/settings/read.ts";
import { copiesOf, only, parseDockerfile, wordsOf } from "./dockerfile.ts";

const ROOT = new URL("..", import.meta.url);

const STAGES = parseDockerfile(await Deno.readTextFile(new URL("Dockerfile", ROOT)));

const PROGRAMS = [["producer", "produce", "PRODUCER_HTTP_PORT"], [
  "consumer",
  "consume",
  "HTTP_PORT",
]] as const;

Deno.test("Dockerfile copies what is there and what .dockerignore lets through", async (t) => {
  const ignore = await Deno.readTextFile(new URL(".dockerignore", ROOT));
  const allowed = ignore.split("\n").filter((line) => line.startsWith("!"))
    .map((line) => line.slice(1));
  const copied = STAGES.flatMap(copiesOf).filter(({ stage }) => stage === undefined)
    .flatMap(({ sources }) => sources);
  for (const source of copied) {
    await t.step(source, async () => {
      await Deno.stat(new URL(source, ROOT));
      assert(allowed.includes(source), "the build would not see it");
    });
  }
  assert.deepEqual(allowed.toSorted(), [...new Set(copied)].toSorted(), "nothing more is sent");
});

Deno.test("Dockerfile pins Deno to the version that the tests run on", () => {
  const names = STAGES.map(({ name }) => name);
  const images = STAGES.map(({ from }) => from).filter((from) => !names.includes(from));
  assert.equal(images.length, 2);
  for (const image of images) {
    assert.match(image, /^denoland\/deno:(debian|distroless)-\d+\.\d+\.\d+$/);
    assert(image.endsWith(`-${Deno.version.deno}`), image);
  }
});

Deno.test("Dockerfile makes images that run as nobody, with the program's permissions", async (t) => {
  const base = STAGES.find((one) => one.name === "base")!;
  assert.match(base.from, /:distroless-/);
  assert.match(only(base, "USER"), /^[1-9]\d*:[1-9]\d*$/);
  for (const [name, permissions] of PROGRAMS) {
    await t.step(name, () => {
      const stage = STAGES.find((one) => one.name === name)!;
      assert.equal(stage.from, base.name);
      // A shell, or something that is installed, would be found here.
      const instructions = [...base.instructions, ...stage.instructions];
      assert(!instructions.some((one) => one.name === "RUN"));
      assert(copiesOf(stage).every((copy) => copy.stage === `${name}-parts`));
      const entry = wordsOf(only(stage, "ENTRYPOINT"));
      assert.deepEqual(entry.slice(0, 4), ["/tini", "--", "deno", "run"]);
      assert(entry.includes("--cached-only"), "it never asks a registry");
      assert.deepEqual(entry.slice(-2), [`-P=${permissions}`, `main_${name}.ts`]);
      assert.doesNotMatch(entry.join(" "), /-A\b|--allow/);
    });
  }
});

Deno.test("Dockerfile fetches the packages in a stage that knows no code", () => {
  const fetching = STAGES.flatMap(({ name, instructions }) =>
    instructions.filter((one) => one.name === "RUN" && !one.rest.includes("--cached-only"))
      .map(() => name)
  );
  assert.deepEqual(fetching, ["packages"]);
  const [packages] = STAGES;
  assert.deepEqual(copiesOf(packages!).flatMap(({ sources }) => sources), [
    "deno.json",
    "deno.lock",
  ]);
});

Deno.test("Dockerfile's labels name the version, and a port that is served", () => {
  const base = STAGES.find((one) => one.name === "base")!;
  assert(only(base, "LABEL").includes(`org.opencontainers.image.version="${VERSION}"`));
  const consumer = STAGES.find((one) => one.name === "consumer")!;
  const settings = readSettings(["consumer"], { env: () => undefined });
  assert.equal(Number(only(consumer, "EXPOSE")), settings.consumer.httpPort);
});

Deno.test("Dockerfile's health check asks the program", async (t) => {
  let path: string | undefined;
  const server = createServer((request, answer) => {
    path = request.url;
    answer.writeHead(status).end('{"ok":true}');
  });
  let status = 200;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { readonly port: number };
  for (const [name, _, setting] of PROGRAMS) {
    const stage = STAGES.find((one) => one.name === name)!;
    const rest = only(stage, "HEALTHCHECK");
    assert.match(
      rest,
      /^--interval=\d+s --timeout=[4-9]s --start-period=\d+s --retries=\d+ CMD \[/,
    );
    const check = async (env: Readonly<Record<string, string>>): Promise<number> => {
      const [deno, ...args] = wordsOf(rest);
      assert.equal(deno, "deno");
      const command = new Deno.Command(Deno.execPath(), { args, cwd: ROOT, env });
      return (await command.output()).code;
    };
    await t.step(`${name}: well`, async () => {
      path = undefined;
      assert.equal(await check({ [setting]: String(port) }), 0);
      assert.equal(path, "/healthz");
    });
    await t.step(`${name}: well, and listening on all addresses`, async () => {
      assert.equal(await check({ [setting]: String(port), HTTP_HOST: "0.0.0.0" }), 0);
    });
    await t.step(`${name}: not well`, async () => {
      status = 503;
      assert.equal(await check({ [setting]: String(port) }), 1);
      status = 200;
    });
    await t.step(`${name}: nobody there`, async () => {
      assert.equal(await check({ [setting]: "1" }), 1);
    });
    await t.step(`${name}: nothing is served`, async () => {
      assert.equal(await check({ [setting]: "0" }), 0);
    });
    await t.step(`${name}: a wrong setting`, async () => {
      assert.equal(await check({ [setting]: "no" }), 2);
    });
  }
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
