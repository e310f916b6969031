/**
 * Where a partition is read from. PostgreSQL decides: the ledger's `next` is the first offset that
 * is not stored. What the brokers keep can only force it elsewhere, and then the ledger says so.
 *
 * @module
 */
import { ConfigurationError } from "../errors.ts";
import type { Watermarks } from "../kafka/message.ts";
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
   * The log ends before the ledger: the brokers lost their newest messages. Their offsets will be
   * given to other messages, so all that is there is read once more, and ids tell what is known.
   */
  | { readonly kind: "rewind"; readonly fromOffset: number; readonly offset: number };

/**
 * Decides where to read a partition from.
 *
 * The line must have been read BEFORE the watermarks: the log's end only grows, so a line beyond it
 * then is no race with another member but a log that lost its end.
 *
 * @param start where to begin if there is no line; clamped to what the brokers keep
 */
export function decidePlacement(
  line: LedgerLine | undefined,
  watermarks: Watermarks,
  start: number | undefined,
): Placement {
  const { low, high } = watermarks;
  if (line === undefined) {
    const wanted = start ?? low;
    return { kind: "open", offset: wanted < low || wanted > high ? low : wanted };
  }
  if (line.next < low) return { kind: "gap", fromOffset: line.next, offset: low };
  if (line.next > high) return { kind: "rewind", fromOffset: line.next, offset: low };
  return { kind: "continue", offset: line.next };
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
      `Cannot start from "${text}": give beginning, a date (2026-11-24), or a time with its zone ` +
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
