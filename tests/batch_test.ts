import assert from "node:assert/strict";
import { readingColumns } from "../fakes/reading_rows.ts";
import {
  firstOf,
  groupById,
  idsOf,
  isUnanimous,
  newestBySensor,
  rowsOf,
} from "../lib/consumer/batch.ts";
import { parseReading } from "../lib/reading/reading.ts";
import { ID_BYTES, ReadingColumns } from "../lib/reading/reading_columns.ts";
import { uuidText } from "../lib/reading/uuid.ts";
import { idOf, messageText } from "./memory_pipeline.ts";
import { SAMPLE_LIMITS, utf8 } from "./sample_message.ts";

/** Columns of readings at the offsets from 4 on. */
function columnsOf(texts: readonly string[]): ReadingColumns {
  return readingColumns(texts.map((text, index) => {
    const parsed = parseReading(utf8(text), SAMPLE_LIMITS);
    if (parsed.kind === "rejection") assert.fail(parsed.reason);
    return { offset: 4 + index, ...parsed };
  }));
}

function allRows({ rowsMax }: ReadingColumns): Uint32Array {
  return Uint32Array.from({ length: rowsMax }, (_, row) => row);
}

Deno.test("groupById() sorts by id, whatever its case, and keeps repeats by offset", () => {
  const upper = messageText(1, { unique_reading_id: idOf(1).toUpperCase() });
  const columns = columnsOf([
    messageText(3),
    messageText(2),
    messageText(1),
    messageText(3),
    upper,
    messageText(3),
  ]);
  const groups = groupById(columns, allRows(columns));
  const numbers = Array.from({ length: groups.count }, (_, group) => group);
  assert.deepEqual(
    numbers.map((group) => Array.from(rowsOf(groups, group), (row) => columns.offsets[row])),
    [[6, 8], [5], [4, 7, 9]],
  );
  assert.deepEqual(numbers.map((group) => columns.offsets[firstOf(groups, group)]), [6, 5, 4]);
  const ids = idsOf(columns, groups);
  assert.deepEqual(
    numbers.map((group) => uuidText(ids, group * ID_BYTES)),
    [idOf(1), idOf(2), idOf(3)],
  );
});

Deno.test("groupById() groups some of the rows, and none", () => {
  const columns = columnsOf([messageText(2), messageText(1), messageText(2)]);
  const groups = groupById(columns, Uint32Array.of(0, 1));
  assert.deepEqual([groups.count, ...groups.rows], [2, 1, 0]);
  assert.equal(groupById(columns, new Uint32Array()).count, 0);
});

Deno.test("isUnanimous() compares content and not text", async (t) => {
  const rows: readonly [string, Record<string, unknown>, boolean][] = [
    ["the same", {}, true],
    ["an unknown field", { firmware: 2 }, true],
    ["the same instant in another zone", { timestamp: "2026-11-24T11:00:00.123456+01:00" }, true],
    ["another value", { value: 2 }, false],
    ["a microsecond later", { timestamp: "2026-11-24T10:00:00.123457+00:00" }, false],
    ["another place", { location: { latitude: 1, longitude: 2 } }, false],
    ["another sensor", { sensor_id: "other" }, false],
  ];
  for (const [name, changes, want] of rows) {
    await t.step(name, () => {
      const columns = columnsOf([messageText(1), messageText(1, changes)]);
      assert.equal(isUnanimous(columns, groupById(columns, allRows(columns)), 0), want);
    });
  }
});

Deno.test("newestBySensor() picks by event time, then by id", () => {
  const at = (second: number): string => `2026-11-24T10:00:0${second}Z`;
  const columns = columnsOf([
    messageText(1, { sensor_id: "a", timestamp: at(5) }),
    messageText(2, { sensor_id: "a", timestamp: at(3) }),
    messageText(9, { sensor_id: "b", timestamp: at(1) }),
    messageText(8, { sensor_id: "b", timestamp: at(1) }),
    messageText(7, { sensor_id: "A", timestamp: at(9) }),
  ]);
  assert.deepEqual(newestBySensor(columns, allRows(columns)), [0, 2, 4]);
  assert.deepEqual(newestBySensor(columns, Uint32Array.of(3, 1)), [3, 1]);
  assert.deepEqual(newestBySensor(columns, new Uint32Array()), []);
});

Deno.test("newestBySensor() finds each of many sensors once", () => {
  const names = Array.from({ length: 500 }, (_, number) => `sensor-${number % 250}`);
  const columns = columnsOf(names.map((name, number) => messageText(number, { sensor_id: name })));
  const newest = newestBySensor(columns, allRows(columns));
  // Of equal event times the larger id is the newer one.
  assert.deepEqual(newest, Array.from({ length: 250 }, (_, number) => 250 + number));
});
