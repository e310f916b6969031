import assert from "node:assert/strict";
import { Partitioners } from "kafkajs";
import { partitionOf } from "../lib/kafka/partitioner.ts";

/** Printed by `org.apache.kafka.common.utils.Utils.murmur2` of kafka-clients 4.3.1, sign cleared. */
const JAVA_HASHES: readonly [key: string, positiveHash: number][] = [
  ["", 275_646_681],
  ["a", -1_563_381_124 & 0x7fffffff],
  ["ab", 316_155_434],
  ["abc", 479_470_107],
  ["abcd", -1_323_649_548 & 0x7fffffff],
  ["sensor-1", 780_060_301],
  ["4f6c1a52-9a0e-4c1d-8f5e-0d6b7a1c2e3f", -1_371_472_252 & 0x7fffffff],
  ["Zürich", -1_551_140_815 & 0x7fffffff],
  ["温度", -43_931_296 & 0x7fffffff],
  ["🌡️ outside", 1_617_552_340],
  ["~~~~~", -351_419_805 & 0x7fffffff],
  ["\0", 375_494_588],
];

Deno.test("partitionOf() agrees with Kafka's Java client", async (t) => {
  for (const [key, positiveHash] of JAVA_HASHES) {
    await t.step(JSON.stringify(key), () => {
      for (const partitions of [1, 6, 7, 2 ** 31 - 1]) {
        assert.equal(partitionOf(key, partitions), positiveHash % partitions);
      }
    });
  }
});

Deno.test("partitionOf() agrees with the default partitioner of kafkajs on 2,000 keys", () => {
  const partitioner = Partitioners.DefaultPartitioner();
  const partitionMetadata = Array.from({ length: 12 }, (_, partitionId) => ({
    partitionErrorCode: 0,
    partitionId,
    leader: 1,
    replicas: [1],
    isr: [1],
  }));
  let state = 1;
  for (let round = 0; round < 2_000; round++) {
    let key = "";
    for (let at = 0; at < round % 41; at++) {
      state = Math.imul(state, 1_664_525) + 1_013_904_223 | 0;
      key += String.fromCodePoint((state >>> 8) % (at % 5 === 0 ? 0xd000 : 0x7f) + 1);
    }
    const want = partitioner({ topic: "t", partitionMetadata, message: { key, value: null } });
    assert.equal(partitionOf(key, 12), want, JSON.stringify(key));
  }
});

Deno.test("partitionOf() refuses a count that is not a positive integer", () => {
  for (const partitions of [0, -1, 1.5, NaN]) {
    assert.throws(() => partitionOf("a", partitions), {
      name: "RangeError",
      message: /Cannot choose a partition/,
    });
  }
});
