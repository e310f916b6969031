import assert from "node:assert/strict";
import { DIRECTORY_SENSORS_MAX, SensorDirectory } from "../lib/monitor/sensor_directory.ts";
import { pageOf, type SensorQuery, type SensorView, viewOf } from "../lib/monitor/sensor_pages.ts";
import type { IndexRange, LastValueReader } from "../lib/redis/cache.ts";
import { nextTurn, SLICE_STEPS } from "../lib/slices.ts";
import { FakeClock } from "./fake_clock.ts";
import { sampleFields } from "./sample_message.ts";
import { turnsDuring } from "./turns_during.ts";

const SENSORS = DIRECTORY_SENSORS_MAX;
const NOW_MS = Date.UTC(2026, 10, 24, 12);
const QUESTIONS = 300;
const ALL: SensorQuery = { silentAfterMs: 60_000, limit: 50 };

/** Every other sensor has been silent for an hour. */
function atMsOf(index: number): number {
  return NOW_MS - (index % 2) * 3_600_000;
}

function idOf(index: number): string {
  return `s-${String(index).padStart(6, "0")}`;
}

/** A Redis with 100,000 sensors that counts what it is asked. */
class ManySensors implements LastValueReader {
  calls = 0;
  /** While it is set, answers wait for it. */
  held: Promise<void> | undefined;
  largestAnswer = 0;
  readonly #index: readonly (readonly [string, number])[];

  constructor() {
    this.#index = Array.from(
      { length: SENSORS },
      (_, at) => [idOf(at), atMsOf(at) * 1_000] as const,
    )
      .toSorted(([_a, a], [_b, b]) => a - b);
  }

  lastTimes(
    { fromUs, skip, limit }: IndexRange,
  ): Promise<readonly (readonly [sensorId: string, us: number])[]> {
    // Only two times: the sensors of one follow those of the other.
    const first = fromUs > this.#index[0]![1] ? SENSORS / 2 : 0;
    return this.#answer(this.#index.slice(first + skip, first + skip + limit));
  }

  lastTexts(sensorIds: readonly string[]): Promise<readonly (string | null)[]> {
    return this.#answer(sensorIds.map((sensor_id) => {
      const timestamp = new Date(atMsOf(Number(sensor_id.slice(2)))).toISOString();
      return JSON.stringify(sampleFields({ sensor_id, timestamp }));
    }));
  }

  async #answer<Item>(items: readonly Item[]): Promise<readonly Item[]> {
    this.calls++;
    this.largestAnswer = Math.max(this.largestAnswer, items.length);
    await this.held;
    return items;
  }
}

Deno.test("SensorDirectory.page() with 100,000 sensors", async (t) => {
  const cache = new ManySensors();
  const clock = new FakeClock(NOW_MS);
  const store = { lastReadings: () => Promise.resolve([]) };
  const sensors = new SensorDirectory({ cache, store, clock });
  const askAll = (): Promise<unknown> =>
    Promise.all(Array.from({ length: QUESTIONS }, () => sensors.page(ALL)));
  const piecesOfView = 2 * SENSORS / SLICE_STEPS;

  await t.step("is read once for all who ask, in small pieces", async () => {
    const turns = await turnsDuring(async () => {
      await askAll();
      // The first ones are shown before the others are known.
      assert.ok((await sensors.page(ALL)).total < SENSORS / 10);
      while ((await sensors.page(ALL)).total < SENSORS) await nextTurn();
    });
    assert.ok(cache.calls <= SENSORS / 1_000 + SENSORS / 100 + 2, `${cache.calls} calls`);
    assert.ok(cache.largestAnswer <= 1_000);
    assert.ok(turns >= SENSORS / 100, `${turns} turns`);
    const { total, matching, silent, sensors: shown } = await sensors.page(ALL);
    assert.deepEqual([total, matching, silent, shown.length], [SENSORS, SENSORS, SENSORS / 2, 50]);
  });
  await t.step("costs nothing that grows with the sensors when it is known", async () => {
    const before = cache.calls;
    const turns = await turnsDuring(askAll);
    assert.equal(cache.calls, before);
    assert.ok(turns <= 5, `${turns} turns`);
  });
  await t.step("is put in order once for all who ask the same", async () => {
    await clock.advance(1_000);
    const one = await turnsDuring(() => sensors.page({ ...ALL, search: "S-" }));
    const all = await turnsDuring(() =>
      Promise.all(
        Array.from({ length: QUESTIONS }, () => sensors.page({ ...ALL, search: "s-0" })),
      )
    );
    assert.ok(one >= piecesOfView / 2, `${one} turns`);
    assert.ok(all <= 10 * piecesOfView, `${all} turns`);
  });
  await t.step("nobody waits while it is read again", async () => {
    await clock.advance(15_000);
    const released = Promise.withResolvers<void>();
    cache.held = released.promise;
    assert.equal((await sensors.page(ALL)).total, SENSORS);
    released.resolve();
  });
});

Deno.test("pageOf() looks at few of 100,000 places, wherever the page begins", async () => {
  const line = { sensorType: "co2" } as never;
  const ordered = Array.from(
    { length: SENSORS },
    (_, at) => ({ sensorId: idOf(at), atMs: atMsOf(at), line }),
  );
  const { placed, silent } = await viewOf(ordered, ALL, NOW_MS);
  let looks = 0;
  const view: SensorView = {
    silent,
    placed: new Proxy(placed, {
      get: (target, name) => {
        if (typeof name === "string" && /^\d+$/.test(name)) looks++;
        return Reflect.get(target, name);
      },
    }),
  };
  for (const at of [0, 1, SENSORS / 2 - 1, SENSORS / 2, SENSORS - 2]) {
    looks = 0;
    const { shown } = pageOf(view, { after: placed[at]!, limit: 10 });
    assert.equal(shown[0]?.sensor, placed[at + 1]!.sensor);
    assert.ok(looks <= 40, `${looks} looks`);
  }
});
