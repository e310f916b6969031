import assert from "node:assert/strict";
import {
  type Candidate,
  candidateOf,
  groupById,
  groupId,
  isUnanimous,
  newestBySensor,
} from "../lib/consumer/batch.ts";
import { parseReading } from "../lib/reading/reading.ts";
import { idOf, messageText } from "./memory_pipeline.ts";
import { SAMPLE_LIMITS, utf8 } from "./sample_message.ts";

function candidate(offset: number, text: string): Candidate {
  const value = utf8(text);
  const parsed = parseReading(value, SAMPLE_LIMITS);
  if (parsed.kind === "rejection") assert.fail(parsed.reason);
  return candidateOf(
    { offset, key: null, value, headers: {}, timestampMs: 0, leaderEpoch: 0 },
    parsed,
  );
}

Deno.test("groupById() sorts by id, whatever its case, and keeps repeats by offset", () => {
  const upper = messageText(1, { unique_reading_id: idOf(1).toUpperCase() });
  const groups = groupById([
    candidate(4, messageText(3)),
    candidate(5, messageText(2)),
    candidate(6, messageText(1)),
    candidate(7, messageText(3)),
    candidate(8, upper),
    candidate(9, messageText(3)),
  ]);
  assert.deepEqual(
    groups.map(({ first, repeats }) => [first, ...repeats].map((one) => one.message.offset)),
    [[6, 8], [5], [4, 7, 9]],
  );
  assert.deepEqual(groups.map(groupId), [idOf(1), idOf(2), idOf(3)]);
});

Deno.test("isUnanimous() compares content and not text", async (t) => {
  const rows: readonly [string, Record<string, unknown>, boolean][] = [
    ["the same", {}, true],
    ["an unknown field", { firmware: 2 }, true],
    ["the same instant in another zone", { timestamp: "2026-11-24T11:00:00.123456+01:00" }, true],
    ["another value", { value: 2 }, false],
    ["a microsecond later", { timestamp: "2026-11-24T10:00:00.123457+00:00" }, false],
    ["another place", { location: { latitude: 1, longitude: 2 } }, false],
    ["another sensor", { sensor_id: "other" }, false],
  ];
  for (const [name, changes, want] of rows) {
    await t.step(name, () => {
      const [group] = groupById([
        candidate(0, messageText(1)),
        candidate(1, messageText(1, changes)),
      ]);
      assert.equal(isUnanimous(group!), want);
    });
  }
});

Deno.test("newestBySensor() picks by event time, then by id", () => {
  const at = (second: number): string => `2026-11-24T10:00:0${second}Z`;
  const newest = newestBySensor([
    candidate(0, messageText(1, { sensor_id: "a", timestamp: at(5) })),
    candidate(1, messageText(2, { sensor_id: "a", timestamp: at(3) })),
    candidate(2, messageText(9, { sensor_id: "b", timestamp: at(1) })),
    candidate(3, messageText(8, { sensor_id: "b", timestamp: at(1) })),
    candidate(4, messageText(7, { sensor_id: "index", timestamp: at(1) })),
  ]);
  assert.deepEqual(newest.map(({ sensorId, id }) => [sensorId, id]), [["a", idOf(1)], [
    "b",
    idOf(9),
  ]]);
  assert.equal(newest[0]?.eventTimeUs, Date.UTC(2026, 10, 24, 10, 0, 5) * 1_000);
});
