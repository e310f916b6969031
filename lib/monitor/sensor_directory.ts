/**
 * All sensors, kept in this process while somebody looks, so that filtering, searching and paging cost
 * the servers nothing. When each was heard last is asked for all of them at once; values are asked for
 * those of the page that is shown. So ten thousand sensors that all report cost a few milliseconds.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { TransientError } from "../errors.ts";
import type { Store } from "../postgres/store.ts";
import type { Reading } from "../reading/reading.ts";
import type { LastValueReader } from "../redis/cache.ts";
import { parseTimestamp } from "../reading/timestamp.ts";

/** A sensor and its last value. */
export interface SensorLine {
  /** Name of the sensor. */
  readonly sensorId: string;
  /** Event time of its last value, ms since 1970. */
  readonly atMs: number;
  /** What it measures. */
  readonly sensorType: string;
  /** The value. */
  readonly value: number;
  /** Its unit. */
  readonly unit: string;
  /** What it says of itself. */
  readonly status: string;
  /** Percent. */
  readonly batteryLevel: number;
  /** Degrees. */
  readonly latitude: number;
  /** Degrees. */
  readonly longitude: number;
}

/** Which sensors a page shows. */
export interface SensorQuery {
  /** Only those of this type. */
  readonly sensorType?: string | undefined;
  /** Only those whose id contains this, whatever the case. */
  readonly search?: string | undefined;
  /** A sensor whose last value is older is silent, ms. */
  readonly silentAfterMs: number;
  /** Where the page begins: behind this place, as a page before gave it. */
  readonly after?: SensorPlace | undefined;
  /** Most sensors. */
  readonly limit: number;
}

/**
 * A place in the order of sensors: first the silent ones, the longest silent first, then the
 * others by id. So a page stays as it is while its sensors go on reporting.
 */
export interface SensorPlace {
  /** Event time of a silent sensor; Infinity for one that reports. */
  readonly silentAtMs: number;
  /** Name of the sensor. */
  readonly sensorId: string;
}

/** One page of sensors. */
export interface SensorPage {
  /** In the order of {@linkcode SensorPlace}. */
  readonly sensors: readonly (SensorLine & { readonly isSilent: boolean })[];
  /** Where the next page begins; undefined: there is none. */
  readonly next: SensorPlace | undefined;
  /** Sensors in all. */
  readonly total: number;
  /** Sensors that match type and search. */
  readonly matching: number;
  /** Silent ones among those. */
  readonly silent: number;
  /** Every type that there is, sorted. */
  readonly types: readonly string[];
  /** Where the values are from. */
  readonly source: "redis" | "postgres";
}

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

/** Values asked of Redis in one call. */
const TEXTS_MAX = 1_000;

/** Sensors asked of PostgreSQL in one statement, and in all. */
const READINGS_MAX = 500;
const POSTGRES_SENSORS_MAX = 10_000;

/** What is kept of a sensor. Only the directory writes. */
interface Sensor {
  readonly sensorId: string;
  /** Event time of its last value, ms since 1970. */
  atMs: number;
  /** The last value that was looked at: it can be older. */
  line: SensorLine;
}

/** Keeps the sensors. */
export class SensorDirectory {
  readonly #parts: DirectoryParts;
  /** In the order of their ids. */
  #sensors: ReadonlyMap<string, Sensor> = new Map();
  #source: "redis" | "postgres" = "redis";
  #freshUntilMs = -Infinity;
  #refreshing: Promise<void> | undefined;

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
    const source = this.#source;
    const { shown, ...rest } = pageOf(this.#sensors, query, this.#parts.clock.now());
    if (source === "redis") await this.#readValues(shown.map(({ sensor }) => sensor));
    const sensors = shown.map(({ sensor, isSilent }) => ({ ...sensor.line, isSilent }));
    return { sensors, ...rest, source };
  }

