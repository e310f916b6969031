import assert from "node:assert/strict";
import { readingsOf } from "../fakes/reading_rows.ts";
import type { MemoryTransactionalProducer } from "../fakes/transactional_producer.ts";
import { ConfigurationError, RowDataError, TransientError } from "../lib/errors.ts";
import { UNKNOWN_EPOCH } from "../lib/kafka/message.ts";
import { createLog } from "../lib/log.ts";
import type { StoreOutcome } from "../lib/postgres/store.ts";
import { batchOf } from "./contracts/store.ts";
import {
  GROUP,
  idOf,
  MemoryPipeline,
  messageText,
  messageTexts,
  type RunningConsumer,
} from "./memory_pipeline.ts";
import { utf8 } from "./sample_message.ts";

function storedIds(pipeline: MemoryPipeline): string[] {
  return [...pipeline.store.readings.keys()].sort();
}

function ids(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => idOf(first + index));
}

async function untilStored(pipeline: MemoryPipeline, count: number): Promise<void> {
  await pipeline.until(`${count} rows`, () => pipeline.store.readings.size >= count);
}

/** Waits until the ledger of partition 0 stands at `next`. */
async function untilNext(pipeline: MemoryPipeline, next: number): Promise<void> {
  for (let steps = 0; steps < 2_000; steps++) {
    if ((await pipeline.line(0))?.next === next) return;
    await pipeline.clock.advance(20);
  }
  assert.fail(`the ledger never came to ${next}: ${JSON.stringify(await pipeline.line(0))}`);
}

Deno.test("consume() stores every message of every partition and commits", async () => {
  const pipeline = new MemoryPipeline();
  pipeline.append(0, messageTexts(1, 250));
  pipeline.append(1, [...messageTexts(1_001, 30), "{"]);
  const consumer = pipeline.start();
  await untilStored(pipeline, 280);
  const summary = await pipeline.stop(consumer);
  assert.deepEqual(summary, {
    inserted: 280,
    duplicates: 0,
    deadLetters: 1,
    skipped: 0,
    ended: "cleanly",
  });
  assert.deepEqual(pipeline.kafka.groups.committed.get(GROUP), new Map([[0, 250], [1, 31]]));
  assert.deepEqual(pipeline.logged, []);
});

Deno.test("consume() until the end returns when what was there is stored", async (t) => {
  await t.step("messages", async () => {
    const pipeline = new MemoryPipeline();
    pipeline.append(0, messageTexts(1, 250));
    const consumer = pipeline.start({ until: "end" });
    for (let steps = 0; steps < 100; steps++) await pipeline.clock.advance(20);
    assert.equal((await consumer.done).inserted, 250);
  });
  await t.step("messages whose last values Redis missed", async () => {
    const pipeline = new MemoryPipeline();
    pipeline.append(0, [messageText(1, { sensor_id: "s-1" })]);
    pipeline.cache.failNext("remember");
    const consumer = pipeline.start({ until: "end" });
    for (let steps = 0; steps < 100; steps++) await pipeline.clock.advance(20);
    assert.equal((await consumer.done).inserted, 1);
    assert.ok(pipeline.cache.lastValues.has("s-1"));
  });
  await t.step("messages, and Redis stays away", async () => {
    const pipeline = new MemoryPipeline();
    pipeline.append(0, messageTexts(1, 3));
    for (let calls = 0; calls < 10; calls++) pipeline.cache.failNext("remember");
    const consumer = pipeline.start({ until: "end" });
    for (let steps = 0; steps < 100; steps++) await pipeline.clock.advance(20);
    assert.equal((await consumer.done).inserted, 3);
    assert.match(pipeline.logged.join(""), /last values are not up to date/);
  });
  await t.step("an empty topic", async () => {
    const pipeline = new MemoryPipeline();
    const consumer = pipeline.start({ until: "end" });
    for (let steps = 0; steps < 100; steps++) await pipeline.clock.advance(20);
    assert.equal((await consumer.done).inserted, 0);
  });
  await t.step("a log that ends in control records", async () => {
    const pipeline = new MemoryPipeline();
    pipeline.append(0, messageTexts(1, 3));
    pipeline.kafka.appendControl(0, 4);
    const consumer = pipeline.start({ until: "end" });
    for (let steps = 0; steps < 100; steps++) await pipeline.clock.advance(20);
    const { inserted, skipped } = await consumer.done;
    assert.deepEqual({ inserted, skipped }, { inserted: 3, skipped: 4 });
  });
  await t.step("two consumers wait for each other's partitions", async () => {
    const pipeline = new MemoryPipeline();
    pipeline.append(0, messageTexts(1, 50));
    pipeline.append(1, messageTexts(101, 50));
    const both = [pipeline.start({ until: "end" }), pipeline.start({ until: "end" })];
    for (let steps = 0; steps < 200; steps++) await pipeline.clock.advance(20);
    const summaries = await Promise.all(both.map((consumer) => consumer.done));
    assert.equal(summaries.reduce((sum, one) => sum + one.inserted, 0), 100);
  });
});

Deno.test("consume() says what an open transaction holds back, and goes on when it has ended", async (t) => {
  const open = (): [MemoryPipeline, MemoryTransactionalProducer] => {
    const pipeline = new MemoryPipeline(1);
    const producer = pipeline.kafka.transactionalProducer();
    pipeline.append(0, messageTexts(1, 2));
    producer.append(0, [{ key: null, value: utf8(messageText(3)) }]);
    pipeline.append(0, messageTexts(4, 5));
    return [pipeline, producer];
  };
  await t.step("once, after a minute, and the watchdog is quiet", async () => {
    const [pipeline, producer] = open();
    const consumer = pipeline.start();
    await untilNext(pipeline, 2);
    for (let seconds = 0; seconds < 45; seconds++) await pipeline.clock.advance(1_000);
    assert.deepEqual(pipeline.logged, []);
    for (let seconds = 0; seconds < 200; seconds++) await pipeline.clock.advance(1_000);
    assert.equal(pipeline.logged.length, 1);
    assert.match(pipeline.logged[0]!, /partition 0: 6 messages wait behind a transaction/);
    assert.match(pipeline.logged[0]!, /abort --topic readings --partition 0 --start-offset 2/);
    producer.end("commit");
    await untilNext(pipeline, 9);
    assert.equal((await pipeline.stop(consumer)).inserted, 8);
  });
  await t.step("at once where it reads until the end, which is before it", async () => {
    const [pipeline] = open();
    const consumer = pipeline.start({ until: "end" });
    for (let steps = 0; steps < 100; steps++) await pipeline.clock.advance(20);
    assert.equal((await consumer.done).inserted, 2);
    assert.match(pipeline.logged.join(), /6 messages wait .* offset 2: left for a later run/);
  });
});

