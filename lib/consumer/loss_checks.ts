/**
 * Servers that lost something tell nobody. A batch finds out, for the ledger refuses it; where no
 * message comes, these checks do. What they find is placed again, and placing does the rest.
 *
 * @module
 */
import type { GroupMember } from "../kafka/group_member.ts";
import { isSameTopic, onlineOf, UNKNOWN_EPOCH } from "../kafka/message.ts";
import type { Log } from "../log.ts";
import { type LedgerLine, linesOf, type Store } from "../postgres/store.ts";
import type { OfflinePartitions } from "./offline_partitions.ts";
import { standsIn } from "./placement.ts";
import type { Place } from "./place.ts";
import type { Placer } from "./placer.ts";

/** Who is asked, and what is compared with the answers. */
export interface LossCheckParts {
  /** Knows the topic. */
  readonly member: Pick<GroupMember, "identity" | "watermarks" | "epochEnds">;
  /** Has the ledger. */
  readonly store: Pick<Store, "readLedger">;
  /** Hears of losses. */
  readonly log: Log;
  /** Knows what is stored, and places again. */
  readonly placer: Placer;
  /** Hears which partitions have no leader. */
  readonly offline: OfflinePartitions;
}

/**
 * A topic that was deleted and recreated.
 *
 * @param givenUp aborts when nobody waits for the answer any more: as old as that, it says nothing
 */
export async function checkIdentity(
  { member, log, placer }: LossCheckParts,
  givenUp: AbortSignal,
): Promise<void> {
  const topic = await member.identity();
  if (givenUp.aborted) return;
  const strangers = [...placer.places].filter(([, place]) =>
    !isSameTopic(place.scope.topic, topic)
  );
  if (strangers.length === 0) return;
  log.error("the topic was deleted and created again: reading it from the beginning");
  placer.placeAnew(strangers.map(([partition]) => partition));
}

/**
 * A ledger that is not where we left it: the database went back to an older state, or a statement of
 * a former owner took effect late.
 *
 * @param givenUp see {@linkcode checkIdentity}
 */
export async function checkLedger(
  { store, log, placer }: LossCheckParts,
  givenUp: AbortSignal,
): Promise<void> {
  const before = positionsOf(placer);
  const lines = await store.readLedger();
  if (givenUp.aborted) return;
  const lost: number[] = [];
  const passed: number[] = [];
  for (const { partition, place, line } of before) {
    if (!placer.stands(partition, place)) continue;
    const next = linesOf(lines, place.scope.topic).get(partition)?.next ?? -1;
    if (next < line.next) lost.push(partition);
    else if (next > place.position && place.working === undefined) passed.push(partition);
  }
  if (lost.length > 0) {
    log.error("the database has lost stored readings: reading them again", {
      partitions: lost.join(","),
    });
  }
  if (lost.length + passed.length > 0) placer.placeAnew([...lost, ...passed]);
}

/**
 * Brokers that lost messages, be it at the log's beginning or at its end.
 *
 * @param givenUp see {@linkcode checkIdentity}
 */
export async function checkLog(
  { member, placer, offline }: LossCheckParts,
  givenUp: AbortSignal,
): Promise<void> {
  const before = positionsOf(placer);
  const ranges = await member.watermarks();
  const watermarks = onlineOf(ranges);
  // Of one without a leader nobody knows what it has lost.
  const epochs = before.map(({ partition, line }) => [partition, line.leaderEpoch] as const)
    .filter(([partition, epoch]) => epoch !== UNKNOWN_EPOCH && watermarks.has(partition));
  const ends = await member.epochEnds(new Map(epochs));
  if (givenUp.aborted) return;
  offline.note(new Map([...ranges].filter(([partition]) => placer.places.has(partition))));
  const lost = before.filter(({ partition, place, line }) => {
    if (!placer.stands(partition, place) || place.working !== undefined) return false;
    const { low = 0, high = Infinity } = watermarks.get(partition) ?? {};
    const end = ends.get(partition);
    const stands = end === undefined ? line.next <= high : standsIn(end, line);
    return place.position < low || !stands;
  });
  if (lost.length === 0) return;
  // Placing asks again, says what was lost, and moves the ledger.
  placer.placeAnew(lost.map(({ partition }) => partition));
}

interface StandingPlace {
  readonly partition: number;
  readonly place: Place;
  /** What the ledger said then. */
  readonly line: Pick<LedgerLine, "next" | "leaderEpoch">;
}

/**
 * Where the places stand now, to be compared with what a server answers afterwards: what is stored
 * in between lies above an older answer.
 */
function positionsOf(placer: Placer): readonly StandingPlace[] {
  return Array.from(placer.places, ([partition, place]) => {
    const { position, leaderEpoch } = place;
    return { partition, place, line: { next: position, leaderEpoch } };
  });
}
