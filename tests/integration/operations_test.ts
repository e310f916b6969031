/** An operator's bad day on real servers: dead letters, reading again, last values, old rows. */
import assert from "node:assert/strict";
import {
  generate,
  type GeneratedMessage,
  messageOf,
  MIXED,
  sampleRow,
} from "../../campaign/generated_messages.ts";
import type { Ended, Environment } from "./processes.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";

const NOW_US = BigInt(Date.now()) * 1_000n;
const DAY_US = 86_400_000_000n;

/** Runs a command of the consumer to its end, whatever the exit code. */
async function command(
  pipeline: RealPipeline,
  args: readonly string[],
  env: Environment = {},
): Promise<Ended> {
  await using program = pipeline.consumer(args, env);
  return await program.ended(DONE_MS);
}

function bad(text: string): GeneratedMessage {
  return {
    key: null,
    value: new TextEncoder().encode(text),
    truth: { kind: "bad", reason: "json" },
  };
}

/** Runs a command whose standard input says EAGAIN for a while, as one behind ssh or in CI may. */
const LATE_INPUT = `
import os, subprocess, sys, threading, time
reading, writing = os.pipe()
os.set_blocking(reading, False)
child = subprocess.Popen(sys.argv[2:], stdin=reading)
os.close(reading)
time.sleep(1)
os.write(writing, sys.argv[1].encode())
os.close(writing)
sys.exit(child.wait())
`;

/** The command that would mend a dead letter by its standard input. */
function replayArgs(id: number): readonly string[] {
  const command = ["dead-letters", "replay", String(id), "--edit", "-", "--dry-run"];
  return ["run", "-q", "--no-prompt", "-P=consume", "main_consumer.ts", ...command];
}

interface Letter {
  readonly id: number;
  readonly state: string;
  readonly reason: string;
  readonly offset: number;
  readonly payload: string | null;
  readonly attempts: number;
}

function byOffset(one: Letter, other: Letter): number {
  return one.offset - other.offset;
}

async function letters(pipeline: RealPipeline, ...flags: string[]): Promise<readonly Letter[]> {
  return JSON.parse((await pipeline.run("dead-letters", "list", "--json", ...flags)).stdout);
}