Deno.test("consume() goes on before a transaction in which another program has read already", async () => {
  const pipeline = new MemoryPipeline(1);
  const producer = pipeline.kafka.transactionalProducer();
  pipeline.append(0, messageTexts(1, 2));
  producer.append(0, [{ key: null, value: utf8(messageText(3)) }]);
  pipeline.append(0, messageTexts(4, 5));
  pipeline.kafka.groups.committed.set(GROUP, new Map([[0, 7]]));
  const consumer = pipeline.start();
  await untilNext(pipeline, 2);
  producer.end("commit");
  await untilNext(pipeline, 9);
  await pipeline.stop(consumer);
  assert.equal((await pipeline.line(0))?.first, 2);
  assert.deepEqual(storedIds(pipeline), ids(3, 6));
});

Deno.test("consume() starts where the ledger stands, whatever Kafka's commit says", async (t) => {
  for (const committed of [0, 3, 10]) {
    await t.step(`committed ${committed}`, async () => {
      const pipeline = new MemoryPipeline(1);
      pipeline.append(0, messageTexts(1, 10));
      await pipeline.store.openLedgerLine(pipeline.kafka.identity(), 0, 4);
      pipeline.kafka.groups.committed.set(GROUP, new Map([[0, committed]]));
      const consumer = pipeline.start();
      await untilNext(pipeline, 10);
      await pipeline.stop(consumer);
      assert.deepEqual(storedIds(pipeline), ids(5, 6));
    });
  }
});

Deno.test("consume() begins a topic that the ledger does not know", async (t) => {
  const rows: readonly [string, Parameters<MemoryPipeline["start"]>[0], number][] = [
    ["at the group's commit", {}, 3],
    ["at the beginning", { startFrom: { kind: "beginning" } }, 0],
    ["at a time", { startFrom: { kind: "time", timestampMs: 7_000 } }, 7],
  ];
  for (const [name, options, first] of rows) {
    await t.step(name, async () => {
      const pipeline = new MemoryPipeline(1);
      const timed = messageTexts(0, 10).map((text, index) => ({
        key: null,
        value: new TextEncoder().encode(text),
        timestampMs: index * 1_000,
      }));
      pipeline.append(0, timed);
      pipeline.kafka.groups.committed.set(GROUP, new Map([[0, 3]]));
      const consumer = pipeline.start(options);
      await untilNext(pipeline, 10);
      await pipeline.stop(consumer);
      assert.equal((await pipeline.line(0))?.first, first);
      assert.deepEqual(storedIds(pipeline), ids(first, 10 - first));
    });
  }
});

Deno.test("consume() begins at a time in every partition, whichever member comes first", async (t) => {
  const rows: readonly [name: string, opened: readonly number[], starts: readonly number[]][] = [
    ["in all of them, though it reads only some", [], [7, 7, 7]],
    ["where another member is about to", [2], [7, 7, 2]],
    ["not where one was added later", [0, 2], [0, 0, 2]],
  ];
  for (const [name, opened, starts] of rows) {
    await t.step(name, async () => {
      const pipeline = new MemoryPipeline(3);
      for (const partition of [0, 1, 2]) {
        const numbers = Array.from({ length: 10 }, (_, index) => index);
        pipeline.append(
          partition,
          numbers.map((number) => ({
            key: null,
            value: utf8(messageText(partition * 10 + number)),
            timestampMs: number * 1_000,
          })),
        );
      }
      for (const partition of opened) {
        await pipeline.store.openLedgerLine(pipeline.kafka.identity(), partition, partition);
      }
      // It has some of the partitions and reads none: a stranger, as far as the ledger goes.
      const silent = pipeline.kafka.member(GROUP);
      await silent.start({
        assigned: (partitions) => silent.pause(partitions),
        batch: () => Promise.resolve(),
        refused: () => {},
        crashed: () => {},
      });
      const consumer = pipeline.start({ startFrom: { kind: "time", timestampMs: 7_000 } });
      await pipeline.clock.advance(1_000);
      const lines = await Promise.all([0, 1, 2].map((partition) => pipeline.line(partition)));
      await pipeline.stop(consumer);
      await silent.stop();
      assert.deepEqual(lines.map((line) => line?.first), starts);
    });
  }
});

Deno.test("consume() that is stopped in trouble does not say that it goes on", async () => {
  const pipeline = new MemoryPipeline(1);
  const lines: string[] = [];
  const log = createLog({
    level: "info",
    format: "text",
    write: (line) => lines.push(line),
    clock: pipeline.clock,
  });
  for (let tries = 0; tries < 100; tries++) {
    pipeline.store.failNext("openLedgerLine", new TransientError("Cannot open it: no right"));
  }
  const consumer = pipeline.start({}, (parts) => ({ ...parts, log }));
  await pipeline.until("trouble", () => lines.some((line) => line.includes("no right")));
  await pipeline.stop(consumer);
  assert.match(lines.at(-1)!, /stopped/);
  assert(!lines.some((line) => line.includes("going on")), lines.join(""));
});

Deno.test("consume() while the database is away waits, then loses nothing", async (t) => {
  for (const method of ["storeBatch", "readLedger"] as const) {
    await t.step(method, async () => {
      const pipeline = new MemoryPipeline(1);
      pipeline.append(0, messageTexts(1, 20));
      for (let tries = 0; tries < 12; tries++) {
        pipeline.store.failNext(method, new TransientError("Cannot reach it: refused"));
      }
      const consumer = pipeline.start();
      await untilStored(pipeline, 20);
      await pipeline.stop(consumer);
      assert.deepEqual(storedIds(pipeline), ids(1, 20));
      assert.equal(pipeline.store.deadLetters.length, 0);
      const waits = pipeline.logged.filter((line) => line.includes("waiting"));
      assert.equal(waits.length, 1, "one line for one cause, not one a try");
    });
  }
});

