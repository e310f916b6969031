/**
 * The laws of member and writer while a partition has no leader, run on the memory and on real
 * brokers, of which one has the only copy.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { GroupHandlers, GroupMember } from "../../lib/kafka/group_member.ts";
import { isOffline } from "../../lib/kafka/message.ts";
import type { TopicWriter } from "../../lib/kafka/topic_writer.ts";

/** The partition whose leader goes and comes. */
export const LOST = 1;

/** The partition that always has one. */
const KEPT = 0;

/** A topic of two partitions. */
export interface LedTopic {
  /** Takes away or gives back the leader of {@linkcode LOST}, and returns when the brokers know. */
  setLeader(leader: "there" | "none"): Promise<void>;
  member(groupId: string): Promise<GroupMember>;
  writer(): Promise<TopicWriter>;
  /** Lets a little time pass. */
  pass(): Promise<void>;
  close(): Promise<void>;
}

/** How long a condition may take, in calls of `pass`. */
const PASSES_MAX = 600;

async function until(topic: LedTopic, what: string, met: () => boolean): Promise<void> {
  for (let passes = 0; passes < PASSES_MAX; passes++) {
    if (met()) return;
    await topic.pass();
  }
  assert.fail(`never happened: ${what}`);
}

/** Notes what it reads, and resolves it. */
function reader(): GroupHandlers & { readonly assigned_: number[]; next(of: number): number } {
  const next = new Map<number, number>();
  const assigned: number[] = [];
  return {
    assigned_: assigned,
    next: (partition) => next.get(partition) ?? 0,
    assigned: (partitions) => void assigned.splice(0, assigned.length, ...partitions),
    batch: (batch) => {
      batch.resolve(batch.nextOffset);
      next.set(batch.partition, batch.nextOffset);
      return Promise.resolve();
    },
    crashed: (error) => assert.fail(error),
    refused: (error) => assert.fail(error),
  };
}

const MESSAGE = { key: null, value: Uint8Array.of(1) };

/** Registers the laws as steps of one test of `name`: a change of leader takes real brokers long. */
export function leaderContract(name: string, open: () => Promise<LedTopic>): void {
  Deno.test(`${name}: a partition without a leader hides nothing of the others`, async (t) => {
    const topic = await open();
    const members: GroupMember[] = [];
    const writers: TopicWriter[] = [];
    const openMember = async (groupId: string): Promise<GroupMember> => {
      const member = await topic.member(groupId);
      members.push(member);
      return member;
    };
    const openWriter = async (): Promise<TopicWriter> => {
      const writer = await topic.writer();
      writers.push(writer);
      return writer;
    };
    try {
      const before = await openMember("before");
      const witness = reader();
      const writer = await openWriter();
      await writer.send(KEPT, [MESSAGE]);
      await writer.send(LOST, [MESSAGE]);
      await before.start(witness);
      await until(topic, "a message of each", () => [0, 1].every((each) => witness.next(each) > 0));
      await topic.setLeader("none");
      await t.step("a writer refuses it and writes to the others", async () => {
        for (const each of [writer, await openWriter()]) {
          assert.equal(each.partitions, 2);
          await assert.rejects(each.send(LOST, [MESSAGE]), { name: "TransientError" });
          await each.send(KEPT, [MESSAGE]);
        }
      });
      await t.step("a member that runs goes on with the others", async () => {
        await until(topic, "the messages of the other one", () => witness.next(KEPT) === 3);
      });
      await t.step("questions are answered for the others", async () => {
        const ranges = await before.watermarks();
        assert.deepEqual([...ranges.keys()], [KEPT, LOST]);
        assert.deepEqual(ranges.get(KEPT), { low: 0, high: 3 });
        assert(isOffline(ranges.get(LOST)!));
        assert.deepEqual(await before.offsetsAtTime(0), new Map([[KEPT, 0]]));
        assert.equal((await before.identity()).topicId.length, 36);
        await before.commit(new Map([[KEPT, 3], [LOST, 1]]));
        await before.committedByOthers();
      });
      const during = await openMember("during");
      const second = reader();
      await t.step("a member starts, is assigned it, and reads the others", async () => {
        await during.start(second);
        await until(topic, "the messages of the other one", () => second.next(KEPT) === 3);
        assert.deepEqual(second.assigned_.toSorted(), [KEPT, LOST]);
      });
      await topic.setLeader("there");
      await t.step("when it is back, everybody goes on with it", async () => {
        await writer.send(LOST, [MESSAGE]);
        for (const each of [witness, second]) {
          await until(topic, "the messages of the lost one", () => each.next(LOST) === 2);
        }
        assert.deepEqual((await before.watermarks()).get(LOST), { low: 0, high: 2 });
      });
    } finally {
      await Promise.all(members.map((member) => member.stop()));
      await Promise.all(writers.map((writer) => writer.close()));
      await topic.close();
    }
  });
}
