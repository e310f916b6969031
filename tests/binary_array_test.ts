import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readingRows } from "../fakes/reading_rows.ts";
import {
  bigintArray,
  booleanArray,
  byteaArray,
  integerArray,
  jsonbArray,
  textArray,
} from "../lib/postgres/binary_array.ts";
import { COPIED_COLUMNS, copyRows, fieldArray, offsetArray } from "../lib/postgres/binary_rows.ts";
import type { Reading } from "../lib/reading/reading.ts";
import type { ReadingRows } from "../lib/reading/reading_columns.ts";
import { READING_FIELDS } from "../lib/reading/reading_schema.ts";
import { readingAt } from "./contracts/store.ts";

/** One dimension, NULLs or not, the type, the length, first index 1. */
function header(oid: number, length: number, nulls = 0): string {
  const bytes = Buffer.alloc(20);
  [1, nulls, oid, length, 1].forEach((value, index) => bytes.writeInt32BE(value, index * 4));
  return bytes.toString("hex");
}

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
  ];
  for (const [name, make] of cases) {
    await t.step(name, () => assert.throws(make, { name: "RowDataError", message: /found/ }));
  }
});

const FIELDS: Readonly<Record<string, number>> = Object.fromEntries(
  READING_FIELDS.map(({ column }, index) => [column, index]),
);

/** Readings 1 at offset 7 and 2 at offset 2^32 + 1, given the other way round. */
function twoReadings(changes: Partial<Reading> = {}): ReadingRows {
  return readingRows([readingAt(2 ** 32 + 1, 2), readingAt(7, 1, changes)]);
}

Deno.test("fieldArray() writes a column by the kind of its field, in the order of the ids", async (t) => {
  const [id1, id2] = [1, 2].map((n) => `00000000000040008000${String(n).padStart(12, "0")}`);
  const rows = twoReadings({ value: -0, unit: "é", timestamp: "1999-12-31T23:59:59.999999Z" });
  const us = BigInt(Date.UTC(2026, 10, 24, 10) - Date.UTC(2000, 0)) * 1_000n + 123_456n;
  const cases: [column: string, want: string][] = [
    ["unique_reading_id", header(2950, 2) + `00000010${id1}` + `00000010${id2}`],
    ["value", header(701, 2) + "000000088000000000000000" + "000000084035800000000000"],
    ["unit", header(25, 2) + "00000002c3a9" + "0000000143"],
    ["battery_level", header(23, 2) + "0000000400000057" + "0000000400000057"],
    [
      "timestamp",
      header(1184, 2) + "00000008ffffffffffffffff" + `00000008${us.toString(16).padStart(16, "0")}`,
    ],
  ];
  for (const [column, want] of cases) {
    await t.step(column, () => {
      assert.equal(fieldArray(rows, FIELDS[column] ?? -1).toString("hex"), want);
    });
  }
  const offsets = header(20, 2) + "000000080000000000000007" + "000000080000000100000001";
  assert.equal(offsetArray(rows).toString("hex"), offsets);
});

Deno.test("a field that a reading does not have is NULL in an array and in a copy", () => {
  const rows = twoReadings();
  const field = FIELDS.sensor_type ?? -1;
  rows.columns.nulls[rows.rows[0] ?? -1]! |= 1 << field;
  const text = "0000000b74656d7065726174757265";
  assert.equal(fieldArray(rows, field).toString("hex"), header(25, 2, 1) + "ffffffff" + text);
  const copied = copyRows(rows, 3).toString("hex");
  const [sensor, latitude] = ["0000000873656e736f722d31", "00000008404a428fa0e4adbe"];
  assert.ok(copied.includes(`${sensor}ffffffff0000000840`), copied);
  assert.ok(copied.includes(`${sensor}${text}${latitude.slice(0, 12)}`), copied);
});

Deno.test("copyRows() writes a signature, the rows with the fields of arrays, and an end", () => {
  const rows = twoReadings();
  const elements = READING_FIELDS.map((_, field) => fieldArray(rows, field).subarray(20));
  const parts: Uint8Array[] = [Buffer.from("PGCOPY\n\xff\r\n\0", "latin1"), Buffer.alloc(8)];
  for (let row = 0; row < 2; row++) {
    parts.push(Buffer.of(0, READING_FIELDS.length + 2));
    for (const [field, bytes] of elements.entries()) {
      const end = 4 + bytes.readInt32BE(0);
      parts.push(bytes.subarray(0, end));
      elements[field] = bytes.subarray(end);
    }
    parts.push(Buffer.from("0000000400000003", "hex"));
    parts.push(offsetArray(rows).subarray(20 + row * 12, 32 + row * 12));
  }
  parts.push(Buffer.of(255, 255));
  assert.equal(copyRows(rows, 3).toString("hex"), Buffer.concat(parts).toString("hex"));
  assert.equal(COPIED_COLUMNS.split(", ").length, READING_FIELDS.length + 2);
});

Deno.test("readings with a number that would change on the way are refused", async (t) => {
  const { columns, rows } = twoReadings();
  const levels = columns.numbers[FIELDS.battery_level ?? -1]!;
  const cases: [name: string, spoil: () => void][] = [
    ["a battery level of 33 bits", () => levels[0] = 2 ** 31],
    ["a battery level with a fraction", () => levels[0] = 0.5],
    ["no number as battery level", () => levels[0] = NaN],
    ["an inexact time", () => columns.eventTimesUs[0] = -(2 ** 53)],
    ["an inexact offset", () => columns.offsets[0] = 2 ** 53],
  ];
  const arrays = (): unknown => [
    ...READING_FIELDS.map((_, field) => fieldArray({ columns, rows }, field)),
    offsetArray({ columns, rows }),
  ];
  for (const [name, spoil] of cases) {
    await t.step(name, () => {
      columns.put(0, readingAt(1, 1));
      columns.offsets[0] = 1;
      spoil();
      for (const write of [() => copyRows({ columns, rows }, 0), arrays]) {
        assert.throws(write, { name: "RowDataError", message: /found/ });
      }
    });
  }
});

Deno.test("times of 64 bits are exact where their distance from PostgreSQL's epoch is not", () => {
  for (
    const us of [-(2 ** 53) + 1, 2 ** 53 - 1, -1, 0, 946_684_800_000_000, -946_684_799_999_999]
  ) {
    const rows = twoReadings();
    rows.columns.eventTimesUs[rows.rows[0] ?? -1] = us;
    const found = fieldArray(rows, FIELDS.timestamp ?? -1).readBigInt64BE(24);
    assert.equal(found, BigInt(us) - 946_684_800_000_000n);
  }
});