Deno.test("consume() finds the one row that PostgreSQL refuses", async () => {
  const pipeline = new MemoryPipeline(1);
  const { store } = pipeline;
  const { storeBatch } = store;
  store.storeBatch = (batch, way) => {
    const { columns, rows } = batch.readings;
    const isRefused = rows.some((row) => columns.idText(row) === idOf(5));
    return isRefused ? Promise.reject(new RowDataError("22P02")) : storeBatch(batch, way);
  };
  const texts = messageTexts(1, 7);
  pipeline.append(0, [...texts.slice(0, 3), "{", ...texts.slice(3)]);
  pipeline.kafka.appendControl(0, 1);
  const consumer = pipeline.start();
  await untilNext(pipeline, 9);
  const { ended: _, ...counts } = await pipeline.stop(consumer);
  assert.deepEqual(counts, { inserted: 6, duplicates: 0, deadLetters: 2, skipped: 1 });
  assert.deepEqual(
    store.deadLetters.map(({ offset, reason }) => `${offset} ${reason}`).sort(),
    ["3 json", "5 refused_by_database"],
  );
  assert.deepEqual(pipeline.kafka.groups.committed.get(GROUP), new Map([[0, 9]]));
  assert.equal(pipeline.cache.liveMarks().size, 6);
  assert.deepEqual(pipeline.logged, []);
});

/** What the store has, by partition. */
function storedByPartition({ store }: MemoryPipeline): ReadonlyMap<number, readonly string[]> {
  const found = new Map<number, string[]>();
  for (const [id, { partition, reading }] of store.readings) {
    assert.equal(idOf(reading.value), id, "the fields of a row are of one message");
    found.set(partition, [...found.get(partition) ?? [], id].sort());
  }
  return found;
}

Deno.test("consume() keeps the columns of batches at work at the same time apart", async () => {
  const pipeline = new MemoryPipeline(2);
  // Both batches are parsed before either is stored or marked.
  pipeline.append(0, messageTexts(1, 50));
  pipeline.append(1, messageTexts(101, 60));
  const marks = pipeline.cache.marks.bind(pipeline.cache);
  pipeline.cache.marks = async (ids) => {
    const found = await marks(ids);
    await pipeline.clock.sleep(10);
    return found;
  };
  const consumer = pipeline.start();
  await untilStored(pipeline, 110);
  await pipeline.stop(consumer);
  assert.deepEqual(storedByPartition(pipeline), new Map([[0, ids(1, 50)], [1, ids(101, 60)]]));
  assert.deepEqual([...pipeline.cache.liveMarks().keys()].sort(), [...ids(1, 50), ...ids(101, 60)]);
});

Deno.test("consume() keeps the columns of a batch that was given up while its store call is late", async () => {
  const pipeline = new MemoryPipeline(2);
  const { store } = pipeline;
  const { storeBatch } = store;
  const late = Promise.withResolvers<void>();
  let isFirst = true;
  store.storeBatch = async (batch, way) => {
    const isHeld = isFirst;
    isFirst = false;
    if (isHeld) await late.promise;
    // Read this late, the columns must still be the batch's own.
    const texts = readingsOf(batch.readings).map(({ reading }) => reading.unique_reading_id);
    if (isHeld) assert.deepEqual(texts, ids(1, 50));
    return await storeBatch(batch, way);
  };
  pipeline.append(0, messageTexts(1, 50));
  const consumer = pipeline.start();
  await pipeline.until("the first batch is held", () => !isFirst);
  // Another member comes and goes, so both partitions are placed again while the first batch is held.
  const other = pipeline.start();
  await pipeline.clock.advance(2_000);
  await pipeline.stop(other);
  pipeline.append(0, messageTexts(51, 50));
  pipeline.append(1, messageTexts(101, 300));
  await untilStored(pipeline, 400);
  late.resolve();
  const { ended } = await pipeline.stop(consumer);
  assert.equal(ended, "cleanly");
  assert.deepEqual(storedByPartition(pipeline), new Map([[0, ids(1, 100)], [1, ids(101, 300)]]));
  assert.deepEqual(pipeline.logged, []);
});

Deno.test("consume() with a batch that takes long stores the others', and then what came as one", async () => {
  const pipeline = new MemoryPipeline(2);
  const { store } = pipeline;
  const { storeBatch } = store;
  const batches: number[] = [];
  const slow = Promise.withResolvers<void>();
  store.storeBatch = async (batch, way) => {
    if (batch.partition === 0 && way === "copy") batches.push(batch.readings.rows.length);
    if (batch.partition === 0 && batches.length === 1) await slow.promise;
    return await storeBatch(batch, way);
  };
  pipeline.append(0, messageTexts(1, 1));
  const consumer = pipeline.start();
  await pipeline.until("the first batch is under way", () => batches.length === 1);
  for (let number = 2; number <= 4; number++) {
    pipeline.append(0, messageTexts(number, 1));
    await pipeline.clock.advance(500);
  }
  pipeline.append(1, messageTexts(101, 3));
  await untilStored(pipeline, 3);
  slow.resolve();
  await untilStored(pipeline, 7);
  await pipeline.stop(consumer);
  assert.deepEqual(storedByPartition(pipeline), new Map([[1, ids(101, 3)], [0, ids(1, 4)]]));
  assert.deepEqual(batches, [1, 3]);
});

Deno.test("consume() takes a wrong schema for something that a person mends, and waits", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 3));
  pipeline.store.failNext("storeBatch", new ConfigurationError("run: deno task migrate"));
  const consumer = pipeline.start();
  await untilStored(pipeline, 3);
  await pipeline.stop(consumer);
  assert.match(pipeline.logged.join(""), /run: deno task migrate/);
});

Deno.test("consume() survives a fault of its own without losing the message", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 3));
  pipeline.store.failNext("storeBatch", new TypeError("undefined is not a function"));
  const consumer = pipeline.start();
  await untilStored(pipeline, 3);
  await pipeline.stop(consumer);
});

