import assert from "node:assert/strict";
import { JSON_DEPTH_MAX, MESSAGE_BYTES_MAX, parseReading } from "../lib/reading/reading.ts";
import {
  REJECTION_DETAIL_LENGTH_MAX,
  REJECTION_REASONS,
  type RejectionReason,
} from "../lib/reading/rejection.ts";
import { passTakes } from "./pass_agreement.ts";
import { SAMPLE_LIMITS, sampleFields, sampleText, utf8 } from "./sample_message.ts";

/** What a message must give: "stored", or the reason of its rejection and a part of the detail. */
type Want = "stored" | readonly [RejectionReason, RegExp];
type Case = readonly [name: string, bytes: Uint8Array | null, want: Want];

function text(name: string, json: string, want: Want): Case {
  return [name, utf8(json), want];
}

/** The sample with one field changed. */
function field(name: string, value: unknown, want: Want): Case {
  return text(`${name} ${JSON.stringify(value)}`, sampleText({ [name]: value }), want);
}

/** The sample with one field given as a piece of JSON. */
function literal(name: string, json: string, want: Want): Case {
  const whole = sampleText({ [name]: "@@" }).replace('"@@"', () => json);
  return text(`${name} ${json.slice(0, 40)}`, whole, want);
}

function without(name: string, want: Want): Case {
  const { [name]: _, ...rest } = sampleFields();
  return text(`no ${name}`, JSON.stringify(rest), want);
}

/** The sample with a member in front of the others. */
function withMember(member: string): string {
  return sampleText().replace("{", () => `{${member},`);
}

function brackets(levels: number): string {
  return "[".repeat(levels) + "]".repeat(levels);
}

/** The sample with raw bytes as its unit. */
function rawUnit(...bytes: number[]): Uint8Array {
  const [head, tail] = sampleText({ unit: "@@" }).split("@@") as [string, string];
  return Uint8Array.from([...utf8(head), ...bytes, ...utf8(tail)]);
}

function utf16(json: string): Uint8Array {
  return Uint8Array.from([...json].flatMap((character) => [character.charCodeAt(0), 0]));
}

const ENVELOPE_CASES: readonly Case[] = [
  ["tombstone", null, ["tombstone", /no value/]],
  ["no bytes", new Uint8Array(), ["empty", /no characters/]],
  text("white space only", " \r\n\t ", ["empty", /no characters/]),
  text("byte order mark only", "\ufeff", ["empty", /no characters/]),
  text("byte order mark and a message", `\ufeff${sampleText()}`, "stored"),
  text("two byte order marks", `\ufeff\ufeff${sampleText()}`, ["json", /./]),
  ["UTF-16", utf16(sampleText()), ["json", /./]],
  ["UTF-16 with a byte order mark", Uint8Array.of(0xff, 0xfe, 0x7b, 0), ["utf8", /UTF-8/]],
  ["bytes FF FE", rawUnit(0xff, 0xfe), ["utf8", /UTF-8/]],
  ["lone continuation byte", rawUnit(0x80), ["utf8", /UTF-8/]],
  ["surrogate in UTF-8", rawUnit(0xed, 0xa0, 0x80), ["utf8", /UTF-8/]],
  ["overlong slash", rawUnit(0xc0, 0xaf), ["utf8", /UTF-8/]],
  ["character cut in two", rawUnit(0xf0, 0x9f, 0x98), ["utf8", /UTF-8/]],
  ["beyond U+10FFFF", rawUnit(0xf4, 0x90, 0x80, 0x80), ["utf8", /UTF-8/]],
  ["raw line feed in a text", rawUnit(0x0a), ["json", /control character/]],
  ["raw zero byte in a text", rawUnit(0), ["json", /control character/]],
  ["one byte too many", utf8(sampleText().padEnd(MESSAGE_BYTES_MAX + 1)), ["size", /65537/]],
  ["900 KiB of padding", utf8(withMember(`"x":"${"x".repeat(921_600)}"`)), ["size", /65536/]],
  ["10 MB", new Uint8Array(10_000_000), ["size", /10000000/]],
  text("100,000 keys", withMember(`"x":{${'"k":1,'.repeat(100_000)}"k":1}`), ["size", /./]),
  text("a million elements", withMember(`"x":[${"1,".repeat(1_000_000)}1]`), ["size", /./]),
  text("a CSV line", "3f2b8c1e,temperature,21.5", ["json", /./]),
];

