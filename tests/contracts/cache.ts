/**
 * The laws of the port `Cache`. They run on the in-memory cache always and on a real Redis in the
 * integration tests.
 *
 * @module
 */
import assert from "node:assert/strict";
import { idsOf, marksOf } from "../../fakes/mark_texts.ts";
import { NoAnswerError } from "../../lib/errors.ts";
import {
  type Cache,
  type LastValue,
  type LastValueReader,
  LEASE_MS,
  type OwnLastValues,
  type Remembered,
} from "../../lib/redis/cache.ts";
import { NO_MARKS } from "../../lib/redis/marks.ts";

/** A cache, and the ways to look behind it and to do it harm. */
export interface CacheUnderTest {
  readonly cache: Cache & LastValueReader;
  /**
   * Lets the life of a mark pass, or a part of it.
   *
   * @param part from 0 to 1 @default 1
   */
  passLifeOfMark(part?: number): Promise<void>;
  /** Lets the lease of a data set pass, or a part of it; from 0 to 1. */
  passLease(part: number): Promise<void>;
  /** Another program puts something at a key that is no text. */
  occupy(key: string): Promise<void>;
  /** Takes everything away, as `FLUSHALL` does. */
  flush(): Promise<void>;
  /** Makes the server unreachable; its data may be lost. */
  goAway(): Promise<void>;
  /** Makes it reachable again, and resolves when the cache has noticed. */
  comeBack(): Promise<void>;
  /** What the index says: sensor -> event time in microseconds. */
  index(): Promise<ReadonlyMap<string, number>>;
}

const SENSOR = "sensor-1";
const DAY_US = Date.UTC(2026, 10, 24) * 1_000;
const [ID_A, ID_B, ID_C] = ["0a", "5f", "f0"].map((head) =>
  `${head}000000-0000-4000-8000-000000000000`
) as [string, string, string];

/** The data set that most tests are about. */
export const DATA_SET = "data set 1";

/** Last values of {@linkcode DATA_SET}. */
export function ours(values: readonly LastValue[] = []): OwnLastValues {
  return { dataSetId: DATA_SET, values };
}

/** A last value as the processor makes it: the time of its message is that of the candidate. */
export function lastValueAt(
  eventTimeUs: number,
  id: string,
  fields: { sensorId?: string; message?: Record<string, unknown> } = {},
): LastValue {
  const { sensorId = SENSOR, message = {} } = fields;
  const ms = Math.floor(eventTimeUs / 1_000);
  const rest = String(eventTimeUs - ms * 1_000).padStart(3, "0");
  const timestamp = new Date(ms).toISOString().replace("Z", `${rest}+00:00`);
  const text = JSON.stringify({
    unique_reading_id: id.toUpperCase(),
    sensor_id: sensorId,
    timestamp,
    ...message,
  });
  return { sensorId, eventTimeUs, id, text };
}

const OTHER = "data set 2";

function stands(lastValues: Remembered["lastValues"]): Remembered {
  return { lastValues, refusedKeys: [] };
}

const NOTHING_THERE = stands("not ours");
const COMPLETE = stands("complete");

/**
 * Registers the suite.
 *
 * @param open Makes an empty cache, and takes it away again at the end of its test.
 */