Deno.test("consume() takes a lost answer to COMMIT for stored, and counts nothing twice", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 250));
  pipeline.store.loseReplyNext("storeBatch");
  const consumer = pipeline.start();
  await untilNext(pipeline, 250);
  await pipeline.stop(consumer);
  const line = await pipeline.line(0);
  assert.deepEqual([line?.inserted, line?.duplicates], [250, 0]);
});

Deno.test("consume() repairs last values that a lost answer left behind", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, [messageText(1, { sensor_id: "s-1" })]);
  pipeline.store.loseReplyNext("storeBatch");
  const consumer = pipeline.start();
  await pipeline.until("a last value", () => pipeline.cache.lastValues.has("s-1"));
  await pipeline.stop(consumer);
});

Deno.test("consume() restores last values after Redis was emptied", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, [messageText(1, { sensor_id: "silent" })]);
  const consumer = pipeline.start();
  await pipeline.until("the first repair", () => pipeline.cache.lastComplete !== null);
  assert.ok(pipeline.cache.lastValues.has("silent"));
  pipeline.cache.flush();
  pipeline.append(0, [messageText(2, { sensor_id: "talking" })]);
  await pipeline.until("the silent sensor", () => pipeline.cache.lastValues.has("silent"));
  await pipeline.stop(consumer);
});

Deno.test("consume() is not starved by the marks of a database that is gone", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  let consumer = pipeline.start();
  await untilStored(pipeline, 10);
  await pipeline.stop(consumer);
  // The same readings come again, and only Redis remembers them.
  pipeline.store.emptyReadings();
  pipeline.append(0, messageTexts(1, 10));
  consumer = pipeline.start();
  await untilStored(pipeline, 10);
  await pipeline.stop(consumer);
  assert.deepEqual(storedIds(pipeline), ids(1, 10));
});

Deno.test("consume() notices under way that the database was emptied", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  const consumer = pipeline.start();
  await untilStored(pipeline, 10);
  pipeline.store.emptyReadings();
  pipeline.append(0, messageTexts(1, 12));
  await untilStored(pipeline, 12);
  await pipeline.stop(consumer);
});

Deno.test("consume() steps over deleted messages and says how many", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  await pipeline.store.openLedgerLine(pipeline.kafka.identity(), 0, 0);
  pipeline.kafka.deleteRecords(0, 4);
  const consumer = pipeline.start();
  await untilNext(pipeline, 10);
  await pipeline.stop(consumer);
  assert.equal((await pipeline.line(0))?.gaps, 4);
  assert.match(pipeline.logged.join(""), /the brokers deleted messages .* messages=4/);
});

Deno.test("consume() under way steps over deleted messages", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  const consumer = pipeline.start();
  await untilNext(pipeline, 10);
  pipeline.append(0, messageTexts(11, 10));
  pipeline.kafka.deleteRecords(0, 15);
  await untilNext(pipeline, 20);
  await pipeline.stop(consumer);
  assert.equal((await pipeline.line(0))?.gaps, 5);
});

Deno.test("consume() reads a log again that lost its end, and stores what is new", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  const consumer = pipeline.start();
  await untilNext(pipeline, 10);
  pipeline.kafka.truncate(0, 6);
  pipeline.append(0, messageTexts(11, 2));
  await untilNext(pipeline, 8);
  await pipeline.stop(consumer);
  const line = await pipeline.line(0);
  assert.deepEqual([line?.inserted, line?.duplicates, line?.rewound], [12, 0, 4]);
  assert.match(pipeline.logged.join(""), /ERROR the brokers lost the end of the log.*toOffset=6/);
});

Deno.test("consume() stores what took the place of lost messages before anybody looked", async (t) => {
  const rows: readonly [string, "runs" | "is stopped", grown: number, duplicates: number][] = [
    ["and grew past the ledger, while it runs", "runs", 9, 0],
    ["and grew just to the ledger, while it runs", "runs", 4, 0],
    ["and grew past the ledger, while it is stopped", "is stopped", 9, 0],
    ["and grew just to the ledger, while it is stopped", "is stopped", 4, 0],
  ];
  for (const [name, consumerThen, grown, duplicates] of rows) {
    await t.step(`the log lost its end ${name}`, async () => {
      const pipeline = new MemoryPipeline(1);
      pipeline.append(0, messageTexts(1, 10));
      let consumer = pipeline.start();
      await untilNext(pipeline, 10);
      if (consumerThen === "is stopped") await pipeline.stop(consumer);
      pipeline.kafka.truncate(0, 6);
      pipeline.append(0, messageTexts(11, grown));
      if (consumerThen === "is stopped") consumer = pipeline.start();
      await untilStored(pipeline, 10 + grown);
      await pipeline.stop(consumer);
      const line = await pipeline.line(0);
      assert.deepEqual([line?.duplicates, line?.rewound, line?.leaderEpoch], [duplicates, 4, 1]);
    });
  }
  await t.step("the log lost all of its leader's messages", async () => {
    const pipeline = new MemoryPipeline(1);
    pipeline.append(0, messageTexts(1, 5));
    pipeline.kafka.electLeader(0);
    pipeline.append(0, messageTexts(6, 5));
    const consumer = pipeline.start();
    await untilNext(pipeline, 10);
    pipeline.kafka.truncate(0, 3);
    pipeline.append(0, messageTexts(11, 9));
    await untilStored(pipeline, 19);
    await pipeline.stop(consumer);
    // Nobody knows where that leader began, so all is read again.
    const line = await pipeline.line(0);
    assert.deepEqual([line?.duplicates, line?.rewound], [3, 10]);
  });
});

Deno.test("consume() stores no lost messages where others took their place", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  const held = Promise.withResolvers<void>();
  let outcome: StoreOutcome | undefined;
  const zombie = pipeline.start({}, (parts) => ({
    ...parts,
    store: {
      ...parts.store,
      storeBatch: async (batch, way) => {
        if (batch.fromOffset < 10) return await parts.store.storeBatch(batch, way);
        await held.promise;
        return outcome = await parts.store.storeBatch(batch, way);
      },
    },
  }));
  await untilNext(pipeline, 10);
  pipeline.append(0, messageTexts(11, 5));
  await pipeline.clock.advance(1_000);
  zombie.member.evict();
  pipeline.kafka.truncate(0, 6);
  pipeline.append(0, messageTexts(21, 4));
  const heir = pipeline.start();
  await untilStored(pipeline, 14);
  held.resolve();
  await pipeline.until("the zombie's batch comes to the ledger", () => outcome !== undefined);
  assert.deepEqual(outcome, { kind: "other_log" });
  pipeline.append(0, messageTexts(25, 3));
  await untilStored(pipeline, 17);
  await pipeline.stop(heir);
  await pipeline.stop(zombie);
  const line = await pipeline.line(0);
  assert.deepEqual([line?.next, line?.inserted, line?.rewound], [13, 17, 4]);
});

