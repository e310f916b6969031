import assert from "node:assert/strict";
import { ConfigurationError, describeError, RowDataError, TransientError } from "../lib/errors.ts";

Deno.test("describeError() tells the whole chain of causes", async (t) => {
  const refused = new Error("connect ECONNREFUSED 127.0.0.1:5432");
  const loop = new Error("turns");
  loop.cause = new Error("round", { cause: loop });
  let long = new Error("0");
  for (let i = 1; i < 20; i++) long = new Error(`level ${i}.`, { cause: long });
  const cases: [string, unknown, string][] = [
    ["one error", refused, "connect ECONNREFUSED 127.0.0.1:5432"],
    [
      "a cause",
      new TransientError("Cannot insert 3 readings", { cause: refused }),
      "Cannot insert 3 readings: connect ECONNREFUSED 127.0.0.1:5432",
    ],
    [
      "a cause that the outer text repeats",
      new TransientError(`Cannot connect: ${refused.message}`, { cause: refused }),
      "Cannot connect: connect ECONNREFUSED 127.0.0.1:5432",
    ],
    [
      "an aggregate without a text",
      new AggregateError([refused, "x"], ""),
      `${refused.message}, x`,
    ],
    ["an aggregate with a text", new AggregateError([refused], "All failed"), "All failed"],
    ["an empty text", new Error("", { cause: refused }), refused.message],
    ["a cause that is no error", new Error("Cannot read", { cause: "gone" }), "Cannot read: gone"],
    ["a thrown text", "gone", "gone"],
    ["a thrown number", 7, "7"],
    ["undefined", undefined, ""],
    ["null", null, ""],
    ["a loop", loop, "turns: round"],
    [
      "a chain without end",
      long,
      "level 19.: level 18.: level 17.: level 16.: level 15.: level 14.: level 13.: level 12.",
    ],
  ];
  for (const [name, error, want] of cases) {
    await t.step(name, () => {
      assert.equal(describeError(error), want);
    });
  }
});

Deno.test("TransientError, ConfigurationError and RowDataError are told apart by class and name", () => {
  const cause = new Error("why");
  for (const Class of [TransientError, ConfigurationError, RowDataError]) {
    const error: Error = new Class("what", { cause });
    assert.ok(error instanceof Error && error instanceof Class);
    assert.equal(error.name, Class.name);
    assert.equal(error.cause, cause);
    const others = [TransientError, ConfigurationError, RowDataError].filter((c) => c !== Class);
    assert.ok(others.every((Other) => !(error instanceof Other)));
  }
});
