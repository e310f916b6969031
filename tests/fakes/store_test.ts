import assert from "node:assert/strict";
import { createMemoryStore } from "../../fakes/store.ts";
import { TransientError } from "../../lib/errors.ts";
import { batchOf, deadLetterAt, readingAt, storeContract, TOPIC } from "../contracts/store.ts";
import { FakeClock } from "../fake_clock.ts";

storeContract("createMemoryStore()", async (use) => {
  let store = createMemoryStore();
  await use({
    get store() {
      return store;
    },
    rows: () =>
      Promise.resolve(
        [...store.readings.values()]
          .map(({ reading: { timestamp: _, ...reading }, ...row }) => ({ ...row, reading }))
          .toSorted((a, b) => a.reading.unique_reading_id < b.reading.unique_reading_id ? -1 : 1),
      ),
    deadLetters: () =>
      Promise.resolve(
        store.deadLetters.map(({ topic, headersJson, payload, key, ...letter }) => ({
          ...letter,
          topicId: topic.topicId,
          payload: payload?.toHex() ?? null,
          key: key?.toHex() ?? null,
          headers: JSON.parse(headersJson),
        })).toSorted((a, b) => a.offset - b.offset),
      ),
    resolveDeadLetters: () => Promise.resolve(store.resolveDeadLetters()),
    emptyReadings: () => Promise.resolve(store.emptyReadings()),
    reset: () => {
      store = createMemoryStore();
      return Promise.resolve();
    },
  });
});

Deno.test("failNext() makes the next calls fail before their effect, in order", async () => {
  const store = createMemoryStore();
  store.failNext("openLedgerLine", new TransientError("first"));
  store.failNext("openLedgerLine", new TransientError("second"));
  await assert.rejects(store.openLedgerLine(TOPIC, 0, 5), { message: "first" });
  await assert.rejects(store.openLedgerLine(TOPIC, 0, 5), { message: "second" });
  assert.deepEqual(await store.readLedger(), []);
  assert.equal(await store.openLedgerLine(TOPIC, 0, 5), 5);
});

Deno.test("loseReplyNext() makes the next call fail after its effect", async () => {
  const store = createMemoryStore();
  await store.openLedgerLine(TOPIC, 0, 0);
  const batch = batchOf(await store.dataSetId(), { readings: [readingAt(0, 1)] });
  store.loseReplyNext("storeBatch");
  await assert.rejects(store.storeBatch(batch, "copy"), {
    name: "TransientError",
    message: /lost/,
  });
  assert.equal(store.readings.size, 1);
  assert.deepEqual(await store.storeBatch(batch, "compare"), { kind: "fenced", ledgerNext: 1 });
});

Deno.test("createMemoryStore() takes its ids and dates from its options", async () => {
  const clock = new FakeClock();
  let made = 0;
  const store = createMemoryStore({ clock, newId: () => `id-${++made}` });
  assert.equal(await store.dataSetId(), "id-1");
  store.emptyReadings();
  assert.equal(await store.dataSetId(), "id-2");
  await store.openLedgerLine(TOPIC, 0, 0);
  assert.equal((await store.readLedger())[0]?.updatedAtMs, clock.now());
});

Deno.test("restore() takes rows, dead letters, ledger and data set back together", async () => {
  const store = createMemoryStore();
  const dataSetId = await store.dataSetId();
  await store.openLedgerLine(TOPIC, 0, 0);
  await store.storeBatch(
    batchOf(dataSetId, {
      readings: [readingAt(0, 1)],
      deadLetters: [deadLetterAt(1, "{")],
    }),
    "compare",
  );
  const backup = store.backup();
  const before = [[...store.readings], store.deadLetters, store.ledger];
  await store.storeBatch(
    batchOf(dataSetId, {
      fromOffset: 2,
      readings: [readingAt(2, 2)],
      deadLetters: [deadLetterAt(3, "[")],
    }),
    "compare",
  );
  store.emptyReadings();
  store.restore(backup);
  assert.deepEqual([[...store.readings], store.deadLetters, store.ledger], before);
  assert.equal(await store.dataSetId(), dataSetId);
  // The backup stays what it was, and can be used again.
  await store.storeBatch(
    batchOf(dataSetId, { fromOffset: 2, readings: [readingAt(2, 2)] }),
    "compare",
  );
  store.restore(backup);
  assert.equal(store.readings.size, 1);
});
