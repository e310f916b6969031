import assert from "node:assert/strict";
import { OPEN_MS_MAX, OpenTransactions } from "../lib/consumer/open_transactions.ts";
import type { HeldBack } from "../lib/kafka/message.ts";
import { createLog } from "../lib/log.ts";
import { FakeClock } from "./fake_clock.ts";

const NEVER = new AbortController().signal;

const PLACE = {
  scope: {
    topic: { clusterId: "c", topic: "t", topicId: "i" },
    dataSetId: "d",
    lineage: "l",
  },
};

/** What is told, look by look, of what is held back at each; one look every 40 s. */
async function told(
  looks: readonly (HeldBack | undefined)[],
  ours: readonly number[] = [0],
): Promise<readonly string[]> {
  const clock = new FakeClock();
  const lines: string[] = [];
  const log = createLog({
    level: "info",
    format: "text",
    write: (line) => lines.push(line),
    clock,
  });
  let held: HeldBack | undefined;
  const heldBack = () => Promise.resolve(new Map(held === undefined ? [] : [[0, held]]));
  const transactions = new OpenTransactions({ member: { heldBack }, clock, log });
  const places = new Map(ours.map((partition) => [partition, PLACE]));
  for (held of looks) {
    await transactions.look(places, NEVER);
    await clock.advance(OPEN_MS_MAX * 2 / 3);
  }
  return lines.map((line) => /wait behind|has ended/.exec(line)?.[0] ?? line);
}

Deno.test("OpenTransactions tells of what stays open, and of its end, once", async (t) => {
  const at = (offset: number): HeldBack => ({ offset, messages: 3 });
  const cases: [string, readonly (HeldBack | undefined)[], readonly string[]][] = [
    ["none", [undefined, undefined], []],
    ["one that comes and goes", [at(1), at(1), undefined], []],
    ["one after the other", [at(1), at(1), at(5), at(5), at(9)], []],
    ["one that stays", [at(1), at(1), at(1), at(1), at(1)], ["wait behind"]],
    ["its end", [at(1), at(1), at(1), undefined, undefined], ["wait behind", "has ended"]],
    ["its end, with another behind it", [at(1), at(1), at(1), at(7)], ["wait behind", "has ended"]],
  ];
  for (const [name, looks, want] of cases) {
    await t.step(name, async () => assert.deepEqual(await told(looks), want));
  }
  await t.step("one in a partition of somebody else", async () => {
    assert.deepEqual(await told([at(1), at(1), at(1)], [1]), []);
  });
});
