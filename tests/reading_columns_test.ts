import assert from "node:assert/strict";
import { type ReadingAt, ReadingColumns, readingRows } from "../lib/reading/reading_columns.ts";
import { READING_FIELDS } from "../lib/reading/reading_schema.ts";
import { timestampText } from "../lib/reading/timestamp.ts";
import { readingAt } from "./contracts/store.ts";

Deno.test("the fields of a reading are the columns of the table, in the order of the schema", () => {
  assert.deepEqual(READING_FIELDS.map(({ column, kind }) => `${column} ${kind}`), [
    "unique_reading_id id",
    "sensor_id text",
    "sensor_type text",
    "latitude number",
    "longitude number",
    "timestamp time",
    "value number",
    "unit text",
    "status text",
    "battery_level integer",
  ]);
});

Deno.test("a reading comes out of columns as it went in", () => {
  const readings = [
    readingAt(3, 1),
    readingAt(4, 2, { unit: "°C", status: "\u{1F600} ".repeat(20), value: -0.1 }),
    readingAt(5, 3, { sensor_type: "x".repeat(64), battery_level: 0 }),
  ];
  const columns = ReadingColumns.of(readings);
  for (const [row, { reading, offset, eventTimeUs }] of readings.entries()) {
    assert.deepEqual(columns.readingAt(row), { ...reading, timestamp: timestampText(eventTimeUs) });
    assert.equal(columns.offsets[row], offset);
    assert.equal(columns.idText(row), reading.unique_reading_id);
  }
});

Deno.test("columns compare by content, and digests are equal exactly where contents are", async (t) => {
  const base = readingAt(0, 1);
  const cases: readonly [string, ReadingAt, boolean][] = [
    ["another id", { ...base, reading: { ...base.reading, unique_reading_id: id(2) } }, true],
    ["-0 for 0", readingAt(0, 1, { value: -0 }), false],
    ["another unit", readingAt(0, 1, { unit: "K" }), false],
    ["text moved to the next field", readingAt(0, 1, { unit: "Ca", status: "ctive" }), false],
    ["another time", { ...base, eventTimeUs: base.eventTimeUs + 1 }, false],
    ["another battery", readingAt(0, 1, { battery_level: 1 }), false],
  ];
  for (const [name, other, isSame] of cases) {
    await t.step(name, () => {
      const columns = ReadingColumns.of([base, other]);
      assert.equal(columns.hasSameContent(0, 1), isSame);
      assert.equal(columns.digestText(0) === columns.digestText(1), isSame);
    });
  }
  const zeros = ReadingColumns.of([readingAt(0, 1, { value: 0 }), readingAt(0, 1, { value: -0 })]);
  assert.ok(zeros.hasSameContent(0, 1));
  assert.equal(zeros.digestText(0), zeros.digestText(1));
});

Deno.test("rows are sorted by id and then by offset", () => {
  const { columns, rows } = readingRows([readingAt(9, 2), readingAt(7, 1), readingAt(3, 2)]);
  assert.deepEqual(Array.from(rows, (row) => columns.offsets[row]), [7, 3, 9]);
});

Deno.test("timestampText() is exact to the microsecond on both sides of 1970", () => {
  assert.equal(timestampText(1), "1970-01-01T00:00:00.000001+00:00");
  assert.equal(timestampText(-1), "1969-12-31T23:59:59.999999+00:00");
});

function id(n: number): string {
  return `00000000-0000-0000-0000-${String(n).padStart(12, "0")}`;
}
