/**
 * How a message that was rejected is kept: the bytes as they came, within bounds.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Message, MessageHeaders } from "../kafka/message.ts";
import { DEAD_LETTER_PAYLOAD_BYTES_MAX, type DeadLetter } from "../postgres/store.ts";
import type { Rejection } from "../reading/rejection.ts";

/** Headers beyond this number are left out of a dead letter. */
export const DEAD_LETTER_HEADERS_MAX = 32;
/** Longest header name and value kept, in characters. */
export const DEAD_LETTER_HEADER_LENGTH_MAX = 256;
/** Longest key kept, in bytes. */
export const DEAD_LETTER_KEY_BYTES_MAX = 1_024;

/** Prepares the dead letter of a rejected message. */
export function deadLetterOf(message: Message, rejection: Rejection): DeadLetter {
  const value = message.value;
  return {
    offset: message.offset,
    reason: rejection.reason,
    detail: rejection.detail,
    payload: value?.subarray(0, DEAD_LETTER_PAYLOAD_BYTES_MAX) ?? null,
    payloadBytes: value?.length ?? 0,
    payloadSha256: createHash("sha256").update(value ?? new Uint8Array()).digest("hex"),
    key: message.key?.subarray(0, DEAD_LETTER_KEY_BYTES_MAX) ?? null,
    headersJson: headersJsonOf(message.headers),
  };
}

/** Name to list of texts; a null value stays null. U+0000 and lone surrogates do not survive. */
function headersJsonOf(headers: MessageHeaders): string {
  const decoder = new TextDecoder();
  const kept = Object.entries(headers).slice(0, DEAD_LETTER_HEADERS_MAX).map(([name, values]) => [
    textOf(name),
    values.slice(0, DEAD_LETTER_HEADERS_MAX).map((value) =>
      value === null
        ? null
        : textOf(decoder.decode(value.subarray(0, DEAD_LETTER_HEADER_LENGTH_MAX * 4)))
    ),
  ]);
  return JSON.stringify(Object.fromEntries(kept));
}

/** PostgreSQL's jsonb refuses U+0000 and lone surrogates. */
function textOf(text: string): string {
  return text.slice(0, DEAD_LETTER_HEADER_LENGTH_MAX).replaceAll("\0", "\uFFFD").toWellFormed();
}
