/**
 * Pages of sensors: which ones a question is about, in which order, and where a page begins and ends.
 * The order is made once for all who ask the same, a piece at a time; a page costs the steps of its
 * lines.
 *
 * @module
 */
import { forEachInSlices, sortedInSlices } from "../slices.ts";

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
  /** When it was asked how old each sensor's last value is, ms since 1970. */
  readonly measuredAtMs: number;
}

/** What is kept of a sensor. Only the directory writes. */
export interface Sensor {
  /** Name of the sensor. */
  readonly sensorId: string;
  /** Event time of its last value, ms since 1970. */
  atMs: number;
  /** The last value that was looked at: it can be older. */
  line: SensorLine;
}

/** A sensor in its place. */
export interface Placed extends SensorPlace {
  /** The sensor as it is kept. */
  readonly sensor: Sensor;
}

/** All sensors that a question is about, in their order at one moment. */
export interface SensorView {
  /** The silent ones, the longest silent first, then the others by id. */
  readonly placed: readonly Placed[];
  /** How many of them are silent: they come first. */
  readonly silent: number;
}

/** Makes the view of a question; `sensors` are in the order of their ids. */
export async function viewOf(
  sensors: readonly Sensor[],
  { sensorType, search = "", silentAfterMs }: Omit<SensorQuery, "after" | "limit">,
  nowMs: number,
): Promise<SensorView> {
  const wanted = search.toLowerCase();
  const silentBeforeMs = nowMs - silentAfterMs;
  const silent: Placed[] = [];
  const reporting: Placed[] = [];
  await forEachInSlices(sensors, (sensor) => {
    const { sensorId, atMs, line } = sensor;
    if (sensorType !== undefined && line.sensorType !== sensorType) return;
    if (wanted !== "" && !sensorId.toLowerCase().includes(wanted)) return;
    if (atMs < silentBeforeMs) silent.push({ sensor, sensorId, silentAtMs: atMs });
    else reporting.push({ sensor, sensorId, silentAtMs: Infinity });
  });
  const ordered = await sortedInSlices(silent, comparePlaces);
  await forEachInSlices(reporting, (place) => ordered.push(place));
  return { placed: ordered, silent: silent.length };
}

/** The part of a view that a page shows. Its values have not been read yet. */
export interface PageOfView {
  /** In the order of the view. */
  readonly shown: readonly { readonly sensor: Sensor; readonly isSilent: boolean }[];
  /** Where the next page begins; undefined: there is none. */
  readonly next: SensorPlace | undefined;
}

/** The sensors of one page, in steps that grow with the page and hardly with the view. */
export function pageOf(
  { placed, silent }: SensorView,
  { after, limit }: Pick<SensorQuery, "after" | "limit">,
): PageOfView {
  const start = after === undefined ? 0 : firstBehind(placed, after);
  const end = Math.min(start + limit, placed.length);
  const last = placed[end - 1];
  return {
    shown: placed.slice(start, end).map(({ sensor }, index) => ({
      sensor,
      isSilent: start + index < silent,
    })),
    next: end > start && end < placed.length && last !== undefined
      ? { silentAtMs: last.silentAtMs, sensorId: last.sensorId }
      : undefined,
  };
}

/** Index of the first one behind a place, by halving. */
function firstBehind(placed: readonly Placed[], place: SensorPlace): number {
  let [low, high] = [0, placed.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (comparePlaces(placed[middle]!, place) > 0) high = middle;
    else low = middle + 1;
  }
  return low;
}

function comparePlaces(a: SensorPlace, b: SensorPlace): number {
  if (a.silentAtMs !== b.silentAtMs) return a.silentAtMs < b.silentAtMs ? -1 : 1;
  return a.sensorId < b.sensorId ? -1 : a.sensorId > b.sensorId ? 1 : 0;
}
