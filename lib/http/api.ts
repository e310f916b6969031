/**
 * The read API, as `docs/api.md` and `docs/openapi.json` describe it.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Pages, TimeRange } from "../postgres/pages.ts";
import { POINTS_MAX } from "../postgres/pages.ts";
import { ledgerSums, type LiveStatus } from "../monitor/live_status.ts";
import type { SensorDirectory } from "../monitor/sensor_directory.ts";
import type { SensorPlace } from "../monitor/sensor_pages.ts";
import type { Sparklines } from "../monitor/sparklines.ts";
import { REJECTION_REASONS } from "../reading/rejection.ts";
import { historyCsv } from "./csv.ts";
import { deadLetterJson } from "./dead_letter_json.ts";
import { eventStreamAnswer, type EventStreams } from "./event_stream.ts";
import {
  type HttpAnswer,
  HttpError,
  type HttpHandler,
  type HttpRequest,
  jsonAnswer,
} from "./exchange.ts";
import { Parameters } from "./parameters.ts";

/** Where the answers come from. */
export interface ApiParts {
  /** The state of the flow now. */
  readonly status: () => LiveStatus;
  /** All sensors. */
  readonly directory: Pick<SensorDirectory, "page">;
  /** Small lines of theirs. */
  readonly sparklines: Sparklines;
  /** The tables. */
  readonly pages: Pages;
  /** Viewers that are told each new state. */
  readonly streams: EventStreams;
  /** Knows the time. */
  readonly clock: Clock;
}

/** Rows of one page, at most. */
export const PAGE_ROWS_MAX = 500;
const PAGE_ROWS = 50;

const SENSOR_ID_LENGTH_MAX = 64;
const SENSOR_TYPE_LENGTH_MAX = 64;

/** A sensor that has not reported for this long is silent unless the request says otherwise. */
const SILENT_AFTER_SECONDS = 60;

const HISTORY_MS = 3_600_000;
/** The longest span of one request. */
const SPAN_MS_MAX = 400 * 86_400_000;
const HISTORY_POINTS = 500;

const SENSOR_PATH = /^\/api\/sensors\/([^/]+)\/(readings|readings\.csv)$/;

/** Makes the handler of everything below `/api/`. */
export function apiHandler(parts: ApiParts): HttpHandler {
  return async (request) => {
    const { path } = request;
    switch (path) {
      case "/api/status":
        new Parameters(request.query, []);
        return jsonAnswer(parts.status());
      case "/api/events":
        new Parameters(request.query, []);
        return eventStreamAnswer(parts.streams, request.signal);
      case "/api/sensors":
        return await sensors(request, parts);
      case "/api/dead-letters":
        return await deadLetters(request, parts);
      case "/api/ledger":
        return await ledger(request, parts);
    }
    const match = SENSOR_PATH.exec(path);
    if (match === null) return undefined;
    const sensorId = sensorIdOf(match[1]!);
    return match[2] === "readings"
      ? await readings(sensorId, request, parts)
      : await readingsCsv(sensorId, request, parts);
  };
}

function sensorIdOf(escaped: string): string {
  let sensorId: string;
  try {
    sensorId = decodeURIComponent(escaped);
  } catch {
    throw new HttpError(400, "the sensor's id is not percent-encoded correctly");
  }
  if (/^[A-Za-z0-9._:-]+$/.test(sensorId) && sensorId.length <= SENSOR_ID_LENGTH_MAX) {
    return sensorId;
  }
  throw new HttpError(400, "a sensor's id has 1 to 64 characters of A-Z a-z 0-9 . _ : -");
}

async function sensors(request: HttpRequest, parts: ApiParts): Promise<HttpAnswer> {
  const { directory, sparklines } = parts;
  const known = ["type", "search", "limit", "after", "silentAfterSeconds"];
  const parameters = new Parameters(request.query, known);
  const silentAfterSeconds = parameters.whole("silentAfterSeconds", {
    fallback: SILENT_AFTER_SECONDS,
    min: 1,
    max: 31_536_000,
  });
  const page = await directory.page({
    sensorType: parameters.text("type", SENSOR_TYPE_LENGTH_MAX),
    search: parameters.text("search", SENSOR_ID_LENGTH_MAX),
    silentAfterMs: silentAfterSeconds * 1_000,
    after: placeOf(parameters.text("after", 100)),
    limit: parameters.whole("limit", { fallback: PAGE_ROWS, min: 1, max: PAGE_ROWS_MAX }),
  });
  const range = sparklines.range();
  const ids = page.sensors.map(({ sensorId }) => sensorId);
  // Without PostgreSQL the sensors are still worth showing.
  const lines = await sparklines.of(ids).catch(() => undefined);
  return jsonAnswer({
    ...page,
    nowMs: range.toMs,
    sparklineFromMs: range.fromMs,
    sparklineToMs: range.toMs,
    next: page.next === undefined ? null : placeText(page.next),
    sensors: page.sensors.map((sensor) => ({
      ...sensor,
      sparkline: lines?.get(sensor.sensorId) ?? null,
    })),
  });
}

