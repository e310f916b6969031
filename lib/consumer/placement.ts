/**
 * Where a partition is read from. PostgreSQL decides: the ledger's `next` is the first offset that
 * is not stored. What the brokers keep can only force it elsewhere, and then the ledger says so.
 *
 * @module
 */
import { ConfigurationError } from "../errors.ts";
import { type EpochEnd, UNKNOWN_EPOCH, type Watermarks } from "../kafka/message.ts";
import type { LedgerLine } from "../postgres/store.ts";

/** Where to start a topic that the ledger does not know. */
export type StartFrom =
  /** At the group's committed offset, else at the beginning: the take-over from another reader. */
  | { readonly kind: "committed" }
  | { readonly kind: "beginning" }
  /** At the first message that is not older than this, ms since 1970. */
  | { readonly kind: "time"; readonly timestampMs: number };

/** What to do with the ledger before reading from `offset`. */
export type Placement =
  /** Read on where the ledger stands. */
  | { readonly kind: "continue"; readonly offset: number }
  /** The partition has no line yet: open one. */
  | { readonly kind: "open"; readonly offset: number }
  /** The brokers deleted messages that nobody read. The line moves over them; that is a gap. */
  | { readonly kind: "gap"; readonly fromOffset: number; readonly offset: number }
  /**
   * The brokers lost the end of the log, and what the ledger stands on with it. Its offsets are given
   * to other messages, perhaps they have been already. So what is there is read once more, and ids
   * tell what is known.
   */
  | {
    readonly kind: "rewind";
    readonly fromOffset: number;
    readonly offset: number;
    /** The leader epoch that the line has there. */
    readonly epoch: number;
  };

/** What the brokers say of a partition. */
export interface LogFacts {
  /** What they keep. */
  readonly watermarks: Watermarks;
  /**
   * Where the line's leader epoch ends, of a line without one: where the log ends. Undefined: not
   * asked, or they cannot tell.
   */
  readonly end: EpochEnd | undefined;
}

/**
 * Decides where to read a partition from.
 *
 * The line must have been read BEFORE the brokers were asked: the log's end only grows, so a line
 * beyond it then is not a race with another member but a log that lost its end.
 *
 * @param start where to begin if there is no line; clamped to what the brokers keep
 */
export function decidePlacement(
  line: Pick<LedgerLine, "next" | "leaderEpoch"> | undefined,
  { watermarks, end }: LogFacts,
  start: number | undefined,
): Placement {
  const { low } = watermarks;
  const high = Math.max(watermarks.high, end?.endOffset ?? 0);
  if (line === undefined) {
    const wanted = start ?? low;
    return { kind: "open", offset: wanted < low || wanted > high ? low : wanted };
  }
  const { next, leaderEpoch } = line;
  if (next < low) return { kind: "gap", fromOffset: next, offset: low };
  if (end === undefined ? next <= high : standsIn(end, line)) {
    return { kind: "continue", offset: next };
  }
  // What is left of the line's own epoch is what the ledger knows, and so is all below it.
  if (leaderEpoch !== UNKNOWN_EPOCH && end?.leaderEpoch === leaderEpoch && end.endOffset > low) {
    return { kind: "rewind", fromOffset: next, offset: end.endOffset, epoch: leaderEpoch };
  }
  return { kind: "rewind", fromOffset: next, offset: low, epoch: UNKNOWN_EPOCH };
}

/** Whether the log still has the message below a line's `next`, in the epoch in which it was read. */
export function standsIn(
  end: EpochEnd,
  { next, leaderEpoch }: Pick<LedgerLine, "next" | "leaderEpoch">,
): boolean {
  const isOwnEpoch = leaderEpoch === UNKNOWN_EPOCH || end.leaderEpoch === leaderEpoch;
  return isOwnEpoch && next <= end.endOffset;
}

/**
 * Reads the text of `--from`: `beginning`, or a time as RFC 3339 or a date.
 *
 * @throws {ConfigurationError} if it is neither
 */
export function parseStartFrom(text: string | undefined): StartFrom {
  if (text === undefined) return { kind: "committed" };
  if (text === "beginning") return { kind: "beginning" };
  const timestampMs = parseInstant(text);
  if (timestampMs === undefined) {
    throw new ConfigurationError(
      `Cannot start from "${text}": give beginning, a date (2026-11-24), or a time with a zone ` +
        "(2026-11-24T10:00:00Z)",
    );
  }
  return { kind: "time", timestampMs };
}

/** The instant that a person wrote as a date (UTC) or a time with its zone, ms since 1970. */
export function parseInstant(text: string): number | undefined {
  if (!/^\d{4}-\d{2}-\d{2}(T\S+(Z|[+-]\d{2}:\d{2}))?$/i.test(text)) return undefined;
  const timestampMs = Date.parse(text);
  return Number.isNaN(timestampMs) ? undefined : timestampMs;
}
