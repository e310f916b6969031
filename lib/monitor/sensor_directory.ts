/**
 * All sensors, kept in this process while somebody looks, so that filtering, searching and paging cost
 * the servers nothing. When each was heard last is asked for all of them; values are asked for those of
 * the page that is shown.
 *
 * Everything that grows with the number of sensors is done in pieces of a few milliseconds, once for all
 * who ask, and so seldom that it takes a small part of the time. So readers, however many, do not hold up
 * the flow.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { TransientError } from "../errors.ts";
import type { Store } from "../postgres/store.ts";
import type { Reading } from "../reading/reading.ts";
import type { LastValueReader } from "../redis/cache.ts";
import { parseTimestamp } from "../reading/timestamp.ts";
import { forEachInSlices, nextTurn, sortedInSlices } from "../slices.ts";
import {
  pageOf,
  type Sensor,
  type SensorLine,
  type SensorPage,
  type SensorQuery,
  type SensorView,
  viewOf,
} from "./sensor_pages.ts";

/** Whom the directory asks. */
export interface DirectoryParts {
  /** Has the last values at hand. */
  readonly cache: LastValueReader;
  /** Has them as well, at a higher price: asked while Redis does not answer. */
  readonly store: Pick<Store, "lastReadings">;
  /** Says how old the answers are. */
  readonly clock: Clock;
}

/** Most sensors that are kept. */
export const DIRECTORY_SENSORS_MAX = 100_000;

/** Asked again within this time, the directory answers what it has, ms. */
const FRESH_MS = { redis: 1_000, postgres: 5_000 } as const;

/** What took long stays fresh for this many times as long, so that it takes little of the time. */
const FRESH_FACTOR = 20;

/** And no longer than this, ms. */
const FRESH_MS_MAX = 15_000;

/** With more sensors than these nobody waits for news of them: what is known is shown. */
const WAITED_FOR_MAX = 20_000;

/** Of more new sensors than those, so many are read first and shown; the others follow. */
const FIRST_READ = 5_000;

/** Sensors of the index, and values, asked of Redis in one call: a few milliseconds of parsing. */
const TIMES_MAX = 1_000;
const TEXTS_MAX = 100;

/**
 * Pieces of the index in one reading of it. Sensors that report meanwhile move to its end and come
 * again; this ends the chase.
 */
const INDEX_PIECES_MAX = 2 * DIRECTORY_SENSORS_MAX / TIMES_MAX;

/** Views that are kept; when there are more, all are forgotten. */
const VIEWS_MAX = 32;

/** Sensors asked of PostgreSQL in one statement, and in all. */
const READINGS_MAX = 200;
const POSTGRES_SENSORS_MAX = 10_000;

/** A view that is being made or has been made. */
interface KeptView {
  readonly view: Promise<SensorView>;
  freshUntilMs: number;
}

/** Keeps the sensors. */
export class SensorDirectory {
  readonly #parts: DirectoryParts;
  #sensors: ReadonlyMap<string, Sensor> = new Map();
  /** The same in the order of their ids. */
  #ordered: readonly Sensor[] = [];
  #types: readonly string[] = [];
  readonly #views = new Map<string, KeptView>();
  #source: "redis" | "postgres" = "redis";
  #isKnown = false;
  #freshUntilMs = -Infinity;
  /** When the last times were asked for, by the clock's elapsed time. */
  #seenMs = 0;
  #refreshing: Promise<void> | undefined;
  /** Reads the values of new sensors; meanwhile nobody else adds any. */
  #filling: Promise<void> | undefined;

  /** Knows nothing before the first question. */
  constructor(parts: DirectoryParts) {
    this.#parts = parts;
  }

