import assert from "node:assert/strict";
import fc from "fast-check";
import { sensorIdAtOnce } from "../lib/producer/sensor_id.ts";

const encoder = new TextEncoder();

function found(line: string): string | undefined {
  // A line is a part of a larger memory.
  return sensorIdAtOnce(encoder.encode(`xx${line}yy`).subarray(2, -2));
}

Deno.test("sensorIdAtOnce() finds the id of a plain line", async (t) => {
  const cases: readonly [name: string, line: string, want: string | undefined][] = [
    ["first", '{"sensor_id":"s-1","value":1}', "s-1"],
    ["last", '{"value":1,"sensor_id":"s-1"}', "s-1"],
    ["with spaces", '{ "a" : "b" , "value" : 1.5 , "sensor_id" : "s-1" }', "s-1"],
    ["the name as a value", '{"a":"sensor_id","sensor_id":"s-1"}', "s-1"],
    ["signs in a text", '{"a":"{,[:}","sensor_id":"s-1"}', "s-1"],
    ["broken behind it", '{"sensor_id":"s-1",nonsense}', "s-1"],
    ["twice: the first", '{"sensor_id":"s-1","sensor_id":"s-2"}', "s-1"],
    ["64 characters", `{"sensor_id":"${"x".repeat(64)}"}`, "x".repeat(64)],
    ["65 characters", `{"sensor_id":"${"x".repeat(65)}"}`, undefined],
    ["empty", '{"sensor_id":""}', undefined],
    ["a number", '{"sensor_id":7}', undefined],
    ["absent", '{"value":1}', undefined],
    ["no fields", "{}", undefined],
    ["in an object", '{"a":{"sensor_id":"s-1"}}', undefined],
    ["behind an object", '{"a":{},"sensor_id":"s-1"}', undefined],
    ["in an array", '[{"sensor_id":"s-1"}]', undefined],
    ["an escape in it", '{"sensor_id":"s\\u002d1"}', undefined],
    ["an escape before it", '{"a":"\\"","sensor_id":"s-1"}', undefined],
    ["not ASCII", '{"sensor_id":"Zürich"}', undefined],
    ["a control character", '{"sensor_id":"a\u0001"}', undefined],
    ["cut off in it", '{"sensor_id":"s-1', undefined],
    ["cut off behind it", '{"sensor_id":"s-1"', undefined],
    ["nothing", "", undefined],
  ];
  for (const [name, line, want] of cases) await t.step(name, () => assert.equal(found(line), want));
});

Deno.test("sensorIdAtOnce() finds what a parser finds, or nothing", () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom("sensor_id", '"sensor_id":"', "{", "},", "\\"),
  );
  const value = fc.oneof(text, fc.jsonValue(), fc.integer());
  const object = fc.array(fc.tuple(fc.oneof(text, fc.constant("sensor_id")), value), {
    maxLength: 6,
  });
  fc.assert(
    fc.property(object, fc.constantFrom(undefined, 1), (fields, indent) => {
      const { sensor_id: want } = Object.fromEntries(fields);
      const line = JSON.stringify(Object.fromEntries(fields), null, indent).replaceAll("\n", " ");
      const id = found(line);
      if (id !== undefined) assert.equal(id, want);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("sensorIdAtOnce() finds nothing elsewhere in a line with a byte changed", () => {
  const line = encoder.encode('{"unique_reading_id": "r-1", "sensor_id": "s-1", "value": 1.5}');
  for (let at = 0; at < line.length; at++) {
    for (let byte = 0; byte < 256; byte++) {
      const changed = line.with(at, byte);
      const id = sensorIdAtOnce(changed);
      let parsed: unknown;
      try {
        parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(changed));
      } catch {
        continue;
      }
      if (id !== undefined) assert.equal(id, (parsed as { sensor_id: unknown }).sensor_id);
    }
  }
});
