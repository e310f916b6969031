import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  bigintArray,
  booleanArray,
  byteaArray,
  doubleArray,
  integerArray,
  jsonbArray,
  textArray,
  timestamptzArray,
  uuidArray,
} from "../lib/postgres/binary_array.ts";

/** One dimension, NULLs or not, the type, the length, first index 1. */
function header(oid: number, length: number, nulls = 0): string {
  const bytes = Buffer.alloc(20);
  [1, nulls, oid, length, 1].forEach((value, index) => bytes.writeInt32BE(value, index * 4));
  return bytes.toString("hex");
}

const UUID = "00112233-4455-6677-8899-aabbccddeeff";

Deno.test("the array functions write PostgreSQL's binary format", async (t) => {
  const cases: [name: string, found: Buffer, want: string][] = [
    ["booleanArray()", booleanArray([true, false]), header(16, 2) + "0000000101" + "0000000100"],
    [
      "integerArray()",
      integerArray([1, -2]),
      header(23, 2) + "0000000400000001" + "00000004fffffffe",
    ],
    [
      "bigintArray()",
      bigintArray([2 ** 32, -1]),
      header(20, 2) + "000000080000000100000000" + "00000008ffffffffffffffff",
    ],
    [
      "doubleArray()",
      doubleArray([1.5, -0]),
      header(701, 2) + "000000083ff8000000000000" + "000000088000000000000000",
    ],
    [
      "timestamptzArray()",
      timestamptzArray([946_684_800_000_001]),
      header(1184, 1) + "000000080000000000000001",
    ],
    ["uuidArray()", uuidArray([UUID]), header(2950, 1) + "00000010" + UUID.replaceAll("-", "")],
    [
      "textArray()",
      textArray(["", "ab", "aé\u{1F321}"]),
      header(25, 3) + "00000000" + "000000026162" + "0000000761c3a9f09f8ca1",
    ],
    [
      "byteaArray()",
      byteaArray([new Uint8Array([255]), null]),
      header(17, 2, 1) + "00000001ff" + "ffffffff",
    ],
    ["jsonbArray()", jsonbArray(["{}"]), header(3802, 1) + "00000003017b7d"],
    ["textArray() of nothing", textArray([]), header(25, 0)],
  ];
  for (const [name, found, want] of cases) {
    await t.step(name, () => assert.equal(found.toString("hex"), want));
  }
});

Deno.test("the array functions refuse what would change on the way", async (t) => {
  const cases: [name: string, make: () => Buffer][] = [
    ["an integer of 33 bits", () => integerArray([2 ** 31])],
    ["a negative integer of 33 bits", () => integerArray([-(2 ** 31) - 1])],
    ["a fraction as integer", () => integerArray([3.5])],
    ["no number as integer", () => integerArray([NaN])],
    ["an inexact bigint", () => bigintArray([2 ** 53])],
    ["a fraction as bigint", () => bigintArray([0.5])],
    ["an inexact time", () => timestamptzArray([-(2 ** 53)])],
    ["a UUID in upper case", () => uuidArray([UUID.toUpperCase()])],
    ["a UUID that is short", () => uuidArray([UUID.slice(1)])],
    ["a UUID that is long", () => uuidArray([`${UUID}0`])],
    ["a UUID without dashes", () => uuidArray([UUID.replaceAll("-", "0")])],
    ["a UUID with a digit beyond f", () => uuidArray([UUID.replace("0", "g")])],
    ["a UUID with a character beyond ASCII", () => uuidArray([UUID.replace("0", "é")])],
  ];
  for (const [name, make] of cases) {
    await t.step(name, () => assert.throws(make, { name: "RowDataError", message: /found/ }));
  }
});
