import assert from "node:assert/strict";
import { timestampText } from "../../fakes/reading_rows.ts";

Deno.test("timestampText() is exact to the microsecond on both sides of 1970", () => {
  assert.equal(timestampText(1), "1970-01-01T00:00:00.000001+00:00");
  assert.equal(timestampText(-1), "1969-12-31T23:59:59.999999+00:00");
});
