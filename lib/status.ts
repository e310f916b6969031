/**
 * How far behind the ledger is: in messages, and in the age of the oldest message that is not
 * stored yet.
 *
 * @module
 */
import type { Clock } from "./clock.ts";
import type { GroupMember } from "./kafka/group_member.ts";
import { type HeldBack, heldBackText, isOffline, type TopicIdentity } from "./kafka/message.ts";
import { type LedgerLine, linesOf, type Store } from "./postgres/store.ts";
import { counted } from "./quantities.ts";
import { table } from "./table.ts";

/** One partition, as the brokers and the ledger see it. */
export interface PartitionStatus {
  /** Number of the partition. */
  readonly partition: number;
  /** The first offset that is not stored; null: the partition has no line in the ledger yet. */
  readonly next: number | null;
  /** The end of what can be read; null: the partition is offline. */
  readonly end: number | null;
  /** Offsets between the two; null: the partition is offline. */
  readonly lagMessages: number | null;
  /** Age of the oldest message that is not stored, seconds; 0 if there is none; null: offline. */
  readonly lagSeconds: number | null;
  /** What waits behind an open transaction and cannot be read yet; null: nothing. */
  readonly heldBack: HeldBack | null;
  /** Readings that became rows. */
  readonly inserted: number;
  /** Readings that were stored already. */
  readonly duplicates: number;
  /** Messages that became dead letters. */
  readonly deadLetters: number;
  /** Offsets without a message. */
  readonly skipped: number;
  /** Offsets that were deleted before they were read. */
  readonly gaps: number;
  /** Why it can neither be read nor written now; null: it can. */
  readonly offline: string | null;
}

/** The state of the whole topic. */
export interface Status {
  /** The present life of the topic. */
  readonly topic: TopicIdentity;
  /** The sum over the partitions; null: that of one is not known. */
  readonly lagMessages: number | null;
  /** The largest of the partitions; null: that of one is not known. */
  readonly lagSeconds: number | null;
  /** Messages stored per second while this was measured. */
  readonly ratePerSecond: number;
  /** By rising number. */
  readonly partitions: readonly PartitionStatus[];
}

/** Whom to ask. */
export interface StatusParts {
  /** Knows the log. */
  readonly member: Pick<GroupMember, "identity" | "watermarks" | "heldBack" | "offsetsAtTime">;
  /** Knows the ledger. */
  readonly store: Pick<Store, "readLedger">;
  /** Measures the rate. */
  readonly clock: Clock;
}

/** How long the rate is measured, ms. */
export const RATE_SAMPLE_MS = 1_000;

/** Ages are found to this precision, ms. */
const AGE_PRECISION_MS = 500;
/** Older messages than this are reported as this old. */
const AGE_MS_MAX = 30 * 86_400_000;

/**
 * Reads the status, which takes {@linkcode RATE_SAMPLE_MS}.
 *
 * @throws {TransientError} if a server is away.
 * @throws {ConfigurationError} if the topic or the tables do not exist.
 */
export async function readStatus(parts: StatusParts): Promise<Status> {
  const { member, store, clock } = parts;
  const topic = await member.identity();
  const startedMs = clock.elapsedMs();
  const before = linesOf(await store.readLedger(), topic);
  await clock.sleep(RATE_SAMPLE_MS);
  const lines = linesOf(await store.readLedger(), topic);
  const seconds = (clock.elapsedMs() - startedMs) / 1_000;
  const watermarks = await member.watermarks();
  const heldBack = await member.heldBack();
  const partitions: PartitionStatus[] = [];
  for (const [partition, range] of [...watermarks].sort(([a], [b]) => a - b)) {
    const line = lines.get(partition);
    const isAway = isOffline(range);
    const next = line?.next ?? (isAway ? 0 : range.low);
    const lagMessages = isAway ? null : Math.max(0, range.high - next);
    const lagSeconds = lagMessages ? await ageOfOldest(parts, partition, next) : lagMessages;
    partitions.push({
      partition,
      next: line?.next ?? null,
      end: isAway ? null : range.high,
      lagMessages,
      lagSeconds,
      heldBack: heldBack.get(partition) ?? null,
      inserted: line?.inserted ?? 0,
      duplicates: line?.duplicates ?? 0,
      deadLetters: line?.deadLetters ?? 0,
      skipped: line?.skipped ?? 0,
      gaps: line?.gaps ?? 0,
      offline: isAway ? range.offline : null,
    });
  }
  return {
    topic,
    ...wholeLag(partitions),
    ratePerSecond: Math.round((movedBy(lines) - movedBy(before)) / seconds),
    partitions,
  };
}

