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
import type { Message } from "../kafka/message.ts";
import type { LedgerLine } from "../postgres/store.ts";

/** Where a batch stands: what the marks that it believes must agree with. */
export interface MarkScope {
  /** See {@linkcode lineageOf}. */
  readonly lineage: string;
  /** The partition of the batch. */
  readonly partition: number;
  /** The first offset that the batch moves the ledger from. */
  readonly fromOffset: number;
  /** The leader epoch that the ledger has there. */
  readonly fromEpoch: number;
}

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

/** The value of `reading:<id>` for a message with this content digest. */
export function markValue(
  { lineage, partition }: Pick<MarkScope, "lineage" | "partition">,
  { leaderEpoch, offset }: Pick<Message, "leaderEpoch" | "offset">,
  digest: string,
): string {
  return `${lineage}:${partition}:${leaderEpoch}/${offset}:${digest}`;
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
