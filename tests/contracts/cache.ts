/**
 * The laws of the port `Cache`. They run on the in-memory cache always and on a real Redis in the
 * integration tests.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Cache, LastValue, LastValueReader } from "../../lib/redis/cache.ts";

/** A cache, and the ways to look behind it and to do it harm. */
export interface CacheUnderTest {
  readonly cache: Cache & LastValueReader;
  /**
   * Lets the life of a mark pass, or a part of it.
   *
   * @param part from 0 to 1 @default 1
   */
  passLifeOfMark(part?: number): Promise<void>;
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
    assert.equal(
      await cache.remember([{ id: ID_A, value: 'a b\n"c" é 😀' }, { id: ID_B, value: "b" }], []),
      null,
    );
    assert.deepEqual(await cache.marks([ID_B, ID_C, ID_A, ID_B]), [
      "b",
      null,
      'a b\n"c" é 😀',
      "b",
    ]);
    assert.deepEqual(await cache.marks([]), []);
  });

  law("remember() replaces a mark", async ({ cache }) => {
    await cache.remember([{ id: ID_A, value: "old" }], []);
    await cache.remember([{ id: ID_A, value: "new" }], []);
    assert.deepEqual(await cache.marks([ID_A]), ["new"]);
  });

  law("remember() takes 10,000 marks and 5,000 last values at once", async ({ cache, index }) => {
    const ids = Array.from({ length: 10_000 }, (_, n) => `${n}-${ID_A}`.slice(0, 36));
    const lastValues = Array.from(
      { length: 5_000 },
      (_, n) => lastValueAt(DAY_US + n, ID_A, { sensorId: `s${n}` }),
    );
    await cache.remember(ids.map((id) => ({ id, value: id })), lastValues);
    assert.deepEqual(await cache.marks(ids), ids);
    assert.equal((await index()).size, 5_000);
  });

  law("marks expire, last values do not", async ({ cache, passLifeOfMark }) => {
    const last = lastValueAt(DAY_US, ID_A);
    await cache.remember([{ id: ID_A, value: "a" }], [last]);
    await passLifeOfMark();
    assert.deepEqual(await cache.marks([ID_A]), [null]);
    assert.equal(await cache.lastValue(SENSOR), last.text);
  });

  law("remember() gives a mark its whole life again", async ({ cache, passLifeOfMark }) => {
    await cache.remember([{ id: ID_A, value: "a" }, { id: ID_B, value: "b" }], []);
    await passLifeOfMark(0.7);
    await cache.remember([{ id: ID_A, value: "a" }], []);
    await passLifeOfMark(0.4);
    assert.deepEqual(await cache.marks([ID_A, ID_B]), ["a", null]);
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
      for (const candidate of sequence) await cache.remember([], [candidate]);
      assert.equal(await cache.lastValue(SENSOR), want.text);
      assert.deepEqual([...await index()], [[SENSOR, want.eventTimeUs]]);
    });
    law(`a last value ${text}, both in one call`, async ({ cache }) => {
      await cache.remember([], sequence);
      assert.equal(await cache.lastValue(SENSOR), want.text);
    });
  }

  law(
    "lastTimes() gives the oldest ones of the index, lastTexts() their messages",
    async ({ cache }) => {
      const at = (sensorId: string, us: number): LastValue => lastValueAt(us, ID_A, { sensorId });
      const [c, a, b] = [at("c", DAY_US + 3), at("a", DAY_US + 2), at("b", DAY_US + 2)] as const;
      assert.deepEqual(await cache.lastTimes(10), new Map());
      await cache.remember([], [c, b, a]);
      assert.deepEqual([...await cache.lastTimes(2)], [["a", DAY_US + 2], ["b", DAY_US + 2]]);
      assert.deepEqual((await cache.lastTimes(10)).size, 3);
      assert.deepEqual(await cache.lastTexts(["c", "nobody", "a"]), [c.text, null, a.text]);
      assert.deepEqual(await cache.lastTexts([]), []);
    },
  );

  law("a last value ends with the newest of many that come at once", async ({ cache, index }) => {
    const candidates = Array.from(
      { length: 64 },
      (_, n) => lastValueAt(DAY_US + n * 37 % 64, ID_A),
    );
    await Promise.all(candidates.map((candidate) => cache.remember([], [candidate])));
    assert.equal(await cache.lastValue(SENSOR), lastValueAt(DAY_US + 63, ID_A).text);
    assert.deepEqual([...await index()], [[SENSOR, DAY_US + 63]]);
  });

  law("lastValue() is null for an unknown sensor", async ({ cache }) => {
    assert.equal(await cache.lastValue("nobody"), null);
  });

  law("last values keep the message as it came", async ({ cache }) => {
    const last = lastValueAt(DAY_US, ID_A, { message: { unit: "°C 😀", extra: '\u2028\\ "' } });
    await cache.remember([], [last]);
    assert.equal(await cache.lastValue(SENSOR), last.text);
  });

  law("the index has every sensor with the time of its last value", async ({ cache, index }) => {
    await cache.remember([], [
      lastValueAt(DAY_US + 123_456, ID_A, { sensorId: "a" }),
      { ...lastValueAt(DAY_US, ID_A, { sensorId: "b:C.d_E-1" }), eventTimeUs: 2 ** 53 - 1 },
      lastValueAt(DAY_US + 7, ID_A, { sensorId: "c" }),
    ]);
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
      cache.remember([{ id: ID_A, value: "a" }], [
        early,
        lastValueAt(DAY_US, ID_A, { sensorId: "index" }),
      ]),
      { name: "TransientError", message: /Cannot remember/ },
    );
    assert.deepEqual(await cache.marks([ID_A]), [null]);
    assert.equal(await cache.lastValue(SENSOR), null);
    assert.equal((await index()).size, 0);
  });

  law("remember() gives the data set of setLastComplete()", async ({ cache }) => {
    await cache.setLastComplete("data set 1");
    assert.equal(await cache.remember([], []), "data set 1");
    await cache.setLastComplete("data set 2");
    assert.equal(await cache.remember([{ id: ID_A, value: "a" }], [early]), "data set 2");
  });

  law("after a flush remember() gives null", async ({ cache, flush }) => {
    await cache.setLastComplete("data set 1");
    await cache.remember([{ id: ID_A, value: "a" }], [late]);
    await flush();
    assert.equal(await cache.remember([], [early]), null);
    assert.deepEqual(await cache.marks([ID_A]), [null]);
    assert.equal(await cache.lastValue(SENSOR), early.text);
  });

  law("clearLastValues() forgets last values, index and completeness, and no mark", async ({
    cache,
    index,
  }) => {
    const lastValues = Array.from(
      { length: 2_500 },
      (_, n) => lastValueAt(DAY_US + n, ID_A, { sensorId: `s${n}` }),
    );
    await cache.remember([{ id: ID_A, value: "a" }], lastValues);
    await cache.setLastComplete("data set 1");
    await cache.clearLastValues();
    assert.equal(await cache.remember([], []), null);
    assert.equal((await index()).size, 0);
    for (const sensorId of ["s0", "s1249", "s2499"]) {
      assert.equal(await cache.lastValue(sensorId), null);
    }
    assert.deepEqual(await cache.marks([ID_A]), ["a"]);
    await cache.remember([], [early]);
    assert.equal(await cache.lastValue(SENSOR), early.text);
  });

  law("every call rejects with TransientError while the server is away", async (subject) => {
    const { cache } = subject;
    await cache.remember([{ id: ID_A, value: "a" }], []);
    await subject.goAway();
    const calls: [string, () => Promise<unknown>][] = [
      ["marks", () => cache.marks([ID_A])],
      ["remember", () => cache.remember([{ id: ID_B, value: "b" }], [early])],
      ["setLastComplete", () => cache.setLastComplete("data set 1")],
      ["clearLastValues", () => cache.clearLastValues()],
      ["lastValue", () => cache.lastValue(SENSOR)],
    ];
    for (const [method, call] of calls) {
      await assert.rejects(call, { name: "TransientError" }, method);
    }
    await subject.comeBack();
    assert.equal(await cache.remember([{ id: ID_C, value: "c" }], [late]), null);
    assert.deepEqual(await cache.marks([ID_B, ID_C]), [null, "c"]);
    assert.equal(await cache.lastValue(SENSOR), late.text);
  });
}
