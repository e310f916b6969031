/**
 * Ways to break a message, as the simulator does it on demand. Each breaks exactly one rule of the
 * contract, and says which.
 *
 * @module
 */
import type { RejectionReason } from "../reading/rejection.ts";

/** One way to break a message. */
export interface BrokenMessage {
  /** Why the consumer rejects what {@linkcode BrokenMessage.make} makes. */
  readonly reason: RejectionReason;
  /** Breaks a valid message, given as compact JSON text with every field. */
  make(text: string): Uint8Array | null;
}

const encoder = new TextEncoder();

/** Every way that the simulator knows. */
export const BROKEN_MESSAGES: readonly BrokenMessage[] = [
  { reason: "tombstone", make: () => null },
  { reason: "empty", make: () => new Uint8Array() },
  { reason: "empty", make: () => encoder.encode(" \n") },
  { reason: "json", make: () => encoder.encode("sensor offline, retry in 30 s") },
  { reason: "json", make: (text) => encoder.encode(text.slice(0, Math.floor(text.length * 0.7))) },
  { reason: "json", make: (text) => encoder.encode(`${text}${text}`) },
  { reason: "utf8", make: withBrokenByte },
  { reason: "not_object", make: (text) => encoder.encode(`[${text}]`) },
  { reason: "duplicate_key", make: (text) => encoder.encode(`{"value":0,${text.slice(1)}`) },
  { reason: "missing", make: (text) => encoder.encode(text.replace(/"status":"\w*",/, "")) },
  withField("type", "value", '"21.5"'),
  withField("type", "value", "null"),
  withField("type", "timestamp", "1795514400"),
  withField("type", "location", "null"),
  withField("not_finite", "value", "1e400"),
  withField("range", "battery_level", "101"),
  withField("range", "location", '{"latitude":91,"longitude":0}'),
  withField("range", "unit", '""'),
  withField("nul", "unit", '"C\\u0000"'),
  withField("control_character", "status", '"act\\u001bive"'),
  withField("ill_formed", "status", '"\\ud800"'),
  withField("id", "unique_reading_id", '"reading-17"'),
  withField("id", "sensor_id", '"sensor 17"'),
  withField("timestamp_format", "timestamp", '"2026-11-24 10:00:00"'),
  withField("timestamp_date", "timestamp", '"2026-02-30T10:00:00+00:00"'),
  withField("timestamp_in_future", "timestamp", '"9000-01-01T00:00:00+00:00"'),
];

/** Puts other JSON text in the place of a field's value. */
function withField(reason: RejectionReason, field: string, value: string): BrokenMessage {
  const member = new RegExp(`"${field}":(?:"[^"]*"|\\{[^}]*\\}|[^,}]+)`);
  return {
    reason,
    make: (text) => encoder.encode(text.replace(member, () => `"${field}":${value}`)),
  };
}

function withBrokenByte(text: string): Uint8Array {
  const bytes = encoder.encode(text);
  bytes[Math.floor(bytes.length / 2)] = 0xff; // No byte of UTF-8 has this value.
  return bytes;
}
