/** The database forgets, Redis and Kafka remember: no reading may be taken for a stored one. */
import assert from "node:assert/strict";
import type { SentMessage } from "./checker.ts";
import { generate, MIXED, PLAIN } from "../../campaign/generated_messages.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";

/** How long last values are kept for a data set whose consumers are gone, ms. */
const LEASE_MS = 30_000;
const STORED_MS = 15_000;

/** A pipeline that has stored some messages and remembers them in Redis. */
async function openFilled(): Promise<{ pipeline: RealPipeline; sent: SentMessage[] }> {
  const pipeline = await RealPipeline.open();
  const sent = await pipeline.send(generate(1_000, MIXED, 17));
  await pipeline.run("run", "--until-end");
  const [marks] = await pipeline.redis.cli("DBSIZE");
  assert.ok(Number(marks) > 700, `${marks} keys in Redis`);
  return { pipeline, sent };
}

async function makeAnew(pipeline: RealPipeline): Promise<void> {
  await pipeline.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
  await pipeline.run("migrate");
}

Deno.test("tables made anew: the whole topic is stored again, whatever Redis and Kafka remember", async () => {
  const { pipeline, sent } = await openFilled();
  await using _ = pipeline;
  await makeAnew(pipeline);
  // The same messages and some more, so that marks of the lost rows meet their repeats.
  sent.push(...await pipeline.send(generate(1_500, MIXED, 17)));
  await pipeline.run("run", "--until-end");
  const { rows } = await pipeline.assertStored(sent);
  // The former data set could be alive elsewhere, as far as Redis knows: its lease ends first.
  await using consumer = pipeline.consumer();
  const areNew = async (): Promise<boolean> =>
    (await pipeline.lastValueProblems(rows)).length === 0;
  await consumer.until("the last values are the new ones", areNew, LEASE_MS + STORED_MS);
});

Deno.test("TRUNCATE while the consumer runs: it notices, and stores repeats again", async () => {
  await using pipeline = await RealPipeline.open();
  const readings = generate(300, PLAIN, 19);
  await pipeline.send(readings);
  await using consumer = pipeline.consumer();
  const allStored = async (): Promise<boolean> => await pipeline.rowCount() === readings.length;
  await consumer.until("the readings are stored", allStored, STORED_MS);
  await pipeline.query("TRUNCATE sensor_events");
  await pipeline.send(readings);
  await consumer.until("the same readings are stored again", allStored, STORED_MS);
  consumer.signal("SIGTERM");
  await consumer.succeeded(DONE_MS);
  const { rows } = await pipeline.stored();
  assert.deepEqual(await pipeline.lastValueProblems(rows), []);
});
