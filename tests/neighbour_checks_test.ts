import assert from "node:assert/strict";
import {
  checkNeighbours,
  findIntrusion,
  foreignOffsetsText,
} from "../lib/consumer/neighbour_checks.ts";
import { Notices } from "../lib/consumer/notices.ts";
import { ConfigurationError } from "../lib/errors.ts";
import type { GroupShare, GroupSight } from "../lib/kafka/group_member.ts";
import { createLog } from "../lib/log.ts";
import { FlowStatistics } from "../lib/monitor/statistics.ts";
import { FakeClock } from "./fake_clock.ts";
import { GROUP, MemoryPipeline, messageTexts, type RunningConsumer } from "./memory_pipeline.ts";

function sightOf(
  members: readonly [kind: GroupShare["kind"], partitions: readonly number[]][],
  isSettled = true,
): GroupSight {
  return {
    isSettled,
    state: isSettled ? "Stable" : "PreparingRebalance",
    protocolType: "consumer",
    protocol: "range",
    members: members.map(([kind, partitions]) => ({ name: `${kind} at h`, kind, partitions })),
  };
}

Deno.test("findIntrusion() counts the partitions that nobody of ours has", async (t) => {
  const rows: [
    name: string,
    sight: GroupSight,
    want: readonly number[] | undefined,
    says: RegExp,
  ][] = [
    ["us alone", sightOf([["self", [0]], ["ours", [1, 2]]]), undefined, /^$/],
    // A partition that was added a moment ago.
    ["us alone, and one that nobody has yet", sightOf([["self", [0, 1]]]), undefined, /^$/],
    ["nobody", sightOf([]), undefined, /^$/],
    [
      "a stranger with some",
      sightOf([["self", [0, 2]], ["stranger", [1]]]),
      [1],
      /partitions 1\. /,
    ],
    ["a stranger with all", sightOf([["self", []], ["stranger", [0, 1, 2]]]), [0, 1, 2], /0, 1, 2/],
    [
      "a stranger of another topic: what is left is nobody's",
      sightOf([["self", [0]], ["stranger", []]]),
      [1, 2],
      /No consumer stores partitions 1, 2/,
    ],
    [
      "a stranger with none",
      sightOf([["self", [0, 1, 2]], ["stranger", []]]),
      [],
      /stranger at h\)\. It can be assigned partitions/,
    ],
  ];
  for (const [name, sight, want, says] of rows) {
    await t.step(name, () => {
      const found = findIntrusion(sight, [0, 1, 2]);
      assert.deepEqual(found?.orphans, want);
      assert.match(found?.text ?? "", says);
    });
  }
});

Deno.test("foreignOffsetsText() tells of offsets that are not the ledger's", async (t) => {
  const lines = new Map([[0, { next: 10 }], [1, { next: 0 }]]);
  const rows: [name: string, committed: [number, number][], want: RegExp][] = [
    ["none", [], /^$/],
    ["the ledger's own", [[0, 10], [1, 0]], /^$/],
    ["a partition without a line: it begins there", [[2, 5]], /^$/],
    ["below", [[0, 3]], /partition 0 to 3\).*no effect.*rewind/],
    ["above", [[1, 7], [0, 11]], /partition 0 to 11, 1 to 7\)/],
  ];
  for (const [name, committed, want] of rows) {
    await t.step(name, () => {
      assert.match(foreignOffsetsText(new Map(committed), lines) ?? "", want);
    });
  }
});

Deno.test("checkNeighbours() tells of orphans once in a group, and of nothing while it is shared out", async (t) => {
  const clock = new FakeClock();
  const look = async (sight: GroupSight): Promise<FlowStatistics> => {
    const statistics = new FlowStatistics({ clock });
    const log = createLog({ level: "error", format: "text", write: () => {}, clock });
    await checkNeighbours({
      member: {
        group: () => Promise.resolve(sight),
        watermarks: () => Promise.resolve(new Map([0, 1].map((one) => [one, { low: 0, high: 9 }]))),
      },
      notices: new Notices({ log, observer: statistics }),
      observer: statistics,
    }, new AbortController().signal);
    return statistics;
  };
  await t.step("the first of ours tells of the lag", async () => {
    const { orphans, notices } = await look(
      sightOf([["self", []], ["ours", [0]], ["stranger", [1]]]),
    );
    assert.deepEqual(orphans, [1]);
    assert.equal(notices.length, 1);
  });
  await t.step("another one of ours tells what is wrong", async () => {
    const { orphans, notices } = await look(
      sightOf([["ours", []], ["self", [0]], ["stranger", [1]]]),
    );
    assert.deepEqual(orphans, []);
    assert.equal(notices.length, 1);
  });
  await t.step("a group that is not settled", async () => {
    const { orphans, notices } = await look(sightOf([["self", [0]], ["stranger", []]], false));
    assert.deepEqual([orphans, notices], [[], []]);
  });
});

