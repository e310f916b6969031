/** Other programs in the group, on real brokers: each is noticed within 30 s, and told with its cure. */
import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { generate, PLAIN } from "../../campaign/generated_messages.ts";
import { runProgram } from "../../tools/stack/program.ts";
import { pass, type Program } from "./processes.ts";
import { transactionsPython } from "./python.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";
import { freePort } from "../../tools/stack/free_ports.ts";

/** What the issue promises, and time for a machine that is busy. */
const NOTICED_MS = 45_000;

const SCRIPT = join(import.meta.dirname!, "../neighbours/neighbour.py");

/** Another program in the group. */
class Neighbour implements AsyncDisposable {
  /** The partitions that it has. */
  partitions: readonly number[] = [];
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    createInterface({ input: child.stdout }).on("line", (line) => {
      this.partitions = JSON.parse(line);
    });
  }

  static async join(mode: "classic" | "new", pipeline: RealPipeline): Promise<Neighbour> {
    const { env, group, topic } = pipeline;
    const args = [SCRIPT, mode, env.KAFKA_BROKER!, group, topic];
    return new Neighbour(
      spawn(await transactionsPython(), args, { stdio: ["pipe", "pipe", "inherit"] }),
    );
  }

  /** Leaves the group. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.stdin.end("\n");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 20_000);
    await exited;
    clearTimeout(timer);
  }
}

async function setOffsets(pipeline: RealPipeline, offset: number): Promise<void> {
  const { env, group, topic, partitions } = pipeline;
  await runProgram([
    ...[await transactionsPython(), SCRIPT, "reset", env.KAFKA_BROKER!, group, topic],
    ...[String(offset), String(partitions)],
  ]);
}

interface Site {
  readonly ready: () => Promise<{ ok: boolean; reasons: string[]; notes?: string[] }>;
  readonly get: (path: string) => Promise<string>;
}

async function withConsumer(
  pipeline: RealPipeline,
  work: (consumer: Program, site: Site) => Promise<void>,
): Promise<void> {
  const port = freePort();
  await using consumer = pipeline.consumer(["run"], { HTTP_PORT: String(port) });
  const get = async (path: string): Promise<string> =>
    await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
  await consumer.until("it runs", () => consumer.said("partitions assigned") > 0, DONE_MS);
  await work(consumer, { get, ready: async () => JSON.parse(await get("/readyz")) });
  consumer.signal("SIGTERM");
  await consumer.succeeded(DONE_MS);
}

async function doctorSays(pipeline: RealPipeline): Promise<string> {
  await using doctor = pipeline.consumer(["doctor"]);
  return (await doctor.ended(DONE_MS)).stdout;
}

Deno.test("a member of the new group protocol takes partitions: told, and counted as lag", async () => {
  await using pipeline = await RealPipeline.open({ partitions: 4 });
  await withConsumer(pipeline, async (consumer, { ready, get }) => {
    {
      await using neighbour = await Neighbour.join("new", pipeline);
      await consumer.until("it has partitions", () => neighbour.partitions.length > 0, NOTICED_MS);
      const says =
        /another program is in the group \(neighbour at .*\)\. No consumer stores partitions/;
      await consumer.until("the log says so", () => consumer.said(says) > 0, NOTICED_MS);
      const { ok, reasons } = await ready();
      assert.equal(ok, false);
      assert.match(reasons.join(), /No consumer stores.*Stop it, or choose another KAFKA_GROUP_ID/);
      assert.match(await doctorSays(pipeline), /^failure +kafka +group .*neighbour at/m);

      await pipeline.send(generate(40, PLAIN, 1));
      const lost = [...neighbour.partitions].sort();
      await consumer.until("what nobody stores is lag", async () => {
        const lines = (await get("/metrics")).split("\n")
          .filter((line) => /^sensor_ledger_lag_messages\{.*\} [1-9]/.test(line));
        const shown = lines.map((line) => Number(/partition="(\d+)"/.exec(line)![1])).sort();
        return JSON.stringify(shown) === JSON.stringify(lost);
      }, DONE_MS);
      const { lag, summary } = JSON.parse(await get("/api/status"));
      assert.equal(lag.messages, 10 * lost.length);
      assert.equal(summary.state, "degraded");
      const status = JSON.parse((await pipeline.run("status", "--json")).stdout);
      assert.equal(status.lagMessages, 10 * lost.length);
    }
    await consumer.until("all is stored", async () => await pipeline.passed() === 40, DONE_MS);
    const isReady = async (): Promise<boolean> => (await ready()).ok;
    await consumer.until("it is over", isReady, NOTICED_MS);
  });
});

Deno.test("a member with another assignor keeps us out: one line that names it, exit code 2", async () => {
  await using pipeline = await RealPipeline.open();
  await using neighbour = await Neighbour.join("classic", pipeline);
  await using consumer = pipeline.consumer(["run"]);
  while (neighbour.partitions.length === 0) await pass(100);
  await using late = pipeline.consumer(["run"]);
  const { code, stderr } = await late.ended(DONE_MS);
  assert.equal(code, 2, stderr);
  assert.match(
    stderr,
    /Cannot join group .*shares out the partitions by "range" \(neighbour at .*\); stop it, or choose another KAFKA_GROUP_ID/,
  );
  assert.match(await doctorSays(pipeline), /^failure +kafka +group .*neighbour at/m);
  consumer.signal("SIGKILL");
});

Deno.test("offsets that a tool has set are told once, change nothing and are overwritten", async () => {
  await using pipeline = await RealPipeline.open();
  await pipeline.send(generate(30, PLAIN, 2));
  await pipeline.run("run", "--until-end");
  assert.equal(await pipeline.groupLag(), 0);
  await setOffsets(pipeline, 0);
  assert.equal(await pipeline.groupLag(), 30);
  assert.match(
    await doctorSays(pipeline),
    /^warning +kafka +group offsets +another program has set .*0 to 0, 1 to 0, 2 to 0.*rewind/m,
  );
  await withConsumer(pipeline, async (consumer, { ready }) => {
    const says = /another program has set the group's offsets .*deno task rewind/;
    await consumer.until("the log says so", () => consumer.said(says) > 0, NOTICED_MS);
    const { notes = [] } = await ready();
    assert.match(notes.join(), says);
    await consumer.until(
      "ours are committed",
      async () => await pipeline.groupLag() === 0,
      DONE_MS,
    );
    const isReady = async (): Promise<boolean> => (await ready()).ok;
    await consumer.until("it is ready all the same", isReady, DONE_MS);
    assert.equal(consumer.said(says), 1);
  });
  assert.equal(await pipeline.passed(), 30, "nothing was read again");
});
