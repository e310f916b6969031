import assert from "node:assert/strict";
import { broken, columnsOf, cutTo, padTo, wrapped } from "../lib/text_columns.ts";

Deno.test("columnsOf() counts as a terminal does", async (t) => {
  const rows: [name: string, text: string, columns: number][] = [
    ["ASCII", "abc", 3],
    ["nothing", "", 0],
    ["an accent of its own", "e\u0301", 1],
    ["an accent in its letter", "é", 1],
    ["Chinese", "传感器", 6],
    ["full width", "ＡＢ", 4],
    ["Hangul", "센서", 4],
    ["Hangul in parts", "\u1109\u1166", 2],
    ["a picture", "🌡", 1],
    ["a picture that is coloured by itself", "🔥", 2],
    ["a joiner", "a\u200db", 2],
    ["a degree", "21 °C", 5],
    ["colours", "\x1b[1;31mfailure\x1b[0m", 7],
  ];
  for (const [name, text, columns] of rows) {
    await t.step(name, () => assert.equal(columnsOf(text), columns));
  }
});

Deno.test("cutTo() says that it has cut, and never shows half a character", () => {
  assert.equal(cutTo("abcdef", 6), "abcdef");
  assert.equal(cutTo("abcdefg", 6), "abcde…");
  assert.equal(cutTo("传感器", 6), "传感器");
  assert.equal(cutTo("传感器传", 6), "传感…");
  assert.equal(columnsOf(cutTo("传感器传", 4)), 3);
});

Deno.test("padTo() fills up what is seen", () => {
  assert.equal(padTo("传", 4, "end"), "传  ");
  assert.equal(padTo("\x1b[32mok\x1b[0m", 4, "start"), "  \x1b[32mok\x1b[0m");
  assert.equal(padTo("long", 2, "end"), "long");
});

Deno.test("wrapped() breaks between words and indents what goes on", () => {
  assert.deepEqual(wrapped("one two three", 13), ["one two three"]);
  assert.deepEqual(wrapped("one two three", 12), ["one two", "  three"]);
  assert.deepEqual(wrapped("  one two three", 9, 4), ["  one two", "      three"]);
  assert.deepEqual(wrapped("a  k=1  m=2", 8), ["a  k=1", "  m=2"], "two spaces stay two");
  assert.deepEqual(wrapped("", 5), [""]);
});

Deno.test("wrapped() leaves whole what somebody copies", () => {
  const id = "01890a5d-ac96-774b-bcce-b302099a8057";
  assert.deepEqual(wrapped(`reading ${id} is stored`, 20), ["reading", `  ${id}`, "  is stored"]);
  assert.deepEqual(wrapped(id, 20), [id]);
});

Deno.test("broken() loses nothing", () => {
  assert.deepEqual(broken("abcdefgh", 3), ["abc", "def", "gh"]);
  assert.deepEqual(broken("传感器", 5), ["传感", "器"]);
  assert.deepEqual(broken("传", 1), ["传"]);
  assert.deepEqual(broken("abc", Infinity), ["abc"]);
  assert.deepEqual(broken("", 5), [""]);
});
