import assert from "node:assert/strict";
import type { PartitionRange } from "../lib/kafka/message.ts";
import { readOffsetsAtTime, readWatermarks } from "../lib/kafka/offsets_reader.ts";
import type { RawBroker, RawCluster } from "../lib/kafka/raw_cluster.ts";
import { FakeClock } from "./fake_clock.ts";

/** Brokers 1 and 2 that lead partitions; what a broker does is set by a test. */
class TestCluster implements RawCluster {
  /** By partition; -1: none. */
  leaders = [1, 2, 1];
  /** Those after the next refresh. */
  newLeaders: number[] | undefined;
  faults = new Map<number, Error | "silent">();
  refreshes = 0;

  connect(): Promise<void> {
    return Promise.resolve();
  }
  disconnect(): Promise<void> {
    return Promise.resolve();
  }
  addTargetTopic(): Promise<void> {
    return Promise.resolve();
  }
  refreshMetadata(): Promise<void> {
    this.refreshes++;
    this.leaders = this.newLeaders ?? this.leaders;
    return Promise.resolve();
  }
  refreshMetadataIfNecessary(): Promise<void> {
    return Promise.resolve();
  }
  findTopicPartitionMetadata(): { partitionId: number; leader: number }[] {
    return this.leaders.map((leader, partitionId) => ({ partitionId, leader }));
  }
  findControllerBroker(): Promise<RawBroker> {
    return this.findBroker({ nodeId: 1 });
  }
  findGroupCoordinator(): Promise<RawBroker> {
    return this.findBroker({ nodeId: 1 });
  }
  async findBroker({ nodeId }: { nodeId: number }): Promise<RawBroker> {
    const fault = this.faults.get(nodeId);
    if (fault === "silent") await new Promise(() => {});
    if (fault instanceof Error) throw fault;
    return {
      versions: {},
      connectionPool: { send: () => Promise.reject(new Error("not asked")) },
      // The beginning is at 10 times the partition, the end 5 further; nothing is younger than 100.
      listOffsets: ({ topics }) =>
        Promise.resolve({
          responses: topics.map(({ partitions }) => ({
            partitions: partitions.map(({ partition, timestamp }) => ({
              partition,
              offset: String(
                timestamp > 100 ? -1 : partition * 10 + (timestamp === -2 ? 0 : timestamp + 6),
              ),
            })),
          })),
        }),
    };
  }
}

const refused = Object.assign(new Error("connect ECONNREFUSED"), {
  name: "KafkaJSConnectionError",
});
const LED_BY_1: [number, PartitionRange][] = [[0, { low: 0, high: 5 }], [2, { low: 20, high: 25 }]];

Deno.test("readWatermarks() asks each leader for its partitions", async (t) => {
  await t.step("all answer", async () => {
    const ranges = await readWatermarks(new TestCluster(), { topic: "t", clock: new FakeClock() });
    assert.deepEqual([...ranges], [
      [0, { low: 0, high: 5 }],
      [1, { low: 10, high: 15 }],
      [2, { low: 20, high: 25 }],
    ]);
  });
  await t.step("no broker leads one", async () => {
    const cluster = new TestCluster();
    cluster.leaders[1] = -1;
    const ranges = await readWatermarks(cluster, { topic: "t", clock: new FakeClock() });
    assert.deepEqual(ranges, new Map([...LED_BY_1, [1, { offline: "no broker leads it" }]]));
    assert.equal(cluster.refreshes, 0, "that is known already");
  });
  await t.step("a leader that cannot be reached", async () => {
    const cluster = new TestCluster();
    cluster.faults.set(2, refused);
    const ranges = await readWatermarks(cluster, { topic: "t", clock: new FakeClock() });
    const offline = "broker 2 leads it and does not answer: connect ECONNREFUSED";
    assert.deepEqual(ranges, new Map([...LED_BY_1, [1, { offline }]]));
  });
  await t.step("a leader that has moved is asked at once", async () => {
    const cluster = new TestCluster();
    cluster.faults.set(2, refused);
    cluster.newLeaders = [1, 1, 1];
    const ranges = await readWatermarks(cluster, { topic: "t", clock: new FakeClock() });
    assert.deepEqual(ranges.get(1), { low: 10, high: 15 });
  });
  await t.step("a leader that is silent holds up nobody for long", async () => {
    const cluster = new TestCluster();
    const clock = new FakeClock();
    cluster.faults.set(2, "silent");
    const asking = readWatermarks(cluster, { topic: "t", clock: clock });
    await clock.advance(1_000);
    const offline = "broker 2 leads it and is silent";
    assert.deepEqual(await asking, new Map([...LED_BY_1, [1, { offline }]]));
  });
});

Deno.test("readWatermarks() fails where it is no matter of partitions", async (t) => {
  await t.step("not one leader answers", async () => {
    const cluster = new TestCluster();
    cluster.faults.set(1, refused).set(2, refused);
    await assert.rejects(readWatermarks(cluster, { topic: "t", clock: new FakeClock() }), {
      name: "TransientError",
      cause: refused,
    });
  });
  await t.step("a broker refuses this user", async () => {
    const cluster = new TestCluster();
    cluster.faults.set(
      2,
      Object.assign(new Error("no"), { type: "TOPIC_AUTHORIZATION_FAILED" }),
    );
    await assert.rejects(readWatermarks(cluster, { topic: "t", clock: new FakeClock() }), {
      name: "ConfigurationError",
      message: /no right to the topic/,
    });
  });
});

Deno.test("readOffsetsAtTime() gives the end where all is older, and leaves out who is silent", async () => {
  const cluster = new TestCluster();
  cluster.leaders[1] = -1;
  const at = (timestampMs: number): Promise<ReadonlyMap<number, number>> =>
    readOffsetsAtTime(cluster, { topic: "t", clock: new FakeClock(), timestampMs });
  assert.deepEqual(await at(1), new Map([[0, 7], [2, 27]]));
  assert.deepEqual(await at(101), new Map([[0, 5], [2, 25]]));
});
