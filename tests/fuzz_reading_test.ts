import assert from "node:assert/strict";
import fc from "fast-check";
import { messageText, type ParsedReading, parseReading } from "../lib/reading/reading.ts";
import { REJECTION_REASONS } from "../lib/reading/rejection.ts";
import { FUZZ_RUNS as RUNS, FUZZ_SEED as SEED } from "./fuzz_settings.ts";
import { passTakes } from "./pass_agreement.ts";
import { oracleAccepts, oracleEventTimeMs } from "./reading_oracle.ts";
import { sampleFields, utf8 } from "./sample_message.ts";

/** No event time is too far from now, so that the other rules are seen at work. */
const LIMITS = { nowMs: Date.UTC(2026, 10, 24), futureSkewSecondsMax: 1e12, pastDaysMax: 0 };

/** Pieces of JSON that are close to a rule; they are put between or over the bytes of a message. */
const PIECES = [
  '"unit":"F",',
  '"x":1,',
  '"latitude":1,',
  '"__proto__":{"value":1},',
  '"value":9007199254740993,',
  ',"x":{"value":1,"value":2}',
  "{",
  "}",
  "[",
  "]",
  '"',
  "\\",
  '\\"',
  "\\u0000",
  "\\ud800",
  "\\ud83d\\ude00",
  "\\u0061",
  "\u0000",
  "\u0085",
  "\ufeff",
  "é😀",
  "1e400",
  "9007199254740993",
  "-0",
  "00",
  "null",
  "-02-30T",
  ":60",
  "+16:00",
  ".1234567",
  "0000-",
  `"deep":${"[".repeat(40)}${"]".repeat(40)},`,
].map(utf8);

/** Numbers that are close to a rule; they take the place of others. */
const NUMBERS = ["1e400", "-1e400", "9007199254740993", "-0", "1e-400", "0.1e1"].map(utf8);

/** Values that are wrong for most fields. */
const ODD_VALUES = [null, true, 1, 1.5, -1, "", "x", [], [[1]], {}, { value: "1" }];
ODD_VALUES.push("2026-02-30T00:00:00Z", "2026-11-24T10:00:00+16:00");

const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 });

const timestamp = fc.tuple(
  fc.date({ min: new Date("1685-01-01"), max: new Date("2255-01-01"), noInvalidDate: true }),
  fc.constantFrom("", ".1", ".123456", ".1234567", ".999999999"),
  fc.constantFrom("Z", "z", "+00:00", "-00:00", "+05:30", "-15:59", "+15:59"),
).map(([date, fraction, zone]) => date.toISOString().slice(0, 19) + fraction + zone);

/** Valid messages of all kinds. */
const fields = fc.record({
  unique_reading_id: fc.uuid(),
  sensor_id: fc.constantFrom("a", "Roof:1", "0b7e6a52-9c1d-4e3f-8a2b-5c4d6e7f8091"),
  sensor_type: text,
  location: fc.record({
    latitude: fc.double({ min: -90, max: 90, noNaN: true }),
    longitude: fc.double({ min: -180, max: 180, noNaN: true }),
  }),
  timestamp,
  value: fc.double({ noNaN: true, noDefaultInfinity: true }),
  unit: text,
  status: fc.constantFrom("active", "inactive", "error"),
  battery_level: fc.integer({ min: 0, max: 100 }),
});

/** Valid messages, some with one field replaced. */
const messages = fc.oneof(
  fields,
  fc.tuple(
    fields,
    fc.constantFrom(...Object.keys(sampleFields())),
    fc.constantFrom(...ODD_VALUES),
  ).map(([valid, name, odd]) => ({ ...valid, [name]: odd })),
);

/** One change of the bytes: what is done, where (as a part of the length), and with what. */
const mutation = fc.record({
  kind: fc.constantFrom("flip", "delete", "repeat", "insert", "member", "number", "overwrite"),
  at: fc.integer({ min: 0, max: 999 }),
  length: fc.integer({ min: 1, max: 24 }),
  byte: fc.integer({ min: 1, max: 255 }),
  piece: fc.constantFrom(...PIECES),
});

type Mutation = typeof mutation extends fc.Arbitrary<infer Value> ? Value : never;