/** What is not known of one partition is not known of all. */
function wholeLag(
  partitions: readonly PartitionStatus[],
): Pick<Status, "lagMessages" | "lagSeconds"> {
  if (partitions.some(({ lagMessages }) => lagMessages === null)) {
    return { lagMessages: null, lagSeconds: null };
  }
  return knownLag(partitions);
}

function knownLag(
  partitions: readonly PartitionStatus[],
): { readonly lagMessages: number; readonly lagSeconds: number } {
  return {
    lagMessages: sum(partitions.map(({ lagMessages }) => lagMessages ?? 0)),
    lagSeconds: Math.max(0, ...partitions.map(({ lagSeconds }) => lagSeconds ?? 0)),
  };
}

/**
 * The age of the message at `offset`, seconds. The brokers answer only the other way round, which
 * offset belongs to a time, so the time is found by halving: about 23 questions.
 */
async function ageOfOldest(parts: StatusParts, partition: number, offset: number): Promise<number> {
  const nowMs = parts.clock.now();
  let olderMs = nowMs - AGE_MS_MAX;
  let newerMs = nowMs;
  // Invariant: the message is not older than `olderMs`, and older than `newerMs` or as old.
  while (newerMs - olderMs > AGE_PRECISION_MS) {
    const middleMs = Math.floor((olderMs + newerMs) / 2);
    const offsets = await parts.member.offsetsAtTime(middleMs);
    if ((offsets.get(partition) ?? 0) <= offset) olderMs = middleMs;
    else newerMs = middleMs;
  }
  return Math.round((nowMs - olderMs) / 1_000);
}

function movedBy(lines: ReadonlyMap<number, LedgerLine>): number {
  return sum(Array.from(lines.values(), (line) => line.next - line.first + line.rewound));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function lagText({ lagMessages, partitions }: Status): string {
  if (partitions.every((one) => one.lagMessages === null)) return "not known";
  const known = knownLag(partitions);
  const text = `${counted(known.lagMessages, "message")}, ${known.lagSeconds} s`;
  return lagMessages === null ? `at least ${text}` : text;
}

/** The status as a table for people; `columns` are those of the terminal, if there is one. */
export function statusText(status: Status, columns?: number): string {
  const head = ["partition", "next", "end", "lag", "lag s", "inserted", "duplicates"]
    .concat("dead letters", "skipped", "gaps");
  const rows = status.partitions.map((one) => [
    String(one.partition),
    one.next === null ? "-" : String(one.next),
    one.end === null ? "-" : String(one.end),
    one.lagMessages === null ? "-" : String(one.lagMessages),
    one.lagSeconds === null ? "-" : String(one.lagSeconds),
    String(one.inserted),
    String(one.duplicates),
    String(one.deadLetters),
    String(one.skipped),
    String(one.gaps),
  ]);
  return [
    `topic ${status.topic.topic} (${status.topic.topicId})`,
    `lag ${lagText(status)}; storing ${status.ratePerSecond} messages/s`,
    "",
    ...table(head, rows, { columns }),
    ...status.partitions.flatMap(({ partition, heldBack }) =>
      heldBack === null ? [] : [heldBackText(partition, heldBack)]
    ),
    ...status.partitions.filter(({ offline }) => offline !== null).map(({ partition, offline }) =>
      `partition ${partition} cannot be read or written: ${offline}; start its broker`
    ),
  ].join("\n");
}