Deno.test("consume() reads nothing again when another leader has all messages", async () => {
  const pipeline = new MemoryPipeline(1);
  const consumer = pipeline.start();
  for (let leader = 1; leader <= 3; leader++) {
    pipeline.append(0, messageTexts(10 * leader, 10));
    pipeline.kafka.electLeader(0);
    await untilNext(pipeline, 10 * leader);
  }
  await pipeline.stop(consumer);
  const line = await pipeline.line(0);
  assert.deepEqual([line?.inserted, line?.duplicates, line?.rewound], [30, 0, 0]);
  assert.deepEqual(pipeline.logged, []);
});

Deno.test("consume() takes nobody's word for the end of a log who was wrong once", async (t) => {
  const rows: readonly [string, epoch: number][] = [
    ["the ledger knows the leader's epoch", 0],
    ["a ledger from before there were epochs", UNKNOWN_EPOCH],
  ];
  for (const [name, toEpoch] of rows) {
    for (const when of ["placing", "a check"]) {
      await t.step(`${name}, at ${when}`, async () => {
        const pipeline = new MemoryPipeline(1);
        const topic = pipeline.kafka.identity();
        pipeline.append(0, messageTexts(1, 10));
        await pipeline.store.openLedgerLine(topic, 0, 0);
        await pipeline.store.moveLedgerLine(topic, 0, { fromOffset: 0, toOffset: 10, toEpoch });
        if (when === "placing") pipeline.kafka.answerWronglyNext(0, 7);
        const consumer = pipeline.start();
        if (when === "a check") {
          await pipeline.clock.advance(5_000);
          pipeline.kafka.answerWronglyNext(0, 7);
        }
        await pipeline.clock.advance(30_000);
        pipeline.append(0, messageTexts(11, 1));
        await untilNext(pipeline, 11);
        await pipeline.stop(consumer);
        assert.equal((await pipeline.line(0))?.rewound, 0);
        if (when === "placing") {
          assert.match(
            pipeline.logged.join(""),
            /wrong end.*ledgerOffset=10 {2}named=7 {2}logEnd=10/,
          );
        }
      });
    }
  }
});

Deno.test("consume() asks more than once before a line goes back", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  const first = pipeline.start();
  await untilNext(pipeline, 10);
  await pipeline.stop(first);
  pipeline.kafka.truncate(0, 6);
  let asked = 0;
  const second = pipeline.start({}, (parts) => {
    const { member } = parts;
    const epochEnds = member.epochEnds.bind(member);
    member.epochEnds = (epochs) => {
      asked++;
      return epochEnds(epochs);
    };
    return parts;
  });
  await untilNext(pipeline, 6);
  // Three times what was lost, and once what is left.
  assert.equal(asked, 4);
  await pipeline.stop(second);
  assert.match(
    pipeline.logged.join(""),
    /Cannot continue at offset 10 of partition 0: the brokers say that its log ends at 6 in leader epoch 0/,
  );
});

Deno.test("consume() reads a topic that was made again from its beginning", async (t) => {
  await t.step("while running", async () => {
    const pipeline = new MemoryPipeline(1);
    pipeline.append(0, messageTexts(1, 10));
    const consumer = pipeline.start();
    await untilNext(pipeline, 10);
    pipeline.kafka.recreateTopic();
    pipeline.append(0, messageTexts(11, 20));
    await untilStored(pipeline, 30);
    await pipeline.stop(consumer);
    assert.deepEqual(storedIds(pipeline), ids(1, 30));
  });
  await t.step("while stopped, with a commit of the old one", async () => {
    const pipeline = new MemoryPipeline(1);
    pipeline.append(0, messageTexts(1, 10));
    await pipeline.stop(pipeline.start());
    const consumer = pipeline.start();
    await untilNext(pipeline, 10);
    await pipeline.stop(consumer);
    pipeline.kafka.recreateTopic();
    pipeline.append(0, messageTexts(11, 20));
    pipeline.kafka.groups.committed.set(GROUP, new Map([[0, 10]]));
    const successor = pipeline.start();
    await untilStored(pipeline, 30);
    await pipeline.stop(successor);
  });
});

Deno.test("consume() with two members: a zombie's work is refused", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 100));
  const zombie = pipeline.start();
  // Its first batch hangs in the database while the group gives its partition away.
  const { store } = pipeline;
  const storeBatch = store.storeBatch;
  const hung = Promise.withResolvers<void>();
  store.storeBatch = async (batch, way) => {
    store.storeBatch = storeBatch;
    await hung.promise;
    return await storeBatch(batch, way);
  };
  await pipeline.until("a hanging batch", () => store.storeBatch === storeBatch);
  zombie.member.evict();
  const successor: RunningConsumer = pipeline.start();
  await untilNext(pipeline, 100);
  hung.resolve();
  await pipeline.clock.advance(100);
  zombie.member.readmit();
  await pipeline.clock.advance(1_000);
  await pipeline.stop(successor);
  await pipeline.stop(zombie);
  const line = await pipeline.line(0);
  assert.deepEqual([line?.inserted, line?.duplicates], [100, 0]);
});

Deno.test("consume() retries a refused Kafka commit on an idle topic", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  for (let tries = 0; tries < 3; tries++) {
    pipeline.kafka.failNext("commit", new TransientError("ILLEGAL_GENERATION"));
  }
  const consumer = pipeline.start();
  await pipeline.until("a commit", () => pipeline.kafka.groups.committed.get(GROUP)?.get(0) === 10);
  await pipeline.stop(consumer);
});

