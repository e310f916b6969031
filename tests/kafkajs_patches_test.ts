import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import BrokerPool from "kafkajs/src/cluster/brokerPool.js";
import Cluster from "kafkajs/src/cluster/index.js";
import ConsumerGroup from "kafkajs/src/consumer/consumerGroup.js";
import MetadataResponse from "kafkajs/src/protocol/requests/metadata/v6/response.js";
import Connection from "kafkajs/src/network/connection.js";
import RequestQueue from "kafkajs/src/network/requestQueue/index.js";
import manifest from "kafkajs/package.json" with { type: "json" };
import "../lib/kafka/kafkajs_patches.ts";

Deno.test("the corrections to kafkajs are for the version in use", () => {
  assert.equal(manifest.version, "2.2.4");
});

Deno.test("a question that all brokers refuse ends with what they say", async (t) => {
  const pool = {
    brokers: { 1: {}, 2: {}, 3: {} },
    findBroker: ({ nodeId }: { nodeId: string }): Promise<string> =>
      nodeId === "2" ? Promise.reject(new Error("unreachable")) : Promise.resolve(nodeId),
  };
  const ask = (question: (broker: string) => Promise<string>): Promise<unknown> =>
    BrokerPool.prototype.withBroker.call(
      pool,
      ({ broker }: { broker: string }) => question(broker),
    );
  await t.step("refused", async () => {
    const lone = { ...pool, brokers: { 1: {} } };
    const refuse = (): Promise<string> => Promise.reject(new Error("no right"));
    await assert.rejects(BrokerPool.prototype.withBroker.call(lone, refuse), {
      message: "no right",
    });
  });
  await t.step("one cannot be reached, one refuses, one answers", async () => {
    for (let tries = 0; tries < 20; tries++) {
      const answer = await ask((broker) =>
        broker === "1" ? Promise.reject(new Error("busy")) : Promise.resolve(broker)
      );
      assert.equal(answer, "3");
    }
  });
});

Deno.test("half an answer ends with its connection", async () => {
  const nothing = (): void => {};
  const logger = { namespace: () => logger, debug: nothing, error: nothing, warn: nothing };
  const sockets: EventEmitter[] = [];
  const connection = new Connection({
    host: "localhost",
    port: 9092,
    logger,
    requestTimeout: 1_000,
    connectionTimeout: 1_000,
    enforceRequestTimeout: false,
    socketFactory: ({ onConnect }: { onConnect: () => void }) => {
      const methods = { end: nothing, unref: nothing, setKeepAlive: nothing };
      const socket = Object.assign(new EventEmitter(), methods);
      sockets.push(socket);
      queueMicrotask(onConnect);
      return socket;
    },
  });
  const answered: number[] = [];
  connection.requestQueue.fulfillRequest = ({ correlationId }: { correlationId: number }) =>
    answered.push(correlationId);
  await connection.connect();
  sockets[0]!.emit("data", answerTo(7).subarray(0, 6));
  await connection.disconnect();
  await connection.connect();
  sockets[1]!.emit("data", answerTo(8));
  assert.deepEqual(answered, [8]);
  await connection.disconnect();
});

/** A length, the number of the request, and two bytes. */
function answerTo(correlationId: number): Buffer {
  const answer = Buffer.alloc(10);
  answer.writeInt32BE(6, 0);
  answer.writeInt32BE(correlationId, 4);
  return answer;
}

Deno.test("an idle request queue arms no timer", () => {
  const nothing = (): void => {};
  const logger = { namespace: () => ({ debug: nothing }), debug: nothing };
  const queue = new RequestQueue({
    maxInFlightRequests: 1,
    requestTimeout: 1_000,
    enforceRequestTimeout: false,
    clientId: "c",
    broker: "b",
    logger,
    isConnected: () => true,
  });
  queue.scheduleCheckPendingRequests();
  assert.equal(queue.throttleCheckTimeoutId, null);
  queue.pending.push({});
  queue.scheduleCheckPendingRequests();
  assert.notEqual(queue.throttleCheckTimeoutId, null);
  clearTimeout(queue.throttleCheckTimeoutId);
});