function start(pipeline: MemoryPipeline, observer: FlowStatistics): RunningConsumer {
  return pipeline.start({}, (parts) => ({ ...parts, observer }));
}

Deno.test("the loop notices a stranger in its group within 30 s, and that it has left", async () => {
  const pipeline = new MemoryPipeline();
  const statistics = new FlowStatistics({ clock: pipeline.clock });
  const consumer = start(pipeline, statistics);
  await pipeline.clock.advance(1_000);
  pipeline.kafka.groups.setStrangers(GROUP, ["rdkafka at h"]);
  await pipeline.clock.advance(30_000);
  assert.deepEqual(statistics.orphans, [1]);
  assert.match(statistics.notices[0]!.text, /rdkafka at h\)\. No consumer stores partitions 1/);
  assert.equal(
    pipeline.logged.filter((line) => /another program is in the group/.test(line)).length,
    1,
  );
  pipeline.kafka.groups.setStrangers(GROUP, []);
  await pipeline.clock.advance(30_000);
  assert.deepEqual([statistics.orphans, statistics.notices], [[], []]);
  await pipeline.stop(consumer);
});

Deno.test("the loop tells of offsets that were set while it was stopped, and goes on by the ledger", async () => {
  const pipeline = new MemoryPipeline();
  pipeline.append(0, messageTexts(1, 5));
  const first = pipeline.start();
  await pipeline.clock.advance(2_000);
  await pipeline.stop(first);
  assert.equal(pipeline.kafka.groups.committed.get(GROUP)?.get(0), 5);
  pipeline.kafka.groups.committed.set(GROUP, new Map([[0, 0], [1, 0]]));
  pipeline.kafka.groups.committedByMembers.clear();
  const statistics = new FlowStatistics({ clock: pipeline.clock });
  const second = start(pipeline, statistics);
  await pipeline.clock.advance(2_000);
  assert.match(statistics.notices[0]!.text, /set the group's offsets \(partition 0 to 0\).*rewind/);
  assert.equal(statistics.totals.messages, 0, "nothing is read again");
  assert.equal(
    pipeline.kafka.groups.committed.get(GROUP)?.get(0),
    5,
    "and the ledger's offset is committed",
  );
  await pipeline.clock.advance(3_600_000);
  assert.deepEqual(statistics.notices, []);
  await pipeline.stop(second);
});

Deno.test("a right that is taken away is told, waited for and no hang", async () => {
  const pipeline = new MemoryPipeline();
  const statistics = new FlowStatistics({ clock: pipeline.clock });
  const consumer = start(pipeline, statistics);
  let hasEnded = false;
  void consumer.done.finally(() => hasEnded = true);
  await pipeline.clock.advance(1_000);
  const refusal = new ConfigurationError("Cannot read from Kafka: no right to the group");
  for (let seconds = 0; seconds < 300; seconds += 5) {
    pipeline.append(0, messageTexts(1 + seconds, 1));
    consumer.member.refuse(refusal);
    await pipeline.clock.advance(5_000);
  }
  assert.equal(hasEnded, false, "the watchdog takes it for no hang");
  assert.deepEqual(statistics.notices.map(({ text }) => text), [refusal.message]);
  assert.equal(pipeline.logged.filter((line) => /waiting: .*no right/.test(line)).length, 1);
  consumer.member.readmit();
  await pipeline.clock.advance(2_000);
  assert.deepEqual(statistics.notices, []);
  assert.equal(statistics.totals.messages, 60);
  await pipeline.stop(consumer);
});

Deno.test("a server that refuses a check is told though no message comes", async () => {
  const pipeline = new MemoryPipeline();
  const statistics = new FlowStatistics({ clock: pipeline.clock });
  const consumer = start(pipeline, statistics);
  await pipeline.clock.advance(1_000);
  const refusal = new ConfigurationError(
    "Cannot read the topic's identity: our certificate has expired",
  );
  pipeline.kafka.failNext("identity", refusal);
  await pipeline.clock.advance(11_000);
  assert.deepEqual(statistics.notices.map(({ kind }) => kind), ["kafka"]);
  await pipeline.clock.advance(11_000);
  assert.deepEqual(statistics.notices, []);
  await pipeline.stop(consumer);
});
