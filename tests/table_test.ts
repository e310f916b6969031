import assert from "node:assert/strict";
import { table } from "../lib/table.ts";
import { columnsOf } from "../lib/text_columns.ts";

const HEAD = ["partition", "next", "dead letters"];
const ROWS = [["0", "12345678", "0"], ["1", "5", "17"]];

Deno.test("table() is a line a row where nobody looks", () => {
  assert.deepEqual(table(HEAD, ROWS), [
    "partition      next  dead letters",
    "        0  12345678             0",
    "        1         5            17",
  ]);
  const long = "x".repeat(500);
  assert.deepEqual(table([], [["a", long]], { alignment: "left", last: "cut" }), [`a  ${long}`]);
});

Deno.test("table() counts what a terminal shows", () => {
  assert.deepEqual(
    table([], [["传感器", "1"], ["\x1b[32mab\x1b[0m", "2"]], { alignment: "left" }),
    [
      "传感器  1",
      "\x1b[32mab\x1b[0m      2",
    ],
  );
});

Deno.test("table() gets closer, and its head goes over two lines", () => {
  assert.deepEqual(table(HEAD, ROWS, { columns: 32 }), [
    "                      dead",
    "partition     next letters",
    "        0 12345678       0",
    "        1        5      17",
  ]);
});

Deno.test("table() becomes paragraphs where that is not enough", () => {
  assert.deepEqual(table(HEAD, ROWS, { columns: 25 }), [
    "partition 0",
    "  next 12345678",
    "  dead letters 0",
    "partition 1  next 5",
    "  dead letters 17",
  ]);
});

const LETTERS = [["7", "range", "{" + "1234567890".repeat(10)], ["8", "", ""]];

Deno.test("table() cuts the last column, or wraps it", () => {
  const options = { columns: 45, alignment: "left" } as const;
  assert.deepEqual(table(["id", "reason", "message"], LETTERS, { ...options, last: "cut" }), [
    "id  reason  message",
    `7   range   {${"1234567890".repeat(10).slice(0, 31)}…`,
    "8",
  ]);
  const words = [["7", "word ".repeat(10).trim()]];
  assert.deepEqual(table([], words, { ...options, last: "wrap" }), [
    `7  ${"word ".repeat(8).trim()}`,
    "   word word",
  ]);
});

Deno.test("table() cuts a paragraph's values only where it may", () => {
  const options = { columns: 20, alignment: "left" } as const;
  const rows = [["01890a5d-ac96-774b-bcce-b302099a8057", "x".repeat(30)]];
  assert.deepEqual(table(["id", "message"], rows, { ...options, last: "cut" }), [
    "id",
    "  01890a5d-ac96-774b-bcce-b302099a8057",
    `  message ${"x".repeat(9)}…`,
  ]);
});

Deno.test("table() fits any terminal, unless a single word does not", () => {
  const rows = [["0", "123456789", "{" + "ab ".repeat(40)]];
  for (let columns = 20; columns < 160; columns++) {
    for (const last of ["keep", "wrap", "cut"] as const) {
      for (const line of table(HEAD, rows, { columns, last })) {
        assert(columnsOf(line) <= columns, `${columns} ${last}: ${line}`);
      }
    }
  }
});
