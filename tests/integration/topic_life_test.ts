/** The topic changes under the consumer: made again, cut off at its beginning, given partitions. */
import assert from "node:assert/strict";
import type { SentMessage } from "./checker.ts";
import {
  generate,
  type GeneratedMessage,
  MIXED,
  PLAIN,
} from "../../campaign/generated_messages.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";

/** A topic that is made again is noticed within 10 s; then its messages are read. */
const NOTICED_MS = 30_000;

/** A first life, and a second one that is longer and repeats some of the first. */
function twoLives(seed: number): [GeneratedMessage[], GeneratedMessage[]] {
  const first = generate(300, PLAIN, seed);
  return [first, [...generate(500, PLAIN, seed + 1), ...first.slice(0, 100)]];
}

async function makeTopicAgain(pipeline: RealPipeline): Promise<void> {
  await pipeline.admin.deleteTopics({ topics: [pipeline.topic] });
  await pipeline.createTopic();
}

/**
 * All of both lives is accounted for, the repeats of the first life as duplicates. More duplicates
 * are no fault: what a running consumer fetched before it noticed is read again.
 */
async function assertBothLives(pipeline: RealPipeline): Promise<void> {
  const { ok, rows, partitions, problems } = await pipeline.verify();
  assert.deepEqual([ok, rows, problems], [true, 800, []]);
  assert.equal(partitions.length, 2 * pipeline.partitions, "a line for each life");
  const sum = (name: "inserted" | "duplicates" | "gaps"): number =>
    partitions.reduce((total, line) => total + line[name], 0);
  assert.deepEqual([sum("inserted"), sum("gaps")], [800, 0]);
  assert.ok(sum("duplicates") >= 100, `${sum("duplicates")} duplicates`);
}

Deno.test("topic made again, longer, while the consumer is stopped: read from its beginning", async () => {
  await using pipeline = await RealPipeline.open();
  const [first, second] = twoLives(43);
  await pipeline.send(first);
  await pipeline.run("run", "--until-end");
  await makeTopicAgain(pipeline);
  await pipeline.send(second);
  await pipeline.run("run", "--until-end");
  await assertBothLives(pipeline);
});

Deno.test("topic made again, longer, under a running consumer: read from its beginning", async () => {
  await using pipeline = await RealPipeline.open();
  const [first, second] = twoLives(47);
  await pipeline.send(first);
  await using consumer = pipeline.consumer();
  const stored = (rows: number) => async (): Promise<boolean> => await pipeline.rowCount() === rows;
  await consumer.until("the first life is stored", stored(300), NOTICED_MS);
  await makeTopicAgain(pipeline);
  await pipeline.send(second);
  await consumer.until("the second life is stored", stored(800), NOTICED_MS);
  const allPassed = async (): Promise<boolean> => await pipeline.passed() >= 900;
  await consumer.until("all offsets are passed", allPassed, NOTICED_MS);
  consumer.signal("SIGTERM");
  await consumer.succeeded(DONE_MS);
  await assertBothLives(pipeline);
});

Deno.test("messages deleted before they were read are counted as a gap, and said", async () => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  await pipeline.send(generate(300, PLAIN, 53));
  await pipeline.run("run", "--until-end");
  const later = await pipeline.send(generate(300, PLAIN, 54));
  const partitions = [{ partition: 0, offset: "450" }];
  // Only to make the admin learn who leads the partition.
  await pipeline.endOffsets();
  await pipeline.admin.deleteTopicRecords({ topic: pipeline.topic, partitions });
  const { stderr } = await pipeline.run("run", "--until-end");
  assert.match(stderr, /"error".*the brokers deleted messages.*"fromOffset":300,"toOffset":450/);
  const { ok, rows, partitions: lines } = await pipeline.verify();
  assert.deepEqual([ok, rows, lines[0]!.gaps, lines[0]!.next], [true, 450, 150, "600"]);
  const ids = new Set((await pipeline.stored()).rows.map((row) => row.unique_reading_id));
  assert.ok(later.filter(({ offset }) => offset >= 450).every((message) => ids.has(idOf(message))));
});

Deno.test("partitions that were added are read from their beginning", async () => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  const sent = await pipeline.send(generate(300, MIXED, 59));
  await pipeline.run("run", "--until-end");
  const topicPartitions = [{ topic: pipeline.topic, count: 3 }];
  await pipeline.admin.createPartitions({ topicPartitions });
  sent.push(...await pipeline.send(generate(300, MIXED, 61), (index) => index % 3));
  await pipeline.run("run", "--until-end");
  await pipeline.assertStored(sent);
});

function idOf({ truth }: SentMessage): string {
  return truth.kind === "reading" ? truth.row.unique_reading_id : "";
}
