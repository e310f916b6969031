import assert from "node:assert/strict";
import type { Message } from "../lib/kafka/message.ts";
import { Messages } from "../lib/kafka/messages.ts";
import { utf8 } from "./sample_message.ts";

const MESSAGES: readonly Message[] = [
  {
    offset: 2 ** 52,
    key: utf8("key"),
    value: utf8("value"),
    headers: { a: [utf8("1"), null], "": [utf8("x".repeat(200))], b: [new Uint8Array()] },
    timestampMs: 1_700_000_000_000.5,
    leaderEpoch: 7,
  },
  { offset: 2 ** 52 + 3, key: null, value: null, headers: {}, timestampMs: -1, leaderEpoch: -1 },
  {
    offset: 2 ** 52 + 4,
    key: new Uint8Array(),
    value: new Uint8Array(),
    headers: {},
    timestampMs: 0,
    leaderEpoch: 8,
    unreadable: "offsets 3 to 4: zstd",
  },
];

/** Without what tells a Buffer from other arrays, and an object from one without a prototype. */
function plain(messages: Iterable<Message>): unknown {
  const bytes = (part: Uint8Array | null): number[] | null => part && [...part];
  return Array.from(messages, (message) => ({
    ...message,
    key: bytes(message.key),
    value: bytes(message.value),
    headers: Object.entries(message.headers).map(([name, values]) => [name, values.map(bytes)]),
  }));
}

Deno.test("Messages.of() keeps all of a message", () => {
  const messages = Messages.of(MESSAGES);
  assert.equal(messages.length, 3);
  assert.deepEqual(plain(messages), plain(MESSAGES));
  assert.deepEqual(plain(Messages.of([])), []);
});

Deno.test("Messages.slice() is another view of the same memory", async (t) => {
  const messages = Messages.of(MESSAGES);
  const rows: [string, Messages, readonly Message[]][] = [
    ["from the middle", messages.slice(1), MESSAGES.slice(1)],
    ["up to the middle", messages.slice(0, 2), MESSAGES.slice(0, 2)],
    ["of a slice", messages.slice(1).slice(1, 2), MESSAGES.slice(2, 3)],
    ["beyond the end", messages.slice(2, 9), MESSAGES.slice(2)],
    ["empty", messages.slice(3), []],
  ];
  for (const [name, slice, want] of rows) {
    await t.step(name, () => {
      assert.equal(slice.length, want.length);
      assert.deepEqual(plain(slice), plain(want));
      assert.equal(slice.bytes, messages.bytes);
      assert.equal(slice.offsets.buffer, messages.offsets.buffer);
    });
  }
});
