import assert from "node:assert/strict";
import { ConfigurationError, RowDataError, TransientError } from "../lib/errors.ts";
import { type Message, UNKNOWN_EPOCH } from "../lib/kafka/message.ts";
import { Messages } from "../lib/kafka/messages.ts";
import type { Batch } from "../lib/consumer/batch.ts";
import { CopyChoice } from "../lib/consumer/copy_choice.ts";
import { type BatchOutcome, processBatch } from "../lib/consumer/processor.ts";
import type { StoreWay } from "../lib/postgres/store.ts";
import { ReadingColumns } from "../lib/reading/reading_columns.ts";
import { idOf, MemoryPipeline, messageText } from "./memory_pipeline.ts";
import { utf8 } from "./sample_message.ts";

const DEAD = { reason: "json" };

/** A pipeline whose partition 0 is at offset 0, and batches for it. */
class Bench {
  readonly pipeline = new MemoryPipeline(1);
  readonly #parts = this.pipeline.parts();
  /** Used again for each batch, as in the flow. */
  readonly #columns = new ReadingColumns(100);
  readonly #copyChoice = new CopyChoice();
  #next = 0;

  static async open(): Promise<Bench> {
    const bench = new Bench();
    await bench.pipeline.store.openLedgerLine(bench.pipeline.kafka.identity(), 0, 0);
    return bench;
  }

  /** The batch of these values at the partition's end; undefined takes an offset and is not a message. */
  async batch(values: readonly (string | null | undefined)[]): Promise<Batch> {
    const fromOffset = this.#next;
    const messages = values.flatMap((value, index): Message[] =>
      value === undefined ? [] : [{
        offset: fromOffset + index,
        key: null,
        value: value === null ? null : utf8(value),
        headers: {},
        timestampMs: 0,
        leaderEpoch: UNKNOWN_EPOCH,
      }]
    );
    this.#next = fromOffset + values.length;
    return {
      topic: this.pipeline.kafka.identity(),
      dataSetId: await this.pipeline.store.dataSetId(),
      lineage: "lineage",
      partition: 0,
      fromOffset,
      nextOffset: this.#next,
      fromEpoch: UNKNOWN_EPOCH,
      nextEpoch: UNKNOWN_EPOCH,
      messages: Messages.of(messages),
    };
  }

  process(batch: Batch): Promise<BatchOutcome> {
    return processBatch(batch, {
      ...this.#parts,
      limits: { futureSkewSecondsMax: 3_600, pastDaysMax: 0 },
      columns: this.#columns,
      copyChoice: this.#copyChoice,
    });
  }

  async run(values: readonly (string | null | undefined)[]): Promise<BatchOutcome> {
    return await this.process(await this.batch(values));
  }

  /** The ways in which batches are stored from now on. */
  waysOfStoring(): StoreWay[] {
    const ways: StoreWay[] = [];
    const { store } = this.pipeline;
    const { storeBatch } = store;
    store.storeBatch = (batch, way) => {
      ways.push(way);
      return storeBatch(batch, way);
    };
    return ways;
  }

  reasons(): string[] {
    return this.pipeline.store.deadLetters.map(({ offset, reason }) => `${offset} ${reason}`);
  }
}

interface Counts {
  readonly inserted: number;
  readonly duplicates: number;
  readonly deadLetters: number;
}

function stored([inserted, duplicates, deadLetters]: [number, number, number]): Counts {
  return { inserted, duplicates, deadLetters };
}

function assertStored(outcome: BatchOutcome, want: Counts): void {
  assert(outcome.kind === "stored", outcome.kind);
  const { inserted, duplicates, rejections } = outcome;
  const deadLetters = [...rejections.values()].reduce((sum, count) => sum + count, 0);
  assert.deepEqual({ inserted, duplicates, deadLetters }, want);
}

/** Whether Redis took marks and last values. */
function isMarked(outcome: BatchOutcome): boolean {
  assert(outcome.kind === "stored", outcome.kind);
  return outcome.lastValues !== undefined;
}

Deno.test("processBatch() stores readings, keeps rejections, counts every offset", async () => {
  const bench = await Bench.open();
  const outcome = await bench.run([messageText(1), "{", null, undefined, messageText(2)]);
  assertStored(outcome, stored([2, 0, 2]));
  assert.deepEqual([...bench.pipeline.store.readings.keys()], [idOf(1), idOf(2)]);
  assert.deepEqual(bench.reasons(), ["1 json", "2 tombstone"]);
  assert.deepEqual(await bench.pipeline.line(0), {
    first: 0,
    next: 5,
    leaderEpoch: UNKNOWN_EPOCH,
    inserted: 2,
    duplicates: 0,
    deadLetters: 2,
    skipped: 1,
    gaps: 0,
    rewound: 0,
  });
});