const JSON_CASES: readonly Case[] = [
  text("open brace", "{", ["json", /./]),
  text("cut message", sampleText().slice(0, -1), ["json", /./]),
  text("text after the message", `${sampleText()}x`, ["json", /./]),
  text("two messages", `${sampleText()}\n${sampleText()}`, ["json", /./]),
  text("zero byte after the message", `${sampleText()}\0`, ["json", /./]),
  text("single quotes", sampleText().replaceAll('"', "'"), ["json", /./]),
  text("comment", `/* x */${sampleText()}`, ["json", /./]),
  text("trailing comma", sampleText().replace(/}$/, ",}"), ["json", /./]),
  literal("value", "NaN", ["json", /./]),
  literal("value", "-Infinity", ["json", /./]),
  literal("value", "0x10", ["json", /./]),
  literal("value", "01", ["json", /./]),
  literal("value", "+1", ["json", /./]),
  literal("value", ".5", ["json", /./]),
  literal("unit", String.raw`"\x41"`, ["json", /./]),
  literal("unit", String.raw`"\ud8"`, ["json", /./]),
  text("array on top", "[]", ["not_object", /an array/]),
  text("message in an array", `[${sampleText()}]`, ["not_object", /an array/]),
  text("text on top", '"x"', ["not_object", /"x"/]),
  text("number on top", "1", ["not_object", /1/]),
  text("null on top", "null", ["not_object", /null/]),
  text("true on top", "true", ["not_object", /true/]),
  text("message in a text", JSON.stringify(sampleText()), ["not_object", /./]),
  text("too deep", withMember(`"x":${brackets(JSON_DEPTH_MAX)}`), ["depth", /32/]),
  text("too deep in objects", withMember(`"x":${'{"a":'.repeat(32)}1${"}".repeat(32)}`), [
    "depth",
    /32/,
  ]),
  text("30,000 levels", brackets(30_000), ["depth", /32/]),
  text("30,000 levels in a message", withMember(`"x":${brackets(30_000)}`), ["depth", /32/]),
  text("100,000 levels", brackets(100_000), ["size", /./]),
];

