import assert from "node:assert/strict";
import { Place } from "../lib/consumer/place.ts";
import type { FetchedBatch } from "../lib/kafka/group_member.ts";
import { Messages } from "../lib/kafka/messages.ts";

const SCOPE = {
  topic: { clusterId: "c", topic: "t", topicId: "i" },
  dataSetId: "data set",
  lineage: "lineage",
};

function newPlace(): Place {
  return new Place(SCOPE, { next: 5, leaderEpoch: 1 }, { followingEpoch: undefined });
}

/** A fetch of one message. */
function fetch(
  offset: number,
  { valueBytes = 10, firstEpoch = 1, lastEpoch = 1 } = {},
): FetchedBatch {
  const value = new Uint8Array(valueBytes);
  return {
    partition: 3,
    fetchedOffset: offset,
    nextOffset: offset + 1,
    firstEpoch,
    lastEpoch,
    messages: Messages.of([
      { offset, key: null, value, headers: {}, timestampMs: 0, leaderEpoch: firstEpoch },
    ]),
    isCurrent: () => true,
    resolve: () => {},
    heartbeat: () => Promise.resolve(),
  };
}

function forEver(): Promise<void> {
  return new Promise(() => {});
}

Deno.test("Place.hasRoomFor() anything while nothing is worked on, then for small fetches", async (t) => {
  const large = fetch(5, { valueBytes: 200_000 });
  const place = newPlace();
  assert(place.hasRoomFor(large));
  place.takeOver(fetch(5), forEver);
  place.takeWaiting();
  const rows: readonly [name: string, fetched: FetchedBatch, want: boolean][] = [
    ["a small one", fetch(6), true],
    ["a large one", fetch(6, { valueBytes: 200_000 }), false],
    ["another epoch than that of what is worked on", fetch(6, { firstEpoch: 2 }), true],
  ];
  for (const [name, fetched, want] of rows) {
    await t.step(name, () => assert.equal(place.hasRoomFor(fetched), want));
  }
  place.takeOver(fetch(6, { lastEpoch: 2 }), forEver);
  await t.step("behind one of another epoch", () => assert(!place.hasRoomFor(fetch(7))));
  for (let offset = 7; offset < 22; offset++) {
    const fetched = fetch(offset, { firstEpoch: 2, lastEpoch: 2 });
    assert(place.hasRoomFor(fetched), `${offset}`);
    place.takeOver(fetched, forEver);
  }
  await t.step("a seventeenth", () => assert(!place.hasRoomFor(fetch(22, { firstEpoch: 2 }))));
  place.workEnded();
  await t.step("a large one when the work has ended", () => assert(place.hasRoomFor(large)));
});

Deno.test("Place.takeWaiting() joins what waits, and work begins once for all of it", () => {
  const place = newPlace();
  let begun = 0;
  const work = (): Promise<void> => {
    begun++;
    return forEver();
  };
  assert.equal(place.takeWaiting(), undefined);
  place.takeOver(fetch(5), work);
  assert.deepEqual([place.fetchPosition, place.hasWaiting], [6, true]);
  place.takeOver(fetch(6), work);
  place.takeOver(fetch(7, { lastEpoch: 2 }), work);
  const { fetchedOffset, nextOffset, firstEpoch, lastEpoch, messages } = place.takeWaiting()!;
  assert.deepEqual([fetchedOffset, nextOffset, firstEpoch, lastEpoch], [5, 8, 1, 2]);
  assert.deepEqual([...messages.offsets], [5, 6, 7]);
  assert.deepEqual([begun, place.fetchPosition, place.hasWaiting], [1, 8, false]);
  place.workEnded();
  place.takeOver(fetch(8), work);
  assert.equal(begun, 2);
});
