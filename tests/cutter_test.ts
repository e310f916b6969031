import assert from "node:assert/strict";
import type { Batch } from "../lib/consumer/batch.ts";
import { BatchSize } from "../lib/consumer/batch_size.ts";
import { Cutter } from "../lib/consumer/cutter.ts";
import { Place } from "../lib/consumer/place.ts";
import { RowDataError } from "../lib/errors.ts";
import type { Message } from "../lib/kafka/message.ts";
import { Messages } from "../lib/kafka/messages.ts";

const SCOPE = {
  topic: { clusterId: "c", topic: "t", topicId: "i" },
  dataSetId: "data set",
  lineage: "lineage",
};

/** A message; its leader epoch changes every ten offsets. */
function message(offset: number): Message {
  const leaderEpoch = Math.floor(offset / 10);
  return { offset, key: null, value: null, headers: {}, timestampMs: 0, leaderEpoch };
}

/** A cutter of a fetch from 5 to `nextOffset` with messages at these offsets. */
function cutterOf(offsets: readonly number[], nextOffset: number, size = new BatchSize(4)): Cutter {
  const place = new Place(SCOPE, { next: 5, leaderEpoch: 0 }, { followingEpoch: undefined });
  return new Cutter(
    {
      partition: 3,
      fetchedOffset: 5,
      nextOffset,
      firstEpoch: 0,
      lastEpoch: 7,
      messages: Messages.of(offsets.map(message)),
      isCurrent: () => true,
      resolve: () => {},
      heartbeat: () => Promise.resolve(),
    },
    place,
    size,
  );
}

/** From, next and the offsets in between that have a message. */
function describe({ fromOffset, nextOffset, messages }: Batch): string {
  return `${fromOffset}-${nextOffset}: ${Array.from(messages, ({ offset }) => offset)}`;
}

Deno.test("Cutter.next() leaves no offset and no epoch between two batches", () => {
  const cutter = cutterOf([6, 7, 9, 12, 21, 22], 30);
  const [first, second] = [cutter.next()!, cutter.next()!];
  assert.deepEqual([first, second].map(describe), ["5-21: 6,7,9,12", "21-30: 21,22"]);
  assert.deepEqual(
    [first, second].map(({ fromEpoch, nextEpoch }) => [fromEpoch, nextEpoch]),
    [[0, 2], [2, 7]],
  );
  assert.deepEqual(
    [first.partition, first.topic, first.dataSetId, first.lineage],
    [3, SCOPE.topic, SCOPE.dataSetId, SCOPE.lineage],
  );
  assert.equal(cutter.next(), undefined);
  assert.equal(cutter.next(), undefined);
});

Deno.test("Cutter.next() makes a batch of a fetch without a message", () => {
  const cutter = cutterOf([], 8);
  assert.equal(describe(cutter.next()!), "5-8: ");
  assert.equal(cutter.next(), undefined);
});

Deno.test("Cutter.next() asks for the size before each cut", () => {
  const size = new BatchSize(4);
  const cutter = cutterOf([5, 6, 7, 8, 9, 10, 11], 12, size);
  assert.equal(describe(cutter.next()!), "5-9: 5,6,7,8");
  size.wasTooMuch(4, 1_000);
  assert.equal(describe(cutter.next()!), "9-11: 9,10");
});

Deno.test("Cutter.halve() puts both halves in front of the rest", () => {
  const cutter = cutterOf([5, 6, 8, 9, 10], 12);
  const batch = cutter.next()!;
  cutter.halve(batch, new RowDataError("no"));
  const left = cutter.next()!;
  cutter.halve(left, new RowDataError("no"));
  const rest = [cutter.next()!, cutter.next()!, cutter.next()!, cutter.next()!];
  assert.equal(describe(left), "5-8: 5,6");
  assert.deepEqual(rest.map(describe), ["5-6: 5", "6-8: 6", "8-10: 8,9", "10-12: 10"]);
  assert.deepEqual(rest.map(({ refusal }) => refusal), [
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
  assert.equal(cutter.next(), undefined);
});

Deno.test("Cutter.halve() brings a lone message back with its refusal, and its offsets", () => {
  const refusal = new RowDataError("22003");
  const cutter = cutterOf([7], 9);
  cutter.halve(cutter.next()!, refusal);
  const lone = cutter.next()!;
  assert.equal(describe(lone), "5-9: 7");
  assert.equal(lone.refusal, refusal);
  assert.equal(cutter.next(), undefined);
});
