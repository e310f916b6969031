/**
 * What a fault of a server is, and the times that most of them hold.
 *
 * @module
 */
import type { Random } from "../lib/producer/random.ts";
import type { Bed } from "./bed.ts";

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
export interface ServerFaultInForce {
  /** What was deleted from the topic before the ledger had passed it. */
  readonly deleted?: readonly OffsetRange[];
  /** Ends it; resolves once the server takes work again. */
  heal(): Promise<void>;
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

/** Something that can happen to a server, or on the way to it. */
export interface ServerFault {
  /** In words that a reader of the report understands. */
  readonly name: string;
  /** Which server. */
  readonly party: "Kafka" | "PostgreSQL" | "Redis";
  /** How long it holds in a short run and in a long one, ms; 0: it is an event. */
  readonly holdMs: { readonly short: number; readonly long: number };
  /** What the caller does before, and undoes after healing. */
  readonly needs?: "consumers frozen" | "topic drained";
  /**
   * Makes it happen; resolves once it is in force.
   *
   * @throws {NotPossibleError} If this machine does not allow it.
   */
  inject(stage: ServerStage, random: Random): Promise<ServerFaultInForce>;
}

/** An event is over when it has happened. */
export const EVENT = { short: 0, long: 0 } as const;

/** Nothing is left to heal. */
export function nothingToHeal(): Promise<void> {
  return Promise.resolve();
}
