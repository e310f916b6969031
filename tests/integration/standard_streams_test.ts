/** Readers of standard output and standard error that are slow, full or gone, and a closed terminal. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { generate, type GeneratedMessage, PLAIN } from "../../campaign/generated_messages.ts";
import { findProgram, runProgram } from "../../tools/stack/program.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";

const MAIN = join(import.meta.dirname!, "..", "..", "main_consumer.ts");
const STREAMS = join(import.meta.dirname!, "streams.py");

/** Each takes about 2 kB as an exported line: more than a pipe holds. */
const LETTERS = 100;
const PIPE_BYTES = 65_536;

interface Outcome {
  readonly code: number;
  /** What came through the stream that is in trouble. */
  readonly came: string;
  /** What the other one said. */
  readonly said: string;
}

/** Runs a command of the consumer with one stream in trouble, see `streams.py`. */
async function runWith(
  stream: "stdout" | "stderr",
  trouble: "full" | "closed" | "slow" | "stuck" | "stuck-waiting",
  of: { readonly pipeline: RealPipeline; readonly args: readonly string[] },
): Promise<Outcome> {
  const python = await findProgram({ name: "python3", install: "apt-get install -y python3" });
  const deno = [Deno.execPath(), "run", "-q", "--no-prompt", `--config=${configPath()}`];
  const command = [...deno, "-P=consume", MAIN, ...of.args];
  return JSON.parse(
    await runProgram([python, STREAMS, stream, trouble, ...command], { env: of.pipeline.env }),
  );
}

function configPath(): string {
  return join(import.meta.dirname!, "..", "..", "deno.json");
}

function bad(index: number): GeneratedMessage {
  return {
    key: null,
    value: new TextEncoder().encode(`${index} `.padEnd(1_500, "x")),
    truth: { kind: "bad", reason: "json" },
  };
}

Deno.test("the consumer stores on while its log cannot be written", async (t) => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  for (const trouble of ["full", "closed", "stuck", "stuck-waiting"] as const) {
    await t.step(trouble, async () => {
      await pipeline.send(generate(50, PLAIN, trouble.length));
      const { code } = await runWith("stderr", trouble, {
        pipeline,
        args: ["run", "--until-end"],
      });
      assert.equal(code, 0);
      const status = JSON.parse((await pipeline.run("status", "--json")).stdout);
      assert.equal(status.lagMessages, 0);
    });
  }
});

Deno.test("an export waits for its reader and loses nothing", async (t) => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  await pipeline.send(Array.from({ length: LETTERS }, (_, index) => bad(index)));
  await pipeline.run("run", "--until-end");
  const args = ["dead-letters", "export"];
  const { stdout: whole } = await pipeline.run(...args);
  assert.equal(whole.trimEnd().split("\n").length, LETTERS);
  assert.ok(whole.length > 2 * PIPE_BYTES);

  await t.step("slow", async () => {
    const { code, came, said } = await runWith("stdout", "slow", { pipeline, args });
    assert.equal(code, 0, said);
    assert.equal(came.length, whole.length);
    assert.ok(came === whole);
  });
  await t.step("closed: it ends quietly", async () => {
    const { code, said } = await runWith("stdout", "closed", { pipeline, args });
    assert.deepEqual({ code, said }, { code: 0, said: "" });
  });
  await t.step("closed: a fault is still told by the exit code", async () => {
    const args = ["dead-letters", "replay", "--reason", "json", "--dry-run"];
    const { code, said } = await runWith("stdout", "closed", { pipeline, args });
    assert.deepEqual({ code, said }, { code: 1, said: "" });
  });
  await t.step("full: it says so", async () => {
    const { code, said } = await runWith("stdout", "full", { pipeline, args });
    assert.equal(code, 1);
    assert.match(said, /^Cannot write to standard output: No space left on device.*\n$/);
  });
  await t.step("full: help says so, too", async () => {
    const { code, said } = await runWith("stdout", "full", { pipeline, args: ["--help"] });
    assert.equal(code, 1);
    assert.match(said, /^Cannot write to standard output/);
  });
});

Deno.test("SIGHUP stops the consumer cleanly, also when it comes twice", async () => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  await pipeline.send(generate(50, PLAIN, 1));
  await using consumer = pipeline.consumer(["run"]);
  await consumer.until(
    "it has partitions",
    () => consumer.said(/partitions assigned/) > 0,
    DONE_MS,
  );
  consumer.signal("SIGHUP");
  consumer.signal("SIGHUP");
  await consumer.succeeded(DONE_MS);
  assert.equal(consumer.said("stopped"), 1, consumer.stderr);
});
