import assert from "node:assert/strict";
import { MemoryKafka } from "../fakes/kafka_cluster.ts";
import { PendingCommits } from "../lib/consumer/commits.ts";
import { TransientError } from "../lib/errors.ts";
import { FakeClock } from "./fake_clock.ts";

function open(): { kafka: MemoryKafka; commits: PendingCommits } {
  const kafka = new MemoryKafka({ topic: "t", partitions: 3, clock: new FakeClock() });
  return { kafka, commits: new PendingCommits(kafka.member("g")) };
}

Deno.test("PendingCommits.flush() commits the newest offset of each partition", async () => {
  const { kafka, commits } = open();
  commits.note(0, 5);
  commits.note(1, 7);
  commits.note(0, 9);
  await commits.flush();
  assert.deepEqual(kafka.groups.committed.get("g"), new Map([[0, 9], [1, 7]]));
  assert.equal(commits.pending.size, 0);
});

Deno.test("PendingCommits keeps what a failed commit held, merged with what is newer", async () => {
  const { kafka, commits } = open();
  commits.note(0, 5);
  commits.note(1, 7);
  kafka.failNext("commit", new TransientError("rebalance in progress"));
  await commits.flush();
  assert.deepEqual(commits.pending, new Map([[0, 5], [1, 7]]));
  commits.note(1, 8);
  await commits.flush();
  assert.deepEqual(kafka.groups.committed.get("g"), new Map([[0, 5], [1, 8]]));
});

Deno.test("PendingCommits keeps what was noted while a commit was under way", async () => {
  const { kafka, commits } = open();
  commits.note(0, 5);
  const first = commits.flush();
  commits.note(0, 6);
  await first;
  assert.deepEqual(commits.pending, new Map([[0, 6]]));
  await commits.flush();
  assert.deepEqual(kafka.groups.committed.get("g"), new Map([[0, 6]]));
});

Deno.test("PendingCommits.forget() leaves a partition to whoever notes it next", async () => {
  const { kafka, commits } = open();
  commits.note(0, 5);
  commits.note(1, 7);
  commits.note(2, 9);
  commits.forget(0);
  commits.forget(1);
  commits.note(1, 4);
  await commits.flush();
  assert.deepEqual(kafka.groups.committed.get("g"), new Map([[1, 4], [2, 9]]));
});