Deno.test("processBatch() marks after the store, and the marks spare it the repeats", async () => {
  const bench = await Bench.open();
  await bench.run([messageText(1), messageText(2)]);
  assert.equal(bench.pipeline.cache.liveMarks().size, 2);
  // The database would refuse these batches of repeats all the same; it must not even be asked.
  const sent: number[] = [];
  const { store } = bench.pipeline;
  const storeBatch = store.storeBatch;
  store.storeBatch = (batch, way) => {
    sent.push(batch.readings.rows.length);
    return storeBatch(batch, way);
  };
  assertStored(
    await bench.run([messageText(2), messageText(1), messageText(3)]),
    stored([1, 2, 0]),
  );
  assert.deepEqual(sent, [1]);
});

Deno.test("processBatch() tells repeats from conflicts", async (t) => {
  const other = (number: number): string => messageText(number, { value: 77 });
  const rows: readonly [string, string[], string[], [number, number, number], string[]][] = [
    ["a repeat in the same batch", [], [messageText(1), messageText(1)], [1, 1, 0], []],
    ["a conflict in the same batch", [], [messageText(1), other(1)], [1, 0, 1], ["1 id_conflict"]],
    ["a repeat of a stored reading", [messageText(1)], [messageText(1)], [0, 1, 0], []],
    ["a conflict with a stored one", [messageText(1)], [other(1)], [0, 0, 1], ["1 id_conflict"]],
    [
      "a conflict and its repeat",
      [messageText(1)],
      [other(1), other(1)],
      [0, 0, 2],
      ["1 id_conflict", "2 id_conflict"],
    ],
    [
      "a conflict, then a repeat of what is stored",
      [messageText(1)],
      [other(1), messageText(1)],
      [0, 1, 1],
      ["1 id_conflict"],
    ],
    [
      "the same id in upper case, the same instant in another zone",
      [messageText(1)],
      [messageText(1, {
        unique_reading_id: idOf(1).toUpperCase(),
        timestamp: "2026-11-24T11:00:00.123456+01:00",
      })],
      [0, 1, 0],
      [],
    ],
    [
      "an unknown field does not make a conflict",
      [messageText(1)],
      [
        messageText(1, { firmware: "2" }),
      ],
      [0, 1, 0],
      [],
    ],
  ];
  for (const redis of ["with marks", "without Redis"] as const) {
    for (const [name, before, batch, want, reasons] of rows) {
      await t.step(`${name}, ${redis}`, async () => {
        const bench = await Bench.open();
        bench.pipeline.cache.isAway = redis === "without Redis";
        if (before.length > 0) await bench.run(before);
        assertStored(await bench.run(batch), stored(want));
        assert.deepEqual(bench.reasons(), reasons);
        assert.equal(bench.pipeline.store.readings.get(idOf(1))?.reading.value, 1);
      });
    }
  }
});

Deno.test("processBatch() keeps the raw message of a conflict", async () => {
  const bench = await Bench.open();
  await bench.run([messageText(1)]);
  const conflict = messageText(1, { value: 77 });
  await bench.run([conflict]);
  const payload = bench.pipeline.store.deadLetters[0]?.payload;
  assert.deepEqual(new Uint8Array(payload!), utf8(conflict));
});

Deno.test("processBatch() after a conflict knows the next one from its mark", async () => {
  const bench = await Bench.open();
  await bench.run([messageText(1)]);
  bench.pipeline.cache.flush();
  const ways = bench.waysOfStoring();
  await bench.run([messageText(1, { value: 77 })]);
  assert.deepEqual(ways.splice(0), ["copy", "compare", "compare"], "it was not expected");
  await bench.run([messageText(1, { value: 78 })]);
  assert.deepEqual(ways, ["compare"], "it was expected");
  assert.deepEqual(bench.reasons(), ["1 id_conflict", "2 id_conflict"]);
});

