/**
 * The port to the truth: readings, dead letters and the ledger, moved together or not at all.
 *
 * Two implementations: `client.ts` speaks to PostgreSQL, `fakes/store.ts` keeps tables in memory.
 * `tests/contracts/store.ts` states the laws and runs on both.
 *
 * @module
 */
import { isSameTopic, type TopicIdentity } from "../kafka/message.ts";
import type { Reading } from "../reading/reading.ts";
import type { ReadingRows } from "../reading/reading_columns.ts";
import type { RejectionReason } from "../reading/rejection.ts";

/** Largest part of a message that a dead letter keeps, in bytes. */
export const DEAD_LETTER_PAYLOAD_BYTES_MAX = 65_536;

/** A rejection as it is kept: what was wrong, and the message as it came. */
export interface DeadLetter {
  /** Offset of the message. */
  readonly offset: number;
  /** The rule that the message broke. */
  readonly reason: RejectionReason;
  /** Where it broke the rule, printable. */
  readonly detail: string;
  /** The first {@linkcode DEAD_LETTER_PAYLOAD_BYTES_MAX} bytes; null for a tombstone. */
  readonly payload: Uint8Array | null;
  /** Length of the whole value in bytes; 0 for a tombstone. */
  readonly payloadBytes: number;
  /** SHA-256 of the whole value, 64 hexadecimal digits; of no bytes for a tombstone. */
  readonly payloadSha256: string;
  /** The message's key, capped in length. */
  readonly key: Uint8Array | null;
  /** Headers as JSON text, capped in number and length. */
  readonly headersJson: string;
}

/** A step of a line of the ledger, over messages. */
export interface LedgerStep {
  /** The data set that marks were trusted for. Another one in the database refuses the batch. */
  readonly dataSetId: string;
  /** The life of the topic that the messages are from. */
  readonly topic: TopicIdentity;
  /** Number of the partition. */
  readonly partition: number;
  /** Where the ledger must stand. */
  readonly fromOffset: number;
  /** Where the ledger goes: one past the last offset covered. */
  readonly nextOffset: number;
  /** The leader epoch that the line must have, see {@linkcode LedgerLine.leaderEpoch}. */
  readonly fromEpoch: number;
  /** The leader epoch that the line gets. */
  readonly nextEpoch: number;
}

/** One batch for one transaction. */
export interface BatchToStore extends LedgerStep {
  /**
   * Readings to insert. An id can be there more than once: the first is inserted unless the id is
   * stored already, and each of the others is compared with what then is stored. The store has read
   * them when `storeBatch` returns its promise.
   */
  readonly readings: ReadingRows;
  /** Messages already known as duplicates: repeats inside the batch, and trusted marks. */
  readonly duplicates: number;
  /** Offsets of the range that hold no message. */
  readonly skipped: number;
  /** Messages that are not valid readings. */
  readonly deadLetters: readonly DeadLetter[];
  /**
   * Prepared dead letters of some of `readings`, found by their offset: kept only if the database
   * refuses that reading because its id is stored with other content.
   */
  readonly suspects: readonly DeadLetter[];
}

/**
 * How a batch is stored.
 *
 * - `copy`: rows go straight into the table. Costs the database half, and one id that is stored
 *   already refuses the whole batch.
 * - `compare`: row by row, by what is stored. It decides.
 *
 * Either gives the same outcome, rows, dead letters and ledger; but for `copy` suspects are nothing, and
 * it answers `repeated` where an id decides.
 */
export type StoreWay = "copy" | "compare";

/** What became of a batch. Only `stored` changed anything. */
export type StoreOutcome =
  | {
    readonly kind: "stored";
    readonly inserted: number;
    /** All duplicates, those of {@linkcode BatchToStore.duplicates} included. */
    readonly duplicates: number;
    /** All dead letters, conflicts included. */
    readonly deadLetters: number;
    /** Offsets of readings refused as conflicts, so that nobody marks them as stored. */
    readonly conflictOffsets: readonly number[];
  }
  /** The ledger did not stand at `fromOffset`; undefined: it has no such row. */
  | { readonly kind: "fenced"; readonly ledgerNext: number | undefined }
  /**
   * The ledger stands at the batch's beginning or end, with another leader epoch: somebody has stored
   * other messages at these offsets, for the brokers had lost those that this batch goes on from.
   */
  | { readonly kind: "other_log" }
  /** These readings conflict with stored ones and came without a suspect: send them along. */
  | { readonly kind: "conflicts"; readonly offsets: readonly number[] }
  /** From `copy` alone: an id is stored already, or twice in the batch: compare. */
  | { readonly kind: "repeated" }
  /** The database holds another data set than the batch was prepared for. */
  | { readonly kind: "data_set_changed" };

