/** The whole pipeline when nothing goes wrong: every message of a file is accounted for. */
import assert from "node:assert/strict";
import type { SentMessage } from "./checker.ts";
import { generate, type GeneratedMessage, MIXED } from "../../campaign/generated_messages.ts";
import { Program } from "./processes.ts";
import { DONE_MS, RealPipeline, type TopicMessage } from "./real_pipeline.ts";

const MESSAGES = 20_000;

Deno.test("main_producer.ts and main_consumer.ts take 20,000 messages from a file to rows", async (t) => {
  await using pipeline = await RealPipeline.open();
  const seed = 20_261_124;
  const generated = generate(MESSAGES, MIXED, seed);
  const sent: SentMessage[] = [];

  await t.step(
    "--from FILE sends each line once, its bytes unchanged, keyed by sensor",
    async () => {
      await produceFile(pipeline, generated);
      const inTopic = await pipeline.readTopic();
      assert.deepEqual(textsOf(inTopic), textsOf(generated));
      sent.push(...withTruth(inTopic, generated));
    },
  );

  await t.step(
    "run --until-end stores every reading, and every other message as it is",
    async () => {
      await pipeline.run("run", "--until-end");
      const { rows, deadLetters, lines } = await pipeline.assertStored(sent);
      assert.ok(rows.length > 0.7 * MESSAGES, `${rows.length} rows`);
      assert.ok(deadLetters.some(({ reason }) => reason === "id_conflict"));
      assert.ok(new Set(deadLetters.map(({ reason }) => reason)).size >= 18, "reasons");
      assert.ok(lines.every(({ duplicates }) => duplicates > 0), "duplicates");
    },
  );

  await t.step(
    "last:<sensor_id> and last:index name the newest reading of each sensor",
    async () => {
      const { rows } = await pipeline.stored();
      assert.deepEqual(await pipeline.lastValueProblems(rows), []);
      const { sensor_id } = rows[0]!;
      const { stdout } = await pipeline.run("last", sensor_id);
      assert.equal(JSON.parse(stdout).sensor_id, sensor_id);
    },
  );

  await t.step("the group has no lag, by its commits and by status --json", async () => {
    assert.equal(await pipeline.groupLag(), 0);
    const { stdout } = await pipeline.run("status", "--json");
    const { lagMessages, lagSeconds, partitions } = JSON.parse(stdout);
    assert.deepEqual({ lagMessages, lagSeconds }, { lagMessages: 0, lagSeconds: 0 });
    assert.equal(partitions.length, pipeline.partitions);
  });

  await t.step("the same file once more adds nothing but counts", async () => {
    const before = await pipeline.rowCount();
    await produceFile(pipeline, generated);
    await pipeline.run("run", "--until-end");
    assert.equal(await pipeline.rowCount(), before);
    await pipeline.assertStored(withTruth(await pipeline.readTopic(), generated));
  });
});

Deno.test("main_consumer.ts keeps what a file cannot carry: tombstones, keys, large messages", async () => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  const bad = (value: Uint8Array | null, reason: string, key: string | null): GeneratedMessage => ({
    key,
    value,
    truth: { kind: "bad", reason },
  });
  const sent = await pipeline.send([
    bad(null, "tombstone", "a key"),
    bad(new Uint8Array(), "empty", null),
    bad(new Uint8Array(500_000).fill(0x20), "size", ""),
    bad(new Uint8Array([10, 13, 0, 255]), "utf8", "\u0000é"),
    ...generate(10, { repeats: 0, conflicts: 0, bad: 0 }, 1),
  ]);
  await pipeline.run("run", "--until-end");
  await pipeline.assertStored(sent);
});

async function produceFile(
  pipeline: RealPipeline,
  messages: readonly GeneratedMessage[],
): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: ".ndjson" });
  try {
    const lineFeed = new Uint8Array([10]);
    await Deno.writeFile(
      path,
      ReadableStream.from(messages.flatMap(({ value }) => [value!, lineFeed])),
    );
    await using producer = Program.producer(["--from", path], pipeline.env);
    await producer.succeeded(DONE_MS);
  } finally {
    await Deno.remove(path);
  }
}

/** Key and value of each message as one text; sorted, for partitions have no common order. */
function textsOf(
  messages: readonly { key: string | Uint8Array | null; value: Uint8Array | null }[],
): string[] {
  return messages.map(({ key, value }) => {
    const name = key instanceof Uint8Array ? new TextDecoder().decode(key) : key;
    return `${name} ${value?.toHex()}`;
  }).sort();
}

/** Equal bytes mean the same, so that a message is known by its bytes. */
function withTruth(
  inTopic: readonly TopicMessage[],
  generated: readonly GeneratedMessage[],
): SentMessage[] {
  const truths = new Map(generated.map(({ value, truth }) => [value!.toHex(), truth]));
  return inTopic.map((message) => ({ ...message, truth: truths.get(message.value!.toHex())! }));
}