  /**
   * One page of sensors.
   *
   * @throws {TransientError} if neither Redis nor PostgreSQL answers.
   */
  async page(query: SensorQuery): Promise<SensorPage> {
    await this.#refresh();
    const { clock } = this.#parts;
    const [source, total, types] = [this.#source, this.#ordered.length, this.#types];
    const measuredAtMs = Math.round(clock.now() - clock.elapsedMs() + this.#seenMs);
    const view = await this.#viewOf(query);
    const { shown, next } = pageOf(view, query);
    if (source === "redis") await this.#readValues(shown.map(({ sensor }) => sensor));
    const sensors = shown.map(({ sensor, isSilent }) => ({ ...sensor.line, isSilent }));
    const { placed, silent } = view;
    return { sensors, next, total, matching: placed.length, silent, types, source, measuredAtMs };
  }

  /** Several that ask the same at the same time wait for one view. */
  async #viewOf(query: SensorQuery): Promise<SensorView> {
    const { clock } = this.#parts;
    const { sensorType, search, silentAfterMs } = query;
    const key = JSON.stringify([sensorType, search, silentAfterMs]);
    const kept = this.#views.get(key);
    const startMs = clock.elapsedMs();
    if (kept !== undefined && startMs < kept.freshUntilMs) return await kept.view;
    if (this.#views.size >= VIEWS_MAX) this.#views.clear();
    const made = { view: viewOf(this.#ordered, query, clock.now()), freshUntilMs: Infinity };
    this.#views.set(key, made);
    const view = await made.view;
    made.freshUntilMs = this.#freshUntil(startMs, FRESH_MS.redis);
    return view;
  }

  /** Until when something is fresh that was begun at `startMs` and is ready now. */
  #freshUntil(startMs: number, freshMs: number): number {
    const nowMs = this.#parts.clock.elapsedMs();
    const longMs = Math.min(FRESH_MS_MAX, FRESH_FACTOR * (nowMs - startMs));
    return nowMs + Math.max(freshMs, longMs);
  }

  /** Several that ask at the same time wait for one answer. */
  async #refresh(): Promise<void> {
    if (this.#parts.clock.elapsedMs() < this.#freshUntilMs) return;
    this.#refreshing ??= this.#load().finally(() => {
      this.#refreshing = undefined;
    });
    if (this.#isKnown && this.#ordered.length > WAITED_FOR_MAX) {
      // What fails is heard of by whoever asks next.
      this.#refreshing.catch(() => {});
    } else await this.#refreshing;
  }

  async #load(): Promise<void> {
    const startMs = this.#parts.clock.elapsedMs();
    try {
      await this.#loadFromRedis();
      this.#source = "redis";
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      // Nothing that is old is shown for long: if nobody answers, whoever asks hears of it.
      this.#isKnown = false;
      await this.#filling;
      await this.#loadFromPostgres();
      this.#source = "postgres";
    }
    this.#isKnown = true;
    this.#seenMs = startMs;
    this.#freshUntilMs = this.#freshUntil(startMs, FRESH_MS[this.#source]);
  }

