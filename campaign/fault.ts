/**
 * What a fault is to the campaign: something that happens on a stage, holds for a while, and is
 * healed.
 *
 * @module
 */
import type { Random } from "../lib/producer/random.ts";
import type { Bed } from "./bed.ts";
import type { Fleet } from "./fleet.ts";

/** Whose fault it is. */
export type FaultParty = "consumer" | "producer" | "Kafka" | "PostgreSQL" | "Redis";

/** Where faults happen. */
export interface Stage {
  /** The servers. */
  readonly bed: Bed;
  /** The programs. */
  readonly fleet: Fleet;
  /** Messages per second of all producers together. */
  readonly rate: number;
}

/** Offsets of one partition. */
export interface OffsetRange {
  /** Number of the partition. */
  readonly partition: number;
  /** The first offset. */
  readonly from: number;
  /** One past the last offset. */
  readonly to: number;
}

/** A fault that is in force. */
export interface InjectedFault {
  /** The rows of the table that count it. @default the fault's name */
  readonly countsFor?: readonly string[];
  /** What was deleted from the topic before anybody had read it. */
  readonly deleted?: readonly OffsetRange[];
  /** Ends it; resolves once whatever failed takes work again. */
  heal(): Promise<void>;
}

/** A fault that can be played. */
export interface Fault {
  /** In words that a reader of the report understands. */
  readonly name: string;
  /** Whose fault. */
  readonly party: FaultParty;
  /** How long it holds, ms; 0: it is an event. */
  readonly holdMs: { readonly short: number; readonly long: number };
  /** How soon after healing rows come again, ms. @default the party's, see {@linkcode ROWS_WITHIN_MS} */
  readonly rowsWithinMs?: number;
  /** What the campaign does before, and undoes after it. */
  readonly needs?: "consumers frozen" | "topic drained";
  /** Makes it happen; resolves once it is in force. */
  inject(stage: Stage, random: Random): Promise<InjectedFault>;
}

/** How soon new rows must come once a fault is healed, ms. */
export const ROWS_WITHIN_MS: Readonly<Record<FaultParty, number>> = {
  // The session of a killed member, 10 s, and two more to share out its partitions.
  consumer: 12_000,
  producer: 5_000,
  Kafka: 20_000,
  PostgreSQL: 5_000,
  Redis: 5_000,
};
