/**
 * The laws of a group member, run on the memory and on real brokers.
 *
 * @module
 */
import assert from "node:assert/strict";
import type {
  FetchedBatch,
  GroupAdmin,
  GroupHandlers,
  GroupMember,
} from "../../lib/kafka/group_member.ts";
import { type EpochEnd, UNKNOWN_EPOCH } from "../../lib/kafka/message.ts";

/** A topic of two partitions and the means to disturb it. */
export interface TopicUnderTest {
  readonly topic: string;
  append(partition: number, values: readonly string[]): Promise<void>;
  /**
   * A producer of its own appends messages in a transaction. What is returned ends it, and resolves
   * when the end is in the log.
   */
  begin(
    partition: number,
    values: readonly string[],
  ): Promise<(outcome: "commit" | "abort") => Promise<void>>;
  deleteRecords(partition: number, beforeOffset: number): Promise<void>;
  recreate(): Promise<void>;
  /** Makes the group give up a member that is silent, unless it does so on its own. */
  giveUp(member: GroupMember): Promise<void>;
  /** Commits for a group without members, as another program would. */
  commitAsAnother(groupId: string, partition: number, nextOffset: number): Promise<void>;
  /** What the group has committed, whoever did it. */
  committedOffsets(groupId: string): Promise<ReadonlyMap<number, number>>;
  /** Sets how long the topic keeps messages; Infinity: forever. */
  setRetention(retentionMs: number): Promise<void>;
  member(groupId: string): Promise<GroupMember & GroupAdmin>;
  /** Lets a little time pass. */
  pass(): Promise<void>;
  close(): Promise<void>;
}

/** How long a condition may take, in calls of `pass`. */
const PASSES_MAX = 600;

async function until(topic: TopicUnderTest, what: string, met: () => boolean): Promise<void> {
  for (let passes = 0; passes < PASSES_MAX; passes++) {
    if (met()) return;
    await topic.pass();
  }
  assert.fail(`never happened: ${what}`);
}

/** Notes everything that a member says. */
class Witness implements GroupHandlers {
  readonly assignments: (readonly number[])[] = [];
  readonly batches: FetchedBatch[] = [];
  readonly refusals: Error[] = [];
  readonly crashes: Error[] = [];
  onAssigned: (partitions: readonly number[]) => void = () => {};
  onBatch: (batch: FetchedBatch) => Promise<void> = (batch) => {
    batch.resolve(batch.nextOffset);
    return Promise.resolve();
  };

  assigned(partitions: readonly number[]): void {
    this.assignments.push([...partitions].sort());
    this.onAssigned(partitions);
  }

  async batch(batch: FetchedBatch): Promise<void> {
    this.batches.push(batch);
    await this.onBatch(batch);
  }

  refused(error: Error): void {
    this.refusals.push(error);
  }

  crashed(error: Error): void {
    this.crashes.push(error);
  }

  values(partition: number): string[] {
    return this.batches.filter((batch) => batch.partition === partition)
      .flatMap((batch) =>
        Array.from(batch.messages, (one) => new TextDecoder().decode(one.value!))
      );
  }

  next(partition: number): number {
    return Math.max(
      -1,
      ...this.batches.filter((batch) => batch.partition === partition).map((b) => b.nextOffset),
    );
  }
}

type Law = (topic: TopicUnderTest) => Promise<void>;

