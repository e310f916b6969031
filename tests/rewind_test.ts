import assert from "node:assert/strict";
import { UNKNOWN_EPOCH } from "../lib/kafka/message.ts";
import {
  isMove,
  parseRewindTarget,
  planRewind,
  rewind,
  type RewindParts,
  type RewindTarget,
  rewindText,
} from "../lib/operations/rewind.ts";
import { GROUP, MemoryPipeline, messageText, messageTexts } from "./memory_pipeline.ts";
import { utf8 } from "./sample_message.ts";

/** Three partitions; of the first two all messages are stored, the third has no line. */
async function storedPipeline(): Promise<MemoryPipeline> {
  const pipeline = new MemoryPipeline(3);
  const nowMs = pipeline.clock.now();
  pipeline.append(
    0,
    [3_000, 2_000, 1_000].map((agoMs, number) => ({
      key: null,
      value: utf8(messageText(number)),
      timestampMs: nowMs - agoMs,
    })),
  );
  pipeline.append(1, messageTexts(10, 2));
  const topic = pipeline.kafka.identity();
  for (const [partition, next] of [[0, 3], [1, 2]] as const) {
    await pipeline.store.openLedgerLine(topic, partition, 0);
    await pipeline.store.moveLedgerLine(topic, partition, {
      fromOffset: 0,
      toOffset: next,
      toEpoch: UNKNOWN_EPOCH,
    });
  }
  return pipeline;
}

function parts(pipeline: MemoryPipeline): RewindParts {
  return { member: pipeline.kafka.member(GROUP), store: pipeline.store };
}

Deno.test("parseRewindTarget() takes a place, an offset and a time", () => {
  const cases: [string, RewindTarget][] = [
    ["beginning", { kind: "beginning" }],
    ["0", { kind: "offset", offset: 0 }],
    ["120", { kind: "offset", offset: 120 }],
    ["2026-11-24", { kind: "time", timestampMs: Date.UTC(2026, 10, 24) }],
    ["2026-11-24T10:00:00+01:00", { kind: "time", timestampMs: Date.UTC(2026, 10, 24, 9) }],
  ];
  for (const [text, want] of cases) assert.deepEqual(parseRewindTarget(text), want);
  for (const text of ["", "-1", "1e3", "end", "2026-11-24T10:00:00", "2026-13-01"]) {
    assert.throws(() => parseRewindTarget(text), { name: "ConfigurationError", message: /give / });
  }
});

Deno.test("planRewind() never goes forward, nor below what the brokers keep", async (t) => {
  const pipeline = await storedPipeline();
  pipeline.kafka.deleteRecords(0, 1);
  const nowMs = pipeline.clock.now();
  const cases: [
    string,
    RewindTarget,
    number | undefined,
    [number, number | undefined, number][],
  ][] = [
    ["beginning", { kind: "beginning" }, undefined, [[0, 3, 1], [1, 2, 0], [2, undefined, 0]]],
    ["one partition", { kind: "beginning" }, 1, [[1, 2, 0]]],
    ["an offset", { kind: "offset", offset: 2 }, 0, [[0, 3, 2]]],
    ["an offset that is gone", { kind: "offset", offset: 0 }, 0, [[0, 3, 1]]],
    ["an offset ahead", { kind: "offset", offset: 99 }, 0, [[0, 3, 3]]],
    ["a time", { kind: "time", timestampMs: nowMs - 1_500 }, 0, [[0, 3, 2]]],
    ["a time ahead", { kind: "time", timestampMs: nowMs + 1 }, 0, [[0, 3, 3]]],
  ];
  for (const [name, target, partition, want] of cases) {
    await t.step(name, async () => {
      const { steps } = await planRewind(parts(pipeline), { target, partition });
      assert.deepEqual(
        steps.map((step) => [step.partition, step.fromOffset, step.toOffset]),
        want,
      );
    });
  }
  await assert.rejects(
    planRewind(parts(pipeline), { target: { kind: "beginning" }, partition: 3 }),
    { name: "ConfigurationError", message: /partition 3: topic readings has 3/ },
  );
});

