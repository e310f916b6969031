import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  JSON_DEPTH_MAX,
  MESSAGE_BYTES_MAX,
  messageText,
  type ParsedReading,
  parseReading,
} from "../lib/reading/reading.ts";
import { schemaDocument } from "../lib/reading/reading_schema.ts";
import { onAFullStack } from "./full_stack.ts";
import { SAMPLE_LIMITS, sampleFields, sampleText, utf8 } from "./sample_message.ts";

function parse(text: string): ParsedReading {
  const parsed = parseReading(utf8(text), SAMPLE_LIMITS);
  assert.ok(parsed.kind === "reading", JSON.stringify(parsed));
  return parsed;
}

/** The sample with the JSON literal of one number in place of its own. */
function withValue(literal: string): string {
  return sampleText().replace('"value":21.57', `"value":${literal}`);
}

Deno.test("parseReading() takes a message of the original producer as it stands", () => {
  const text = '{"unique_reading_id": "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e", ' +
    '"sensor_id": "0b7e6a52-9c1d-4e3f-8a2b-5c4d6e7f8091", "sensor_type": "co2", ' +
    '"location": {"latitude": -33.868820, "longitude": 151.209290}, ' +
    '"timestamp": "2026-11-24T10:00:00.123456+00:00", "value": 412.3, "unit": "ppm", ' +
    '"status": "inactive", "battery_level": 100}';
  assert.deepEqual(parse(text), {
    kind: "reading",
    reading: {
      unique_reading_id: "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e",
      sensor_id: "0b7e6a52-9c1d-4e3f-8a2b-5c4d6e7f8091",
      sensor_type: "co2",
      location: { latitude: -33.86882, longitude: 151.20929 },
      timestamp: "2026-11-24T10:00:00.123456+00:00",
      value: 412.3,
      unit: "ppm",
      status: "inactive",
      battery_level: 100,
    },
    eventTimeUs: Date.UTC(2026, 10, 24, 10) * 1_000 + 123_456,
  });
});

Deno.test("parseReading() calls a message bad JSON only if its text is", () => {
  const { parse } = JSON;
  JSON.parse = () => {
    throw new RangeError("Maximum call stack size exceeded");
  };
  try {
    assert.throws(() => parseReading(utf8(sampleText()), SAMPLE_LIMITS), { name: "RangeError" });
  } finally {
    JSON.parse = parse;
  }
});

Deno.test("parseReading() rejects no message because the stack is full", async (t) => {
  for (const [name, text] of [["ASCII", sampleText()], ["other", sampleText({ unit: "€" })]]) {
    await t.step(name!, () => {
      const tries = onAFullStack(() => parseReading(utf8(text!), SAMPLE_LIMITS));
      assert.ok(tries.some((one) => one instanceof RangeError));
      assert.deepEqual(tries.filter((one) => "kind" in one && one.kind === "rejection"), []);
    });
  }
});

Deno.test("messageText() gives the text as it came, without a byte order mark", async (t) => {
  const escaped = sampleText().replace("active", String.raw`\u0061ctive`);
  const accented = sampleText({ unit: "é€😀" });
  const cases: [string, string, string][] = [
    ["plain", sampleText(), sampleText()],
    ["byte order mark", `\ufeff${sampleText()}`, sampleText()],
    ["white space around", ` \r\n\t${sampleText()}\n`, ` \r\n\t${sampleText()}\n`],
    ["escapes stay escapes", escaped, escaped],
    ["characters of two to four bytes", accented, accented],
  ];
  for (const [name, sent, want] of cases) {
    await t.step(name, () => {
      assert.equal(messageText(utf8(sent)), want);
    });
  }
});

Deno.test("parseReading() lower-cases the id and keeps the case of the sensor", () => {
  const { reading } = parse(sampleText({
    unique_reading_id: "3F2B8C1E-4D5A-4B6C-8D7E-9F0A1B2C3D4E",
    sensor_id: "Roof:North.2_a-B",
  }));
  assert.equal(reading.unique_reading_id, "3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e");
  assert.equal(reading.sensor_id, "Roof:North.2_a-B");
});

Deno.test("parseReading() takes bytes that begin in the middle of a buffer", () => {
  const whole = utf8(`xx${sampleText()}yy`);
  const inner = whole.subarray(2, whole.length - 2);
  const parsed = parseReading(inner, SAMPLE_LIMITS);
  assert.deepEqual(parsed, parse(sampleText()));
  assert.deepEqual(parseReading(Buffer.from(sampleText()), SAMPLE_LIMITS), parsed);
});

Deno.test("parseReading() keeps doubles to the last bit", async (t) => {
  const cases: [string, number][] = [
    ["-0", -0],
    ["5e-324", 5e-324],
    ["1e308", 1e308],
    ["1.7976931348623157E+308", Number.MAX_VALUE],
    ["1e-400", 0],
    ["1.005", 1.005],
    ["123456789.0", 123456789],
    ["9007199254740991", 2 ** 53 - 1],
    ["-9007199254740992", -(2 ** 53)],
    ["9007199254740993.0", 2 ** 53],
    ["1e16", 1e16],
  ];
  for (const [literal, want] of cases) {
    await t.step(literal, () => {
      assert.ok(Object.is(parse(withValue(literal)).reading.value, want));
    });
  }
});

