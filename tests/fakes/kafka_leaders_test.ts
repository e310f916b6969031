import assert from "node:assert/strict";
import { LogLeaders } from "../../fakes/kafka_leaders.ts";
import { UNKNOWN_EPOCH } from "../../lib/kafka/message.ts";

Deno.test("LogLeaders answers as brokers do", async (t) => {
  // Epoch 1 wrote nothing, 3 lost all it wrote.
  const leaders = new LogLeaders();
  for (const next of [10, 10, 20, 15]) leaders.elect(next);
  assert.equal(leaders.epoch, 4);
  const rows: readonly [string, number, [number, number] | undefined][] = [
    ["an earlier one ends where the next begins", 0, [0, 10]],
    ["one that wrote nothing is not remembered", 1, [0, 10]],
    ["one that was cut", 2, [2, 15]],
    ["one of which nothing is left", 3, [2, 15]],
    ["the present one", 4, [4, 18]],
    ["whoever leads", UNKNOWN_EPOCH, [4, 18]],
    ["one that has not come", 5, undefined],
  ];
  const ask = (epoch: number): [number, number] | undefined => {
    const end = leaders.endOf(epoch, 18);
    return end && [end.leaderEpoch, end.endOffset];
  };
  for (const [name, epoch, want] of rows) {
    await t.step(name, () => assert.deepEqual(ask(epoch), want));
  }
  await t.step("what is deleted is forgotten, and its leader with it", () => {
    leaders.keepFrom(12);
    assert.deepEqual([ask(0), ask(2)], [[0, 12], [2, 15]]);
    leaders.keepFrom(16);
    assert.deepEqual([ask(2), ask(4)], [[2, 16], [4, 18]]);
  });
});