Deno.test("planRewind() refuses a partition without a leader, and rewinds others", async () => {
  const pipeline = await storedPipeline();
  pipeline.kafka.setLeader(1, "none");
  const target = { kind: "beginning" } as const;
  await assert.rejects(planRewind(parts(pipeline), { target, partition: undefined }), {
    name: "TransientError",
    message: /Cannot rewind partition 1: no broker leads it\. Start its broker, or .*--partition/,
  });
  const { steps } = await planRewind(parts(pipeline), { target, partition: 0 });
  assert.deepEqual(steps.map(({ partition, toOffset }) => [partition, toOffset]), [[0, 0]]);
});

Deno.test("planRewind() leaves other lives of the topic alone", async () => {
  const pipeline = await storedPipeline();
  pipeline.kafka.recreateTopic();
  const plan = await planRewind(parts(pipeline), {
    target: { kind: "beginning" },
    partition: undefined,
  });
  assert.deepEqual(plan.steps.filter(isMove), []);
});

Deno.test("rewind() moves the lines and counts the way as rewound", async () => {
  const pipeline = await storedPipeline();
  const plan = await planRewind(parts(pipeline), {
    target: { kind: "offset", offset: 1 },
    partition: undefined,
  });
  await rewind(plan, pipeline.store);
  assert.deepEqual((await pipeline.line(0))?.next, 1);
  assert.deepEqual((await pipeline.line(0))?.rewound, 2);
  assert.deepEqual((await pipeline.line(1))?.next, 1);
  assert.equal(await pipeline.line(2), undefined);
});

Deno.test("rewind() refuses while the group has live members", async () => {
  const pipeline = await storedPipeline();
  const consumer = pipeline.start();
  await pipeline.clock.advance(1_000);
  const options = { target: { kind: "beginning" } as const, partition: undefined };
  const plan = await planRewind(parts(pipeline), options);
  assert.match(rewindText(plan), /Cannot rewind while the group has live members/);
  await assert.rejects(rewind(plan, pipeline.store), {
    name: "ConfigurationError",
    message: /has live members \(member 0\): stop them/,
  });
  assert.equal((await pipeline.line(0))?.next, 3);
  await pipeline.stop(consumer);
  await rewind(await planRewind(parts(pipeline), options), pipeline.store);
  assert.equal((await pipeline.line(0))?.next, 0);
});

Deno.test("rewind() of a line that moved meanwhile says so and leaves it", async () => {
  const pipeline = await storedPipeline();
  const plan = await planRewind(parts(pipeline), {
    target: { kind: "beginning" },
    partition: 0,
  });
  await pipeline.store.moveLedgerLine(plan.topic, 0, {
    fromOffset: 3,
    toOffset: 2,
    toEpoch: UNKNOWN_EPOCH,
  });
  await assert.rejects(rewind(plan, pipeline.store), {
    name: "TransientError",
    message: /moved in the meantime/,
  });
  assert.equal((await pipeline.line(0))?.next, 2);
});

Deno.test("a second pass after rewind() inserts nothing and changes no last value", async () => {
  const pipeline = new MemoryPipeline(2);
  pipeline.append(0, [...messageTexts(1, 40), "{"]);
  pipeline.append(1, [...messageTexts(20, 40), messageText(1, { value: 0.5 })]);
  const first = await pipeline.stop(await settled(pipeline, pipeline.start()));
  assert.equal(first.inserted, 59);
  const before = {
    readings: new Map(pipeline.store.readings),
    last: new Map(pipeline.cache.lastValues),
    letters: pipeline.store.deadLetters,
  };
  await rewind(
    await planRewind(parts(pipeline), { target: { kind: "beginning" }, partition: undefined }),
    pipeline.store,
  );
  const second = await pipeline.stop(await settled(pipeline, pipeline.start()));
  assert.deepEqual([second.inserted, second.duplicates, second.deadLetters], [0, 80, 2]);
  assert.deepEqual(new Map(pipeline.store.readings), before.readings);
  assert.deepEqual(new Map(pipeline.cache.lastValues), before.last);
  assert.deepEqual(pipeline.store.deadLetters, before.letters);
});

type Running = ReturnType<MemoryPipeline["start"]>;

/** Lets a consumer read everything. */
async function settled(pipeline: MemoryPipeline, consumer: Running): Promise<Running> {
  await pipeline.clock.advance(2_000);
  assert.equal((await pipeline.line(0))?.next, 41);
  assert.equal((await pipeline.line(1))?.next, 41);
  return consumer;
}