const DUPLICATE_KEY_CASES: readonly Case[] = [
  text("field twice", withMember('"unit":"F"'), ["duplicate_key", /: unit$/]),
  text("field twice, same value", withMember('"unit":"C"'), ["duplicate_key", /: unit$/]),
  text("number twice", withMember('"value":1'), ["duplicate_key", /: value$/]),
  text("object twice", withMember('"location":{}'), ["duplicate_key", /: location$/]),
  text("key escaped", withMember(String.raw`"\u0075nit":"F"`), ["duplicate_key", /: unit$/]),
  text("latitude twice", sampleText().replace('"latitude"', '"latitude":1,"latitude"'), [
    "duplicate_key",
    /: latitude$/,
  ]),
  text("unknown field twice", withMember('"x":1,"x":1'), ["duplicate_key", /: x$/]),
  text("in an unknown field", withMember('"x":[{"y":{"z":1,"z":2}}]'), ["duplicate_key", /: z$/]),
  text("__proto__ twice", withMember('"__proto__":1,"__proto__":2'), [
    "duplicate_key",
    /: __proto__$/,
  ]),
  text("empty key twice", withMember('"":1,"":2'), ["duplicate_key", /: $/]),
  text("quote in the key", withMember(String.raw`"\"":1,"\"":2`), ["duplicate_key", /: "$/]),
  text("in no object that has another fault", '{"a":1,"a":1}', ["duplicate_key", /: a$/]),
  text("same key in two objects", withMember('"unit2":{"unit":1},"x":[{"unit":2}]'), "stored"),
  text("keys that differ in case", withMember('"Unit":1'), "stored"),
  text("looks like a key, is a text", withMember(String.raw`"x":"\"unit\":1,\\"`), "stored"),
];

const TEXT_CASES: readonly Case[] = [
  ...["unique_reading_id", "sensor_id", "sensor_type", "timestamp", "unit", "status"].flatMap(
    (name): Case[] => [
      literal(name, String.raw`"a\u0000b"`, ["nul", new RegExp(`^${name}: `)]),
      literal(name, String.raw`"\ud800"`, ["ill_formed", new RegExp(`^${name}: `)]),
      literal(name, String.raw`"\udc00\ud800"`, ["ill_formed", new RegExp(`^${name}: `)]),
      literal(name, String.raw`"a\nb"`, ["control_character", new RegExp(`^${name}: `)]),
      field(name, 1, ["type", new RegExp(`^${name}: expected string, found 1$`)]),
      field(name, null, ["type", new RegExp(`^${name}: expected string, found null$`)]),
      field(name, ["C"], ["type", new RegExp(`^${name}: expected string, found an array$`)]),
      field(name, { a: 1 }, ["type", new RegExp(`^${name}: expected string, found an object$`)]),
      field(name, true, ["type", new RegExp(`^${name}: expected string, found true$`)]),
      without(name, ["missing", new RegExp(`^${name}$`)]),
    ],
  ),
  ...["sensor_type", "unit", "status"].flatMap((name): Case[] => [
    field(name, "", ["range", new RegExp(`^${name}: expected 1 to 64 characters, found ""$`)]),
    field(name, "x".repeat(65), ["range", new RegExp(`^${name}: `)]),
    field(name, "😀".repeat(65), ["range", new RegExp(`^${name}: `)]),
    field(name, "😀".repeat(64), "stored"),
    field(name, "\u001b[31mred", ["control_character", /u001b/]),
    field(name, "a\r\nb", ["control_character", /./]),
    field(name, "del\u007f", ["control_character", /./]),
    field(name, "c1\u0085", ["control_character", /./]),
    field(name, "c1\u009f", ["control_character", /./]),
    field(name, "\u00a0", "stored"),
    field(name, " ", "stored"),
    field(name, "👩‍🚀 e\u0301 \u202eאב \ud83d\ude00", "stored"),
    field(name, "${jndi:ldap://x/y}", "stored"),
    field(name, "'; DROP TABLE sensor_events; --", "stored"),
    field(name, String.raw`{"a\\b",NULL}`, "stored"),
    field(name, "\\N\\.", "stored"),
    literal(name, String.raw`"\ud83d\ude00"`, "stored"),
  ]),
  field("timestamp", "'; DROP TABLE sensor_events; --", ["timestamp_format", /DROP/]),
];

const ID_CASES: readonly Case[] = [
  ...[
    "",
    "x",
    "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4",
    "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e0",
    "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e ",
    " 3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e",
    "3f2b8c1e4d5a4b6c8d7e9f0a1b2c3d4e",
    "{3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e}",
    "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4g",
    "3f2b8c1e-4d5a-4b6c-8d7e--f0a1b2c3d4e",
    "3f2b8c1ex4d5a-4b6c-8d7e-9f0a1b2c3d4e",
    "3f2b8c1e-4d5ax4b6c-8d7e-9f0a1b2c3d4e",
    "3f2b8c1e-4d5a-4b6cx8d7e-9f0a1b2c3d4e",
    "3f2b8c1e-4d5a-4b6c-8d7ex9f0a1b2c3d4e",
    "3f2b8c1ef4d5a-4b6c-8d7e-9f0a1b2c3d4e",
    "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4ｅ",
    "'; DROP TABLE sensor_events; --",
  ].map((id) => field("unique_reading_id", id, ["id", /^unique_reading_id: expected a UUID/])),
  field("unique_reading_id", "3F2B8C1E-4D5A-4B6C-8D7E-9F0A1B2C3D4E", "stored"),
  field("unique_reading_id", "ffffffff-ffff-ffff-ffff-ffffffffffff", "stored"),
  ...["", " ", "a b", "a/b", "é", "x".repeat(65), "'; DROP", "%", "a*", "sensor\u2028"].map((id) =>
    field("sensor_id", id, ["id", /^sensor_id: expected 1 to 64 of/])
  ),
  field("sensor_id", "a", "stored"),
  field("sensor_id", "__proto__", "stored"),
  field("sensor_id", "A.b_c:d-9", "stored"),
];

const NUMBER_CASES: readonly Case[] = [
  ...["21.5", "NaN", "Infinity", "", true, null, [], [1], {}].map((value) =>
    field("value", value, ["type", /^value: expected number, found/])
  ),
  ...["1e400", "-1e400", "1e309", "1".repeat(400)].map((json) =>
    literal("value", json, ["not_finite", /^value: expected number, found -?Infinity$/])
  ),
  ...["9007199254740993", "-9007199254740993", "9007199254740994", "1" + "0".repeat(300)].map(
    (json) => literal("value", json, ["range", /^value: expected an integer within 2\^53/]),
  ),
  text(
    "value 9007199254740993 before another value",
    sampleText().replace("21.57", "9007199254740993").replace(/}$/, ',"x":{"value":1}}'),
    ["range", /^value: .* found 9007199254740993$/],
  ),
  ...["9007199254740992", "9007199254740993.0", "1e22", "-0", "5e-324", "1e308", "123456789.0"]
    .map((json) => literal("value", json, "stored")),
  without("value", ["missing", /^value$/]),
  ...[2_147_483_648, -1, 101, 100.5, 3.5, 1e300].map((level) =>
    field("battery_level", level, ["range", /^battery_level: expected .*, found /])
  ),
  literal("battery_level", "1e400", ["not_finite", /^battery_level: /]),
  ...["87", true, null, []].map((level) =>
    field("battery_level", level, ["type", /^battery_level: expected integer, found/])
  ),
  without("battery_level", ["missing", /^battery_level$/]),
];

const LOCATION_CASES: readonly Case[] = [
  ...[null, "52.5,13.4", 52.5, [52.5, 13.4], true].map((location) =>
    field("location", location, ["type", /^location: expected object, found/])
  ),
  field("location", {}, ["missing", /^location\.latitude, longitude$/]),
  field("location", { latitude: 1 }, ["missing", /^location\.longitude$/]),
  field("location", { lat: 1, lon: 2 }, ["missing", /^location\.latitude, longitude$/]),
  field("location", { latitude: 91, longitude: 0 }, ["range", /^location\.latitude: .* 91$/]),
  field("location", { latitude: -90.000001, longitude: 0 }, ["range", /^location\.latitude: /]),
  field("location", { latitude: 0, longitude: -181 }, ["range", /^location\.longitude: .* -181$/]),
  field("location", { latitude: 0, longitude: 180.000001 }, ["range", /^location\.longitude: /]),
  field("location", { latitude: "1", longitude: 0 }, ["type", /^location\.latitude: /]),
  field("location", { latitude: 0, longitude: null }, ["type", /^location\.longitude: /]),
  literal("location", '{"latitude":1e400,"longitude":0}', ["not_finite", /^location\.latitude: /]),
  without("location", ["missing", /^location$/]),
];

const SHAPE_CASES: readonly Case[] = [
  text("empty object", "{}", ["missing", /^unique_reading_id, sensor_id, .*, battery_level$/]),
  text("wrong nesting", `{"data":${sampleText()}}`, ["missing", /^unique_reading_id/]),
  text("renamed field", sampleText().replace("sensor_id", "sensorId"), ["missing", /^sensor_id$/]),
  text("fields hidden in __proto__", `{"__proto__":${sampleText()}}`, ["missing", /^unique_/]),
  text("unknown fields", withMember('"firmware":"1.2","tags":["a",{"b":null}]'), "stored"),
  text("__proto__", withMember('"__proto__":{"polluted":true,"value":1}'), "stored"),
  text("constructor", withMember('"constructor":{"prototype":{"polluted":true}}'), "stored"),
  text("hasOwnProperty, toString", withMember('"hasOwnProperty":1,"toString":2'), "stored"),
];

const TIME_CASES: readonly Case[] = [
  ...["infinity", "-infinity", "now", "tomorrow", "epoch", "allballs", "", "2026"].map((
    timestamp,
  ) => field("timestamp", timestamp, ["timestamp_format", /^timestamp: expected RFC 3339/])),
  field("timestamp", "2024-02-30T10:00:00Z", [
    "timestamp_date",
    /date and time that exist.* "2024-02-30/,
  ]),
  field("timestamp", "2026-11-24T23:59:60Z", [
    "timestamp_date",
    /^timestamp: expected a date and time that exist/,
  ]),
  field("timestamp", "0000-01-01T00:00:00Z", [
    "timestamp_date",
    /^timestamp: expected a date and time that exist/,
  ]),
  field("timestamp", "2026-11-24T10:00:00+16:00", [
    "timestamp_date",
    /^timestamp: expected a date and time that exist/,
  ]),
  field("timestamp", "+275760-09-13T00:00:00Z", ["timestamp_format", /^timestamp: /]),
  field("timestamp", "0001-01-01T00:00:00Z", ["timestamp_in_past", /1684 or later/]),
  field("timestamp", "1684-07-28T00:12:25.259008Z", ["timestamp_in_past", /1684 or later/]),
  field("timestamp", "1970-01-01T00:00:00Z", "stored"),
  field("timestamp", "2016-11-24T10:00:00Z", "stored"),
  field("timestamp", "9999-12-31T23:59:59Z", ["timestamp_in_future", /^timestamp: .* 9999/]),
  field("timestamp", "2026-11-25T11:00:10Z", ["timestamp_in_future", /at most 3600 s ahead/]),
  field("timestamp", "2026-11-24T11:00:10.000001Z", ["timestamp_in_future", /3600/]),
  field("timestamp", "2026-11-24T11:00:10Z", "stored"),
  field("timestamp", "2026-11-25T01:00:00+15:59", "stored"),
  ...[1_795_514_400, 1_795_514_400_000, 1e18].map((epoch) =>
    field("timestamp", epoch, ["type", /^timestamp: expected string/])
  ),
];

const TABLES: readonly (readonly [string, readonly Case[]])[] = [
  ["bytes", ENVELOPE_CASES],
  ["JSON", JSON_CASES],
  ["keys that appear twice", DUPLICATE_KEY_CASES],
  ["texts", TEXT_CASES],
  ["ids", ID_CASES],
  ["numbers", NUMBER_CASES],
  ["locations", LOCATION_CASES],
  ["shapes", SHAPE_CASES],
  ["times", TIME_CASES],
];

for (const [group, cases] of TABLES) {
  Deno.test(`parseReading() on bad input: ${group}`, async (t) => {
    for (const [name, bytes, want] of cases) {
      await t.step(name.slice(0, 100), () => {
        const got = parseReading(bytes, SAMPLE_LIMITS);
        if (bytes !== null) passTakes(bytes, SAMPLE_LIMITS);
        if (want === "stored") return assert.equal(got.kind, "reading", JSON.stringify(got));
        assert.ok(got.kind === "rejection", "it was accepted");
        assert.equal(got.reason, want[0], got.detail);
        assert.match(got.detail, want[1]);
        assert.ok(got.detail.length <= REJECTION_DETAIL_LENGTH_MAX);
        assert.match(got.detail, /^[ -~]+$/, "printable ASCII only");
      });
    }
  });
}

Deno.test("parseReading() on old events follows pastDaysMax", async (t) => {
  const cases: [number, string, Want][] = [
    [30, "2026-10-25T10:00:10Z", "stored"],
    [30, "2026-10-25T10:00:09.999999Z", ["timestamp_in_past", /at most 30 days ago/]],
    [3_650, "2016-11-24T10:00:00Z", ["timestamp_in_past", /at most 3650 days ago/]],
    [1_000_000, "0001-01-01T00:00:00Z", ["timestamp_in_past", /./]],
    [0, "1700-01-01T00:00:00Z", "stored"],
  ];
  for (const [pastDaysMax, timestamp, want] of cases) {
    await t.step(`${pastDaysMax} days, ${timestamp}`, () => {
      const got = parseReading(utf8(sampleText({ timestamp })), { ...SAMPLE_LIMITS, pastDaysMax });
      if (want === "stored") return assert.equal(got.kind, "reading");
      assert.ok(got.kind === "rejection" && got.reason === want[0]);
      assert.match(got.detail, want[1]);
    });
  }
});

Deno.test("parseReading() refuses microseconds beyond 2^53, whatever the skew", () => {
  const limits = { ...SAMPLE_LIMITS, futureSkewSecondsMax: 1e12 };
  const at = (timestamp: string): string => {
    const got = parseReading(utf8(sampleText({ timestamp })), limits);
    return got.kind === "reading" ? `${got.eventTimeUs}` : got.reason;
  };
  assert.equal(at("2255-06-05T23:47:34.740991Z"), "9007199254740991");
  assert.equal(at("2255-06-05T23:47:34.740992Z"), "timestamp_in_future");
});

Deno.test("parseReading() names the first fault in a fixed order", async (t) => {
  const cases: [string, string, RejectionReason][] = [
    ["depth before duplicate keys", withMember(`"unit":1,"x":${brackets(40)}`), "depth"],
    ["duplicate keys before not_object", '[{"a":1,"a":1}]', "duplicate_key"],
    ["duplicate keys before fields", withMember('"unit":1,"x":1,"x":1'), "duplicate_key"],
    ["missing before others", '{"unit":1}', "missing"],
    ["fields in the order of the schema", sampleText({ value: "", sensor_id: "" }), "id"],
    [
      "fields before event time",
      sampleText({ timestamp: "9999-01-01T00:00:00Z", value: "" }),
      "type",
    ],
    ["nul before length", sampleText({ unit: "x".repeat(70) + "\n\0" }), "nul"],
  ];
  for (const [name, json, want] of cases) {
    await t.step(name, () => {
      const got = parseReading(utf8(json), SAMPLE_LIMITS);
      assert.equal(got.kind === "rejection" ? got.reason : "stored", want);
    });
  }
});

Deno.test("bad input reaches every reason that parsing can give", () => {
  const reached = new Set<string>(
    TABLES.flatMap(([, cases]) => cases.map(([, , want]) => want[0])),
  );
  const elsewhere = ["id_conflict", "unreadable_batch", "refused_by_database"];
  assert.deepEqual(
    REJECTION_REASONS.filter((reason) => !reached.has(reason) && !elsewhere.includes(reason)),
    [],
  );
});
