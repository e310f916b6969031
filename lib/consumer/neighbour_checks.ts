/**
 * Others can be in the group: another program that should have a group of its own. Then partitions
 * are theirs that nobody stores, and nothing fails. These checks notice it.
 *
 * @module
 */
import type { GroupMember, GroupSight } from "../kafka/group_member.ts";
import type { LedgerLine } from "../postgres/store.ts";
import type { Notices } from "./notices.ts";
import type { FlowObserver } from "./observer.ts";

/** Who is asked, and who hears of it. */
export interface NeighbourCheckParts {
  /** Knows the group. */
  readonly member: Pick<GroupMember, "group" | "watermarks">;
  /** Receives what a person should know. */
  readonly notices: Notices;
  /** Is notified of partitions that nobody stores. */
  readonly observer: Pick<FlowObserver, "orphaned">;
}

/** What strangers in the group cost. */
export interface Intrusion {
  /** What is wrong, and what to do. */
  readonly text: string;
  /** Partitions that no member of ours has, ascending. */
  readonly orphans: readonly number[];
}

/** What to do about strangers. */
export const STRANGERS_CURE =
  "Stop it, or choose another KAFKA_GROUP_ID: stored readings are kept, because the ledger decides";

/** Looks for strangers in the group, and for partitions that nobody of ours has. */
export async function checkNeighbours(
  { member, notices, observer }: NeighbourCheckParts,
  givenUp: AbortSignal,
): Promise<void> {
  const group = await member.group();
  // They are being shared out. The next look sees what came of it.
  if (!group.isSettled) return;
  const partitions = [...(await member.watermarks()).keys()];
  if (givenUp.aborted) return;
  const intrusion = findIntrusion(group, partitions);
  notices.note("neighbours", intrusion?.text);
  // Several members of ours see the same; counted by each, the lag would be too much.
  const [speaker] = group.members.filter(({ kind }) => kind !== "stranger");
  observer.orphaned(speaker?.kind === "self" ? intrusion?.orphans ?? [] : []);
}

/** What strangers have of the topic's partitions; undefined: there are none. */
export function findIntrusion(
  group: GroupSight,
  partitions: readonly number[],
): Intrusion | undefined {
  const strangers = group.members.filter(({ kind }) => kind === "stranger");
  if (strangers.length === 0) return undefined;
  const kept = new Set(
    group.members.filter(({ kind }) => kind !== "stranger").flatMap((one) => one.partitions),
  );
  const orphans = partitions.filter((partition) => !kept.has(partition)).sort((a, b) => a - b);
  const names = strangers.map(({ name }) => name).join(", ");
  const taken = orphans.length === 0
    ? "It can be assigned partitions at any time"
    : `No consumer stores partitions ${orphans.join(", ")}`;
  return {
    text: `another program is in the group (${names}). ${taken}. ${STRANGERS_CURE}`,
    orphans,
  };
}

/**
 * What to say of offsets that another program committed for the group, where the ledger has a line;
 * undefined: nothing. The ledger's own position, committed by whomever, would change nothing.
 *
 * @param committed by partition, without those that this program committed
 */
export function foreignOffsetsText(
  committed: ReadonlyMap<number, number>,
  lines: ReadonlyMap<number, Pick<LedgerLine, "next">>,
): string | undefined {
  const moved = [...committed].filter(([partition, offset]) => {
    const next = lines.get(partition)?.next;
    return next !== undefined && next !== offset;
  }).sort(([a], [b]) => a - b);
  if (moved.length === 0) return undefined;
  const places = moved.map(([partition, offset]) => `${partition} to ${offset}`).join(", ");
  return `another program has set the group's offsets (partition ${places}). They have no effect, ` +
    "because the ledger decides. To read again, stop the consumers and run: deno task rewind";
}