Deno.test("dead-letters: list, show, replay, export and discard", async (t) => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  const first = sampleRow({ sensor_id: "s", timestampUs: NOW_US - 60_000_000n, value: 1 });
  const ahead = sampleRow({ sensor_id: "ahead", timestampUs: NOW_US + 10n * DAY_US });
  const mended = sampleRow({ sensor_id: "mended", timestampUs: NOW_US - 60_000_000n });
  await pipeline.send([
    messageOf(first),
    messageOf({ ...first, value: 2 }),
    messageOf(ahead),
    bad('{"unit": "\x1b[2J'),
    bad("junk"),
  ]);
  await pipeline.run("run", "--until-end");
  const [conflict, future, broken, junk] = (await letters(pipeline)).toSorted(byOffset);
  assert.ok(junk && broken && future && conflict);

  await t.step("list shows one line each, filtered and escaped", async () => {
    const { stdout } = await pipeline.run("dead-letters", "list");
    assert.equal(stdout.trimEnd().split("\n").length, 5);
    assert.match(stdout, /\\u\{1b\}\[2J/);
    assert.ok(!stdout.includes("\x1b"));
    assert.deepEqual((await letters(pipeline, "--sensor", "ahead")).map(({ id }) => id), [
      future.id,
    ]);
    assert.deepEqual(await letters(pipeline, "--reason", "json", "--limit", "1"), [junk]);
    const wrong = await command(pipeline, ["dead-letters", "list", "--reason", "jason"]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /^Cannot use --reason "jason": the reasons are tombstone,.*\n$/);
  });

  await t.step("show puts both contents of a conflict side by side", async () => {
    const { stdout } = await pipeline.run("dead-letters", "show", String(conflict.id));
    assert.match(stdout, /today +conflict: reading/);
    assert.match(stdout, /^! +value +1 +2$/m);
    const json = JSON.parse(
      (await pipeline.run("dead-letters", "show", String(conflict.id), "--json")).stdout,
    );
    assert.deepEqual([json.stored.reading.value, json.sent.value], [1, 2]);
    assert.equal((await command(pipeline, ["dead-letters", "show", "999999"])).code, 1);
  });

  await t.step("replay leaves what is still wrong, and counts", async () => {
    const dry = await command(pipeline, [
      "dead-letters",
      "replay",
      "--reason",
      "json",
      "--dry-run",
    ]);
    assert.equal(dry.code, 1);
    assert.match(dry.stdout, /2 rejected; nothing was changed/);
    const ids = [future, conflict].map(({ id }) => String(id));
    const { code, stdout } = await command(pipeline, ["dead-letters", "replay", ...ids]);
    assert.equal(code, 1);
    assert.match(stdout, /rejected, timestamp_in_future/);
    assert.match(stdout, /conflict: reading .* is stored with other content/);
    const after = (await letters(pipeline)).toSorted(byOffset);
    assert.deepEqual(after.map(({ attempts }) => attempts), [1, 1, 0, 0]);
    assert.equal(await pipeline.rowCount(), 1);
  });

  await t.step("replay stores what is valid under new settings, once, by two at once", async () => {
    const args = ["dead-letters", "replay", String(future.id), "--json"];
    const env = { MAX_FUTURE_SKEW_SECONDS: String(20 * 86_400) };
    const both = await Promise.all([command(pipeline, args, env), command(pipeline, args, env)]);
    const again = await command(pipeline, args, env);
    const ended = [...both, again];
    assert.deepEqual(ended.map(({ code }) => code), [0, 0, 0]);
    const outcomes = ended.map(({ stdout }): string => JSON.parse(stdout).outcome);
    assert.deepEqual(outcomes.toSorted(), ["inserted", "resolved", "resolved"]);
    assert.equal(await pipeline.rowCount(), 2);
    const last = await pipeline.run("last", "ahead");
    assert.equal(JSON.parse(last.stdout).unique_reading_id, ahead.unique_reading_id);
  });

  await t.step(
    "replay --edit - takes the mended message from a pipe that does not wait",
    async () => {
      const message = new TextDecoder().decode(messageOf(mended).value!);
      const { stdout, stderr } = await new Deno.Command("python3", {
        args: ["-c", LATE_INPUT, message, Deno.execPath(), ...replayArgs(broken.id)],
        env: pipeline.env,
      }).output();
      const said = new TextDecoder();
      assert.match(said.decode(stdout), /would be: 1 inserted/, said.decode(stderr));
    },
  );

  await t.step("replay --edit takes the mended message, by the task", async () => {
    const file = await Deno.makeTempFile();
    try {
      await Deno.writeFile(file, messageOf(mended).value!);
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["task", "-q", "dead-letters", "replay", String(broken.id), "--edit", file],
        env: pipeline.env,
      }).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
      assert.match(new TextDecoder().decode(stdout), /1 inserted/);
    } finally {
      await Deno.remove(file);
    }
    assert.equal(await pipeline.rowCount(), 3);
  });

  await t.step("discard keeps and marks, and verify adds up", async () => {
    const without = await command(pipeline, ["dead-letters", "discard", String(junk.id)]);
    assert.equal(without.code, 2);
    const args = ["dead-letters", "discard", "--reason", "json", "--reason-text", "test rig"];
    assert.equal((await pipeline.run(...args)).stdout, "discarded 1\n");
    assert.deepEqual((await letters(pipeline)).map(({ id }) => id), [conflict.id]);
    const { stdout } = await pipeline.run("verify");
    assert.match(stdout, /dead letters: 1 open, 2 replayed, 1 discarded, 0 deleted/);
    assert.match(stdout, /2 added by replays/);
  });

  await t.step("export writes all of it as NDJSON", async () => {
    const { stdout } = await pipeline.run("dead-letters", "export", "--all");
    const exported: Letter[] = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    exported.sort(byOffset);
    assert.deepEqual(exported.map(({ offset }) => offset), [1, 2, 3, 4]);
    assert.deepEqual(exported.map(({ state }) => state), [
      "open",
      "inserted",
      "inserted",
      "discarded",
    ]);
    assert.equal(exported[2]?.payload, '{"unit": "\x1b[2J');
    assert.ok(!stdout.includes("\x1b"));
  });
});

