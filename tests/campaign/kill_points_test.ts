import assert from "node:assert/strict";
import { MemoryKafka } from "../../fakes/kafka_cluster.ts";
import {
  cacheWithPoints,
  CONSUMER_KILL_POINTS,
  COPY_KILL_POINTS,
  KillSwitch,
  memberWithPoints,
  PRODUCER_KILL_POINTS,
  STOP_KILL_POINTS,
  storeWithPoints,
  writerWithPoints,
} from "../../campaign/kill_points.ts";
import { FakeClock } from "../fake_clock.ts";
import { MemoryPipeline, messageTexts } from "../memory_pipeline.ts";

const AT_ONCE = (): Promise<void> => Promise.resolve();

/** Stores two messages and stops, with this point armed; tells how often the process would end. */
async function endsOf(point: string): Promise<number> {
  let ends = 0;
  const kill = new KillSwitch(() => ends++, AT_ONCE);
  kill.arm(point, 1);
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 2));
  const consumer = pipeline.start({}, (parts) => ({
    ...parts,
    member: memberWithPoints(parts.member, kill, () => {}),
    store: storeWithPoints(parts.store, kill, () => {}),
    cache: cacheWithPoints(parts.cache, kill),
  }));
  await pipeline.until("the messages are stored", () => pipeline.store.readings.size === 2);
  await pipeline.stop(consumer);
  return ends;
}

Deno.test("each point of a consumer is come by", async (t) => {
  const inside: readonly string[] = COPY_KILL_POINTS;
  const around = CONSUMER_KILL_POINTS.filter((point) => !inside.includes(point));
  for (const point of [...around, ...STOP_KILL_POINTS]) {
    await t.step(point, async () => assert.ok(await endsOf(point) > 0));
  }
});

Deno.test("a send of a producer comes by its points", async (t) => {
  for (const point of PRODUCER_KILL_POINTS.filter((each) => each !== "send noted")) {
    await t.step(point, async () => {
      let ends = 0;
      const kill = new KillSwitch(() => ends++, AT_ONCE);
      kill.arm(point, 1);
      const kafka = new MemoryKafka({ topic: "readings", partitions: 1, clock: new FakeClock() });
      await writerWithPoints(kafka.writer(), kill).send(0, [{ key: null, value: null }]);
      assert.equal(ends, 1);
    });
  }
});

Deno.test("KillSwitch ends at the armed point only, and at the arrival that was asked for", () => {
  let ends = 0;
  const kill = new KillSwitch(() => ends++, AT_ONCE);
  kill.arm("commit sent", 3);
  kill.reached("commit answered");
  kill.reached("commit sent");
  kill.reached("commit sent");
  assert.equal(ends, 0);
  kill.reached("commit sent");
  assert.equal(ends, 1);
});
