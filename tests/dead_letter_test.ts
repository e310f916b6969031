import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  DEAD_LETTER_HEADER_LENGTH_MAX,
  DEAD_LETTER_HEADERS_MAX,
  DEAD_LETTER_KEY_BYTES_MAX,
  deadLetterOf,
} from "../lib/consumer/dead_letter.ts";
import type { Message } from "../lib/kafka/message.ts";
import { DEAD_LETTER_PAYLOAD_BYTES_MAX } from "../lib/postgres/store.ts";
import { reject } from "../lib/reading/rejection.ts";
import { utf8 } from "./sample_message.ts";

const REJECTION = reject("json", "not one JSON text");

function message(changes: Partial<Message>): Message {
  return {
    offset: 7,
    key: null,
    value: utf8("{"),
    headers: {},
    timestampMs: 0,
    leaderEpoch: 0,
    ...changes,
  };
}

Deno.test("deadLetterOf() keeps the message as it came", () => {
  assert.deepEqual(deadLetterOf(message({ key: utf8("k") }), REJECTION), {
    offset: 7,
    reason: "json",
    detail: "not one JSON text",
    payload: utf8("{"),
    payloadBytes: 1,
    payloadSha256: createHash("sha256").update("{").digest("hex"),
    key: utf8("k"),
    headersJson: "{}",
  });
});

Deno.test("deadLetterOf() of a tombstone has no payload", () => {
  const letter = deadLetterOf(message({ value: null }), REJECTION);
  assert.deepEqual([letter.payload, letter.payloadBytes], [null, 0]);
  assert.equal(letter.payloadSha256, createHash("sha256").update("").digest("hex"));
});

Deno.test("deadLetterOf() bounds the payload and hashes all of it", () => {
  const value = new Uint8Array(DEAD_LETTER_PAYLOAD_BYTES_MAX + 5).fill(0x61);
  const letter = deadLetterOf(message({ value }), REJECTION);
  assert.equal(letter.payload?.length, DEAD_LETTER_PAYLOAD_BYTES_MAX);
  assert.equal(letter.payloadBytes, value.length);
  assert.equal(letter.payloadSha256, createHash("sha256").update(value).digest("hex"));
});

Deno.test("deadLetterOf() bounds keys and headers", () => {
  const many = Object.fromEntries(
    Array.from({ length: 10_000 }, (_, index) => [`h${index}`, [utf8("x".repeat(10_000))]]),
  );
  const key = new Uint8Array(100_000);
  const letter = deadLetterOf(message({ key, headers: many }), REJECTION);
  const headers = JSON.parse(letter.headersJson);
  assert.equal(letter.key?.length, DEAD_LETTER_KEY_BYTES_MAX);
  assert.equal(Object.keys(headers).length, DEAD_LETTER_HEADERS_MAX);
  assert.equal(headers.h0[0].length, DEAD_LETTER_HEADER_LENGTH_MAX);
});

Deno.test("deadLetterOf() writes headers that jsonb takes", () => {
  const headers = {
    "null": [null],
    "twice": [utf8("a"), utf8("b")],
    "nul\0": [utf8("x\0y")],
    "bytes": [Uint8Array.of(0xff, 0xfe)],
    "half\ud800": [utf8("z")],
    "__proto__": [utf8("p")],
  };
  const letter = deadLetterOf(message({ headers }), REJECTION);
  assert.ok(!letter.headersJson.includes("\\u0000"), letter.headersJson);
  assert.ok(!letter.headersJson.includes("\\ud800"), letter.headersJson);
  const parsed = JSON.parse(letter.headersJson);
  assert.deepEqual([parsed.null, parsed.twice], [[null], ["a", "b"]]);
  assert.deepEqual(parsed["nul\uFFFD"], ["x\uFFFDy"]);
});