Deno.test("consume() when stopped finishes the batch under way and no further", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 300));
  const { store } = pipeline;
  const storeBatch = store.storeBatch;
  const slow = Promise.withResolvers<void>();
  store.storeBatch = async (batch, way) => {
    await slow.promise;
    return await storeBatch(batch, way);
  };
  const consumer = pipeline.start();
  await pipeline.clock.advance(500);
  consumer.stop.abort();
  await pipeline.clock.advance(500);
  slow.resolve();
  const summary = await pipeline.stop(consumer);
  assert.deepEqual([summary.inserted, summary.ended], [100, "cleanly"]);
  assert.equal(pipeline.kafka.groups.committed.get(GROUP)?.get(0), 100);
});

Deno.test("consume() when stopped leaves a hanging batch after its deadline", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  pipeline.store.storeBatch = () => new Promise(() => {});
  const consumer = pipeline.start();
  await pipeline.clock.advance(500);
  const summary = await pipeline.stop(consumer);
  assert.equal(summary.ended, "late");
});

Deno.test("consume() rejects when the member dies for good", async () => {
  const pipeline = new MemoryPipeline(1);
  const consumer = pipeline.start();
  await pipeline.clock.advance(500);
  consumer.member.crash(new ConfigurationError("Cannot read: unknown codec"));
  await assert.rejects(pipeline.stop(consumer), { message: /unknown codec/ });
});

Deno.test("consume() with Redis away stores at once and says so once", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.cache.isAway = true;
  pipeline.append(0, messageTexts(1, 500));
  const consumer = pipeline.start();
  await untilStored(pipeline, 500);
  pipeline.cache.isAway = false;
  await pipeline.until("last values", () => pipeline.cache.lastComplete !== null);
  await pipeline.stop(consumer);
  assert.equal(pipeline.cache.lastValues.size, 1);
});

Deno.test("consume() commits where it was placed, though nothing new comes", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  const first = pipeline.start();
  await untilNext(pipeline, 10);
  await pipeline.stop(first);
  // As if the member before had died between COMMIT and the Kafka commit.
  pipeline.kafka.groups.committed.set(GROUP, new Map([[0, 7]]));
  const successor = pipeline.start();
  await pipeline.until("a commit", () => pipeline.kafka.groups.committed.get(GROUP)?.get(0) === 10);
  await pipeline.stop(successor);
});

Deno.test("consume() repairs last values that a lost answer left behind, at any time", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, [messageText(1, { sensor_id: "s-1" })]);
  const consumer = pipeline.start();
  await pipeline.until("a last value", () => pipeline.cache.lastValues.has("s-1"));
  // The repair that every start begins with is over.
  await pipeline.clock.advance(10_000);
  pipeline.store.loseReplyNext("storeBatch");
  pipeline.append(0, [messageText(2, { sensor_id: "s-2" })]);
  await pipeline.until("its last value", () => pipeline.cache.lastValues.has("s-2"));
  await pipeline.stop(consumer);
});

Deno.test("consume() restores last values after Redis was emptied while nothing comes", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, [messageText(1, { sensor_id: "silent" })]);
  const consumer = pipeline.start();
  await pipeline.until("a last value", () => pipeline.cache.lastValues.has("silent"));
  await pipeline.clock.advance(10_000);
  pipeline.cache.flush();
  await pipeline.until("it again", () => pipeline.cache.lastValues.has("silent"));
  await pipeline.stop(consumer);
});

Deno.test("consume() notices a database that went back, though nothing new comes", async (t) => {
  for (const state of ["without a ledger", "with an older ledger"]) {
    await t.step(state, async () => {
      const pipeline = new MemoryPipeline(1);
      if (state === "with an older ledger") {
        await pipeline.store.openLedgerLine(pipeline.kafka.identity(), 0, 0);
      }
      const backup = pipeline.store.backup();
      pipeline.append(0, messageTexts(1, 10));
      const consumer = pipeline.start();
      await untilNext(pipeline, 10);
      await pipeline.until(
        "a commit",
        () => pipeline.kafka.groups.committed.get(GROUP)?.get(0) === 10,
      );
      pipeline.store.restore(backup);
      await untilStored(pipeline, 10);
      await pipeline.stop(consumer);
      assert.match(pipeline.logged.join(""), /database has lost stored readings/);
    });
  }
});

Deno.test("consume() with a database that lost its ledger reads from the beginning", async () => {
  const pipeline = new MemoryPipeline(1);
  const backup = pipeline.store.backup();
  pipeline.append(0, messageTexts(1, 10));
  const consumer = pipeline.start();
  await untilNext(pipeline, 10);
  await pipeline.stop(consumer);
  assert.equal(pipeline.kafka.groups.committed.get(GROUP)?.get(0), 10);
  pipeline.store.restore(backup);
  const successor = pipeline.start();
  await untilStored(pipeline, 10);
  await pipeline.stop(successor);
});

Deno.test("consume() takes over another program's offsets, whoever placed the first partition", async () => {
  const pipeline = new MemoryPipeline(2);
  pipeline.append(0, messageTexts(1, 10));
  pipeline.append(1, messageTexts(11, 10));
  pipeline.kafka.groups.committed.set(GROUP, new Map([[0, 3], [1, 4]]));
  await pipeline.store.openLedgerLine(pipeline.kafka.identity(), 0, 3);
  const consumer = pipeline.start();
  await untilStored(pipeline, 13);
  await pipeline.stop(consumer);
  assert.equal((await pipeline.line(1))?.first, 4);
});

Deno.test("consume() believes no mark from before its ledger jumped", async (t) => {
  // The database loses what it has stored, the brokers delete the messages, and the readings are
  // sent again. Redis alone remembers that they were stored.
  for (const state of ["over a gap", "to a new beginning"]) {
    await t.step(state, async () => {
      const pipeline = new MemoryPipeline(1);
      if (state === "over a gap") {
        await pipeline.store.openLedgerLine(pipeline.kafka.identity(), 0, 0);
      }
      const backup = pipeline.store.backup();
      pipeline.append(0, messageTexts(1, 10));
      const consumer = pipeline.start();
      await untilNext(pipeline, 10);
      await pipeline.stop(consumer);
      pipeline.store.restore(backup);
      pipeline.kafka.deleteRecords(0, 10);
      pipeline.append(0, messageTexts(1, 10));
      const successor = pipeline.start();
      await untilNext(pipeline, 20);
      await pipeline.stop(successor);
      assert.deepEqual(storedIds(pipeline), ids(1, 10));
    });
  }
});

