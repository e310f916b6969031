import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { PGlite } from "@electric-sql/pglite";
import fc from "fast-check";
import { type ParsedReading, parseReading } from "../lib/reading/reading.ts";
import { parseTimestamp } from "../lib/reading/timestamp.ts";
import { sampleFields, utf8 } from "./sample_message.ts";

const SEED = Number(Deno.env.get("FUZZ_SEED") ?? Date.now() % 2 ** 31);
const LIMITS = { nowMs: Date.UTC(2026, 10, 24), futureSkewSecondsMax: 1e12, pastDaysMax: 0 };

/** A row as PostgreSQL has it after the readings went in as texts. */
interface Row {
  readonly id: string;
  readonly us: string;
  readonly value: number;
  readonly latitude: number;
  /** UTF-8 in hexadecimal digits: PGlite drops a U+FEFF when it decodes a text. */
  readonly unitHex: string;
}

/** Sends readings the way that the client does, as arrays of texts, and reads them back. */
async function roundTrip(db: PGlite, parsed: readonly ParsedReading[]): Promise<readonly Row[]> {
  const columns = [
    parsed.map(({ reading }) => reading.unique_reading_id),
    parsed.map(({ reading }) => reading.timestamp),
    parsed.map(({ reading }) => Object.is(reading.value, -0) ? "-0" : String(reading.value)),
    parsed.map(({ reading }) => String(reading.location.latitude)),
    parsed.map(({ reading }) => reading.unit),
  ];
  const { rows } = await db.query<Row>(
    `SELECT id::uuid::text AS id, (extract(epoch FROM at::timestamptz) * 1000000)::int8::text AS us,
            value::float8 AS value, latitude::float8 AS latitude,
            encode(convert_to(unit, 'UTF8'), 'hex') AS "unitHex"
       FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
         WITH ORDINALITY AS sent (id, at, value, latitude, unit, place)
      ORDER BY place`,
    columns,
  );
  return rows;
}

async function assertKept(db: PGlite, parsed: readonly ParsedReading[]): Promise<void> {
  const rows = await roundTrip(db, parsed);
  assert.equal(rows.length, parsed.length);
  parsed.forEach(({ reading, eventTimeUs }, at) => {
    const row = rows[at]!;
    assert.equal(row.id, reading.unique_reading_id);
    assert.equal(row.us, String(eventTimeUs), reading.timestamp);
    assert.ok(Object.is(row.value, reading.value), `${row.value} for ${reading.value}`);
    assert.ok(row.latitude === reading.location.latitude);
    assert.equal(row.unitHex, Buffer.from(reading.unit).toString("hex"));
  });
}

function parse(changes: Record<string, unknown>, valueLiteral?: string): ParsedReading {
  const text = JSON.stringify(sampleFields(changes));
  const bytes = utf8(
    valueLiteral === undefined ? text : text.replace('"value":21.57', `"value":${valueLiteral}`),
  );
  const parsed = parseReading(bytes, LIMITS);
  assert.ok(parsed.kind === "reading", JSON.stringify(parsed));
  return parsed;
}

Deno.test("parseReading() accepts only what PostgreSQL stores and gives back the same", async (t) => {
  const db = await PGlite.create();
  try {
    const timestamps = [
      "2026-11-24T10:00:00.123456+00:00",
      "2026-11-24t10:00:00z",
      "2026-11-24T10:00:00.1234569Z",
      "2026-11-24T23:59:59.999999999Z",
      "2026-11-24T00:00:00-00:00",
      "2026-11-24T00:00:00+15:59",
      "2026-11-24T00:00:00-15:59",
      "2024-02-29T23:59:59.5Z",
      "2000-02-29T00:00:00Z",
      "1970-01-01T00:00:00Z",
      "1969-12-31T23:59:59.999999Z",
      "1684-07-28T00:12:25.259009Z",
      "2255-06-05T23:47:34.740991Z",
    ];
    for (const timestamp of timestamps) {
      await t.step(`timestamp ${timestamp}`, () => assertKept(db, [parse({ timestamp })]));
    }
    const values = ["-0", "0", "5e-324", "-5e-324", "2.2250738585072014e-308", "1e308", "1e-400"];
    values.push(
      "1.7976931348623157e308",
      "1.005",
      "0.1",
      "9007199254740992",
      "1e22",
      "123456789.0",
    );
    for (const value of values) {
      await t.step(`value ${value}`, () => assertKept(db, [parse({}, value)]));
    }
    const texts = [
      "°C",
      "😀".repeat(64),
      "e\u0301 é",
      "\u202eאב",
      " x ",
      "\u00a0",
      "\ufeff",
      "\ufffe\uffff",
      String.raw`{"a\\b",NULL}`,
      "NULL",
      "'; DROP TABLE sensor_events; --",
    ];
    for (const unit of texts) {
      await t.step(`unit ${JSON.stringify(unit)}`, () => assertKept(db, [parse({ unit })]));
    }
    await t.step(`2,000 random readings, seed ${SEED}`, async () => {
      const random = fc.record({
        unique_reading_id: fc.uuid().map((id) => id.toUpperCase()),
        timestamp: fc.date({
          min: new Date("1685-01-01"),
          max: new Date("2255-01-01"),
          noInvalidDate: true,
        }).map((date) => date.toISOString().replace("Z", "4567+03:30")),
        value: fc.double({ noNaN: true, noDefaultInfinity: true }),
        location: fc.record({
          latitude: fc.double({ min: -90, max: 90, noNaN: true }),
          longitude: fc.constant(0),
        }),
      });
      // JSON has an integer literal for some large doubles, which the contract refuses.
      const changes = fc.sample(random, { seed: SEED, numRuns: 2_000 })
        .filter(({ value }) => Math.abs(value) <= 2 ** 53 || !/^-?\d+$/.test(String(value)));
      // JSON.stringify() writes -0 as 0, so the value goes in by its literal.
      await assertKept(
        db,
        changes.map(({ value, ...rest }) =>
          parse(rest, Object.is(value, -0) ? "-0" : String(value))
        ),
      );
    });
    await t.step("what is refused as a date, PostgreSQL refuses or changes", async () => {
      const refused = ["0000-01-01T00:00:00Z", "2026-11-24T10:00:00+16:00", "2026-02-29T00:00:00Z"];
      for (const timestamp of refused) {
        assert.equal(parseTimestamp(timestamp), "timestamp_date");
        await assert.rejects(db.query("SELECT $1::text::timestamptz", [timestamp]), {
          name: "error",
          message: /out of range|invalid input/,
        });
      }
    });
  } finally {
    await db.close();
  }
});
