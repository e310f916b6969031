import assert from "node:assert/strict";
import { MemoryKafka } from "../../fakes/kafka_cluster.ts";
import { onlineOf } from "../../lib/kafka/message.ts";
import { FakeClock } from "../fake_clock.ts";

Deno.test("MemoryKafka.recreateTopic() can go unnoticed, and can leave the group's offsets", async (t) => {
  for (const commits of ["gone", "kept"] as const) {
    await t.step(commits, async () => {
      const kafka = new MemoryKafka({ topic: "readings", partitions: 1, clock: new FakeClock() });
      const member = kafka.member("g");
      const before = await member.identity();
      kafka.groups.committed.set("g", new Map([[0, 7]]));
      const generation = kafka.groups.generation("g");
      kafka.recreateTopic("nobody notices", commits);
      assert.notEqual((await member.identity()).topicId, before.topicId);
      assert.equal(kafka.groups.generation("g"), generation);
      assert.equal(kafka.groups.committed.get("g")?.get(0), commits === "kept" ? 7 : undefined);
    });
  }
});

Deno.test("MemoryKafka.abortHanging() ends what lost its marker, and no transaction under way", async () => {
  const kafka = new MemoryKafka({ topic: "readings", partitions: 1, clock: new FakeClock() });
  const [ended, open] = [kafka.transactionalProducer(), kafka.transactionalProducer()];
  const high = async (): Promise<number> =>
    onlineOf(await kafka.member("g").watermarks()).get(0)!.high;
  for (const producer of [ended, open]) {
    producer.append(0, [{ key: null, value: new Uint8Array([1]) }]);
  }
  ended.end("commit");
  assert.equal(await high(), 1);
  kafka.truncate(0, 2);
  assert.equal(await high(), 0, "open again");
  kafka.abortHanging(0);
  assert.equal(await high(), 1);
  open.end("commit");
  assert.equal(await high(), 4);
  const { records, transactions } = kafka.partition(0);
  assert.deepEqual(transactions.messagesOf(records).map(({ offset }) => offset), [1]);
});

Deno.test("MemoryTransactionalProducer ends nothing in a topic that was made again", () => {
  const kafka = new MemoryKafka({ topic: "readings", partitions: 1, clock: new FakeClock() });
  const producer = kafka.transactionalProducer();
  producer.append(0, [{ key: null, value: new Uint8Array([1]) }]);
  kafka.recreateTopic();
  producer.end("commit");
  assert.equal(kafka.partition(0).next, 0);
});