Deno.test("consume() commits nothing for a partition that it lost while a batch was stored", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  const slow = pipeline.start();
  const { store } = pipeline;
  const storeBatch = store.storeBatch;
  const answer = Promise.withResolvers<void>();
  store.storeBatch = async (batch, way) => {
    store.storeBatch = storeBatch;
    const outcome = await storeBatch(batch, way);
    await answer.promise;
    return outcome;
  };
  await pipeline.until("a stored batch", () => store.readings.size === 10);
  slow.member.evict();
  const successor = pipeline.start();
  pipeline.append(0, messageTexts(11, 5));
  await pipeline.until(
    "its commit",
    () => pipeline.kafka.groups.committed.get(GROUP)?.get(0) === 15,
  );
  // The group takes the member back, without partitions, and then its answer comes.
  slow.member.readmit();
  await pipeline.clock.advance(1_000);
  answer.resolve();
  await pipeline.clock.advance(2_000);
  assert.equal(pipeline.kafka.groups.committed.get(GROUP)?.get(0), 15);
  await pipeline.stop(successor);
  await pipeline.stop(slow);
});

Deno.test("consume() commits an equal batch that somebody else has stored", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  const { store } = pipeline;
  const storeBatch = store.storeBatch;
  // Another member's statement is there a moment before ours.
  store.storeBatch = async (batch, way) => {
    await storeBatch(batch, way);
    return await storeBatch(batch, way);
  };
  const consumer = pipeline.start();
  await pipeline.until("a commit", () => pipeline.kafka.groups.committed.get(GROUP)?.get(0) === 10);
  await pipeline.stop(consumer);
});

Deno.test("consume() when stopped resumes no partition that it was about to place", async () => {
  const pipeline = new MemoryPipeline(1);
  pipeline.append(0, messageTexts(1, 10));
  await pipeline.store.openLedgerLine(pipeline.kafka.identity(), 0, 0);
  const { store } = pipeline;
  const readLedger = store.readLedger;
  const answer = Promise.withResolvers<void>();
  let isAsked = false;
  store.readLedger = async () => {
    isAsked = true;
    await answer.promise;
    return await readLedger();
  };
  const consumer = pipeline.start();
  const resumed: number[] = [];
  consumer.member.resume = (partitions) => void resumed.push(...partitions);
  await pipeline.until("a question", () => isAsked);
  consumer.stop.abort();
  answer.resolve();
  await pipeline.stop(consumer);
  assert.deepEqual(resumed, []);
});

Deno.test("consume() is not out of trouble when a batch ends that began before it", async () => {
  const pipeline = new MemoryPipeline(2);
  pipeline.append(0, messageTexts(1, 10));
  pipeline.append(1, messageTexts(101, 10));
  const { store } = pipeline;
  const storeBatch = store.storeBatch;
  const slow = Promise.withResolvers<void>();
  let refusals = 0;
  store.storeBatch = async (batch, way) => {
    if (batch.partition === 0) await slow.promise;
    else if (++refusals <= 5) throw new TransientError("Cannot store: refused");
    return await storeBatch(batch, way);
  };
  const consumer = pipeline.start();
  await pipeline.until("trouble", () => refusals > 0);
  slow.resolve();
  await untilStored(pipeline, 20);
  await pipeline.stop(consumer);
  const waits = pipeline.logged.filter((line) => line.includes("waiting"));
  assert.equal(waits.length, 1, waits.join(""));
});

Deno.test("consume() with one partition that fails for ever spares the others and the log", async (t) => {
  for (const traffic of ["flows", "is idle"] as const) {
    await t.step(`the other one ${traffic}`, async () => {
      const pipeline = new MemoryPipeline(2);
      const { store } = pipeline;
      const { storeBatch, lastReadings } = store;
      pipeline.append(0, messageTexts(1, 1));
      let tries = 0;
      let pagesOfLastValues = 0;
      store.storeBatch = (batch, way) => {
        if (batch.partition === 1) return storeBatch(batch, way);
        tries++;
        return Promise.reject(new TransientError("Cannot store: refused"));
      };
      store.lastReadings = (after, max) => {
        pagesOfLastValues++;
        return lastReadings(after, max);
      };
      const consumer = pipeline.start();
      let sent = 0;
      for (let steps = 0; steps < 1_200; steps++) {
        if (traffic === "flows") pipeline.append(1, messageTexts(100 + sent++, 1));
        await pipeline.clock.advance(50);
      }
      assert(tries >= 30 && tries <= 50, `${tries} tries in a minute, at most 2 s apart`);
      assert.equal(pipeline.logged.length, 1, pipeline.logged.join(""));
      assert(pagesOfLastValues <= 4, `${pagesOfLastValues} pages of last values read`);
      assert.equal(store.readings.size, sent, "the others are stored");
      store.storeBatch = storeBatch;
      await untilStored(pipeline, sent + 1);
      await pipeline.stop(consumer);
    });
  }
});

Deno.test("consume() places a partition that comes back at once, whatever others wait for", async () => {
  const pipeline = new MemoryPipeline(2);
  const { store } = pipeline;
  const { storeBatch } = store;
  pipeline.append(0, messageTexts(1, 1));
  let fails = 0;
  let placedAnew = 0;
  store.storeBatch = (batch, way) => {
    if (batch.partition === 1 && placedAnew++ > 0) return storeBatch(batch, way);
    fails++;
    return Promise.reject(new TransientError("Cannot store: refused"));
  };
  const consumer = pipeline.start();
  // From now on partition 0 is tried every other second.
  await pipeline.until("some failures", () => fails > 8);
  pipeline.append(1, messageTexts(100, 1));
  const sinceMs = pipeline.clock.elapsedMs();
  await untilStored(pipeline, 1);
  const tookMs = pipeline.clock.elapsedMs() - sinceMs;
  assert(tookMs < 500, `${tookMs} ms`);
  await pipeline.stop(consumer);
});