/**
 * One partition's line of the ledger. At any instant
 * `next - first + rewound = inserted + duplicates + deadLetters + skipped + gaps`.
 */
export interface LedgerLine {
  /** Which life of which topic. */
  readonly topic: TopicIdentity;
  /** Number of the partition. */
  readonly partition: number;
  /** Offset at which the line was opened. */
  readonly first: number;
  /** One past the last offset that is stored. */
  readonly next: number;
  /**
   * Epoch of the leader that wrote the message below `next`, or a later one; `UNKNOWN_EPOCH` if
   * nobody knows.
   */
  readonly leaderEpoch: number;
  /** Readings that became rows. */
  readonly inserted: number;
  /** Readings that were stored already. */
  readonly duplicates: number;
  /** Messages that became dead letters. */
  readonly deadLetters: number;
  /** Offsets without a message: control records, aborted or compacted messages. */
  readonly skipped: number;
  /** Offsets that were deleted by the broker before they were read. */
  readonly gaps: number;
  /** Offsets gone back over, to be read once more. */
  readonly rewound: number;
  /** When the line last moved, ms since 1970. */
  readonly updatedAtMs: number;
}

/** Dead letters that wait for a person. */
export interface OpenDeadLetters {
  /** How many, up to {@linkcode OPEN_DEAD_LETTERS_MAX}. */
  readonly count: number;
  /** Whether there are more than that. */
  readonly isMore: boolean;
}

/** Nobody counts more of them than these: the count is read again and again. */
export const OPEN_DEAD_LETTERS_MAX = 10_000;

/** A way of a line that no batch makes. */
export interface LedgerMove {
  /** Where it must stand. */
  readonly fromOffset: number;
  /** Where it goes. */
  readonly toOffset: number;
  /** The leader epoch that it gets, see {@linkcode LedgerLine.leaderEpoch}. */
  readonly toEpoch: number;
}

/** The lines of one life of a topic, by partition. */
export function linesOf(
  lines: readonly LedgerLine[],
  topic: TopicIdentity,
): ReadonlyMap<number, LedgerLine> {
  return new Map(
    lines.filter((line) => isSameTopic(line.topic, topic)).map((line) => [line.partition, line]),
  );
}

/** What the consumer loop and the processor need of the database. */
export interface Store {
  /** Names the data set: a UUID made when the schema is made, and again when the table is emptied. */
  dataSetId(): Promise<string>;
  /** All lines of the ledger: of every topic, and of every life of it. */
  readLedger(): Promise<readonly LedgerLine[]>;
  /** Opens a line at `first` if the partition has none; returns the `next` that it has now. */
  openLedgerLine(topic: TopicIdentity, partition: number, first: number): Promise<number>;
  /**
   * Moves a line without messages: forward is counted as a gap, backward as rewound. Returns false
   * if the line did not stand at `fromOffset`.
   */
  moveLedgerLine(topic: TopicIdentity, partition: number, move: LedgerMove): Promise<boolean>;
  /**
   * Stores one batch in one transaction.
   *
   * @throws {TransientError} if PostgreSQL is away or in trouble; the outcome can be unknown.
   * @throws {ConfigurationError} if it needs manual correction.
   * @throws {RowDataError} if PostgreSQL refused the data of some row; nothing was stored.
   */
  storeBatch(batch: BatchToStore, way: StoreWay): Promise<StoreOutcome>;
  /**
   * The newest reading, by (timestamp, id), of each of at most `limit` sensors whose ids follow
   * `afterSensorId` in byte order; an empty answer means that there are no more.
   */
  lastReadings(afterSensorId: string, limit: number): Promise<readonly Reading[]>;
  /** How many dead letters, of every topic, nobody has replayed or given up. */
  openDeadLetters(): Promise<OpenDeadLetters>;
}
