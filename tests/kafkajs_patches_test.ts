import assert from "node:assert/strict";
import BrokerPool from "kafkajs/src/cluster/brokerPool.js";
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
