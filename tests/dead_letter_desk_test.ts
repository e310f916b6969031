import assert from "node:assert/strict";
import {
  type Examination,
  examine,
  letterJson,
  listText,
  outcomeText,
  parseFilter,
  parseLetterId,
  parseSelection,
  showText,
} from "../lib/operations/dead_letters.ts";
import { storeOn } from "../lib/postgres/client.ts";
import type { KeptDeadLetter } from "../lib/postgres/dead_letters.ts";
import { migrate } from "../lib/postgres/migrate.ts";
import { batchOf, readingAt, TOPIC } from "./contracts/store.ts";
import { withPglite } from "./pglite_pool.ts";
import { SAMPLE_LIMITS, sampleText, utf8 } from "./sample_message.ts";
import { projectMigrations } from "./sql_store.ts";

function letterOf(changes: Partial<KeptDeadLetter> = {}): KeptDeadLetter {
  const payload = changes.payload === undefined ? utf8("{") : changes.payload;
  return {
    id: 17,
    topic: TOPIC,
    partition: 3,
    offset: 42,
    reason: "json",
    detail: "Unexpected end",
    payload,
    payloadBytes: payload?.length ?? 0,
    payloadSha256: "00".repeat(32),
    key: null,
    headers: {},
    createdAt: "2026-11-24T10:00:00.000Z",
    attempts: 0,
    attemptedAt: null,
    attemptFault: null,
    resolution: null,
    resolvedAt: null,
    resolutionNote: null,
    readingId: null,
    ...changes,
  };
}

const REJECTED: Examination["today"] = {
  kind: "rejected",
  rejection: { kind: "rejection", reason: "json", detail: "Unexpected end" },
};

/** A letter that is hostile wherever a sender has a say. */
const HOSTILE = letterOf({
  payload: utf8("\x1b[2J\x9b1mboo\u202e\r\n"),
  key: new Uint8Array([0x1b, 0xff]),
  headers: { "\x1b]0;title\x07": ["\x9b2J", null] },
  attempts: 1,
  attemptedAt: "2026-11-24T11:00:00.000Z",
  attemptFault: "json: \x1b[31m",
});

// deno-lint-ignore no-control-regex -- they are what must not be there
const UNSAFE = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]/;

Deno.test("listText() and showText() let no control character through", () => {
  const shown = showText({ letter: HOSTILE, today: REJECTED });
  assert.doesNotMatch(shown, UNSAFE);
  assert.match(shown, /boo/);
  assert.match(shown, /\\x\{1b\}\\x\{ff\}/);
  const listed = listText([HOSTILE]);
  assert.doesNotMatch(listed, UNSAFE);
  assert.equal(listed.split("\n").length, 2);
});