function mutate(bytes: Uint8Array, change: Mutation): Uint8Array {
  const at = Math.floor((bytes.length * change.at) / 1_000);
  const head = bytes.subarray(0, at);
  const rest = bytes.subarray(at);
  switch (change.kind) {
    case "flip":
      return Uint8Array.from(bytes, (byte, index) => index === at ? byte ^ change.byte : byte);
    case "delete":
      return Uint8Array.from([...head, ...rest.subarray(change.length)]);
    case "repeat":
      return Uint8Array.from([...head, ...rest.subarray(0, change.length), ...rest]);
    case "insert":
      return Uint8Array.from([...head, ...change.piece, ...rest]);
    case "member": {
      // Right behind a brace or a comma, where a member of an object can stand.
      const before = rest.findIndex((byte) => byte === 0x7b || byte === 0x2c) + 1;
      return Uint8Array.from([
        ...head,
        ...rest.subarray(0, before),
        ...change.piece,
        ...rest.subarray(before),
      ]);
    }
    case "number": {
      // In place of a value, not in the middle of a text.
      const start = rest.findIndex((byte, index) => byte === 0x3a && isDigit(rest[index + 1])) + 1;
      const length = rest.subarray(start).findIndex((byte) => !isDigit(byte));
      if (start === 0 || length < 0) return bytes;
      return Uint8Array.from([
        ...head,
        ...rest.subarray(0, start),
        ...NUMBERS[change.byte % NUMBERS.length]!,
        ...rest.subarray(start + length),
      ]);
    }
    case "overwrite":
      return Uint8Array.from([...head, ...change.piece, ...rest.subarray(change.piece.length)]);
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** What must hold of every accepted message. */
function checkAccepted(bytes: Uint8Array, parsed: ParsedReading): void {
  const decoded = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  assert.equal(messageText(bytes), decoded);
  const sent: Record<string, unknown> = JSON.parse(decoded);
  const { unique_reading_id, location, timestamp, ...rest } = parsed.reading;
  assert.equal(unique_reading_id, String(sent["unique_reading_id"]).toLowerCase());
  const place = sent["location"] as Record<string, unknown>;
  assert.deepEqual(location, { latitude: place["latitude"], longitude: place["longitude"] });
  for (const [name, value] of Object.entries(rest)) assert.ok(Object.is(value, sent[name]), name);
  assert.deepEqual(Object.keys(parsed.reading), Object.keys(sampleFields()));

  assert.equal(timestamp, String(sent["timestamp"]).replace(/(\.\d{6})\d+/, "$1"));
  assert.equal(Math.floor(parsed.eventTimeUs / 1_000), oracleEventTimeMs(timestamp));
  const microseconds = Number(/\.(\d+)/.exec(timestamp)?.[1]?.padEnd(6, "0") ?? 0);
  assert.equal(((parsed.eventTimeUs % 1_000_000) + 1_000_000) % 1_000_000, microseconds);
}

function checkAny(bytes: Uint8Array): void {
  const parsed = parseReading(bytes, LIMITS);
  passTakes(bytes, LIMITS);
  if (parsed.kind === "reading") {
    checkAccepted(bytes, parsed);
    assert.ok(oracleAccepts(bytes), "the oracle rejects it");
    return;
  }
  assert.ok(REJECTION_REASONS.includes(parsed.reason));
  assert.match(parsed.detail, /^[ -~]{1,200}$/);
  const isAboutTime = /^timestamp_in_/.test(parsed.reason);
  assert.ok(isAboutTime || !oracleAccepts(bytes), `${parsed.reason}: the oracle accepts it`);
}

Deno.test("parseReading() on random bytes and mutated messages", async (t) => {
  const reached = new Map<string, number>();
  const count = (bytes: Uint8Array): void => {
    const parsed = parseReading(bytes, LIMITS);
    const name = parsed.kind === "reading" ? "reading" : parsed.reason;
    reached.set(name, (reached.get(name) ?? 0) + 1);
  };
  await t.step(`${RUNS} mutated messages, seed ${SEED}`, () => {
    const changes = fc.array(mutation, { maxLength: 4 });
    fc.assert(
      fc.property(messages, changes, (message, list) => {
        const bytes = list.reduce(mutate, utf8(JSON.stringify(message)));
        checkAny(bytes);
        count(bytes);
      }),
      { numRuns: RUNS, seed: SEED },
    );
  });
  await t.step(`${Math.ceil(RUNS / 10)} strings of random bytes, seed ${SEED}`, () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), checkAny), {
      numRuns: Math.ceil(RUNS / 10),
      seed: SEED,
    });
  });
  await t.step("the mutations reach most rules", () => {
    if (RUNS < 20_000) return;
    const wanted = ["reading", "utf8", "json", "depth", "duplicate_key", "missing", "type", "nul"];
    wanted.push("range", "not_finite", "control_character", "ill_formed", "id");
    wanted.push("timestamp_format", "timestamp_date");
    assert.deepEqual(wanted.filter((name) => !reached.has(name)), []);
  });
});

Deno.test("parseReading() takes every valid message, whatever is added to it", async (t) => {
  await t.step(`seed ${SEED}`, () => {
    const extra = fc.jsonValue({ maxDepth: 4 });
    fc.assert(
      fc.property(fields, extra, fc.nat(4), (message, added, space) => {
        // A text can hold a control character or be too long; the oracle decides.
        const bytes = utf8(JSON.stringify({ added, ...message }, null, space));
        const parsed = parseReading(bytes, LIMITS);
        assert.equal(parsed.kind === "reading", oracleAccepts(bytes), JSON.stringify(parsed));
      }),
      { numRuns: Math.ceil(RUNS / 10), seed: SEED },
    );
  });
});
