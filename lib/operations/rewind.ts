/**
 * Going back in the topic, to read it again. The ledger goes back and counts the way as rewound;
 * what is read a second time is known by its id, so that nothing is stored twice.
 *
 * @module
 */
import { ConfigurationError, TransientError } from "../errors.ts";
import type { GroupAdmin, GroupMember } from "../kafka/group_member.ts";
import {
  isOffline,
  type OfflinePartition,
  type TopicIdentity,
  UNKNOWN_EPOCH,
  type Watermarks,
} from "../kafka/message.ts";
import { parseInstant } from "../consumer/placement.ts";
import { type LedgerLine, linesOf, type Store } from "../postgres/store.ts";
import { table } from "../table.ts";

/** Where to go back to. */
export type RewindTarget =
  /** The oldest message that the brokers keep. */
  | { readonly kind: "beginning" }
  /** The first message that is not older than this, ms since 1970. */
  | { readonly kind: "time"; readonly timestampMs: number }
  | { readonly kind: "offset"; readonly offset: number };

/** One partition's way back. */
export interface RewindStep {
  /** Number of the partition. */
  readonly partition: number;
  /** Where its line of the ledger stands; undefined: it has none, and there is nothing to do. */
  readonly fromOffset: number | undefined;
  /** Where it goes; not below what the brokers keep, and never forward. */
  readonly toOffset: number;
  /** The leader epoch that its line has and keeps: that of a later message serves as well. */
  readonly toEpoch: number;
}

/** Whom to ask, and whom to move. */
export interface RewindParts {
  /** Knows the topic and the group. It does not join. */
  readonly member:
    & Pick<GroupMember, "identity" | "watermarks" | "offsetsAtTime">
    & Pick<GroupAdmin, "liveMembers">;
  /** Keeps the ledger. */
  readonly store: Pick<Store, "readLedger" | "moveLedgerLine">;
}

/** What to rewind. */
export interface RewindOptions {
  /** Where to. */
  readonly target: RewindTarget;
  /** This partition alone; undefined: all of them. */
  readonly partition: number | undefined;
}

/** The way back of a topic. */
export interface RewindPlan {
  /** The life of the topic that is read again. */
  readonly topic: TopicIdentity;
  /** By rising partition. */
  readonly steps: readonly RewindStep[];
  /** Members of the group that are alive: while there are any, nothing may be moved. */
  readonly liveMembers: readonly string[];
}

/**
 * Reads the text of `--to`: `beginning`, an offset, or a time as RFC 3339 or a date.
 *
 * @throws {ConfigurationError} if it is none of them
 */
export function parseRewindTarget(text: string): RewindTarget {
  if (text === "beginning") return { kind: "beginning" };
  if (/^\d{1,15}$/.test(text)) return { kind: "offset", offset: Number(text) };
  const timestampMs = parseInstant(text);
  if (timestampMs !== undefined) return { kind: "time", timestampMs };
  throw new ConfigurationError(
    `Cannot rewind to "${text}": give beginning, an offset, a date (2026-11-24), or a time with ` +
      "a zone (2026-11-24T10:00:00Z)",
  );
}

/**
 * Finds out what a rewind would do. Changes nothing.
 *
 * @throws {TransientError} if a server is away.
 * @throws {ConfigurationError} if there is no such partition.
 */
export async function planRewind(
  { member, store }: RewindParts,
  { target, partition }: RewindOptions,
): Promise<RewindPlan> {
  const topic = await member.identity();
  const liveMembers = await member.liveMembers();
  const lines = linesOf(await store.readLedger(), topic);
  const watermarks = await member.watermarks();
  if (partition !== undefined && !watermarks.has(partition)) {
    throw new ConfigurationError(
      `Cannot rewind partition ${partition}: topic ${topic.topic} has ${watermarks.size}`,
    );
  }
  const offsetsAtTime = target.kind === "time"
    ? await member.offsetsAtTime(target.timestampMs)
    : new Map<number, number>();
  const steps = [...watermarks].sort(([a], [b]) => a - b)
    .filter(([each]) => partition === undefined || each === partition)
    .map(([each, marks]) => {
      if (isOffline(marks)) throw new TransientError(offlineText(each, marks));
      const wanted = target.kind === "offset" ? target.offset : offsetsAtTime.get(each) ?? 0;
      return stepOf(each, marks, { line: lines.get(each), wanted });
    });
  return { topic, steps, liveMembers };
}

function stepOf(
  partition: number,
  { low }: Watermarks,
  { line, wanted }: { readonly line: LedgerLine | undefined; readonly wanted: number },
): RewindStep {
  const next = line?.next ?? low;
  return {
    partition,
    fromOffset: line?.next,
    toOffset: Math.min(next, Math.max(low, wanted)),
    toEpoch: line?.leaderEpoch ?? UNKNOWN_EPOCH,
  };
}

function offlineText(partition: number, { offline }: OfflinePartition): string {
  return `Cannot rewind partition ${partition}: ${offline}. Start its broker, or rewind others ` +
    "with --partition";
}

/** Whether a step changes anything. */
export function isMove(
  step: RewindStep,
): step is RewindStep & { readonly fromOffset: number } {
  return step.fromOffset !== undefined && step.toOffset < step.fromOffset;
}

/**
 * Moves the ledger as planned. Should a consumer start at the same time, nothing is lost: its next
 * batch is refused by the ledger, and it goes on from where the ledger stands then.
 *
 * @throws {ConfigurationError} if the group has live members.
 * @throws {TransientError} if PostgreSQL is away, or if somebody moved a line meanwhile; what was
 * moved before stays so, and the command can be given again.
 */
export async function rewind(plan: RewindPlan, store: RewindParts["store"]): Promise<void> {
  const { topic, steps, liveMembers } = plan;
  if (liveMembers.length > 0) throw new ConfigurationError(membersText(liveMembers));
  for (const step of steps.filter(isMove)) {
    if (await store.moveLedgerLine(topic, step.partition, step)) continue;
    throw new TransientError(
      `Cannot rewind partition ${step.partition}: its line moved in the meantime. Stop all consumers`,
    );
  }
}

function membersText(liveMembers: readonly string[]): string {
  return "Cannot rewind while the group has live members " +
    `(${liveMembers.join(", ")}): stop them. One that was killed counts until ` +
    "KAFKA_SESSION_TIMEOUT_MS is over";
}

/**
 * The plan as a table, and what stands in its way; `columns` are those of the terminal, if there is
 * one.
 */
export function rewindText({ topic, steps, liveMembers }: RewindPlan, columns?: number): string {
  const rows = steps.map((step) => [
    String(step.partition),
    step.fromOffset === undefined ? "-" : String(step.fromOffset),
    step.fromOffset === undefined ? "-" : String(step.toOffset),
    isMove(step) ? String(step.fromOffset - step.toOffset) : "0",
  ]);
  return [
    `topic ${topic.topic} (${topic.topicId})`,
    ...table(["partition", "from", "to", "to read again"], rows, { columns }),
    ...(liveMembers.length === 0 ? [] : [membersText(liveMembers)]),
  ].join("\n");
}