  /** Several that ask at the same time wait for one answer. */
  async #refresh(): Promise<void> {
    if (this.#parts.clock.elapsedMs() < this.#freshUntilMs) return;
    this.#refreshing ??= this.#load().finally(() => {
      this.#refreshing = undefined;
    });
    await this.#refreshing;
  }

  async #load(): Promise<void> {
    try {
      await this.#loadFromRedis();
      this.#source = "redis";
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      await this.#loadFromPostgres();
      this.#source = "postgres";
    }
    this.#freshUntilMs = this.#parts.clock.elapsedMs() + FRESH_MS[this.#source];
  }

  /** Asks for the times of all, and for the values of those alone that it does not know. */
  async #loadFromRedis(): Promise<void> {
    const times = await this.#parts.cache.lastTimes(DIRECTORY_SENSORS_MAX);
    const unknown: string[] = [];
    for (const [sensorId, us] of times) {
      const sensor = this.#sensors.get(sensorId);
      if (sensor === undefined) unknown.push(sensorId);
      else sensor.atMs = us / 1_000;
    }
    const lines = await this.#linesOf(unknown);
    const gone = this.#sensors.size - (times.size - unknown.length);
    if (lines.length === 0 && gone === 0) return;
    const staying = Array.from(this.#sensors.values()).filter(({ sensorId }) =>
      times.has(sensorId)
    );
    this.#sensors = inOrder([...staying, ...lines.map(sensorOf)]);
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

  /** What Redis has of these, without those that are no readings. */
  async #linesOf(sensorIds: readonly string[]): Promise<readonly SensorLine[]> {
    const lines: SensorLine[] = [];
    for (let start = 0; start < sensorIds.length; start += TEXTS_MAX) {
      const ids = sensorIds.slice(start, start + TEXTS_MAX);
      const texts = await this.#parts.cache.lastTexts(ids);
      for (const [index, sensorId] of ids.entries()) {
        const line = lineOfText(texts[index] ?? null, sensorId);
        if (line !== undefined) lines.push(line);
      }
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
    this.#sensors = inOrder(sensors);
  }
}

function sensorOf(line: SensorLine): Sensor {
  return { sensorId: line.sensorId, atMs: line.atMs, line };
}

function inOrder(sensors: Sensor[]): ReadonlyMap<string, Sensor> {
  sensors.sort((a, b) => a.sensorId < b.sensorId ? -1 : 1);
  return new Map(sensors.map((sensor) => [sensor.sensorId, sensor]));
}

/** Anybody can write to Redis: what is no reading is left out. */
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

/** A page whose values have not been read yet. */
interface PlacedPage extends Omit<SensorPage, "sensors" | "source"> {
  readonly shown: readonly { readonly sensor: Sensor; readonly isSilent: boolean }[];
}

function pageOf(
  sensors: ReadonlyMap<string, Sensor>,
  query: SensorQuery,
  nowMs: number,
): PlacedPage {
  const { sensorType, search = "", silentAfterMs, after, limit } = query;
  const wanted = search.toLowerCase();
  const silentBeforeMs = nowMs - silentAfterMs;
  const types = new Set<string>();
  const silent: Sensor[] = [];
  const reporting: Sensor[] = [];
  for (const sensor of sensors.values()) {
    types.add(sensor.line.sensorType);
    if (sensorType !== undefined && sensor.line.sensorType !== sensorType) continue;
    if (wanted !== "" && !sensor.sensorId.toLowerCase().includes(wanted)) continue;
    (sensor.atMs < silentBeforeMs ? silent : reporting).push(sensor);
  }
  // The sort is stable: of the same time, they stay in the order of their ids.
  silent.sort((a, b) => a.atMs - b.atMs);
  const placed = silent.concat(reporting);
  const placeAt = (index: number): SensorPlace => {
    const { atMs, sensorId } = placed[index]!;
    return { silentAtMs: index < silent.length ? atMs : Infinity, sensorId };
  };
  const start = after === undefined
    ? 0
    : placed.findIndex((_, index) => comparePlaces(placeAt(index), after) > 0);
  const end = start < 0 ? 0 : Math.min(start + limit, placed.length);
  return {
    shown: placed.slice(Math.max(0, start), end).map((sensor, index) => ({
      sensor,
      isSilent: start + index < silent.length,
    })),
    next: end > 0 && end < placed.length ? placeAt(end - 1) : undefined,
    total: sensors.size,
    matching: placed.length,
    silent: silent.length,
    types: [...types].sort(),
  };
}

function comparePlaces(a: SensorPlace, b: SensorPlace): number {
  if (a.silentAtMs !== b.silentAtMs) return a.silentAtMs < b.silentAtMs ? -1 : 1;
  return a.sensorId < b.sensorId ? -1 : a.sensorId > b.sensorId ? 1 : 0;
}