export function cacheContract(
  name: string,
  open: (use: (subject: CacheUnderTest) => Promise<void>) => Promise<void>,
): void {
  const law = (text: string, check: (subject: CacheUnderTest) => Promise<void>): void => {
    Deno.test(`${name}: ${text}`, () => open(check));
  };

  law("marks() gives values in the order of the ids, null for none", async ({ cache }) => {
    assert.deepEqual(
      await cache.remember(
        marksOf([{ id: ID_A, value: 'a b\r\n"c" \\' }, { id: ID_B, value: "b" }]),
        ours(),
      ),
      NOTHING_THERE,
    );
    assert.deepEqual(await cache.marks(idsOf([ID_B, ID_C, ID_A, ID_B])), [
      "b",
      null,
      'a b\r\n"c" \\',
      "b",
    ]);
    assert.deepEqual(await cache.marks(idsOf([])), []);
  });

  law("what comes in columns is read before a call returns", async ({ cache }) => {
    const marks = marksOf([{ id: ID_A, value: "a" }]);
    const remembering = cache.remember(marks, ours());
    marks.ids.fill(0);
    marks.values.fill(0);
    await remembering;
    const ids = idsOf([ID_A]);
    const looking = cache.marks(ids);
    ids.fill(0);
    assert.deepEqual(await looking, ["a"]);
  });

  law("remember() replaces a mark", async ({ cache }) => {
    await cache.remember(marksOf([{ id: ID_A, value: "old" }]), ours());
    await cache.remember(marksOf([{ id: ID_A, value: "new" }]), ours());
    assert.deepEqual(await cache.marks(idsOf([ID_A])), ["new"]);
  });

  law("remember() takes 10,000 marks and 5,000 last values at once", async ({ cache, index }) => {
    const ids = Array.from(
      { length: 10_000 },
      (_, n) => `${String(n).padStart(8, "0")}${ID_A.slice(8)}`,
    );
    const lastValues = Array.from(
      { length: 5_000 },
      (_, n) => lastValueAt(DAY_US + n, ID_A, { sensorId: `s${n}` }),
    );
    await cache.remember(marksOf(ids.map((id) => ({ id, value: id }))), ours(lastValues));
    assert.deepEqual(await cache.marks(idsOf(ids)), ids);
    assert.equal((await index()).size, 5_000);
  });

  law("marks expire, last values do not", async ({ cache, passLifeOfMark }) => {
    const last = lastValueAt(DAY_US, ID_A);
    await cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours([last]));
    await passLifeOfMark();
    assert.deepEqual(await cache.marks(idsOf([ID_A])), [null]);
    assert.equal(await cache.lastValue(SENSOR), last.text);
  });

  law("remember() gives a mark its whole life again", async ({ cache, passLifeOfMark }) => {
    await cache.remember(marksOf([{ id: ID_A, value: "a" }, { id: ID_B, value: "b" }]), ours());
    await passLifeOfMark(0.7);
    await cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours());
    await passLifeOfMark(0.4);
    assert.deepEqual(await cache.marks(idsOf([ID_A, ID_B])), ["a", null]);
  });

  const early = lastValueAt(DAY_US, ID_B);
  const late = lastValueAt(DAY_US + 1, ID_A);
  const equalLow = lastValueAt(DAY_US, ID_A);
  const equalHigh = lastValueAt(DAY_US, ID_C);
  const redelivered = lastValueAt(DAY_US, ID_B, { message: { note: "again" } });
  const orders: [text: string, sequence: LastValue[], want: LastValue][] = [
    ["goes forward by a microsecond", [early, late], late],
    ["never goes back to a late reading", [late, early], late],
    ["at equal times goes to the larger id", [early, equalHigh], equalHigh],
    ["at equal times never goes to the smaller id", [early, equalLow], early],
    ["does not change when a reading is redelivered", [early, redelivered], early],
    ["goes forward from before 1970", [lastValueAt(-5_000, ID_A), early], early],
    ["never goes back to before 1970", [early, lastValueAt(-5_000, ID_A)], early],
  ];
  for (const [text, sequence, want] of orders) {
    law(`a last value ${text}`, async ({ cache, index }) => {
      for (const candidate of sequence) await cache.remember(NO_MARKS, ours([candidate]));
      assert.equal(await cache.lastValue(SENSOR), want.text);
      assert.deepEqual([...await index()], [[SENSOR, want.eventTimeUs]]);
    });
    law(`a last value ${text}, both in one call`, async ({ cache }) => {
      await cache.remember(NO_MARKS, ours(sequence));
      assert.equal(await cache.lastValue(SENSOR), want.text);
    });
  }

  law(
    "lastTimes() gives pieces of the index, the oldest first, lastTexts() their messages",
    async ({ cache }) => {
      const at = (sensorId: string, us: number): LastValue => lastValueAt(us, ID_A, { sensorId });
      const [c, a, b] = [at("c", DAY_US + 3), at("a", DAY_US + 2), at("b", DAY_US + 2)] as const;
      const all = { fromUs: -Infinity, skip: 0, limit: 10 };
      assert.deepEqual(await cache.lastTimes(all), []);
      await cache.remember(NO_MARKS, ours([c, b, a]));
      const [first, second, third] = [["a", DAY_US + 2], ["b", DAY_US + 2], ["c", DAY_US + 3]];
      assert.deepEqual(await cache.lastTimes(all), [first, second, third]);
      assert.deepEqual(await cache.lastTimes({ ...all, limit: 2 }), [first, second]);
      assert.deepEqual(await cache.lastTimes({ ...all, fromUs: DAY_US + 2, skip: 1 }), [
        second,
        third,
      ]);
      assert.deepEqual(await cache.lastTimes({ ...all, fromUs: DAY_US + 3 }), [third]);
      assert.deepEqual(await cache.lastTimes({ ...all, fromUs: DAY_US + 4 }), []);
      assert.deepEqual(await cache.lastTexts(["c", "nobody", "a"]), [c.text, null, a.text]);
      assert.deepEqual(await cache.lastTexts([]), []);
    },
  );

  law("a last value ends with the newest of many that come at once", async ({ cache, index }) => {
    const candidates = Array.from(
      { length: 64 },
      (_, n) => lastValueAt(DAY_US + n * 37 % 64, ID_A),
    );
    await Promise.all(candidates.map((candidate) => cache.remember(NO_MARKS, ours([candidate]))));
    assert.equal(await cache.lastValue(SENSOR), lastValueAt(DAY_US + 63, ID_A).text);
    assert.deepEqual([...await index()], [[SENSOR, DAY_US + 63]]);
  });

  law("lastValue() is null for an unknown sensor", async ({ cache }) => {
    assert.equal(await cache.lastValue("nobody"), null);
  });

  law("last values keep the message as it came", async ({ cache }) => {
    const last = lastValueAt(DAY_US, ID_A, { message: { unit: "°C 😀", extra: '\u2028\\ "' } });
    await cache.remember(NO_MARKS, ours([last]));
    assert.equal(await cache.lastValue(SENSOR), last.text);
  });

  law("the index has every sensor with the time of its last value", async ({ cache, index }) => {
    await cache.remember(
      NO_MARKS,
      ours([
        lastValueAt(DAY_US + 123_456, ID_A, { sensorId: "a" }),
        { ...lastValueAt(DAY_US, ID_A, { sensorId: "b:C.d_E-1" }), eventTimeUs: 2 ** 53 - 1 },
        lastValueAt(DAY_US + 7, ID_A, { sensorId: "c" }),
      ]),
    );
    assert.deepEqual(
      new Map(await index()),
      new Map([["a", DAY_US + 123_456], ["b:C.d_E-1", 2 ** 53 - 1], ["c", DAY_US + 7]]),
    );
  });

  law("remember() refuses the sensor whose key is the index, and writes nothing", async ({
    cache,
    index,
  }) => {
    await assert.rejects(
      cache.remember(
        marksOf([{ id: ID_A, value: "a" }]),
        ours([
          early,
          lastValueAt(DAY_US, ID_A, { sensorId: "index" }),
        ]),
      ),
      { name: "TransientError", message: /Cannot remember/ },
    );
    assert.deepEqual(await cache.marks(idsOf([ID_A])), [null]);
    assert.equal(await cache.lastValue(SENSOR), null);
    assert.equal((await index()).size, 0);
  });

  law("last values are incomplete until setLastComplete()", async ({ cache }) => {
    assert.deepEqual(await cache.remember(NO_MARKS, ours([early])), stands("incomplete"));
    assert.equal(await cache.setLastComplete(DATA_SET), true);
    assert.deepEqual(
      await cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours([late])),
      COMPLETE,
    );
    assert.deepEqual(await cache.claimLastValues({ dataSetId: DATA_SET }), { kind: "complete" });
  });

  law("setLastComplete() says nothing of last values that are not ours", async ({ cache }) => {
    assert.equal(await cache.setLastComplete(DATA_SET), false);
    await cache.claimLastValues({ dataSetId: DATA_SET });
    assert.equal(await cache.setLastComplete(OTHER), false);
    assert.deepEqual(await cache.remember(NO_MARKS, ours()), stands("incomplete"));
  });

  law("after a flush last values are not ours, and the first one makes them", async ({
    cache,
    flush,
  }) => {
    await cache.claimLastValues({ dataSetId: DATA_SET });
    await cache.setLastComplete(DATA_SET);
    await cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours([late]));
    await flush();
    assert.deepEqual(await cache.remember(NO_MARKS, ours()), NOTHING_THERE);
    assert.deepEqual(await cache.remember(NO_MARKS, ours([early])), stands("incomplete"));
    assert.deepEqual(await cache.marks(idsOf([ID_A])), [null]);
    assert.equal(await cache.lastValue(SENSOR), early.text);
  });

  law("last values of a data set that is alive are left alone, marks are not", async (subject) => {
    const { cache, index } = subject;
    await cache.remember(NO_MARKS, ours([late]));
    const theirs = { dataSetId: OTHER, values: [lastValueAt(DAY_US + 9, ID_C)] };
    assert.deepEqual(
      await cache.remember(marksOf([{ id: ID_B, value: "b" }]), theirs),
      NOTHING_THERE,
    );
    const claim = await cache.claimLastValues({ dataSetId: OTHER });
    assert(claim.kind === "foreign" && claim.leaseMs > 0 && claim.leaseMs <= LEASE_MS, claim.kind);
    assert.equal(claim.dataSetId, DATA_SET);
    assert.equal(await cache.setLastComplete(OTHER), false);
    assert.deepEqual(await cache.marks(idsOf([ID_B])), ["b"]);
    assert.equal(await cache.lastValue(SENSOR), late.text);
    assert.deepEqual([...await index()], [[SENSOR, DAY_US + 1]]);
  });

  law("a claim renews the lease, and shows that somebody is there", async (subject) => {
    const { cache } = subject;
    await cache.claimLastValues({ dataSetId: DATA_SET });
    await subject.passLease(0.7);
    const before = await cache.claimLastValues({ dataSetId: OTHER });
    await cache.claimLastValues({ dataSetId: DATA_SET });
    await subject.passLease(0.4);
    const after = await cache.claimLastValues({ dataSetId: OTHER });
    assert(before.kind === "foreign" && after.kind === "foreign");
    assert(after.leaseMs > before.leaseMs, `${before.leaseMs} ms, then ${after.leaseMs} ms`);
  });

  law("last values of a data set that is gone are cleared, step by step", async (subject) => {
    const { cache, index } = subject;
    const gone = Array.from(
      { length: 2_500 },
      (_, n) => lastValueAt(DAY_US + n, ID_A, { sensorId: `s${n}` }),
    );
    await cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours(gone));
    await cache.setLastComplete(DATA_SET);
    await subject.passLease(1);
    const claimant = { dataSetId: OTHER };
    const steps = [await cache.claimLastValues(claimant), await cache.claimLastValues(claimant)];
    assert.deepEqual(steps, [{ kind: "clearing" }, { kind: "clearing" }]);
    // Nobody writes in between: what was written now could be deleted by the next step.
    const theirs = { dataSetId: OTHER, values: [early] };
    assert.deepEqual(await cache.remember(NO_MARKS, theirs), NOTHING_THERE);
    assert.deepEqual(await cache.remember(NO_MARKS, ours([early])), NOTHING_THERE);
    assert.deepEqual(await cache.claimLastValues(claimant), { kind: "incomplete" });
    assert.equal((await index()).size, 0);
    assert.deepEqual(
      await cache.lastTexts(["s0", "s1249", "s2499", SENSOR]),
      [null, null, null, null],
    );
    assert.deepEqual(await cache.marks(idsOf([ID_A])), ["a"]);
    assert.deepEqual(await cache.remember(NO_MARKS, theirs), stands("incomplete"));
    // A step that was on its way for long deletes nothing.
    assert.deepEqual(await cache.claimLastValues(claimant), { kind: "incomplete" });
    assert.equal(await cache.lastValue(SENSOR), early.text);
    // And what was on its way for the data set that is gone puts nothing back.
    assert.deepEqual(await cache.remember(NO_MARKS, ours([late])), NOTHING_THERE);
    assert.equal(await cache.lastValue(SENSOR), early.text);
  });

  law("a data set that ours has taken the place of holds no lease", async ({ cache }) => {
    await cache.remember(NO_MARKS, ours([late]));
    const claim = await cache.claimLastValues({ dataSetId: OTHER, formerly: DATA_SET });
    assert.deepEqual(claim, { kind: "incomplete" });
    assert.equal(await cache.lastValue(SENSOR), null);
    assert.equal((await cache.claimLastValues({ dataSetId: DATA_SET })).kind, "foreign");
  });

  law("a key of another type costs that one sensor its last value", async (subject) => {
    const { cache } = subject;
    await subject.occupy("last:taken");
    const at = (sensorId: string): LastValue => lastValueAt(DAY_US, ID_A, { sensorId });
    const answer = await cache.remember(
      marksOf([{ id: ID_A, value: "a" }]),
      ours([at("a"), at("taken"), at("z")]),
    );
    assert.deepEqual(answer, { lastValues: "incomplete", refusedKeys: ["last:taken"] });
    assert.deepEqual(await cache.marks(idsOf([ID_A])), ["a"]);
    assert.deepEqual(
      await cache.lastTexts(["a", "taken", "z"]),
      [at("a").text, null, at("z").text],
    );
    assert.equal(await cache.lastValue("taken"), null);
    assert.deepEqual([...(await subject.index()).keys()], ["a", "z"]);
  });

  law("a mark's key of another type costs that one mark until it is replaced", async (subject) => {
    const { cache } = subject;
    await subject.occupy(`reading:${ID_A}`);
    await cache.remember(marksOf([{ id: ID_B, value: "b" }]), ours());
    assert.deepEqual(await cache.marks(idsOf([ID_A, ID_B])), [null, "b"]);
    await cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours());
    assert.deepEqual(await cache.marks(idsOf([ID_A, ID_B])), ["a", "b"]);
  });

  for (const key of ["last:index", "ledger:last-owner", "ledger:last-complete"]) {
    law(`${key} of another type costs all last values and no mark`, async (subject) => {
      const { cache } = subject;
      await subject.occupy(key);
      const answer = await cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours([late]));
      assert.deepEqual(answer, { lastValues: "not ours", refusedKeys: [key] });
      assert.deepEqual(await cache.marks(idsOf([ID_A])), ["a"]);
      await assert.rejects(cache.claimLastValues({ dataSetId: DATA_SET }), {
        name: "TransientError",
      });
    });
  }

  law("every call rejects with NoAnswerError while the server is away", async (subject) => {
    const { cache } = subject;
    await cache.remember(marksOf([{ id: ID_A, value: "a" }]), ours());
    await subject.goAway();
    const calls: [string, () => Promise<unknown>][] = [
      ["marks", () => cache.marks(idsOf([ID_A]))],
      ["remember", () => cache.remember(marksOf([{ id: ID_B, value: "b" }]), ours([early]))],
      ["setLastComplete", () => cache.setLastComplete(DATA_SET)],
      ["claimLastValues", () => cache.claimLastValues({ dataSetId: DATA_SET })],
      ["lastValue", () => cache.lastValue(SENSOR)],
    ];
    for (const [method, call] of calls) {
      await assert.rejects(call, (error) => {
        assert.ok(error instanceof NoAnswerError, method);
        assert.equal(error.server, "redis");
        return true;
      });
    }
    await subject.comeBack();
    await cache.claimLastValues({ dataSetId: DATA_SET });
    await cache.remember(marksOf([{ id: ID_C, value: "c" }]), ours([late]));
    assert.deepEqual(await cache.marks(idsOf([ID_B, ID_C])), [null, "c"]);
    assert.equal(await cache.lastValue(SENSOR), late.text);
  });
}
