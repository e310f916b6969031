/**
 * What a mark in Redis says and when it may be believed.
 *
 * A mark is written after COMMIT and says: the message at this place, with this content, is stored.
 * It saves the database the work of refusing a repeat, and must never cause a loss. The database can
 * have been emptied, restored to an older state or replaced since the mark was written, and Redis
 * would not know. So a mark is believed only if all of this holds:
 *
 * 1. It was written for this data set and this life of the topic, and since then the partition's line
 *    of the ledger has neither been opened again nor jumped (the lineage). Otherwise rule 2 does not
 *    hold: what lies below the line has then not all been stored.
 * 2. It was written for the partition at hand, at an offset below the batch's first one. The batch
 *    is stored by a compare-and-set of the ledger from just that offset. If it succeeds, then this
 *    very database has stored everything below it, the marked message included; if the database has
 *    lost it, the ledger has gone back, too, and the batch starts below the mark.
 * 3. Its message was written by the leader in whose epoch the ledger stands, and the compare-and-set
 *    compares that, too. Otherwise the brokers may have lost the message, and the ledger may have gone
 *    over another one at its offset.
 * 4. It was written for the same content, so that a conflict is never taken for a duplicate.
 *
 * A repeat in another partition, or from before the leader changed, is thus decided by the database. That costs work, never a reading.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { LedgerLine } from "../postgres/store.ts";
import { DIGEST_DIGITS } from "../reading/digest.ts";
import { ID_BYTES, type ReadingColumns } from "../reading/reading_columns.ts";
import { type Marks, putDecimal } from "../redis/marks.ts";
import type { Batch } from "./batch.ts";

const utf8 = new TextEncoder();

/** Where a batch stands: what the marks that it believes must agree with. */
export type MarkScope = Pick<Batch, "lineage" | "partition" | "fromOffset" | "fromEpoch">;

/** Rises when digests change: older marks are then unknown, and not suspects with other content. */
const DIGEST_VERSION = 2;

/** A short name for one data set fed by one life of one topic, as long as nothing was left out. */
export function lineageOf(
  dataSetId: string,
  line: Pick<LedgerLine, "topic" | "first" | "gaps" | "rewound">,
): string {
  const { topic: { clusterId, topicId }, first, gaps, rewound } = line;
  return createHash("sha256")
    .update([DIGEST_VERSION, dataSetId, clusterId, topicId, first, gaps, rewound].join(" "))
    .digest("base64url")
    .slice(0, 16);
}

/** Where a value is longest: in front of the place, a place, and a digest. */
const PREFIX_BYTES_MAX = 64;
const OFFSET_DIGITS_MAX = 16;
const VALUE_BYTES_MAX = PREFIX_BYTES_MAX + OFFSET_DIGITS_MAX + 1 + DIGEST_DIGITS;

const COLON = ":".charCodeAt(0);

/**
 * Writes the marks of one batch: for each `lineage:partition:epoch/offset:digest`, as bytes, because a
 * batch has thousands of them.
 */
export class MarkWriter {
  readonly #scope: Pick<MarkScope, "lineage" | "partition">;
  readonly #columns: ReadingColumns;
  readonly #ids: Uint8Array;
  readonly #values: Uint8Array;
  readonly #ends: Uint32Array;
  #count = 0;
  #end = 0;
  /** What stands in front of an offset, while the epoch stays the same. */
  #prefix: Uint8Array = new Uint8Array();
  #epoch: number | undefined;

  /**
   * Nothing is written yet.
   *
   * @param columns where the readings are
   * @param countMax most marks
   */
  constructor(
    scope: Pick<MarkScope, "lineage" | "partition">,
    columns: ReadingColumns,
    countMax: number,
  ) {
    this.#scope = scope;
    this.#columns = columns;
    this.#ids = new Uint8Array(countMax * ID_BYTES);
    this.#values = new Uint8Array(countMax * VALUE_BYTES_MAX);
    this.#ends = new Uint32Array(countMax);
  }

  /** The reading of this row is stored; a leader of this epoch wrote its message. */
  stored(row: number, leaderEpoch: number): void {
    if (leaderEpoch !== this.#epoch) {
      const { lineage, partition } = this.#scope;
      this.#prefix = utf8.encode(`${lineage}:${partition}:${leaderEpoch}/`);
      this.#epoch = leaderEpoch;
    }
    this.#put(this.#prefix);
    this.#end = putDecimal(this.#columns.offsets[row]!, this.#values, this.#end);
    this.#values[this.#end++] = COLON;
    this.#columns.putDigest(row, this.#values, this.#end);
    this.#end += DIGEST_DIGITS;
    this.#endMark(row);
  }

  /**
   * Another reading than that of this row is stored with its id. A mark without content makes the
   * next message with this id a suspect from the start.
   */
  conflicting(row: number): void {
    this.#put(utf8.encode(`${this.#scope.lineage}:::`));
    this.#endMark(row);
  }

  /** All that was written. */
  get marks(): Marks {
    return {
      count: this.#count,
      ids: this.#ids.subarray(0, this.#count * ID_BYTES),
      values: this.#values.subarray(0, this.#end),
      ends: this.#ends.subarray(0, this.#count),
    };
  }

  #put(bytes: Uint8Array): void {
    // A loop, because set() costs more for so few bytes.
    for (let at = 0; at < bytes.length; at++) this.#values[this.#end + at] = bytes[at]!;
    this.#end += bytes.length;
  }

  #endMark(row: number): void {
    this.#columns.copyId(row, this.#ids, this.#count * ID_BYTES);
    this.#ends[this.#count++] = this.#end;
  }
}

/** What a mark is worth for a message at hand. */
export type MarkVerdict =
  /** The message repeats a stored one. */
  | "duplicate"
  /** The id was seen with other content: the database will probably refuse it. */
  | "suspect"
  /** The mark proves nothing. */
  | "unknown";

/** Judges the mark found for a message, see the module's four rules. */
export function judgeMark(mark: string | null, scope: MarkScope, digest: string): MarkVerdict {
  if (mark === null) return "unknown";
  const [lineage, partition, place = "", markedDigest] = mark.split(":");
  if (lineage !== scope.lineage) return "unknown";
  if (markedDigest !== digest) return "suspect";
  if (Number(partition) !== scope.partition) return "unknown";
  const [epoch, offset] = place.split("/");
  if (Number(epoch) !== scope.fromEpoch) return "unknown";
  return Number(offset) < scope.fromOffset ? "duplicate" : "unknown";
}
