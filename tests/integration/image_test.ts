/**
 * The images without an engine: the Dockerfile's instructions are carried out in directories, and the
 * entry points run from there as the image's user, who may write nowhere.
 */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { runProgram } from "../../tools/stack/program.ts";
import { copyOf, only, parseDockerfile, type Stage, wordsOf } from "../dockerfile.ts";
import { deploymentCheckers } from "./python.ts";
import { RealPipeline } from "./real_pipeline.ts";

const ROOT = join(import.meta.dirname!, "../..");
const DOCKERFILE = join(ROOT, "Dockerfile");

/** Set by the base image. */
const DENO_DIR = "/deno-dir";

/** Most that the dependencies of one program may take, bytes. */
const DEPENDENCIES_BYTES_MAX = 48 * 1_024 ** 2;

Deno.test("Dockerfile has nothing that hadolint knows of", async () => {
  await runProgram([join(await deploymentCheckers(), "hadolint"), DOCKERFILE]);
});

Deno.test("the images' programs run as nobody, from files that nobody can change", async (t) => {
  const work = await Deno.makeTempDir();
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  const stages = parseDockerfile(await Deno.readTextFile(DOCKERFILE));
  for (const stage of stages) await build(stage, stages, work);
  // Others may read what the stages hold, as in an image.
  await runProgram(["chmod", "-R", "a+rX,a-w", work]);

  const run = async (name: string, args: readonly string[]): Promise<string> => {
    const stage = stages.find((one) => one.name === name)!;
    const root = join(work, name);
    const [uid, gid] = only(stage, "USER").split(":").map(Number);
    const [tini, dashes, deno, ...entry] = wordsOf(only(stage, "ENTRYPOINT"));
    assert.deepEqual([tini, dashes, deno], ["/tini", "--", "deno"]);
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...entry, ...args],
      cwd: join(root, only(stage, "WORKDIR")),
      clearEnv: true,
      env: { ...pipeline.env, DENO_DIR: join(root, DENO_DIR) },
      // Only root may become somebody else.
      ...(Deno.uid() === 0 && { uid: uid!, gid: gid! }),
      stdin: "null",
    }).output();
    const text = new TextDecoder();
    assert(success, text.decode(stderr));
    return text.decode(stdout);
  };

  await t.step("the producer sends", async () => {
    await run("producer", ["--count", "30", "--rate", "0"]);
    assert.deepEqual([...await pipeline.endOffsets()], [[0, 30]]);
  });
  await t.step("the consumer stores, verifies and examines", async () => {
    await run("consumer", ["run", "--until-end"]);
    assert.match(await run("consumer", ["verify"]), /30/);
    await run("consumer", ["doctor"]);
    assert.equal(await pipeline.passed(), 30);
  });
  for (const name of ["producer", "consumer"]) {
    await t.step(`${name}: small`, async () => {
      const said = await runProgram(["du", "-sb", join(work, name, DENO_DIR)]);
      assert(Number(said.split("\t")[0]) < DEPENDENCIES_BYTES_MAX, said);
    });
  }
  await runProgram(["chmod", "-R", "u+w", work]);
  await Deno.remove(work, { recursive: true });
});

/** Carries out a stage's instructions in the directory that stands for its root. */
async function build(stage: Stage, stages: readonly Stage[], work: string): Promise<void> {
  const root = join(work, stage.name);
  const inherited = stages.some(({ name }) => name === stage.from);
  if (inherited) await runProgram(["cp", "-r", join(work, stage.from), root]);
  else await Deno.mkdir(join(root, DENO_DIR), { recursive: true });
  const base = stages.find(({ name }) => name === stage.from);
  const instructions = [...base?.instructions ?? [], ...stage.instructions];
  const workDir = instructions.find(({ name }) => name === "WORKDIR")!.rest;
  await Deno.mkdir(join(root, workDir), { recursive: true });
  const variables = instructions.filter(({ name }) => name === "ENV")
    .map(({ rest }) => rest.match(/^(\w+)="(.*)"$/)!.slice(1) as [string, string]);
  for (const { name, rest } of stage.instructions) {
    if (name === "COPY") await copy(rest, { work, root, workDir });
    if (name === "RUN") {
      const env = { ...Object.fromEntries(variables), DENO_DIR: join(root, DENO_DIR) };
      await runProgram(["sh", "-c", `cd "${join(root, workDir)}" && ${rest}`], { env });
    }
  }
}

async function copy(
  rest: string,
  { work, root, workDir }: {
    readonly work: string;
    readonly root: string;
    readonly workDir: string;
  },
): Promise<void> {
  const { stage, sources, target } = copyOf(rest);
  const from = stage === undefined ? ROOT : join(work, stage);
  for (const source of sources) {
    // A directory is copied as what it holds; into "./" goes a file under its own name.
    const place = target === "./"
      ? join(root, workDir, source)
      : target.startsWith("/")
      ? join(root, target)
      : join(root, workDir, target);
    await Deno.mkdir(dirname(place), { recursive: true });
    await runProgram(["cp", "-r", "--no-target-directory", join(from, source), place]);
  }
}