Deno.test("processBatch() copies batches in which nothing is expected to be stored already", async (t) => {
  const rows: readonly [string, (bench: Bench) => void, (string | null)[], StoreWay[]][] = [
    ["new readings", () => {}, [messageText(2)], ["copy"]],
    ["bad messages among them", () => {}, [messageText(2), "{", null], ["copy"]],
    ["repeats in the batch", () => {}, [messageText(2), messageText(2)], ["copy"]],
    ["a repeat that a mark knows", () => {}, [messageText(1), messageText(2)], ["copy"]],
    [
      "a repeat that no mark knows",
      (bench) => bench.pipeline.cache.flush(),
      [messageText(1), messageText(2)],
      ["copy", "compare"],
    ],
    [
      "conflicts in the batch",
      () => {},
      [messageText(2), messageText(2, { value: 7 })],
      ["compare"],
    ],
    ["a suspect", () => {}, [messageText(1, { value: 7 })], ["compare"]],
    [
      "marks that are not answered",
      (bench) => bench.pipeline.cache.failNext("marks"),
      [messageText(2)],
      ["compare"],
    ],
  ];
  for (const [name, prepare, values, want] of rows) {
    await t.step(name, async () => {
      const bench = await Bench.open();
      await bench.run([messageText(1)]);
      prepare(bench);
      const ways = bench.waysOfStoring();
      const outcome = await bench.run(values);
      assert(outcome.kind === "stored");
      assert.deepEqual(ways, want);
    });
  }
});

Deno.test("processBatch() counts a batch once that was copied in vain", async () => {
  const bench = await Bench.open();
  await bench.run([messageText(1)]);
  bench.pipeline.cache.flush();
  const ways = bench.waysOfStoring();
  const outcome = await bench.run([messageText(1), messageText(2), "{", messageText(2)]);
  assertStored(outcome, stored([1, 2, 1]));
  assert.deepEqual(ways, ["copy", "compare"]);
  const line = await bench.pipeline.line(0);
  assert.deepEqual([line?.next, line?.inserted, line?.duplicates, line?.deadLetters], [5, 2, 2, 1]);
  // It marked what it had not copied.
  assert.equal(bench.pipeline.cache.liveMarks().size, 2);
  await bench.run([messageText(3)]);
  assert.deepEqual(ways, ["copy", "compare", "compare"], "after one in vain it pauses");
});

Deno.test("processBatch() writes the newest last value and never an older one", async () => {
  const bench = await Bench.open();
  const at = (second: string): string => `2026-11-24T10:00:${second}.000000+00:00`;
  const sensor = "s-1";
  const message = (number: number, second: string): string =>
    messageText(number, { sensor_id: sensor, timestamp: at(second) });
  await bench.run([message(1, "20"), message(2, "30"), message(3, "25")]);
  assert.equal(await bench.pipeline.cache.lastValue(sensor), message(2, "30"));
  await bench.run([message(4, "10")]);
  assert.equal(await bench.pipeline.cache.lastValue(sensor), message(2, "30"));
  await bench.run([message(5, "30")]);
  assert.equal(
    await bench.pipeline.cache.lastValue(sensor),
    message(5, "30"),
    "the larger id wins",
  );
});

Deno.test("processBatch() takes no last value from a conflict", async () => {
  const bench = await Bench.open();
  await bench.run([messageText(1)]);
  await bench.run([messageText(1, { timestamp: "2026-11-24T10:00:09Z" })]);
  const sensor = "0b7e6a52-9c1d-4e3f-8a2b-5c4d6e7f8091";
  assert.equal(await bench.pipeline.cache.lastValue(sensor), messageText(1));
});

Deno.test("processBatch() stores readings of a sensor named index without a last value", async () => {
  const bench = await Bench.open();
  assertStored(await bench.run([messageText(1, { sensor_id: "index" })]), stored([1, 0, 0]));
  assert.equal(bench.pipeline.cache.lastValues.size, 0);
  assert.equal(bench.pipeline.cache.liveMarks().size, 1);
});

Deno.test("processBatch() goes on without Redis", async (t) => {
  await t.step("away", async () => {
    const bench = await Bench.open();
    bench.pipeline.cache.isAway = true;
    const outcome = await bench.run([messageText(1)]);
    assertStored(outcome, stored([1, 0, 0]));
    assert.equal(isMarked(outcome), false);
  });
  await t.step("silent: no longer than its budget", async () => {
    const bench = await Bench.open();
    bench.pipeline.cache.hangNext("marks");
    const work = bench.run([messageText(1)]);
    await bench.pipeline.clock.advance(250);
    const outcome = await work;
    assertStored(outcome, stored([1, 0, 0]));
    assert.equal(isMarked(outcome), true);
  });
});

