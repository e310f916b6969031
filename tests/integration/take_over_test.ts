/** Taking the place of the earlier program: its messages, its offsets, its keys, its users' queries. */
import assert from "node:assert/strict";
import {
  type GeneratedMessage,
  messageOf,
  sampleRow,
  seeded,
} from "../../campaign/generated_messages.ts";
import { pass } from "./processes.ts";
import { RealPipeline } from "./real_pipeline.ts";

/** It repeats one of this many latest ids, in every fourth message. */
const RECENT_IDS = 20;

Deno.test("main_consumer.ts takes messages as the earlier producer writes them", async (t) => {
  await using pipeline = await RealPipeline.open();
  const sent = await pipeline.send(earlierMessages(400));
  await pipeline.run("run", "--until-end");

  await t.step("first contents are rows, repeats with a new payload are dead letters", async () => {
    const { rows, deadLetters } = await pipeline.assertStored(sent);
    assert.deepEqual([rows.length, deadLetters.length], [300, 100]);
  });

  await t.step("SELECT * FROM sensor_events has the columns that it had", async () => {
    const rows = await pipeline.query("SELECT * FROM sensor_events");
    const earlier = ["unique_reading_id", "sensor_id", "sensor_type", "latitude", "longitude"];
    const later = ["timestamp", "value", "unit", "status", "battery_level"];
    const columns = Object.keys(rows[0]!);
    assert.deepEqual([...earlier, ...later].filter((name) => !columns.includes(name)), []);
  });

  await t.step("its check for duplicates finds none", async () => {
    const found = await pipeline.query(
      "SELECT unique_reading_id, count(*) FROM sensor_events GROUP BY 1 HAVING count(*) > 1",
    );
    assert.deepEqual(found, []);
  });

  await t.step("GET last:<sensor_id> is the message as JSON, GET reading:<id> is set", async () => {
    const [row] = await pipeline.query("SELECT * FROM sensor_events LIMIT 1");
    const [text] = await pipeline.redis.cli("--raw", "GET", `last:${row!.sensor_id}`);
    const message = sent.find(({ truth }) =>
      truth.kind === "reading" && truth.row.sensor_id === row!.sensor_id
    );
    assert.equal(text, new TextDecoder().decode(message!.value!));
    const [ttl] = await pipeline.redis.cli("TTL", `reading:${row!.unique_reading_id}`);
    assert.ok(Number(ttl) > 3_500 && Number(ttl) <= 3_600, `lives ${ttl} s more`);
  });
});

Deno.test("main_consumer.ts goes on at the group's offsets, and believes no mark of others", async () => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  const sent = await pipeline.send(earlierMessages(200));
  await pipeline.admin.setOffsets({
    groupId: pipeline.group,
    topic: pipeline.topic,
    partitions: [{ partition: 0, offset: "80" }],
  });
  const marks = sent.flatMap(({ truth }) =>
    truth.kind === "bad" ? [] : [`reading:${truth.row.unique_reading_id}`, "1"]
  );
  await pipeline.redis.cli("MSET", ...marks);
  await pipeline.run("run", "--until-end");
  await pipeline.assertStored(sent.filter(({ offset }) => offset >= 80));
});

Deno.test("main_consumer.ts keeps a newer last value of the earlier program, and no older one", async () => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  const old = sampleRow({ sensor_id: "old" });
  const young = sampleRow({ sensor_id: "young" });
  const earlier = (id: string, sensor: string, time: string): string =>
    `{"unique_reading_id": "${id}", "sensor_id": "${sensor}", "timestamp": "${time}"}`;
  const stays = earlier(crypto.randomUUID(), "young", "2999-01-01T00:00:00.000001+00:00");
  const goes = earlier(crypto.randomUUID(), "old", "2001-01-01T00:00:00+00:00");
  await pipeline.redis.cli("MSET", "last:young", stays, "last:old", goes);
  await pipeline.send([messageOf(old), messageOf(young)]);
  await pipeline.run("run", "--until-end");
  const [ofOld, ofYoung] = await pipeline.redis.cli("--raw", "MGET", "last:old", "last:young");
  assert.equal(JSON.parse(ofOld!).unique_reading_id, old.unique_reading_id);
  assert.equal(ofYoung, stays);
});

Deno.test("main_consumer.ts run --from says where to begin, whatever the group has committed", async (t) => {
  await t.step("beginning", async () => {
    await using pipeline = await RealPipeline.open({ partitions: 1 });
    const sent = await pipeline.send(earlierMessages(100));
    await pipeline.admin.setOffsets({
      groupId: pipeline.group,
      topic: pipeline.topic,
      partitions: [{ partition: 0, offset: "100" }],
    });
    await pipeline.run("run", "--until-end", "--from", "beginning");
    await pipeline.assertStored(sent);
  });
  await t.step("a time", async () => {
    await using pipeline = await RealPipeline.open({ partitions: 2 });
    await pipeline.send(earlierMessages(40));
    await pass(20);
    const time = new Date().toISOString();
    await pass(20);
    const later = await pipeline.send(earlierMessages(60));
    await pipeline.run("run", "--until-end", "--from", time);
    await pipeline.assertStored(later);
  });
});

/** Python's `json.dumps`, no key, a new sensor for each reading, an old id in every fourth. */
function earlierMessages(count: number): GeneratedMessage[] {
  const random = seeded(count);
  const ids: string[] = [];
  const second = Math.floor(Date.now() / 1_000) - 3_600;
  return Array.from({ length: count }, (_, index) => {
    const isRepeat = index % 4 === 3;
    // Python leaves the fraction out where it is zero.
    const isWhole = index % 10 === 0;
    const recent = Math.min(RECENT_IDS, ids.length);
    const id = isRepeat ? ids.at(-1 - Math.floor(random() * recent))! : crypto.randomUUID();
    if (!isRepeat) ids.push(id);
    const row = {
      ...sampleRow(),
      unique_reading_id: id,
      sensor_id: crypto.randomUUID(),
      timestampUs: BigInt(second) * 1_000_000n + (isWhole ? 0n : 123_456n),
      latitude: 40.712776,
      longitude: -74.005974,
      sensor_type: "temperature",
      value: Math.round(random() * 6_000) / 100 - 10,
      unit: "C",
    };
    const clock = new Date(second * 1_000).toISOString().slice(0, 19);
    const time = `${clock}${isWhole ? "" : ".123456"}+00:00`;
    const text = `{"unique_reading_id": "${id}", "sensor_id": "${row.sensor_id}", ` +
      `"sensor_type": "temperature", "location": {"latitude": 40.712776, "longitude": ` +
      `-74.005974}, "timestamp": "${time}", "value": ${pythonFloat(row.value)}, "unit": "C", ` +
      `"status": "${row.status}", "battery_level": ${row.battery_level}}`;
    return {
      key: null,
      value: new TextEncoder().encode(text),
      truth: { kind: "reading", row },
    };
  });
}

/** Python writes a whole float with its point. */
function pythonFloat(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
