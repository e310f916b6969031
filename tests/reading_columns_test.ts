import assert from "node:assert/strict";
import { readingColumns, readingOf, readingRows, timestampText } from "../fakes/reading_rows.ts";
import { type ParsedReading, parseReading, type Reading } from "../lib/reading/reading.ts";
import { ID_BYTES, ReadingColumns, sortById } from "../lib/reading/reading_columns.ts";
import { READING_FIELDS } from "../lib/reading/reading_schema.ts";
import { readingAt } from "./contracts/store.ts";
import { SAMPLE_LIMITS, sampleText, utf8 } from "./sample_message.ts";

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
  const columns = readingColumns(readings);
  for (const [row, { reading, offset, eventTimeUs }] of readings.entries()) {
    assert.deepEqual(readingOf(columns, row), {
      ...reading,
      timestamp: timestampText(eventTimeUs),
    });
    assert.equal(columns.offsets[row], offset);
    assert.equal(columns.idText(row), reading.unique_reading_id);
  }
});

Deno.test("columns compare by content and not by text, and so do their digests", async (t) => {
  const cases: [string, "same" | "other", string][] = [
    ["another id", "same", sampleText({ unique_reading_id: crypto.randomUUID() })],
    ["another zone", "same", sampleText({ timestamp: "2026-11-24T11:00:00.123456+01:00" })],
    ["digits that are cut", "same", sampleText({ timestamp: "2026-11-24T10:00:00.1234569Z" })],
    ["a number written otherwise", "same", withValue("2157e-2")],
    ["white space and other fields", "same", sampleText({ x: 1 }).replaceAll(",", " , ")],
    ["a text written otherwise", "same", sampleText().replace("active", "\\u0061ctive")],
    ["another sensor", "other", sampleText({ sensor_id: "0b7e6a52" })],
    ["another case of the sensor", "other", sampleText().replace("0b7e6a52", "0B7E6A52")],
    ["another type", "other", sampleText({ sensor_type: "Temperature" })],
    ["a microsecond later", "other", sampleText({ timestamp: "2026-11-24T10:00:00.123457Z" })],
    ["the next double", "other", withValue("21.570000000000004")],
    ["another unit", "other", sampleText({ unit: "F" })],
    ["another status", "other", sampleText({ status: "error" })],
    ["another battery level", "other", sampleText({ battery_level: 86 })],
    ["moved north", "other", sampleText({ location: { latitude: 53, longitude: 13.404954 } })],
    ["moved east", "other", sampleText({ location: { latitude: 52.520008, longitude: 14 } })],
    ["unit and status swapped", "other", sampleText({ unit: "active", status: "C" })],
    ["the border between texts moved", "other", sampleText({ unit: "Ca", status: "ctive" })],
    ["an accent decomposed", "other", sampleText({ unit: "e\u0301" })],
  ];
  for (const [name, want, text] of cases) {
    await t.step(name, () => assertCompares(sampleText(), text, want));
  }
  await t.step("minus zero is zero", () => assertCompares(withValue("-0"), withValue("0"), "same"));
});

Deno.test("digests of 100,000 readings that differ a little have no collision", () => {
  const { reading, eventTimeUs } = parse(sampleText());
  const columns = new ReadingColumns(1);
  const digests = new Set<string>();
  const add = (changes: Partial<Reading>, us: number): void => {
    columns.begin(new Uint8Array());
    columns.put(0, { reading: { ...reading, ...changes }, eventTimeUs: us });
    digests.add(columns.digestText(0));
  };
  for (let i = 0; i < 50_000; i++) {
    add({}, eventTimeUs + i + 1);
    add({ value: i / 100 + 1_000 }, eventTimeUs);
  }
  assert.equal(digests.size, 100_000);
  // Each half alone must be good, too: 100,000 of 2^32 values collide once or twice by chance.
  for (const half of [0, 7]) {
    const halves = new Set(Array.from(digests, (digest) => digest.slice(half, half + 7)));
    assert.ok(halves.size > 99_980, `${halves.size} of 100000 in the half from ${half}`);
  }
  for (const digest of digests) assert.match(digest, /^[0-9a-v]{14}$/);
});

Deno.test("digests of texts that differ in one byte or in their length have no collision", () => {
  const columns = new ReadingColumns(1);
  const digests = new Set<string>();
  const texts = ["", ..."abcdefgh"].flatMap((_, length) => {
    const text = "abcdefgh".slice(0, length) + "i";
    return [...text].map((_, at) => text.slice(0, at) + "x" + text.slice(at + 1)).concat(text);
  });
  for (const unit of texts) {
    columns.begin(new Uint8Array());
    columns.put(0, parse(sampleText({ unit })));
    digests.add(columns.digestText(0));
  }
  assert.equal(digests.size, new Set(texts).size);
});

Deno.test("digests stay what they are, since marks outlive a program", () => {
  const columns = new ReadingColumns(1);
  columns.begin(new Uint8Array());
  columns.put(0, parse(sampleText({ unit: "°C" })));
  // Another one here asks for another DIGEST_VERSION in mark.ts.
  assert.equal(columns.digestText(0), "j4at750ba2tff3");
});

Deno.test("rows are sorted by id and then by offset", () => {
  const { columns, rows } = readingRows([readingAt(9, 2), readingAt(7, 1), readingAt(3, 2)]);
  assert.deepEqual(Array.from(rows, (row) => columns.offsets[row]), [7, 3, 9]);
});

Deno.test("sortById() sorts by every bit of an id, whatever comes first in it", async (t) => {
  // How many first bytes all ids have in common; the sort looks at 44 bits at once.
  for (const common of [0, 4, 5, 6, 12, 15]) {
    await t.step(`${common} bytes in common`, () => {
      const columns = new ReadingColumns(600);
      crypto.getRandomValues(columns.ids);
      for (let row = 0; row < columns.rowsMax; row++) {
        columns.ids.fill(0xc7, row * ID_BYTES, row * ID_BYTES + common);
        columns.offsets[row] = columns.rowsMax - row;
        // Every third repeats the one before.
        if (row % 3 === 2) columns.copyId(row - 1, columns.ids, row * ID_BYTES);
      }
      const rows = Array.from({ length: columns.rowsMax }, (_, row) => row);
      const wanted = rows.toSorted((a, b) =>
        columns.compareIds(a, b) || columns.offsets[a]! - columns.offsets[b]!
      );
      assert.deepEqual([...sortById(columns, Uint32Array.from(rows))], wanted);
    });
  }
});

function parse(text: string): ParsedReading {
  const parsed = parseReading(utf8(text), SAMPLE_LIMITS);
  assert.ok(parsed.kind === "reading", JSON.stringify(parsed));
  return parsed;
}

/** The sample with the JSON literal of one number in place of its own. */
function withValue(literal: string): string {
  return sampleText().replace('"value":21.57', `"value":${literal}`);
}

function assertCompares(one: string, other: string, want: "same" | "other"): void {
  const columns = readingColumns(
    [one, other].map((text, offset) => ({ offset, ...parse(text) })),
  );
  assert.equal(columns.hasSameContent(0, 1), want === "same");
  assert.equal(columns.digestText(0) === columns.digestText(1), want === "same");
}
