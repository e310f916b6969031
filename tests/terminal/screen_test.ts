import assert from "node:assert/strict";
import { Screen } from "./screen.ts";

/** What is written, what is seen of it in 10 columns and 3 rows, and which lines wrapped. */
const CASES: readonly (readonly [
  name: string,
  written: string,
  lines: readonly string[],
  wrapped?: readonly string[],
])[] = [
  ["lines", "one\r\ntwo\r\n", ["one", "two", ""]],
  ["a line as wide as the screen", "0123456789\r\n", ["0123456789", ""]],
  ["a longer one", "0123456789a\r\n", ["0123456789", "a", ""], ["0123456789"]],
  ["a line that is rewritten", "longer\rshort\r\x1b[K!", ["!"]],
  ["what a shorter line leaves", "longer\rab", ["abnger"]],
  ["an echo in a line", "  12 s\r^C", ["^C12 s"]],
  ["two lines that are rewritten", "a\r\nb\r\nc\r\x1b[1A\x1b[Jd\r\ne", ["a", "d", "e"]],
  ["no way up past the screen", "1\r\n2\r\n3\r\n4\x1b[9A\r!", ["1", "!", "3", "4"]],
  ["colours and titles", "\x1b[1;32mok\x1b[0m\x1b]0;title\x07\x1b[?25l.", ["ok."]],
  ["a tab at the end", "12345678\tab", ["12345678 a", "b"], ["12345678 a"]],
];

Deno.test("Screen shows what a person sees", async (t) => {
  for (const [name, written, lines, wrapped = []] of CASES) {
    await t.step(name, () => {
      // Whole, and byte by byte, as it may come out of a pipe.
      for (const pieces of [[written], [...written]]) {
        const screen = new Screen(10, 3);
        for (const piece of pieces) screen.write(piece);
        assert.deepEqual(screen.lines, lines);
        assert.deepEqual(screen.wrapped, wrapped);
      }
    });
  }
});

Deno.test("Screen refuses a sequence that it does not know", () => {
  assert.throws(() => new Screen(10, 3).write("\x1b[5S"), { message: /no such sequence/ });
});
