import assert from "node:assert/strict";
import Batch from "kafkajs/src/consumer/batch.js";
import RequestQueue from "kafkajs/src/network/requestQueue/index.js";
import manifest from "kafkajs/package.json" with { type: "json" };
import "../lib/kafka/kafkajs_patches.ts";

Deno.test("the corrections to kafkajs are for the version in use", () => {
  assert.equal(manifest.version, "2.2.4");
});

/** A fetched partition as kafkajs decodes it: offsets 0 to 2, all of an aborted transaction. */
const ABORTED = {
  partition: 0,
  highWatermark: "3",
  abortedTransactions: [{ producerId: "1", firstOffset: "0" }],
  messages: ["0", "1"].map((offset) => ({
    offset,
    key: null,
    isControlRecord: false,
    batchContext: { producerId: "1", inTransaction: true },
  })).concat([{
    offset: "2",
    key: Uint8Array.of(0, 0, 0, 0) as never,
    isControlRecord: true,
    batchContext: { producerId: "1", inTransaction: true },
  }]),
};

Deno.test("a fetch of aborted records alone is a batch without messages, not an empty fetch", () => {
  const batch = new Batch("t", "0", ABORTED);
  assert.deepEqual(batch.messages, []);
  assert.equal(batch.isEmpty(), false);
  assert.equal(batch.isEmptyDueToFiltering(), false);
  assert.equal(batch.lastOffset(), "2");
});

Deno.test("a fetch of nothing is empty", () => {
  const batch = new Batch("t", "0", { ...ABORTED, abortedTransactions: [], messages: [] });
  assert.equal(batch.isEmpty(), true);
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