Deno.test("consume() with a partition without a leader reads the others, says so once, and goes on", async (t) => {
  const isLost = (line: string): boolean => line.includes("partitions cannot be read");
  const untilRead = async (pipeline: MemoryPipeline, first: number): Promise<void> => {
    for (let minute = 0, number = first; minute < 2; minute++) {
      for (let second = 0; second < 60; second++) {
        pipeline.append(0, messageTexts(number++, 1));
        await pipeline.clock.advance(1_000);
      }
      assert.equal((await pipeline.line(0))?.next, 60 * (minute + 1), "the other one flows");
    }
    assert.equal(pipeline.logged.filter(isLost).length, 1, pipeline.logged.join(""));
    assert.match(pipeline.logged.find(isLost)!, /Start the brokers.*partitions=1.*no broker leads/);
    assert.equal(pipeline.logged.length, 1, pipeline.logged.join(""));
  };
  await t.step("lost while it is read", async () => {
    const pipeline = new MemoryPipeline(2);
    pipeline.append(1, messageTexts(1, 1));
    const consumer = pipeline.start();
    await untilStored(pipeline, 1);
    pipeline.append(1, messageTexts(2, 1));
    pipeline.kafka.setLeader(1, "none");
    await untilRead(pipeline, 100);
    assert.equal((await pipeline.line(1))?.next, 1);
    pipeline.kafka.setLeader(1, "there");
    await untilStored(pipeline, 122);
    assert.equal((await pipeline.stop(consumer)).ended, "cleanly");
  });
  await t.step("lost before the start", async () => {
    const pipeline = new MemoryPipeline(2);
    pipeline.append(1, messageTexts(1, 2));
    pipeline.kafka.setLeader(1, "none");
    const consumer = pipeline.start();
    await untilRead(pipeline, 100);
    assert.equal(await pipeline.line(1), undefined);
    pipeline.kafka.setLeader(1, "there");
    await untilStored(pipeline, 122);
    assert.equal((await pipeline.stop(consumer)).ended, "cleanly");
  });
});

Deno.test("consume() until the end waits for a partition without a leader, and says so", async (t) => {
  for (const when of ["before the start", "while it is read"] as const) {
    await t.step(`lost ${when}`, async () => {
      const pipeline = new MemoryPipeline(2);
      pipeline.append(0, messageTexts(1, 5));
      pipeline.append(1, messageTexts(11, 5));
      if (when === "before the start") pipeline.kafka.setLeader(1, "none");
      const consumer = pipeline.start({ until: "end" });
      pipeline.kafka.setLeader(1, "none");
      let hasEnded = false;
      consumer.done.then(() => hasEnded = true);
      await pipeline.clock.advance(60_000);
      await untilStored(pipeline, 5);
      for (let second = 0; second < 60; second++) await pipeline.clock.advance(1_000);
      assert.equal(hasEnded, false);
      assert.match(pipeline.logged.join(""), /partitions cannot be read.*partitions=1/);
      if (when === "before the start") {
        assert.match(pipeline.logged[0]!, /the run ends once they have been {2}partitions=1/);
      }
      pipeline.kafka.setLeader(1, "there");
      await pipeline.until("its end", () => hasEnded);
      assert.equal(pipeline.store.readings.size, 10);
    });
  }
});

Deno.test("consume() from a time on opens no line before a leader tells where it begins", async () => {
  const pipeline = new MemoryPipeline(3);
  for (const partition of [0, 1, 2]) {
    pipeline.append(
      partition,
      [1_000, 9_000].map((timestampMs, at) => ({
        key: null,
        value: utf8(messageText(partition * 10 + at)),
        timestampMs,
      })),
    );
  }
  pipeline.kafka.setLeader(2, "none");
  const consumer = pipeline.start({ startFrom: { kind: "time", timestampMs: 7_000 } });
  const firsts = async (): Promise<(number | undefined)[]> =>
    (await Promise.all([0, 1, 2].map((each) => pipeline.line(each)))).map((line) => line?.first);
  for (let second = 0; second < 20; second++) await pipeline.clock.advance(1_000);
  // Partition 0 says that all have a line, so it waits.
  assert.deepEqual(await firsts(), [undefined, 1, undefined]);
  await untilStored(pipeline, 1);
  pipeline.kafka.setLeader(2, "there");
  await untilStored(pipeline, 3);
  assert.deepEqual(await firsts(), [1, 1, 1]);
  await pipeline.stop(consumer);
});

Deno.test("consume() notices that the last messages were deleted or lost, though nothing new comes", async (t) => {
  await t.step("deleted unread: a gap", async () => {
    const pipeline = new MemoryPipeline(1);
    pipeline.append(0, messageTexts(1, 10));
    const consumer = pipeline.start();
    await untilNext(pipeline, 10);
    pipeline.kafka.setBrokersAway(true);
    pipeline.append(0, messageTexts(11, 5));
    pipeline.kafka.deleteRecords(0, 15);
    pipeline.kafka.setBrokersAway(false);
    await untilNext(pipeline, 15);
    await pipeline.stop(consumer);
    assert.equal((await pipeline.line(0))?.gaps, 5);
  });
  await t.step("the whole log lost, and then a statement from before takes effect", async () => {
    const pipeline = new MemoryPipeline(1);
    const { store, kafka } = pipeline;
    pipeline.append(0, messageTexts(1, 10));
    const consumer = pipeline.start();
    await untilNext(pipeline, 10);
    kafka.truncate(0, 0);
    await untilNext(pipeline, 0);
    const topic = kafka.identity();
    const late = batchOf(await store.dataSetId(), { topic, duplicates: 2 });
    assert.equal((await store.storeBatch(late, "compare")).kind, "stored");
    await untilNext(pipeline, 0);
    pipeline.append(0, messageTexts(11, 3));
    await untilStored(pipeline, 13);
    await pipeline.stop(consumer);
  });
  await t.step("the whole log lost: a rewind", async () => {
    const pipeline = new MemoryPipeline(1);
    pipeline.append(0, messageTexts(1, 10));
    const consumer = pipeline.start();
    await untilNext(pipeline, 10);
    pipeline.kafka.truncate(0, 0);
    await untilNext(pipeline, 0);
    await pipeline.stop(consumer);
    assert.equal((await pipeline.line(0))?.rewound, 10);
  });
});
