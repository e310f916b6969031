import assert from "node:assert/strict";
import RequestQueue from "kafkajs/src/network/requestQueue/index.js";
import manifest from "kafkajs/package.json" with { type: "json" };
import "../lib/kafka/kafkajs_patches.ts";

Deno.test("the corrections to kafkajs are for the version in use", () => {
  assert.equal(manifest.version, "2.2.4");
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
