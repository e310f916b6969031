import assert from "node:assert/strict";
import {
  countQuotes,
  countStrings,
  findDuplicateKey,
  numberLiteral,
} from "../lib/reading/json_text.ts";
import { utf8 } from "./sample_message.ts";

Deno.test("countQuotes() counts the quotes around strings", async (t) => {
  const cases: [string, string, number][] = [
    ["nothing", "", 0],
    ["no string", "[1,null]", 0],
    ["strings", '{"a":"b"}', 4],
    ["not ASCII", '{"é":"€😀"}', 4],
    ["escaped quote", String.raw`["\""]`, 2],
    ["escaped backslash at the end", String.raw`["\\","\\\\"]`, 4],
    ["backslash, then quote", String.raw`["\\\"",""]`, 4],
    ["escape and not ASCII", String.raw`["\"é"]`, 2],
    ["quote by number", String.raw`["\u0022"]`, 2],
    ["65,536 quotes", '"'.repeat(65_536), 65_536],
  ];
  for (const [name, json, quotes] of cases) {
    await t.step(name, () => assert.equal(countQuotes(utf8(json)), quotes));
  }
});

Deno.test("countStrings() counts keys and texts, and stops at the depth", async (t) => {
  const nested = (levels: number): unknown => JSON.parse("[".repeat(levels) + "]".repeat(levels));
  const cases: [string, unknown, number, number][] = [
    ["text", "x", 0, 1],
    ["number", 1, 0, 0],
    ["null", null, 0, 0],
    ["object", { a: "b", c: 1 }, 1, 3],
    ["array", ["a", ["b", { c: true }]], 3, 3],
    ["own __proto__", JSON.parse('{"__proto__":{"a":"b"}}'), 2, 3],
    ["at the depth", nested(5), 5, 0],
    ["below the depth", nested(6), 5, Infinity],
    ["an empty object below the depth", { a: {} }, 1, Infinity],
    ["50,000 levels", nested(50_000), 32, Infinity],
  ];
  for (const [name, value, depthMax, want] of cases) {
    await t.step(name, () => {
      assert.equal(countStrings(value, depthMax), want);
    });
  }
});

Deno.test("findDuplicateKey() names the first key that an object has twice", async (t) => {
  const cases: [string, string, string | undefined][] = [
    ["none", '{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}', undefined],
    ["text that equals a key", '{"a":"a","b":["a","a"]}', undefined],
    ["outermost", '{"a":1,"b":2,"a":3}', "a"],
    ["inner, then outer", '{"x":{"b":1,"b":2},"x":1}', "b"],
    ["after an inner object", '{"a":{"b":1},"a":2}', "a"],
    ["in an array", '[[{"k":1,"k":2}]]', "k"],
    ["white space before the colon", '{"a"\n\t :1,"a":2}', "a"],
    ["escaped otherwise", String.raw`{"\u0061":1,"a":2}`, "a"],
    ["brackets and colons in texts", '{"a":"}:{","a":1}', "a"],
    ["escaped quotes", String.raw`{"\"a":"\":","\"a":1}`, '"a'],
    ["a text of 65,000 characters", `{"a":"${"x".repeat(65_000)}","a":1}`, "a"],
  ];
  for (const [name, json, want] of cases) {
    await t.step(name, () => {
      assert.equal(findDuplicateKey(json), want);
    });
  }
});

Deno.test("numberLiteral() gives the outermost number as it was written", async (t) => {
  const cases: [string, string, string | undefined][] = [
    ["integer", '{"n":9007199254740993}', "9007199254740993"],
    ["exponent", '{"n":1.50E+2}', "1.50E+2"],
    ["minus zero", '{"n":-0}', "-0"],
    ["before an inner one", '{"n":1.0,"x":{"n":2}}', "1.0"],
    ["after an inner one", '{"x":{"n":2},"n":1.0}', "1.0"],
    ["inner only", '{"x":{"n":2}}', undefined],
    ["a text", '{"n":"1"}', undefined],
    ["absent", "{}", undefined],
    ["no object", "1", undefined],
  ];
  for (const [name, json, want] of cases) {
    await t.step(name, () => {
      assert.equal(numberLiteral(json, "n"), want);
    });
  }
});
