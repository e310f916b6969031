/**
 * All sensors with their last values, kept in this process while somebody looks, so that filtering,
 * searching and paging cost the servers nothing.
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

/** Keeps the sensors. */
export class SensorDirectory {
  readonly #parts: DirectoryParts;
  #lines = new Map<string, SensorLine>();
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
    const lines = [...this.#lines.values()];
    return { ...pageOf(lines, query, this.#parts.clock.now()), source: this.#source };
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

  /** Asks for the values of those sensors alone whose time is another one than before. */
  async #loadFromRedis(): Promise<void> {
    const { cache } = this.#parts;
    const times = await cache.lastTimes(DIRECTORY_SENSORS_MAX);
    const lines = new Map<string, SensorLine>();
    const changed: string[] = [];
    for (const [sensorId, us] of times) {
      const known = this.#lines.get(sensorId);
      if (known !== undefined && known.atMs === us / 1_000) lines.set(sensorId, known);
      else changed.push(sensorId);
    }
    for (let start = 0; start < changed.length; start += TEXTS_MAX) {
      const ids = changed.slice(start, start + TEXTS_MAX);
      const texts = await cache.lastTexts(ids);
      for (const [index, sensorId] of ids.entries()) {
        const line = lineOfText(texts[index] ?? null, sensorId);
        if (line !== undefined) lines.set(sensorId, line);
      }
    }
    this.#lines = lines;
  }

  async #loadFromPostgres(): Promise<void> {
    const lines = new Map<string, SensorLine>();
    let after = "";
    while (lines.size < POSTGRES_SENSORS_MAX) {
      const readings = await this.#parts.store.lastReadings(after, READINGS_MAX);
      const last = readings.at(-1);
      if (last === undefined) break;
      for (const reading of readings) {
        const line = lineOf(reading);
        if (line !== undefined) lines.set(line.sensorId, line);
      }
      after = last.sensor_id;
    }
    this.#lines = lines;
  }
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

function pageOf(
  lines: readonly SensorLine[],
  query: SensorQuery,
  nowMs: number,
): Omit<SensorPage, "source"> {
  const { sensorType, search = "", silentAfterMs, after, limit } = query;
  const wanted = search.toLowerCase();
  const placed = lines
    .filter((line) => sensorType === undefined || line.sensorType === sensorType)
    .filter((line) => line.sensorId.toLowerCase().includes(wanted))
    .map((line) => ({ line, place: placeOf(line, nowMs - silentAfterMs) }))
    .sort((a, b) => comparePlaces(a.place, b.place));
  const start = after === undefined
    ? 0
    : placed.findIndex(({ place }) => comparePlaces(place, after) > 0);
  const shown = start < 0 ? [] : placed.slice(start, start + limit);
  const hasMore = start >= 0 && start + limit < placed.length;
  return {
    sensors: shown.map(({ line, place }) => ({ ...line, isSilent: place.silentAtMs < Infinity })),
    next: hasMore ? shown.at(-1)?.place : undefined,
    total: lines.length,
    matching: placed.length,
    silent: placed.filter(({ place }) => place.silentAtMs < Infinity).length,
    types: [...new Set(lines.map((line) => line.sensorType))].sort(),
  };
}

function placeOf({ atMs, sensorId }: SensorLine, silentBeforeMs: number): SensorPlace {
  return { silentAtMs: atMs < silentBeforeMs ? atMs : Infinity, sensorId };
}

function comparePlaces(a: SensorPlace, b: SensorPlace): number {
  if (a.silentAtMs !== b.silentAtMs) return a.silentAtMs < b.silentAtMs ? -1 : 1;
  return a.sensorId < b.sensorId ? -1 : a.sensorId > b.sensorId ? 1 : 0;
}