Deno.test("processBatch() does nothing after a refused or failed store", async (t) => {
  await t.step("fenced: the ledger stands elsewhere", async () => {
    const bench = await Bench.open();
    const batch = await bench.batch([messageText(1)]);
    await bench.process(batch);
    const again = await bench.process(batch);
    assert.deepEqual(again, { kind: "fenced", ledgerNext: 1 });
  });
  await t.step("another data set", async () => {
    const bench = await Bench.open();
    const batch = await bench.batch([messageText(1)]);
    bench.pipeline.store.emptyReadings();
    assert.deepEqual(await bench.process(batch), { kind: "data_set_changed" });
    assert.equal(bench.pipeline.cache.liveMarks().size, 0);
  });
  for (const FaultClass of [TransientError, ConfigurationError]) {
    await t.step(FaultClass.name, async () => {
      const bench = await Bench.open();
      const batch = await bench.batch([messageText(1)]);
      bench.pipeline.store.failNext("storeBatch", new FaultClass("no"));
      await assert.rejects(bench.process(batch), { name: FaultClass.name, message: "no" });
      assert.equal(bench.pipeline.cache.liveMarks().size, 0);
      assert.equal(bench.pipeline.store.deadLetters.length, 0);
    });
  }
});

Deno.test("processBatch() says that PostgreSQL refused a row, and has done nothing", async () => {
  const bench = await Bench.open();
  const refusal = new RowDataError("22P02");
  bench.pipeline.store.failNext("storeBatch", refusal);
  const outcome = await bench.run([messageText(1), messageText(2)]);
  assert.deepEqual(outcome, { kind: "refused", refusal });
  assert.equal(bench.pipeline.cache.liveMarks().size, 0);
  assert.equal((await bench.pipeline.line(0))?.next, 0);
});

Deno.test("processBatch() keeps a message that comes with its refusal as a dead letter", async () => {
  const bench = await Bench.open();
  const refusal = new RowDataError("22P02: no");
  const batch = { ...await bench.batch([undefined, messageText(1)]), refusal };
  assertStored(await bench.process(batch), stored([0, 0, 1]));
  const [letter] = bench.pipeline.store.deadLetters;
  assert.deepEqual(
    [letter?.offset, letter?.reason, letter?.detail],
    [1, "refused_by_database", "22P02: no"],
  );
  assert.equal((await bench.pipeline.line(0))?.skipped, 1);
  assert.equal(bench.pipeline.cache.liveMarks().size, 0);
});

Deno.test("processBatch() rejects when the dead letter of a refused message is refused, too", async () => {
  const bench = await Bench.open();
  const refusal = new RowDataError("22P02");
  const batch = { ...await bench.batch([messageText(1)]), refusal };
  bench.pipeline.store.failNext("storeBatch", new RowDataError("again"));
  await assert.rejects(bench.process(batch), { name: "RowDataError", message: "again" });
});

Deno.test("processBatch() keeps a batch that cannot be read as one dead letter, and goes on", async () => {
  const bench = await Bench.open();
  const batch = await bench.batch([undefined, undefined, "compressed", messageText(1)]);
  const [first, ...others] = batch.messages;
  const messages = Messages.of([{ ...first!, unreadable: "offsets 0 to 2: zstd" }, ...others]);
  assertStored(await bench.process({ ...batch, messages }), stored([1, 0, 1]));
  assert.equal((await bench.pipeline.line(0))?.skipped, 2);
  assert.deepEqual(
    bench.pipeline.store.deadLetters.map(({ offset, reason, detail }) => [offset, reason, detail]),
    [[2, "unreadable_batch", "offsets 0 to 2: zstd"]],
  );
});

Deno.test("processBatch() decodes the headers of dead letters, and of no reading", async () => {
  const bench = await Bench.open();
  const batch = await bench.batch([messageText(1), "{", messageText(2), null]);
  const headers = { traceparent: [utf8("00-a-b-01")] };
  const messages = Messages.of(Array.from(batch.messages, (message) => ({ ...message, headers })));
  // Whoever decodes the headers of a reading fails.
  for (const reading of [0, 2]) messages.headersAt[reading] = messages.bytes.length;
  assert.throws(() => messages.at(0), { name: "UnreadableError" });
  assertStored(await bench.process({ ...batch, messages }), stored([2, 0, 2]));
  const letters = bench.pipeline.store.deadLetters;
  assert.deepEqual(letters.map(({ headersJson }) => headersJson), [
    '{"traceparent":["00-a-b-01"]}',
    '{"traceparent":["00-a-b-01"]}',
  ]);
});

Deno.test("processBatch() with nothing but rejections moves the ledger", async () => {
  const bench = await Bench.open();
  assertStored(await bench.run(["{", "["]), stored([0, 0, 2]));
  assert.deepEqual(bench.pipeline.store.deadLetters.map(({ reason }) => ({ reason })), [
    DEAD,
    DEAD,
  ]);
});

Deno.test("processBatch() with no message at all moves the ledger", async () => {
  const bench = await Bench.open();
  assertStored(await bench.run([undefined, undefined]), stored([0, 0, 0]));
  const line = await bench.pipeline.line(0);
  assert.deepEqual([line?.next, line?.skipped], [2, 2]);
});