Deno.test("rewind: a second pass inserts nothing and changes no last value", async (t) => {
  await using pipeline = await RealPipeline.open();
  const sent = await pipeline.send(generate(1_500, MIXED, 23));
  await pipeline.run("run", "--until-end");
  const before = await pipeline.assertStored(sent);
  const lastBefore = await lastValues(pipeline);

  await t.step("refused while a consumer runs", async () => {
    await using consumer = pipeline.consumer();
    await consumer.until("it has joined", () => consumer.said("partitions assigned") > 0, DONE_MS);
    const { code, stderr } = await command(pipeline, ["rewind", "--to", "beginning"]);
    assert.equal(code, 2);
    assert.match(
      stderr,
      /^Cannot rewind while the group has live members \(sensor-ledger-consumer at .*\n$/,
    );
    consumer.signal("SIGTERM");
    await consumer.succeeded(DONE_MS);
  });

  await t.step("--dry-run changes nothing", async () => {
    const { stdout } = await pipeline.run("rewind", "--to", "beginning", "--dry-run");
    assert.match(stdout, /nothing was changed/);
    assert.deepEqual((await pipeline.verify()).partitions.map(({ first }) => first), [
      "0",
      "0",
      "0",
    ]);
    assert.equal(await pipeline.passed(), sent.length);
  });

  await t.step("--to an offset of one partition, and --to a time", async () => {
    await pipeline.run("rewind", "--to", "100", "--partition", "1");
    assert.equal(await pipeline.passed(), sent.length - 400);
    const { stdout } = await pipeline.run("rewind", "--to", "2999-01-01");
    assert.match(stdout, /nothing to rewind/);
    const plan = JSON.parse((await pipeline.run("rewind", "--to", "2000-01-01", "--json")).stdout);
    assert.deepEqual(
      plan.steps.map((step: { fromOffset: number }) => step.fromOffset),
      [500, 100, 500],
    );
    assert.equal(await pipeline.passed(), 0);
    assert.equal((await pipeline.verify()).ok, true);
  });

  await t.step("the second pass", async () => {
    await pipeline.run("run", "--until-end");
    const after = await pipeline.stored();
    assert.deepEqual(after.rows, before.rows);
    assert.deepEqual(await lastValues(pipeline), lastBefore);
    const { ok, problems } = await pipeline.verify();
    assert.deepEqual([ok, problems], [true, []]);
    assert.equal(await pipeline.passed(), sent.length);
    assert.equal(await pipeline.groupLag(), 0);
  });
});

async function lastValues(pipeline: RealPipeline): Promise<readonly string[]> {
  const sensors = await pipeline.redis.cli("--raw", "ZRANGE", "last:index", "0", "-1");
  const keys = sensors.toSorted().map((sensor) => `last:${sensor}`);
  return await pipeline.redis.cli("--raw", "MGET", ...keys);
}

Deno.test("rebuild-last fills Redis after a FLUSHALL", async () => {
  await using pipeline = await RealPipeline.open();
  await pipeline.send(generate(600, MIXED, 29));
  await pipeline.run("run", "--until-end");
  await pipeline.redis.cli("FLUSHALL");
  const { stdout } = await pipeline.run("rebuild-last");
  const { rows } = await pipeline.stored();
  const sensors = new Set(rows.map((row) => row.sensor_id)).size;
  assert.equal(stdout, `checked the last values of ${sensors} sensors\n`);
  assert.deepEqual(await pipeline.lastValueProblems(rows), []);
});

Deno.test("retain deletes what is old beside a running consumer, and verify adds up", async (t) => {
  await using pipeline = await RealPipeline.open();
  const old = await pipeline.send(generate(1_500, MIXED, 31));
  await pipeline.run("run", "--until-end");
  const oldRows = await pipeline.rowCount();
  await pipeline.query(`
    UPDATE sensor_events SET "timestamp" = "timestamp" - interval '100 days',
      ingested_at = now() - interval '91 days';
    UPDATE dead_letters SET created_at = now() - interval '91 days';`);

  await t.step("refuses a window that is shorter than the topic's", async () => {
    const { code, stderr } = await command(pipeline, ["retain", "--older-than", "6d"]);
    assert.equal(code, 2);
    assert.match(
      stderr,
      /^Cannot delete what is older than 6d: the topic keeps its messages for 7d/,
    );
    assert.equal(await pipeline.rowCount(), oldRows);
  });

  await t.step("--dry-run counts", async () => {
    const args = ["retain", "--older-than", "90d", "--dry-run", "--json"];
    assert.equal(JSON.parse((await pipeline.run(...args)).stdout).readings, oldRows);
    assert.equal(await pipeline.rowCount(), oldRows);
  });

  await t.step("deletes in batches while new readings come in", async () => {
    await using consumer = pipeline.consumer();
    const fresh = await pipeline.send(generate(900, MIXED, 37));
    await pipeline.run("dead-letters", "discard", "--until", "2100-01-01", "--reason-text", "old");
    await pipeline.run(
      ...["retain", "--older-than", "90d", "--batch", "100"],
      ...["--dead-letters-older-than", "90d"],
    );
    const isStored = async (): Promise<boolean> =>
      await pipeline.passed() === old.length + fresh.length;
    await consumer.until("all is stored", isStored, DONE_MS);
    consumer.signal("SIGTERM");
    await consumer.succeeded(DONE_MS);
    const [left] = await pipeline.query(
      `SELECT count(*) AS old FROM sensor_events WHERE ingested_at < now() - interval '90 days'`,
    );
    assert.equal(Number(left!.old), 0);
    const { stdout } = await pipeline.run("verify");
    assert.match(stdout, new RegExp(`${oldRows} deleted`));
  });

  await t.step("reading it all again brings them back, and verify knows", async () => {
    await pipeline.run("rewind", "--to", "beginning");
    await pipeline.run("run", "--until-end");
    const { ok, problems } = await pipeline.verify();
    assert.deepEqual([ok, problems], [true, []]);
    const { rows } = await pipeline.stored();
    assert.ok(rows.length > oldRows);
    assert.deepEqual(await pipeline.lastValueProblems(rows), []);
  });
});