Deno.test("parseReading() ignores fields that it does not know, at every level", () => {
  const text = sampleText({ location: { latitude: 1, longitude: 2, "@": 3 } })
    .replace('"@":3', '"altitude":3,"__proto__":{"polluted":1},"constructor":{"prototype":{}}')
    .replace(/}$/, ',"__proto__":{"polluted":1},"constructor":1,"prototype":[],"firmware":"1.2"}');
  const { reading } = parse(text);
  assert.deepEqual(
    reading,
    parse(sampleText({ location: { latitude: 1, longitude: 2 } })).reading,
  );
  assert.deepEqual(Object.keys(reading), Object.keys(sampleFields()));
  assert.deepEqual(Object.keys(reading.location), ["latitude", "longitude"]);
  assert.equal((reading as unknown as Record<string, unknown>)["polluted"], undefined);
  assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
});

Deno.test("parseReading() takes a message at each of its bounds", async (t) => {
  const nested = (levels: number): string => "[".repeat(levels) + "]".repeat(levels);
  const padding = (bytes: number): string => {
    const bare = `${sampleText().slice(0, -1)},"pad":""}`;
    return bare.replace('"pad":""', `"pad":"${"x".repeat(bytes - bare.length)}"`);
  };
  const cases: [string, string][] = [
    ["largest message", padding(MESSAGE_BYTES_MAX)],
    ["deepest nesting", sampleText().replace(/}$/, `,"x":${nested(JSON_DEPTH_MAX - 1)}}`)],
    ["brackets in a text are no nesting", sampleText({ status: "[".repeat(64) })],
    ["64 characters outside the BMP", sampleText({ unit: "😀".repeat(64) })],
    ["longest texts", sampleText({ sensor_id: "a".repeat(64), sensor_type: "b".repeat(64) })],
    ["poles", sampleText({ location: { latitude: -90, longitude: 180 } })],
    ["other poles", sampleText({ location: { latitude: 90, longitude: -180 } })],
    ["empty battery", sampleText({ battery_level: 0 })],
    ["integer written as a double", sampleText().replace(":87", ":87.0")],
    ["integer written with an exponent", sampleText().replace(":87", ":8.7e1")],
    ["one hour ahead", sampleText({ timestamp: "2026-11-24T11:00:10Z" })],
    ["the first exact microsecond", sampleText({ timestamp: "1684-07-28T00:12:25.259009Z" })],
    ["nil UUID", sampleText({ unique_reading_id: "00000000-0000-0000-0000-000000000000" })],
    ["a huge integer that is not the value", withValue("1").replace(/}$/, ',"x":1e400}')],
    ["a huge value beside a small one", withValue("1e300").replace(/}$/, ',"x":{"value":1}}')],
  ];
  for (const [name, text] of cases) {
    await t.step(name, () => {
      parse(text);
    });
  }
});

Deno.test("parseReading() cuts a timestamp to microseconds and keeps its zone", async (t) => {
  const cases: [string, string, number][] = [
    ["2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z", 0],
    ["2026-11-24T10:00:00.1Z", "2026-11-24T10:00:00.1Z", 100_000],
    ["2026-11-24t10:00:00.000001z", "2026-11-24t10:00:00.000001z", 1],
    ["2026-11-24T10:00:00.1234567Z", "2026-11-24T10:00:00.123456Z", 123_456],
    ["2026-11-24T15:30:00.999999999+05:30", "2026-11-24T15:30:00.999999+05:30", 999_999],
    ["2026-11-23T18:01:00.5-15:59", "2026-11-23T18:01:00.5-15:59", 500_000],
  ];
  for (const [sent, want, microseconds] of cases) {
    await t.step(sent, () => {
      const parsed = parse(sampleText({ timestamp: sent }));
      assert.equal(parsed.reading.timestamp, want);
      assert.equal(parsed.eventTimeUs, Date.UTC(2026, 10, 24, 10) * 1_000 + microseconds);
    });
  }
});

Deno.test("schemaDocument() describes every field, and its examples are readings", () => {
  const { properties, required, examples } = schemaDocument() as {
    properties: Record<string, { description: string; examples?: unknown[] }>;
    required: string[];
    examples: Record<string, unknown>[];
  };
  assert.deepEqual(required, Object.keys(sampleFields()));
  for (const [field, { description, examples = [] }] of Object.entries(properties)) {
    assert.match(description, /^[A-Z].*\.$/, field);
    for (const example of examples) parse(sampleText({ [field]: example }));
  }
  for (const example of examples) parse(JSON.stringify(example));
});
