/** `last:<sensor_id>` and `last:index` under late data, equal times, redelivery and a lost Redis. */
import assert from "node:assert/strict";
import type { ExpectedRow } from "../../campaign/stored.ts";
import { generate, messageOf, PLAIN, sampleRow } from "../../campaign/generated_messages.ts";
import { RealPipeline } from "./real_pipeline.ts";

const NOW_US = BigInt(Date.now()) * 1_000n;
/** A repair is made at most every 5 s, and takes a moment. */
const REPAIRED_MS = 15_000;

function idOf(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

/** A reading of the sensor `s`, so many seconds ago. */
function reading(number: number, secondsAgo: number): ExpectedRow {
  return sampleRow({
    unique_reading_id: idOf(number),
    sensor_id: "s",
    timestampUs: NOW_US - BigInt(secondsAgo) * 1_000_000n,
  });
}

Deno.test("last:<sensor_id> never goes back, whatever comes late or again", async (t) => {
  await using pipeline = await RealPipeline.open({ partitions: 2 });
  const newest = reading(5, 10);
  const later = { ...reading(0, 10), timestampUs: newest.timestampUs + 1n };
  const cases: [string, ExpectedRow, ExpectedRow][] = [
    ["the first reading is the last one", reading(1, 60), reading(1, 60)],
    ["a newer one takes its place", reading(2, 30), reading(2, 30)],
    ["a late one does not", reading(3, 45), reading(2, 30)],
    ["of equal times the larger id wins", newest, newest],
    ["and the smaller one loses", reading(4, 10), newest],
    ["one microsecond decides", later, later],
  ];
  for (const [index, [name, sent, expected]] of cases.entries()) {
    await t.step(name, async () => {
      await pipeline.send([messageOf(sent)], () => index % 2);
      await pipeline.run("run", "--until-end");
      await assertLast(pipeline, expected);
    });
  }

  await t.step("redelivery changes nothing, also with all marks gone", async () => {
    await pipeline.redis.cli("DEL", ...cases.map((_, index) => `reading:${idOf(index)}`));
    const again = cases.map(([, sent]) => messageOf(sent)).reverse();
    await pipeline.send([...again, ...again]);
    await pipeline.run("run", "--until-end");
    await assertLast(pipeline, cases.at(-1)![2]);
    assert.equal(await pipeline.rowCount(), cases.length);
  });
});

Deno.test("FLUSHALL while the consumer runs: the last value of every sensor comes back", async () => {
  await using pipeline = await RealPipeline.open();
  const sent = await pipeline.send(generate(500, PLAIN, 3));
  await using consumer = pipeline.consumer();
  await consumer.until(
    "all is stored",
    async () => await pipeline.rowCount() === sent.length,
    REPAIRED_MS,
  );
  await pipeline.redis.cli("FLUSHALL");
  // The next batch that is marked finds out.
  await pipeline.send([messageOf(sampleRow({ sensor_id: "another" }))]);
  const isRepaired = async (): Promise<boolean> => {
    const { rows } = await pipeline.stored();
    return rows.length === sent.length + 1 && (await pipeline.lastValueProblems(rows)).length === 0;
  };
  await consumer.until("the last values are repaired", isRepaired, REPAIRED_MS);
});

Deno.test("run --until-end repairs what Redis missed before it ends, however short it is", async () => {
  await using pipeline = await RealPipeline.open();
  await pipeline.redis.kill();
  const sent = await pipeline.send(generate(1_000, PLAIN, 5));
  await pipeline.run("run", "--until-end");
  await pipeline.redis.up();
  await pipeline.run("run", "--until-end");
  const { rows } = await pipeline.assertStored(sent);
  assert.deepEqual(await pipeline.lastValueProblems(rows), []);
});

async function assertLast(pipeline: RealPipeline, expected: ExpectedRow): Promise<void> {
  const [text] = await pipeline.redis.cli("--raw", "GET", "last:s");
  assert.equal(JSON.parse(text!).unique_reading_id, expected.unique_reading_id);
  const index = await pipeline.redis.cli("--raw", "ZRANGE", "last:index", "0", "-1", "WITHSCORES");
  assert.deepEqual(index, ["s", String(expected.timestampUs)]);
}
