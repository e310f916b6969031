import assert from "node:assert/strict";
import { asciiJson, printable, printableBytes, utf8Of } from "../lib/printable.ts";

const TEXTS: readonly [name: string, input: string, want: string][] = [
  ["plain text", '{"unit": "C"}', '{"unit": "C"}'],
  [
    "letters, marks and symbols of the world",
    "µg/m³ °F 温度 e\u0301 😀",
    "µg/m³ °F 温度 e\u0301 😀",
  ],
  ["a terminal escape", "\x1b[2J", "\\u{1b}[2J"],
  ["a terminal escape of one byte", "\x9b2J", "\\u{9b}2J"],
  ["line ends, tab, NUL and DEL", "a\r\n\t\0\x7f", "a\\u{d}\\u{a}\\u{9}\\u{0}\\u{7f}"],
  ["line and paragraph separators", "\u2028\u2029", "\\u{2028}\\u{2029}"],
  ["a turn of the writing direction", "\u202eabc\u2066", "\\u{202e}abc\\u{2066}"],
  ["what cannot be seen", "a\u200bb\ufeff", "a\\u{200b}b\\u{feff}"],
  ["half a surrogate pair", "\ud800x", "\\u{d800}x"],
];

Deno.test("printable() escapes what a terminal could obey, and nothing else", async (t) => {
  for (const [name, input, want] of TEXTS) {
    await t.step(name, () => assert.equal(printable(input), want));
  }
});

Deno.test("printableBytes() shows UTF-8 as text and other bytes one by one", () => {
  assert.equal(printableBytes(new TextEncoder().encode("°C\x07")), "°C\\u{7}");
  assert.equal(printableBytes(new Uint8Array([0x41, 0xff, 0x1b, 0x7f])), "A\\x{ff}\\x{1b}\\x{7f}");
});

Deno.test("utf8Of() keeps a byte order mark, and refuses what is no UTF-8", () => {
  assert.equal(utf8Of(new Uint8Array([0xef, 0xbb, 0xbf, 0x61])), "\ufeffa");
  assert.equal(utf8Of(new Uint8Array([0xc3, 0x28])), undefined);
});

Deno.test("asciiJson() is the same value in printable ASCII", () => {
  const value = { text: "\x1b\x9b\u202e😀\ud800\n" };
  const json = asciiJson(value);
  assert.match(json, /^[\x20-\x7e]+$/);
  assert.deepEqual(JSON.parse(json), value);
});