/** A place as it stands in an address: `<silent since>:<id>`, nothing before the colon: it reports. */
function placeText({ silentAtMs, sensorId }: SensorPlace): string {
  return `${silentAtMs === Infinity ? "" : silentAtMs}:${sensorId}`;
}

function placeOf(text: string | undefined): SensorPlace | undefined {
  if (text === undefined) return undefined;
  const match = /^(-?\d{1,16}(?:\.\d{1,6})?|):(.+)$/.exec(text);
  if (match === null) {
    throw new HttpError(400, "after must be the value of next from an earlier page");
  }
  return { silentAtMs: match[1] === "" ? Infinity : Number(match[1]), sensorId: match[2]! };
}

function rangeOf(parameters: Parameters, clock: Clock): TimeRange {
  const toMs = parameters.timeMs("to", Math.ceil(clock.now()));
  const fromMs = parameters.timeMs("from", Math.max(0, toMs - HISTORY_MS));
  if (fromMs >= toMs) throw new HttpError(400, "from must be before to");
  if (toMs - fromMs > SPAN_MS_MAX) {
    throw new HttpError(400, "from and to must be at most 400 days apart");
  }
  return { fromMs, toMs };
}

async function readings(
  sensorId: string,
  request: HttpRequest,
  { pages, clock }: ApiParts,
): Promise<HttpAnswer> {
  const parameters = new Parameters(request.query, ["from", "to", "points"]);
  const range = rangeOf(parameters, clock);
  const points = parameters.whole("points", { fallback: HISTORY_POINTS, min: 2, max: POINTS_MAX });
  const history = await pages.history(sensorId, range, points);
  return jsonAnswer({ sensorId, ...range, ...history });
}

async function readingsCsv(
  sensorId: string,
  request: HttpRequest,
  { pages, clock }: ApiParts,
): Promise<HttpAnswer> {
  const range = rangeOf(new Parameters(request.query, ["from", "to"]), clock);
  const name = sensorId.replaceAll(":", "_");
  return {
    status: 200,
    headers: {
      "content-type": "text/csv; charset=utf-8",
      "content-disposition": `attachment; filename="${name}.csv"`,
      "cache-control": "no-store",
    },
    body: await historyCsv(pages, { sensorId, range }),
  };
}

async function deadLetters(request: HttpRequest, { pages, clock }: ApiParts): Promise<HttpAnswer> {
  const parameters = new Parameters(request.query, ["limit", "before", "reason", "state"]);
  const limit = parameters.whole("limit", { fallback: PAGE_ROWS, min: 1, max: PAGE_ROWS_MAX });
  const before = parameters.text("before", 19);
  if (before !== undefined && !/^\d{1,18}$/.test(before)) {
    throw new HttpError(400, "before must be the value of next from an earlier page");
  }
  const reason = parameters.choice("reason", REJECTION_REASONS);
  const state = parameters.choice("state", ["open", "all"]) ?? "all";
  const nowMs = clock.now();
  // One more says whether there is another page.
  const rows = await pages.deadLetters({ beforeId: before, reason, state, limit: limit + 1 });
  const shown = rows.slice(0, limit);
  return jsonAnswer({
    nowMs,
    reasons: await pages.deadLetterReasons(),
    deadLetters: shown.map(deadLetterJson),
    next: rows.length > limit ? shown.at(-1)?.id : null,
  });
}

async function ledger(
  request: HttpRequest,
  { pages, clock, status }: ApiParts,
): Promise<HttpAnswer> {
  new Parameters(request.query, []);
  const nowMs = clock.now();
  // Before the table is asked, so that all of them are in its answer.
  const { rejections } = status().sinceStart;
  const lines = await pages.ledger();
  // Counting them reads a whole index, which can take longer than a reader may.
  const reasons = await pages.deadLetterCounts().catch(() => undefined);
  return jsonAnswer({
    nowMs,
    sums: ledgerSums(lines),
    deadLetterReasons: reasons === undefined ? null : Object.fromEntries(reasons),
    deadLetterReasonsSinceStart: rejections,
    lines: lines.map(({ topic, ...line }) => ({ ...topic, ...line })),
  });
}
