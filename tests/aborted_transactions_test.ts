/** Which messages of a fetch belong to transactions that were aborted. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { BATCH_RECORDS_MAX } from "../lib/kafka/fetch_answer.ts";
import { type Aborted, fetchOne, type SampleBatch } from "./fetch_answer_bytes.ts";

const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
/** Of an abort marker, and of any message that a producer gives it. */
const ABORT_KEY = Buffer.from([0, 0, 0, 0]);

/** A batch of one message in a transaction. */
function inTransaction(producerId: number, first: number, value: string): SampleBatch {
  return { first, producerId, attributes: TRANSACTIONAL, records: [{ delta: 0, value }] };
}

function marker(producerId: number, first: number, outcome: "abort" | "commit"): SampleBatch {
  const key = Buffer.from([0, 0, 0, outcome === "abort" ? 0 : 1]);
  const records = [{ delta: 0, key, value: Buffer.alloc(6).toString() }];
  return { first, producerId, attributes: TRANSACTIONAL | CONTROL, records };
}

const TRANSACTIONS: readonly {
  readonly name: string;
  readonly from?: number;
  readonly aborted: readonly Aborted[];
  readonly batches: readonly SampleBatch[];
  readonly want: readonly string[];
}[] = [
  {
    name: "two open at once, both aborted, the later one first",
    // As brokers list them: by their ends.
    aborted: [[8, 1], [7, 0]],
    batches: [
      inTransaction(7, 0, "a"),
      inTransaction(8, 1, "b"),
      marker(8, 2, "abort"),
      marker(7, 3, "abort"),
      inTransaction(7, 4, "again"),
      marker(7, 5, "commit"),
    ],
    want: ["again"],
  },
  {
    name: "two that begin within the offsets of one batch",
    aborted: [[7, 0], [8, 1], [9, 2]],
    batches: [
      inTransaction(7, 0, "a"),
      inTransaction(8, 1, "b"),
      inTransaction(9, 2, "c"),
      { first: 3, records: [{ delta: 0, value: "plain" }, { delta: 4, value: "plain, too" }] },
      ...[7, 8, 9].map((id, index) => marker(id, 8 + index, "abort")),
    ],
    want: ["plain", "plain, too"],
  },
  {
    name: "a message whose key looks like the marker's",
    aborted: [[7, 0]],
    batches: [
      inTransaction(7, 0, "a"),
      { ...inTransaction(7, 1, "b"), records: [{ delta: 0, key: ABORT_KEY, value: "b" }] },
      inTransaction(7, 2, "c"),
      marker(7, 3, "abort"),
      { first: 4, records: [{ delta: 0, key: ABORT_KEY, value: "plain" }] },
    ],
    want: ["plain"],
  },
  {
    name: "committed ones between aborted ones, and others' messages in between",
    aborted: [[7, 0], [7, 8]],
    batches: [
      inTransaction(7, 0, "a"),
      { first: 1, producerId: 9, records: [{ delta: 0, value: "idempotent" }] },
      inTransaction(8, 2, "committed by 8"),
      marker(7, 3, "abort"),
      marker(8, 4, "commit"),
      inTransaction(7, 5, "committed by 7"),
      inTransaction(8, 6, "committed later"),
      marker(7, 7, "commit"),
      inTransaction(7, 8, "b"),
      marker(8, 9, "commit"),
      inTransaction(7, 10, "c"),
      marker(7, 11, "abort"),
    ],
    want: ["idempotent", "committed by 8", "committed by 7", "committed later"],
  },
  {
    name: "one that began before the fetch",
    from: 6,
    aborted: [[7, 1]],
    batches: [
      {
        ...inTransaction(7, 5, ""),
        records: [{ delta: 0, value: "a" }, { delta: 1, value: "b" }],
      },
      { first: 7, records: [{ delta: 0, value: "plain" }] },
      marker(7, 8, "abort"),
    ],
    want: ["plain"],
  },
  {
    name: "a message of the same producer outside of any transaction",
    aborted: [[7, 0]],
    batches: [
      inTransaction(7, 0, "a"),
      { first: 1, producerId: 7, records: [{ delta: 0, key: ABORT_KEY, value: "idempotent" }] },
      inTransaction(7, 2, "b"),
      marker(7, 3, "abort"),
    ],
    want: ["idempotent"],
  },
  {
    name: "markers of others, and one that commits",
    aborted: [[8, 1], [7, 0]],
    batches: [
      inTransaction(7, 0, "a"),
      inTransaction(8, 1, "b"),
      marker(8, 2, "abort"),
      inTransaction(7, 3, "c"),
      marker(7, 4, "commit"),
      inTransaction(7, 5, "d"),
      marker(7, 6, "abort"),
    ],
    want: [],
  },
  {
    name: "a batch that nobody can read",
    aborted: [[7, 0]],
    batches: [
      { ...inTransaction(7, 0, "a"), attributes: TRANSACTIONAL | 5 },
      { ...inTransaction(7, 1, "b"), count: BATCH_RECORDS_MAX + 1 },
      marker(7, 2, "abort"),
    ],
    want: [],
  },
  {
    name: "nothing but markers",
    aborted: [],
    batches: [marker(7, 0, "commit"), marker(8, 1, "abort")],
    want: [],
  },
];

Deno.test("decodeFetchAnswer() leaves out aborted transactions and moves over them", async (t) => {
  for (const { name, from = 0, aborted, batches, want } of TRANSACTIONS) {
    await t.step(name, async () => {
      const last = batches.at(-1)!;
      const nextOffset = last.first + last.records.at(-1)!.delta + 1;
      assert.deepEqual(await fetchOne(from, aborted, ...batches), { values: want, nextOffset });
      const reversed = aborted.toReversed();
      assert.deepEqual(
        (await fetchOne(from, reversed, ...batches)).values,
        want,
        "listed otherwise",
      );
    });
  }
});