  /** Asks for the times of all, and for the values of those alone that it does not know. */
  async #loadFromRedis(): Promise<void> {
    const times = await this.#readTimes();
    const unknown: string[] = [];
    await forEachInSlices(times, ([sensorId, us]) => {
      const sensor = this.#sensors.get(sensorId);
      if (sensor === undefined) unknown.push(sensorId);
      else sensor.atMs = us / 1_000;
    });
    if (this.#filling !== undefined) return this.#views.clear();
    const first = unknown.length > WAITED_FOR_MAX ? FIRST_READ : unknown.length;
    const lines = await this.#linesOf(unknown.slice(0, first));
    const gone = this.#sensors.size - (times.size - unknown.length);
    if (lines.length === 0 && gone === 0) return this.#views.clear();
    const sensors = lines.map(sensorOf);
    await forEachInSlices(this.#ordered, (sensor) => {
      if (times.has(sensor.sensorId)) sensors.push(sensor);
    });
    await this.#keep(sensors);
    if (first < unknown.length) {
      this.#filling = this.#fill(unknown.slice(first)).finally(() => {
        this.#filling = undefined;
      });
    }
  }

  /** Adds these. What fails is tried again, and heard of, with the next look at the index. */
  async #fill(sensorIds: readonly string[]): Promise<void> {
    try {
      const sensors = [...this.#ordered];
      for (const line of await this.#linesOf(sensorIds)) sensors.push(sensorOf(line));
      await this.#keep(sensors);
    } catch {
      // Nobody waits for this: thrown, it would end the process.
    }
  }

  /** The index, piece by piece. A sensor moves only towards its end, so that none is missed. */
  async #readTimes(): Promise<ReadonlyMap<string, number>> {
    const times = new Map<string, number>();
    let from = { fromUs: -Infinity, skip: 0 };
    for (let pieces = 0; pieces < INDEX_PIECES_MAX; pieces++) {
      const piece = await this.#parts.cache.lastTimes({ ...from, limit: TIMES_MAX });
      for (const [sensorId, us] of piece) times.set(sensorId, us);
      if (piece.length < TIMES_MAX || times.size >= DIRECTORY_SENSORS_MAX) break;
      const lastUs = piece.at(-1)![1];
      const same = piece.filter(([_, us]) => us === lastUs).length;
      from = { fromUs: lastUs, skip: lastUs === from.fromUs ? from.skip + same : same };
      await nextTurn();
    }
    return times;
  }

  async #keep(sensors: readonly Sensor[]): Promise<void> {
    const ordered = await sortedInSlices(sensors, (a, b) => a.sensorId < b.sensorId ? -1 : 1);
    const byId = new Map<string, Sensor>();
    const types = new Set<string>();
    await forEachInSlices(ordered, (sensor) => {
      byId.set(sensor.sensorId, sensor);
      types.add(sensor.line.sensorType);
    });
    [this.#sensors, this.#ordered, this.#types] = [byId, ordered, [...types].sort()];
    this.#views.clear();
  }

  /** Brings these up to date. A value that cannot be had now stays as it was. */
  async #readValues(sensors: readonly Sensor[]): Promise<void> {
    const changed = sensors.filter(({ atMs, line }) => line.atMs < atMs);
    try {
      for (const line of await this.#linesOf(changed.map(({ sensorId }) => sensorId))) {
        const sensor = this.#sensors.get(line.sensorId);
        if (sensor !== undefined) sensor.line = line;
      }
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
    }
  }

  /** What Redis has of these, without those that are not valid readings. */
  async #linesOf(sensorIds: readonly string[]): Promise<readonly SensorLine[]> {
    const lines: SensorLine[] = [];
    for (let start = 0; start < sensorIds.length; start += TEXTS_MAX) {
      const ids = sensorIds.slice(start, start + TEXTS_MAX);
      const texts = await this.#parts.cache.lastTexts(ids);
      for (const [index, sensorId] of ids.entries()) {
        const line = lineOfText(texts[index] ?? null, sensorId);
        if (line !== undefined) lines.push(line);
      }
      await nextTurn();
    }
    return lines;
  }

  async #loadFromPostgres(): Promise<void> {
    const sensors: Sensor[] = [];
    let after = "";
    while (sensors.length < POSTGRES_SENSORS_MAX) {
      const readings = await this.#parts.store.lastReadings(after, READINGS_MAX);
      const last = readings.at(-1);
      if (last === undefined) break;
      for (const reading of readings) {
        const line = lineOf(reading);
        if (line !== undefined) sensors.push(sensorOf(line));
      }
      after = last.sensor_id;
    }
    await this.#keep(sensors);
  }
}

function sensorOf(line: SensorLine): Sensor {
  return { sensorId: line.sensorId, atMs: line.atMs, line };
}

/** Anybody can write to Redis: what is not a reading is left out. */
function lineOfText(text: string | null, sensorId: string): SensorLine | undefined {
  if (text === null) return undefined;
  try {
    const line = lineOf(JSON.parse(text.replace(/^\ufeff/, "")));
    return line?.sensorId === sensorId ? line : undefined;
  } catch {
    return undefined;
  }
}

function lineOf(reading: Partial<Reading> | null): SensorLine | undefined {
  const { sensor_id, sensor_type, timestamp, value, unit, status, battery_level, location } =
    reading ?? {};
  const instant = typeof timestamp === "string" ? parseTimestamp(timestamp) : "timestamp_format";
  if (typeof instant === "string" || typeof sensor_id !== "string") return undefined;
  return {
    sensorId: sensor_id,
    atMs: instant.us / 1_000,
    sensorType: String(sensor_type),
    value: Number(value),
    unit: String(unit),
    status: String(status),
    batteryLevel: Number(battery_level),
    latitude: Number(location?.latitude),
    longitude: Number(location?.longitude),
  };
}
