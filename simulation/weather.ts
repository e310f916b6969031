/**
 * What befalls a world, drawn from its seed: which kinds of faults there are, how often calls go
 * wrong, and which disasters happen when.
 *
 * @module
 */
import { createRandom, type Random } from "../lib/producer/random.ts";
import { type CallFault, type FaultRates, NO_FAULTS, type ServerName } from "./faults.ts";
import type { TrafficPlan } from "./traffic.ts";
import type { TransactionsPlan } from "./transactions.ts";

/** Faults last so long; then everything heals, ms since the world began. */
export const STORM_MS = 12_000;

/** What can happen to a world beside calls that go wrong. */
export const DISASTERS = [
  "consumer joins",
  "consumer leaves",
  "consumer is killed",
  "consumer's member dies",
  "consumer is frozen",
  "consumer becomes a zombie",
  "group rebalances",
  "producer is killed",
  "wall clock jumps",
  "brokers away",
  "partition without leader",
  "commits refused",
  "control records",
  "retention deletes",
  "leader changes",
  "wrong end of a log",
  "log truncated",
  "topic made again",
  "database away",
  "database slow for good",
  "database is backed up",
  "database loses commits",
  "table emptied",
  "redis away",
  "redis flushed",
  "neighbour in redis",
] as const;

/** One of {@linkcode DISASTERS}. */
export type DisasterKind = typeof DISASTERS[number];

/** One of them, at its time. */
export interface Disaster {
  /** When, ms since the world began. */
  readonly atMs: number;
  /** What. */
  readonly kind: DisasterKind;
}

/** Everything that a seed decides beforehand. */
export interface Weather {
  /** Number of partitions. */
  readonly partitions: number;
  /** Consumers at the beginning. */
  readonly consumers: number;
  /** Most messages in one transaction. */
  readonly batchMessagesMax: number;
  /** Most batches of one consumer that are under way at the same time. */
  readonly batchesConcurrent: number;
  /** Most records in one fetch. */
  readonly fetchMessagesMax: number;
  /** What is sent. */
  readonly traffic: TrafficPlan;
  /** Whether the sensors go on after the faults, or everything falls silent. */
  readonly farewell: "messages" | "silence";
  /** How often calls go wrong. */
  readonly rates: Readonly<Record<ServerName, FaultRates>>;
  /** What happens, by time. */
  readonly disasters: readonly Disaster[];
  /** What other producers send in transactions. */
  readonly transactions: TransactionsPlan;
  /**
   * A partition that has no leader from a time on, and gets none before all others are at rest:
   * nobody may wait for it. Undefined: none.
   */
  readonly lost: LostPartition | undefined;
}

/** A partition without a leader. */
export interface LostPartition {
  /** Its number. */
  readonly partition: number;
  /** Since when, ms since the world began. */
  readonly atMs: number;
}

/** How often a kind happens in a world that has it. */
const OCCURRENCES_MAX: Readonly<Partial<Record<DisasterKind, number>>> = {
  "consumer joins": 3,
  "consumer leaves": 3,
  "group rebalances": 6,
  "leader changes": 4,
  "wrong end of a log": 4,
  "control records": 8,
  "retention deletes": 4,
  "consumer is killed": 4,
  "database is backed up": 6,
};

/** Draws the weather of a seed. */
export function drawWeather(seed: number): Weather {
  const random = createRandom(seed, 1);
  const chance = (share: number): boolean => random.unit() < share;
  const kinds = new Set(DISASTERS.filter(() => chance(0.3)));
  if (kinds.has("database loses commits")) kinds.add("database is backed up");
  const partitions = 1 + random.uint32() % 3;
  return {
    partitions,
    consumers: 1 + random.uint32() % 3,
    batchMessagesMax: random.pick([1, 3, 8, 50]),
    batchesConcurrent: 1 + random.uint32() % 3,
    fetchMessagesMax: random.pick([2, 6, 20]),
    traffic: {
      messages: 20 + random.uint32() % 80,
      spanMs: STORM_MS,
      sensors: 1 + random.uint32() % 4,
      mix: {
        repeats: chance(0.7) ? 0.3 : 0,
        conflicts: chance(0.4) ? 0.1 : 0,
        late: chance(0.4) ? 0.2 : 0,
        bad: chance(0.4) ? 0.15 : 0,
      },
    },
    farewell: chance(0.5) ? "messages" : "silence",
    rates: {
      kafka: drawRates(random),
      postgres: drawRates(random),
      redis: drawRates(random),
    },
    disasters: drawDisasters(kinds, random),
    // Longer than the watchdog waits.
    transactions: {
      producers: chance(0.4) ? 1 + random.uint32() % 3 : 0,
      transactionsMax: 1 + random.uint32() % 6,
      leftOpenMs: chance(0.5) ? 18_000 : 0,
    },
    lost: drawLost(partitions, random),
  };
}

function drawLost(partitions: number, random: Random): LostPartition | undefined {
  if (partitions === 1 || random.unit() > 0.3) return undefined;
  // Some are lost before anybody has read from them.
  const atMs = random.unit() < 0.3 ? 0 : Math.floor(random.between(0, STORM_MS));
  return { partition: random.uint32() % partitions, atMs };
}

function drawRates(random: Random): FaultRates {
  if (random.unit() < 0.3) return NO_FAULTS;
  const rate = (fault: CallFault): number => {
    if (random.unit() < 0.5) return 0;
    return (fault === "crash" || fault === "hang" ? 0.02 : 0.15) * random.unit();
  };
  return {
    refused: rate("refused"),
    cut: rate("cut"),
    "reply lost": rate("reply lost"),
    late: rate("late"),
    slow: rate("slow"),
    crash: rate("crash"),
    hang: rate("hang"),
  };
}

function drawDisasters(kinds: ReadonlySet<DisasterKind>, random: Random): readonly Disaster[] {
  const disasters: Disaster[] = [];
  for (const kind of kinds) {
    const times = 1 + random.uint32() % (OCCURRENCES_MAX[kind] ?? 2);
    for (let time = 0; time < times; time++) {
      disasters.push({ atMs: Math.floor(random.between(200, STORM_MS)), kind });
    }
  }
  return disasters.sort((a, b) => a.atMs - b.atMs);
}