const LAWS: readonly [string, Law][] = [
  ["assigned() comes first, and what it pauses is not fetched until resumed", async (topic) => {
    await topic.append(0, ["a"]);
    const member = await topic.member("pausing");
    const witness = new Witness();
    witness.onAssigned = (partitions) => member.pause(partitions);
    await member.start(witness);
    await until(topic, "an assignment", () => witness.assignments.length > 0);
    for (let passes = 0; passes < 10; passes++) await topic.pass();
    assert.equal(witness.batches.length, 0);
    member.resume([0, 1]);
    await until(topic, "a batch", () => witness.batches.length > 0);
    assert.deepEqual(witness.values(0), ["a"]);
    await member.stop();
  }],
  ["seek() decides the offset of the next fetch", async (topic) => {
    await topic.append(0, ["a", "b", "c", "d"]);
    const member = await topic.member("seeking");
    const witness = new Witness();
    witness.onAssigned = (partitions) => {
      member.pause(partitions);
      member.seek(0, 2);
      member.resume(partitions);
    };
    await member.start(witness);
    await until(topic, "the end", () => witness.next(0) === 4);
    assert.equal(witness.batches[0]?.fetchedOffset, 2);
    assert.deepEqual(witness.values(0), ["c", "d"]);
    await member.stop();
  }],
  ["a batch that is not resolved comes again, a resolved one does not", async (topic) => {
    await topic.append(0, ["a", "b"]);
    const member = await topic.member("resolving");
    const witness = new Witness();
    let refusals = 2;
    witness.onBatch = (batch) => {
      if (refusals-- <= 0) batch.resolve(batch.nextOffset);
      return Promise.resolve();
    };
    await member.start(witness);
    await until(topic, "three batches", () => witness.batches.length >= 3);
    for (let passes = 0; passes < 10; passes++) await topic.pass();
    assert.deepEqual(witness.batches.map((batch) => batch.fetchedOffset), [0, 0, 0]);
    assert.deepEqual(witness.values(0), ["a", "b", "a", "b", "a", "b"]);
    await member.stop();
  }],
  ["resolving a part of a batch makes the rest come again", async (topic) => {
    await topic.append(0, ["a", "b", "c"]);
    const member = await topic.member("halving");
    const witness = new Witness();
    witness.onBatch = (batch) => {
      batch.resolve(batch.fetchedOffset + 1);
      return Promise.resolve();
    };
    await member.start(witness);
    await until(topic, "three batches", () => witness.batches.length >= 3);
    assert.deepEqual(witness.batches.slice(0, 3).map((batch) => batch.fetchedOffset), [0, 1, 2]);
    await member.stop();
  }],
  ["aborted and control records take offsets and are no messages", async (topic) => {
    await topic.append(0, ["a"]);
    await (await topic.begin(0, ["x", "y"]))("abort");
    await topic.append(0, ["b"]);
    const member = await topic.member("skipping");
    const witness = new Witness();
    await member.start(witness);
    // Four records and the marker of the abort.
    await until(topic, "the end", () => witness.next(0) === 5);
    assert.deepEqual(witness.values(0), ["a", "b"]);
    await member.stop();
  }],
  ["a log of nothing but aborted records still moves the position", async (topic) => {
    await (await topic.begin(0, ["x", "y"]))("abort");
    const member = await topic.member("skipping");
    const witness = new Witness();
    await member.start(witness);
    await until(topic, "the end", () => witness.next(0) === 3);
    assert.equal(witness.batches[0]?.fetchedOffset, 0);
    assert.deepEqual(witness.values(0), []);
    await member.stop();
  }],
  ["nothing behind an open transaction is fetched, and the log ends before it", async (topic) => {
    await topic.append(0, ["a"]);
    const end = await topic.begin(0, ["x"]);
    await topic.append(0, ["b"]);
    const member = await topic.member("waiting");
    const witness = new Witness();
    await member.start(witness);
    await until(topic, "its beginning", () => witness.next(0) === 1);
    for (let passes = 0; passes < 10; passes++) await topic.pass();
    assert.deepEqual(witness.values(0), ["a"]);
    assert.deepEqual((await member.watermarks()).get(0), { low: 0, high: 1 });
    assert.equal((await member.offsetsAtTime(Date.UTC(2100, 0))).get(0), 1);
    assert.deepEqual(await member.heldBack(), new Map([[0, { offset: 1, messages: 2 }]]));
    await end("commit");
    await until(topic, "the end", () => witness.next(0) === 4);
    assert.deepEqual(witness.values(0), ["a", "x", "b"]);
    assert.deepEqual((await member.watermarks()).get(0), { low: 0, high: 4 });
    assert.deepEqual(await member.heldBack(), new Map());
    await member.stop();
  }],
  ["of transactions that are open together each is shown if it was committed", async (topic) => {
    const endFirst = await topic.begin(0, ["x"]);
    const endSecond = await topic.begin(0, ["y"]);
    const endThird = await topic.begin(0, ["a"]);
    await endSecond("abort");
    await endThird("commit");
    await endFirst("abort");
    await topic.append(0, ["b"]);
    const member = await topic.member("sorting");
    const witness = new Witness();
    // Begins behind the first message of an aborted transaction.
    witness.onAssigned = () => member.seek(0, 1);
    await member.start(witness);
    await until(topic, "the end", () => witness.next(0) === 7);
    assert.deepEqual(witness.values(0), ["a", "b"]);
    await member.stop();
  }],
  [
    "watermarks() tells what is kept; a fetch below it starts at the first message",
    async (topic) => {
      await topic.append(0, ["a", "b", "c"]);
      await topic.deleteRecords(0, 2);
      const member = await topic.member("late");
      assert.deepEqual((await member.watermarks()).get(0), { low: 2, high: 3 });
      assert.deepEqual((await member.watermarks()).get(1), { low: 0, high: 0 });
      const witness = new Witness();
      witness.onAssigned = () => member.seek(0, 0);
      await member.start(witness);
      await until(topic, "the end", () => witness.next(0) === 3);
      assert.equal(witness.batches[0]?.fetchedOffset, 2);
      assert.deepEqual(witness.values(0), ["c"]);
      await member.stop();
    },
  ],
  [
    "epochEnds() tells where the log ends, and of an epoch that nobody knows nothing",
    async (topic) => {
      await topic.append(0, ["a", "b", "c"]);
      const member = await topic.member("asking");
      const witness = new Witness();
      await member.start(witness);
      await until(topic, "the end", () => witness.next(0) === 3);
      const [{ firstEpoch, lastEpoch, messages } = assert.fail()] = witness.batches;
      assert.deepEqual([firstEpoch, lastEpoch], [
        messages.leaderEpochs[0],
        messages.leaderEpochs[0],
      ]);
      assert.ok(firstEpoch >= 0, `leader epoch ${firstEpoch}`);
      const end = { leaderEpoch: firstEpoch, endOffset: 3 };
      const ask = async (epochs: [number, number][]): Promise<[number, EpochEnd | undefined][]> =>
        [...await member.epochEnds(new Map(epochs))].toSorted(([a], [b]) => a - b);
      assert.deepEqual(await ask([]), []);
      assert.deepEqual(await ask([[0, firstEpoch]]), [[0, end]]);
      assert.deepEqual(await ask([[0, UNKNOWN_EPOCH]]), [[0, end]]);
      const [, [, empty] = assert.fail()] = await ask([[0, firstEpoch], [1, UNKNOWN_EPOCH]]);
      assert.equal(empty?.endOffset, 0);
      assert.deepEqual(await ask([[0, firstEpoch + 100]]), []);
      await topic.append(0, ["d"]);
      assert.deepEqual(await ask([[0, firstEpoch]]), [[0, { ...end, endOffset: 4 }]]);
      await member.stop();
    },
  ],
  ["a fetch beyond the end starts at the first message", async (topic) => {
    await topic.append(0, ["a", "b", "c"]);
    await topic.deleteRecords(0, 1);
    const member = await topic.member("beyond");
    const witness = new Witness();
    witness.onAssigned = () => member.seek(0, 99);
    await member.start(witness);
    await until(topic, "the end", () => witness.next(0) === 3);
    assert.equal(witness.batches[0]?.fetchedOffset, 1);
    assert.deepEqual(witness.values(0), ["b", "c"]);
    await member.stop();
  }],
  ["reading starts at the group's commit, without one at the first message kept", async (topic) => {
    await topic.append(0, ["a", "b", "c"]);
    await topic.append(1, ["d", "e", "f"]);
    await topic.deleteRecords(1, 1);
    await topic.commitAsAnother("resuming", 0, 2);
    const member = await topic.member("resuming");
    const witness = new Witness();
    await member.start(witness);
    await until(topic, "both ends", () => witness.next(0) === 3 && witness.next(1) === 3);
    assert.deepEqual([witness.values(0), witness.values(1)], [["c"], ["e", "f"]]);
    await member.stop();
  }],
  ["pause() stops one partition, and the others go on", async (topic) => {
    const member = await topic.member("pausing one");
    const witness = new Witness();
    witness.onAssigned = () => member.pause([0]);
    await member.start(witness);
    await until(topic, "an assignment", () => witness.assignments.length > 0);
    for (let count = 1; count <= 3; count++) {
      await topic.append(0, ["a"]);
      await topic.append(1, ["b"]);
      await until(topic, "the other one", () => witness.next(1) === count);
    }
    assert.deepEqual(witness.values(0), []);
    member.resume([0]);
    await until(topic, "all of the first", () => witness.next(0) === 3);
    await member.stop();
  }],
  [
    "seek() wins over what a batch under way resolves, which is not current any more",
    async (topic) => {
      await topic.append(0, ["a", "b"]);
      const member = await topic.member("seeking back");
      const witness = new Witness();
      const current: boolean[] = [];
      witness.onBatch = (batch) => {
        current.push(batch.isCurrent());
        if (witness.batches.length === 1) {
          member.seek(0, 1);
          current.push(batch.isCurrent());
        }
        batch.resolve(batch.nextOffset);
        return Promise.resolve();
      };
      await member.start(witness);
      await until(topic, "a second batch", () => witness.batches.length > 1);
      assert.deepEqual(witness.batches.map((batch) => batch.fetchedOffset), [0, 1]);
      assert.deepEqual(current, [true, false, true]);
      await member.stop();
    },
  ],
  [
    "batches of one partition come one after the other, those of two side by side",
    async (topic) => {
      const member = await topic.member("overlapping");
      const witness = new Witness();
      const open = new Map<number, number>();
      const most = { ofOne: 0, inAll: 0 };
      witness.onBatch = async (batch) => {
        open.set(batch.partition, (open.get(batch.partition) ?? 0) + 1);
        const counts = [...open.values()];
        most.ofOne = Math.max(most.ofOne, ...counts);
        most.inAll = Math.max(most.inAll, counts.reduce((sum, count) => sum + count, 0));
        for (let passes = 0; passes < 20; passes++) await topic.pass();
        open.set(batch.partition, open.get(batch.partition)! - 1);
        batch.resolve(batch.nextOffset);
      };
      await Promise.all([topic.append(0, ["a"]), topic.append(1, ["b"])]);
      await member.start(witness);
      await until(topic, "a batch", () => witness.batches.length > 0);
      // More comes while the first ones are at work.
      await Promise.all([topic.append(0, ["c"]), topic.append(1, ["d"])]);
      await until(topic, "both ends", () => witness.next(0) === 2 && witness.next(1) === 2);
      assert.deepEqual(most, { ofOne: 1, inAll: 2 });
      await member.stop();
    },
  ],
  ["stop() waits for a handler at work, and nothing is handed over afterwards", async (topic) => {
    await topic.append(0, ["a"]);
    const member = await topic.member("stopping");
    const witness = new Witness();
    const work = Promise.withResolvers<void>();
    witness.onBatch = () => work.promise;
    await member.start(witness);
    await until(topic, "a batch", () => witness.batches.length > 0);
    let hasStopped = false;
    const stopped = member.stop().then(() => hasStopped = true);
    for (let passes = 0; passes < 5; passes++) await topic.pass();
    assert.deepEqual([hasStopped, witness.batches[0]?.isCurrent()], [false, false]);
    work.resolve();
    await until(topic, "a stop", () => hasStopped);
    await stopped;
    await topic.append(0, ["b"]);
    for (let passes = 0; passes < 5; passes++) await topic.pass();
    assert.deepEqual(witness.values(0), ["a"]);
  }],
  ["commit() commits for the group, and keeps offsets of other partitions", async (topic) => {
    await topic.append(0, ["a", "b"]);
    await topic.append(1, ["c"]);
    const member = await topic.member("committing");
    const witness = new Witness();
    await member.start(witness);
    await until(topic, "both ends", () => witness.next(0) === 2 && witness.next(1) === 1);
    await member.commit(new Map([[0, 2]]));
    await member.commit(new Map([[1, 1]]));
    assert.deepEqual(await topic.committedOffsets("committing"), new Map([[0, 2], [1, 1]]));
    await member.stop();
  }],
  ["commit() of a member that the group has gone on without is refused", async (topic) => {
    await topic.append(0, ["a"]);
    const [lost, heir] = [await topic.member("losing"), await topic.member("losing")];
    const [one, two] = [new Witness(), new Witness()];
    const hung = Promise.withResolvers<void>();
    one.onBatch = () => hung.promise;
    await lost.start(one);
    await until(topic, "a batch", () => one.batches.length > 0);
    await topic.giveUp(lost);
    await heir.start(two);
    await until(topic, "its partitions", () => two.assignments.at(-1)?.length === 2);
    await assert.rejects(lost.commit(new Map([[0, 1]])), { name: "TransientError" });
    assert.deepEqual(await topic.committedOffsets("losing"), new Map());
    hung.resolve();
    await lost.stop();
    await heir.stop();
  }],
  ["committedByOthers() tells what another program committed, not what we did", async (topic) => {
    await topic.append(0, ["a", "b"]);
    await topic.append(1, ["c"]);
    const member = await topic.member("heir");
    assert.deepEqual(await member.committedByOthers(), new Map());
    await topic.commitAsAnother("heir", 0, 1);
    await topic.commitAsAnother("heir", 1, 1);
    assert.deepEqual(await member.committedByOthers(), new Map([[0, 1], [1, 1]]));
    const witness = new Witness();
    await member.start(witness);
    await until(topic, "the end", () => witness.next(0) === 2);
    await member.commit(new Map([[0, 2]]));
    assert.deepEqual(await member.committedByOthers(), new Map([[1, 1]]));
    await member.stop();
  }],
  ["identity() changes when the topic is made again", async (topic) => {
    const member = await topic.member("naming");
    const first = await member.identity();
    assert.equal(first.topic, topic.topic);
    assert.match(first.topicId, /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
    assert.deepEqual(await member.identity(), first);
    await topic.recreate();
    const second = await member.identity();
    assert.equal(second.clusterId, first.clusterId);
    assert.notEqual(second.topicId, first.topicId);
  }],
  ["offsetsAtTime() finds the first message that is not older", async (topic) => {
    await topic.append(0, ["a", "b"]);
    const member = await topic.member("timing");
    assert.equal((await member.offsetsAtTime(0)).get(0), 0);
    assert.equal((await member.offsetsAtTime(Date.UTC(2100, 0))).get(0), 2);
  }],
  ["liveMembers() names those who have joined and not left", async (topic) => {
    const member = await topic.member("counting");
    const asking = await topic.member("counting");
    assert.deepEqual(await asking.liveMembers(), []);
    const witness = new Witness();
    await member.start(witness);
    await until(topic, "an assignment", () => witness.assignments.length > 0);
    assert.equal((await asking.liveMembers()).length, 1);
    assert.deepEqual(await (await topic.member("other")).liveMembers(), []);
    await member.stop();
    assert.deepEqual(await asking.liveMembers(), []);
  }],
  [
    "group() tells which partitions of the topic each member has, and which member asks",
    async (topic) => {
      const [one, two] = [await topic.member("sharing"), await topic.member("sharing")];
      const [first, second] = [new Witness(), new Witness()];
      await one.start(first);
      await two.start(second);
      await until(
        topic,
        "a share each",
        () => first.assignments.at(-1)?.length === 1 && second.assignments.at(-1)?.length === 1,
      );
      const seen = async (member: GroupMember): Promise<readonly string[]> => {
        const { members, isSettled } = await member.group();
        assert.equal(isSettled, true);
        return members.map(({ kind, partitions }) => `${kind} ${partitions.join(",")}`).sort();
      };
      const [ofFirst, ofSecond] = [first.assignments.at(-1)![0], second.assignments.at(-1)![0]];
      assert.deepEqual(await seen(one), [`ours ${ofSecond}`, `self ${ofFirst}`]);
      assert.deepEqual(await seen(two), [`ours ${ofFirst}`, `self ${ofSecond}`]);
      const names = async (member: GroupMember): Promise<readonly unknown[]> =>
        (await member.group()).members.map(({ partitions }) => partitions);
      assert.deepEqual(await names(one), await names(two), "the order is the same for all");
      await one.stop();
      await two.stop();
    },
  ],
  ["retentionMs() is what the topic says, now", async (topic) => {
    const member = await topic.member("asking");
    for (const retentionMs of [3_600_000, Infinity]) {
      await topic.setRetention(retentionMs);
      assert.equal(await member.retentionMs(), retentionMs);
    }
  }],
  ["members share the partitions, and who stays gets those of who leaves", async (topic) => {
    const [first, second] = [await topic.member("sharing"), await topic.member("sharing")];
    const [one, two] = [new Witness(), new Witness()];
    await first.start(one);
    await until(topic, "all partitions", () => one.assignments.at(-1)?.length === 2);
    await second.start(two);
    await until(
      topic,
      "a fair share",
      () => one.assignments.at(-1)?.length === 1 && two.assignments.at(-1)?.length === 1,
    );
    assert.notDeepEqual(one.assignments.at(-1), two.assignments.at(-1));
    await first.stop();
    await until(topic, "all partitions", () => two.assignments.at(-1)?.length === 2);
    await second.stop();
  }],
  ["heartbeat() rejects while the group rebalances, and the member joins again", async (topic) => {
    await topic.append(0, ["a"]);
    await topic.append(1, ["b"]);
    const [first, second] = [await topic.member("beating"), await topic.member("beating")];
    const [one, two] = [new Witness(), new Witness()];
    let rejected = 0;
    one.onBatch = async (batch) => {
      for (let passes = 0; passes < PASSES_MAX && rejected === 0; passes++) {
        await topic.pass();
        await batch.heartbeat().catch((error) => {
          rejected++;
          throw error;
        });
      }
      batch.resolve(batch.nextOffset);
    };
    await first.start(one);
    await until(topic, "a batch", () => one.batches.length > 0);
    await second.start(two);
    await until(topic, "a rejected heartbeat", () => rejected > 0);
    await until(topic, "a new assignment", () => one.assignments.at(-1)?.length === 1);
    await first.stop();
    await second.stop();
  }],
];

/** Runs every law on a topic of its own. */
export function groupMemberContract(
  name: string,
  open: () => Promise<TopicUnderTest>,
): void {
  Deno.test(`GroupMember on ${name}`, async (t) => {
    for (const [law, check] of LAWS) {
      await t.step(law, async () => {
        const topic = await open();
        try {
          await check(topic);
        } finally {
          await topic.close();
        }
      });
    }
  });
}