Deno.test("showText() tells place, reason, attempts and what a replay would do", () => {
  const shown = showText({ letter: HOSTILE, today: REJECTED });
  assert.match(shown, /partition 3, offset 42/);
  assert.match(shown, /attempts +1, the last at 2026-11-24T11:00:00.000Z: json: \\u\{1b\}\[31m/);
  assert.match(shown, /today +rejected, json: Unexpected end/);
  const cut = showText({ letter: letterOf({ payloadBytes: 70_000 }), today: REJECTED });
  assert.match(cut, /\{\n\(cut here\)$/);
  assert.match(
    showText({ letter: letterOf({ payload: null }), today: REJECTED }),
    /\(no message\)/,
  );
});

Deno.test("showText() of a resolved letter tells how it ended", () => {
  const letter = letterOf({
    resolution: "discarded",
    resolvedAt: "2026-11-25T10:00:00.000Z",
    resolutionNote: "test rig",
  });
  const shown = showText({ letter, today: { kind: "resolved" } });
  assert.match(shown, /state +discarded at 2026-11-25T10:00:00.000Z \(test rig\)/);
  assert.doesNotMatch(shown, /today/);
});

Deno.test("listText() cuts a long message between characters", () => {
  const payload = utf8("°".repeat(40)).subarray(0, 59);
  const [, row] = listText([letterOf({ payload, payloadBytes: 80 })]).split("\n");
  assert.match(row!, /°{29}…$/);
});

Deno.test("examine() shows both contents of a conflict side by side", () =>
  withPglite(async (pool) => {
    await migrate(pool, await projectMigrations());
    const store = storeOn(pool);
    const { reading } = readingAt(0, 1);
    await store.openLedgerLine(TOPIC, 0, 0);
    await store.storeBatch(
      batchOf(await store.dataSetId(), { readings: [readingAt(0, 1)] }),
      "compare",
    );
    const sent = sampleText({
      ...reading,
      timestamp: "2026-11-24T12:00:00.123456+02:00",
      value: 9,
    });
    const found = await examine(letterOf({ payload: utf8(sent) }), pool, SAMPLE_LIMITS);
    assert.equal(found.today.kind, "conflict");
    const lines = showText(found).split("\n");
    const marked = lines.filter((line) => line.startsWith("!"));
    assert.deepEqual(marked.map((line) => line.split(/\s+/)), [["!", "value", "21.5", "9"]]);
    assert.ok(
      lines.some((line) => /stored \(partition 0, offset 0\) +in the dead letter/.test(line)),
    );
    // The same instant in another zone is not a difference.
    assert.ok(lines.some((line) => /^ +timestamp +(\S+) +\1$/.test(line)));

    const same = await examine(
      letterOf({ payload: utf8(JSON.stringify(reading)) }),
      pool,
      SAMPLE_LIMITS,
    );
    assert.equal(same.today.kind, "duplicate");
    assert.equal(same.conflict, undefined);
    const fresh = await examine(letterOf({ payload: utf8(sampleText()) }), pool, SAMPLE_LIMITS);
    assert.equal(fresh.today.kind, "inserted");
    assert.equal((await examine(letterOf(), pool, SAMPLE_LIMITS)).today.kind, "rejected");
  }));

Deno.test("letterJson() keeps bytes that are no text as base64", () => {
  const text = letterJson(letterOf({ payload: utf8("°") }));
  assert.deepEqual([text.payload, text.payloadBase64, text.state], ["°", undefined, "open"]);
  const bytes = letterJson(letterOf({ payload: new Uint8Array([0xff]), key: null }));
  assert.deepEqual([bytes.payload, bytes.payloadBase64, bytes.key], [null, "/w==", null]);
  assert.equal(bytes.topicId, TOPIC.topicId);
});

Deno.test("parseSelection() wants ids or a flag, and not both", () => {
  assert.deepEqual(parseSelection(["3", "1", "3"], {}), { ids: [3, 1], state: "all" });
  assert.equal(parseSelection([], { reason: "json" }).state, "open");
  assert.equal(parseSelection([], { since: "2026-11-24" }).sinceMs, Date.UTC(2026, 10, 24));
  for (
    const [ids, flags, message] of [
      [[], {}, /give ids, or --reason/],
      [["1"], { reason: "json" }, /Cannot combine/],
      [["0"], {}, /"0": an id is a number/],
      [["1; DROP"], {}, /an id is a number/],
      [[], { reason: "jason" }, /"jason": the reasons are tombstone, /],
      [[], { until: "yesterday" }, /--until "yesterday": give a date/],
    ] as const
  ) {
    assert.throws(() => parseSelection(ids, flags), { name: "ConfigurationError", message });
  }
});

Deno.test("parseFilter() and parseLetterId() keep what they are given", () => {
  assert.equal(parseLetterId("12"), 12);
  assert.deepEqual(parseFilter({ sensor: "s", until: "2026-11-24T10:00:00Z" }, "all"), {
    reason: undefined,
    sinceMs: undefined,
    untilMs: Date.UTC(2026, 10, 24, 10),
    sensorId: "s",
    state: "all",
  });
});

Deno.test("outcomeText() has a sentence for every outcome", () => {
  const texts = (["inserted", "duplicate", "conflict"] as const)
    .map((kind) => outcomeText({ kind, readingId: "r" }))
    .concat(
      outcomeText(REJECTED),
      outcomeText({ kind: "resolved" }),
      outcomeText({ kind: "absent" }),
    );
  assert.equal(new Set(texts).size, 6);
});
