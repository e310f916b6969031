/**
 * What a fault is: something that happens on a stage, holds for a while, and is healed.
 *
 * @module
 */
import type { Random } from "../lib/producer/random.ts";
import type { Bed } from "./bed.ts";
import { type Fleet, SESSION_MS } from "./fleet.ts";

/** Whose fault it is. */
export type FaultParty = "Consumer" | "Producer" | "Kafka" | "PostgreSQL" | "Redis";

/**
 * What it takes to share partitions out once nobody is waited for any more: a heartbeat until all have
 * heard of it, and three seconds to join, to place and to store on two cores that others use as well, ms.
 */
const SHARED_OUT_MS = SESSION_MS / 10 + 3_000;

/** How soon new rows must come once a fault is healed, or a consumer was killed, ms. */
export const ROWS_WITHIN_MS: Readonly<Record<FaultParty, number>> = {
  // Who dies after it has asked to join is waited for twice, half a session each: until all have asked,
  // and until it has come for its partitions, or its successor for a share.
  Consumer: SESSION_MS + SHARED_OUT_MS,
  Producer: 5_000,
  Kafka: 20_000,
  PostgreSQL: 5_000,
  Redis: 5_000,
};

/** Offsets of one partition. */
export interface OffsetRange {
  /** Number of the partition. */
  readonly partition: number;
  /** The first offset. */
  readonly from: number;
  /** One past the last offset. */
  readonly to: number;
}

/** Where faults of servers happen. */
export interface ServerStage {
  /** The servers. */
  readonly bed: Bed;
  /**
   * Where partitions ended when the caller took note of what stood in them, by partition. What came
   * later is not deleted, so the caller knows all that is.
   *
   * @default no bound
   */
  readonly notedEnds?: ReadonlyMap<number, number>;
}

/** Where faults of programs happen. */
export interface Stage extends ServerStage {
  /** The programs. */
  readonly fleet: Fleet;
  /** Messages per second of all producers together. */
  readonly rate: number;
}

/** A fault that is in force. */
export interface FaultInForce {
  /** The rows of the report that count it. @default the fault's name */
  readonly countsFor?: readonly string[];
  /** What was deleted from the topic before the ledger had passed it. */
  readonly deleted?: readonly OffsetRange[];
  /** Ends it; resolves once whatever failed takes work again. */
  heal(): Promise<void>;
}

/** Something that can happen. */
export interface Fault<On extends ServerStage = Stage> {
  /** In words that a reader of the report understands. */
  readonly name: string;
  /** Whose fault. */
  readonly party: FaultParty;
  /** How long it holds in a short run and in a long one, ms; 0: it is an event. */
  readonly holdMs: { readonly short: number; readonly long: number };
  /** How soon after healing rows come again, ms. @default the party's of {@linkcode ROWS_WITHIN_MS} */
  readonly rowsWithinMs?: number;
  /** What the caller does before, and undoes after healing. */
  readonly needs?: "consumers frozen" | "topic drained";
  /**
   * Makes it happen; resolves once it is in force.
   *
   * @throws {NotPossibleError} If this machine does not allow it.
   */
  inject(stage: On, random: Random): Promise<FaultInForce>;
}

/** Something that can happen to a server, or on the way to it. */
export type ServerFault = Fault<ServerStage>;

/** The hold of a fault that is over when it has happened. */
export const EVENT = { short: 0, long: 0 } as const;

/** Nothing is left to heal. */
export function nothingToHeal(): Promise<void> {
  return Promise.resolve();
}