/** Metadata as kafkajs decodes it: partition 0 is led by broker 1, partition 1 by nobody. */
const LEADERLESS = {
  topicMetadata: [{
    topic: "t",
    topicErrorCode: 0,
    partitionMetadata: [
      { partitionErrorCode: 0, partitionId: 0, leader: 1, replicas: [1], isr: [1] },
      { partitionErrorCode: 5, partitionId: 1, leader: -1, replicas: [3], isr: [3] },
    ],
  }],
};

Deno.test("metadata with a partition without a leader are metadata; an error of the topic is one", async () => {
  assert.equal(await MetadataResponse.parse(LEADERLESS), LEADERLESS);
  const [topic] = LEADERLESS.topicMetadata;
  await assert.rejects(
    MetadataResponse.parse({ topicMetadata: [{ ...topic!, topicErrorCode: 3 }] }),
    { type: "UNKNOWN_TOPIC_OR_PARTITION" },
  );
});

Deno.test("a leader that is missing is looked for soon, and not when metadata grow old", async () => {
  for (const [metadata, expiresMs] of [[LEADERLESS, 1_000], [LED, 30_000]] as const) {
    const pool = Object.assign(Object.create(BrokerPool.prototype), {
      seedBroker: { connectionPool: { host: "h", port: 1 } },
      metadataMaxAge: 30_000,
      brokers: {},
      retrier: (work: () => Promise<void>) => work(),
      findConnectedBroker: () =>
        Promise.resolve({ metadata: () => Promise.resolve({ ...metadata, brokers: [] }) }),
    });
    const beforeMs = Date.now();
    await pool.refreshMetadata(["t"]);
    const aheadMs = pool.metadataExpireAt - beforeMs;
    assert(aheadMs >= expiresMs && aheadMs < expiresMs + 1_000, `${aheadMs} ms`);
  }
});

/** The same with a leader for both. */
const LED = {
  topicMetadata: [{
    ...LEADERLESS.topicMetadata[0]!,
    partitionMetadata: LEADERLESS.topicMetadata[0]!.partitionMetadata
      .map((one) => ({ ...one, leader: 1 })),
  }],
};

/** A cluster of kafkajs that knows {@linkcode LEADERLESS}; a third partition is led by a dead broker. */
function clusterWith(error: Error): InstanceType<typeof Cluster> {
  const [topic] = LEADERLESS.topicMetadata;
  const partitionMetadata = [...topic!.partitionMetadata, { partitionId: 2, leader: 3 }];
  return Object.assign(Object.create(Cluster.prototype), {
    brokerPool: { metadata: { topicMetadata: [{ ...topic, partitionMetadata }] } },
    findBroker: ({ nodeId }: { nodeId: string }) =>
      nodeId !== "1" ? Promise.reject(error) : Promise.resolve({
        listOffsets: () =>
          Promise.resolve({
            responses: [{ topic: "t", partitions: [{ partition: 0, offset: "7" }] }],
          }),
      }),
  });
}

const unreached = Object.assign(new Error("refused"), { name: "KafkaJSConnectionError" });

Deno.test("a partition without a leader is nobody's, and not that of a broker -1", () => {
  const cluster = clusterWith(unreached);
  assert.deepEqual(cluster.findLeaderForPartitions("t", [0, 1, 2]), { 1: [0], 3: [2] });
});

Deno.test("offsets to begin with come from the leaders that can be reached", async () => {
  const partitions = [0, 1, 2].map((partition) => ({ partition }));
  const asked = [{ topic: "t", partitions, fromBeginning: true }];
  assert.deepEqual(await clusterWith(unreached).fetchTopicsOffset(asked), [
    { topic: "t", partitions: [{ partition: 0, offset: "7" }] },
  ]);
  const refused = Object.assign(new Error("no"), { type: "TOPIC_AUTHORIZATION_FAILED" });
  await assert.rejects(clusterWith(refused).fetchTopicsOffset(asked), refused);
});

Deno.test("a broker that cannot be reached ends its own fetch and no other", async () => {
  let refreshes = 0;
  const group = Object.assign(Object.create(ConsumerGroup.prototype), {
    cluster: { refreshMetadata: () => Promise.resolve(refreshes++) },
  });
  await group.recoverFromFetch(unreached);
  assert.equal(refreshes, 1);
  await assert.rejects(group.recoverFromFetch(new Error("what?")), { message: "what?" });
});
