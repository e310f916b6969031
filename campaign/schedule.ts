/**
 * Which faults a campaign plays, in which order: drawn from its seed.
 *
 * @module
 */
import type { Random } from "../lib/producer/random.ts";
import type { Fault } from "./fault.ts";

/** How many consumers are killed at their points in one go. One of four is always left. */
const VICTIMS = 3;

/** What a schedule is made of. */
export interface ScheduleParts {
  /** Each is played once. */
  readonly faults: readonly Fault[];
  /** Points at which consumers are killed. */
  readonly points: readonly string[];
  /** How many kills at points there are at least. */
  readonly pointKillsMin: number;
  /** Makes the fault that kills one consumer at each of these points. */
  readonly killedAt: (points: readonly string[]) => Fault;
}

/** Draws the order of all faults, kills among them. Each point comes about equally often. */
export function drawSchedule(parts: ScheduleParts, random: Random): readonly Fault[] {
  const kills: Fault[] = [];
  let waiting: string[] = [];
  for (let drawn = 0; drawn < parts.pointKillsMin; drawn += VICTIMS) {
    if (waiting.length < VICTIMS) waiting = [...waiting, ...shuffle(parts.points, random)];
    kills.push(parts.killedAt(waiting.splice(0, VICTIMS)));
  }
  return shuffle([...parts.faults, ...kills], random);
}

/** The same items in another order. */
export function shuffle<Item>(items: readonly Item[], random: Random): Item[] {
  return items.map((item) => ({ item, rank: random.unit() }))
    .sort((a, b) => a.rank - b.rank).map(({ item }) => item);
}
