import assert from "node:assert/strict";
import { type Instant, parseTimestamp, type TimestampFault } from "../lib/reading/timestamp.ts";

function instant(text: string, us: number): Instant {
  return { us, text };
}

Deno.test("parseTimestamp() reads RFC 3339 to the microsecond", async (t) => {
  const cases: [string, Instant][] = [
    ["1970-01-01T00:00:00Z", instant("1970-01-01T00:00:00Z", 0)],
    ["1969-12-31T23:59:59.999999Z", instant("1969-12-31T23:59:59.999999Z", -1)],
    ["1970-01-01T00:00:00-00:00", instant("1970-01-01T00:00:00-00:00", 0)],
    ["1970-01-01T00:00:00+00:01", instant("1970-01-01T00:00:00+00:01", -60_000_000)],
    ["1970-01-01T00:00:00-15:59", instant("1970-01-01T00:00:00-15:59", 57_540_000_000)],
    ["1970-01-01t00:00:00.5z", instant("1970-01-01t00:00:00.5z", 500_000)],
    ["1970-01-01T00:00:00.0000019Z", instant("1970-01-01T00:00:00.000001Z", 1)],
    ["1970-01-01T00:00:00.000001999+00:00", instant("1970-01-01T00:00:00.000001+00:00", 1)],
    ["2000-02-29T12:34:56Z", instant("2000-02-29T12:34:56Z", 951_827_696_000_000)],
    ["2024-02-29T00:00:00Z", instant("2024-02-29T00:00:00Z", 1_709_164_800_000_000)],
    ["2255-06-05T23:47:34.740991Z", instant("2255-06-05T23:47:34.740991Z", 2 ** 53 - 1)],
  ];
  for (const [text, want] of cases) {
    await t.step(text, () => {
      assert.deepEqual(parseTimestamp(text), want);
    });
  }
});

Deno.test("parseTimestamp() says why a text is no timestamp", async (t) => {
  const sample = "2026-11-24T10:00:00.123Z";
  // The sample with any one character gone or replaced; a shorter fraction is not a fault.
  const broken = [...sample].flatMap((_, at) => [
    sample.slice(0, at) + sample.slice(at + 1),
    `${sample.slice(0, at)}x${sample.slice(at + 1)}`,
  ]).filter((text) => !/:00\.\d\dZ$/.test(text));
  const formats = [
    ...broken,
    "",
    "2026-11-24",
    "2026-11-24 10:00:00Z",
    "2026-11-24T10:00Z",
    "2026-11-24T10:00:00",
    "2026-11-24T10:00:00.Z",
    "2026-11-24T10:00:00.1234567890Z",
    "2026-11-24T10:00:00,5Z",
    "2026-11-24T10:00:00+01",
    "2026-11-24T10:00:00+0100",
    "2026-11-24T10:00:00+01:00:00",
    "2026-11-24T10:00:00+1:00",
    "2026-11-24T10:00:00+01.00",
    "2026-11-24T10:00:00\u221201:00",
    "2026-11-24T10:00:00Z ",
    " 2026-11-24T10:00:00Z",
    "2026-11-24T10:00:00ZZ",
    "2026-11-24T10:00:00 UTC",
    "-2026-11-24T10:00:00Z",
    "+002026-11-24T10:00:00Z",
    "２０２６-11-24T10:00:00Z",
    "2026-W48-2T10:00:00Z",
  ];
  const dates = [
    "0000-01-01T00:00:00Z",
    "2026-00-10T00:00:00Z",
    "2026-13-10T00:00:00Z",
    "2026-01-00T00:00:00Z",
    "2026-01-32T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2024-02-30T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2026-11-24T24:00:00Z",
    "2026-11-24T10:60:00Z",
    "2026-11-24T10:00:60Z",
    "2026-11-24T10:00:00+16:00",
    "2026-11-24T10:00:00-16:00",
    "2026-11-24T10:00:00+99:99",
    "2026-11-24T10:00:00+01:60",
  ];
  const cases: [TimestampFault, string[]][] = [
    ["timestamp_format", formats],
    ["timestamp_date", dates],
  ];
  for (const [want, texts] of cases) {
    for (const text of texts) {
      await t.step(`${JSON.stringify(text)} gives ${want}`, () => {
        assert.equal(parseTimestamp(text), want);
      });
    }
  }
});

Deno.test("parseTimestamp() agrees with Date on every day of 800 years", () => {
  for (let ms = Date.UTC(1600, 0, 1); ms < Date.UTC(2400, 0, 1); ms += 86_400_000) {
    const text = new Date(ms).toISOString();
    const read = parseTimestamp(text);
    assert.ok(typeof read === "object" && read.us === ms * 1_000, text);
  }
});

Deno.test("parseTimestamp() does not mix up one answer with the next", () => {
  const [a, b] = ["2026-11-24T10:00:00Z", "2026-11-24T10:00:01Z"];
  const first = parseTimestamp(a);
  assert.equal(parseTimestamp("no"), "timestamp_format");
  assert.notDeepEqual(parseTimestamp(b), first);
  assert.deepEqual(parseTimestamp(a), first);
  assert.equal(parseTimestamp("no"), "timestamp_format");
});
