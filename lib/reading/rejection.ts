/**
 * What is wrong with a message, as a value. A rejection is never thrown and never stops the flow:
 * it becomes a row of `dead_letters` in the same transaction that moves the ledger past it.
 *
 * @module
 */

/**
 * The closed set of reasons, each of which is a label of `dead_letters.reason`.
 * A reason names the rule that was broken; the detail names the field.
 */
export const REJECTION_REASONS = [
  /** The record has no value at all (a Kafka tombstone). */
  "tombstone",
  /** The value has no bytes, or white space only. */
  "empty",
  /** The value is larger than `MESSAGE_BYTES_MAX`. */
  "size",
  /** The value is not well-formed UTF-8. */
  "utf8",
  /** The value is not one JSON text. */
  "json",
  /** The JSON text is not an object. */
  "not_object",
  /** Objects or arrays nest deeper than `JSON_DEPTH_MAX`. */
  "depth",
  /** An object has the same key twice, so which value counts is anybody's guess. */
  "duplicate_key",
  /** A required field is absent. */
  "missing",
  /** A field has another JSON type. Nothing is coerced. */
  "type",
  /** A number or a text length lies outside its bounds. */
  "range",
  /** A number is too large for a double (`1e400`). */
  "not_finite",
  /** A text holds U+0000, which PostgreSQL cannot store. */
  "nul",
  /** A text holds another control character. */
  "control_character",
  /** A text holds half of a surrogate pair. */
  "ill_formed",
  /** `unique_reading_id` is no UUID, or `sensor_id` has other characters than it may. */
  "id",
  /** `timestamp` is not RFC 3339 with a zone. */
  "timestamp_format",
  /** `timestamp` names a day or time that does not exist, or that PostgreSQL refuses. */
  "timestamp_date",
  /** `timestamp` is further ahead of now than `MAX_FUTURE_SKEW_SECONDS`. */
  "timestamp_in_future",
  /** `timestamp` is older than `MAX_PAST_DAYS`. */
  "timestamp_in_past",
  /** The id is already stored with other content. The first content stays. */
  "id_conflict",
  /** A batch of messages that cannot be decompressed, or would become too large. */
  "unreadable_batch",
  /** PostgreSQL refused this row alone. */
  "refused_by_database",
] as const;

/** One reason of the closed set {@linkcode REJECTION_REASONS}. */
export type RejectionReason = typeof REJECTION_REASONS[number];

/** Largest length of {@linkcode Rejection.detail}, in UTF-16 units. */
export const REJECTION_DETAIL_LENGTH_MAX = 200;

/** An invalid message: which rule it broke, and where. */
export interface Rejection {
  /** Tells it from a reading. */
  readonly kind: "rejection";
  /** The rule that was broken. */
  readonly reason: RejectionReason;
  /** Escaped, printable text of at most {@linkcode REJECTION_DETAIL_LENGTH_MAX} characters. */
  readonly detail: string;
}

/**
 * Makes a rejection whose detail is safe to print: control characters, lone surrogates and
 * everything outside printable ASCII are written as `\u{…}`, and the length is bounded.
 */
export function reject(reason: RejectionReason, detail: string): Rejection {
  let safe = "";
  for (const character of detail) {
    const code = character.codePointAt(0)!;
    const shown = code >= 0x20 && code < 0x7f ? character : `\\u{${code.toString(16)}}`;
    // An escape is shown whole or not at all.
    if (safe.length + shown.length > REJECTION_DETAIL_LENGTH_MAX) break;
    safe += shown;
  }
  return { kind: "rejection", reason, detail: safe };
}
