/** One sensor: its history as a chart, over a range that a person picks. The address names both. */

import { Chart, quietAxes, timeTicks } from "./chart.js";
import { byId, element, getJson, setText } from "./dom.js";
import { count, dateText, durationText, measured } from "./format.js";

const RANGES = [["15 min", 900], ["1 h", 3_600], ["6 h", 21_600], ["24 h", 86_400], [
  "7 days",
  604_800,
]];
const DEFAULT_SECONDS = 900;
const REFRESH_MS = 5_000;
const POINTS_MAX = 800;

let shown = null;
let asking = new AbortController();
/** What the chart shows ends here. */
let drawnToMs;
/** Known if the sensor was picked from the table. */
let unit = "";

const chart = new Chart(byId("sensor-chart"), (pick) => ({
  padding: [10, 28, 0, 0],
  cursor: { y: false, drag: { x: false, y: false } },
  scales: { x: { range: () => [shown.fromMs / 1_000, shown.toMs / 1_000] } },
  axes: quietAxes(pick, { ySize: 60 }).map((axis, index) =>
    index === 0 ? { ...axis, values: timeTicks } : axis
  ),
  series: [
    {},
    { stroke: "transparent", points: { show: false } },
    { stroke: "transparent", points: { show: false } },
    { stroke: pick("accent"), width: 1.75, points: { size: 4, fill: pick("accent") } },
  ],
  bands: [{ series: [2, 1], fill: pick("accent-soft") }],
}));

/** Lets the address decide what is open, so that "back" closes and a link opens. */
export function startSensor() {
  const dialog = byId("sensor");
  byId("sensor-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    asking.abort();
    shown = null;
    if (location.hash.startsWith("#sensor=")) history.pushState(null, "", location.pathname);
  });
  byId("sensor-ranges").append(...RANGES.map(([title, seconds]) => {
    const button = element("button", { type: "button", "data-seconds": seconds }, title);
    button.addEventListener("click", () => goTo(shown.sensorId, { seconds }));
    return button;
  }));
  byId("sensor-span").addEventListener("submit", (event) => {
    event.preventDefault();
    const fromMs = new Date(byId("sensor-from").value).getTime();
    const toMs = new Date(byId("sensor-to").value).getTime();
    if (fromMs < toMs) goTo(shown.sensorId, { from: fromMs, to: toMs });
    else setText(byId("sensor-summary"), "The range must start before it ends.");
  });
  addEventListener("hashchange", openFromAddress);
  addEventListener("popstate", openFromAddress);
  setInterval(() => {
    if (shown?.seconds !== undefined && !document.hidden) refresh();
  }, REFRESH_MS);
  openFromAddress();
}

/** Opens a sensor that was picked from the table. */
export function openSensor(sensor) {
  unit = sensor.unit;
  setText(
    byId("sensor-about"),
    `${sensor.sensorType} in ${sensor.unit} · at ${sensor.latitude.toFixed(3)}, ` +
      `${sensor.longitude.toFixed(3)} · ${sensor.status} · battery ${sensor.batteryLevel} %`,
  );
  goTo(sensor.sensorId, { seconds: DEFAULT_SECONDS });
}

function goTo(sensorId, range) {
  location.hash = new URLSearchParams({ sensor: sensorId, ...range });
}

function openFromAddress() {
  const named = new URLSearchParams(location.hash.slice(1));
  const sensorId = named.get("sensor");
  const dialog = byId("sensor");
  if (sensorId === null) return dialog.open ? dialog.close() : undefined;
  if (shown !== null && shown.sensorId !== sensorId) setText(byId("sensor-about"), "");
  if (shown?.sensorId !== sensorId) drawnToMs = undefined;
  const fromMs = Number(named.get("from"));
  const toMs = Number(named.get("to"));
  shown = fromMs > 0 && toMs > fromMs
    ? { sensorId, fromMs, toMs }
    : { sensorId, seconds: Number(named.get("seconds")) || DEFAULT_SECONDS };
  setText(byId("sensor-id"), sensorId);
  for (const button of byId("sensor-ranges").children) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.seconds) === shown.seconds));
  }
  if (!dialog.open) dialog.showModal();
  refresh();
}

async function refresh() {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  if (shown.seconds !== undefined) {
    shown.toMs = Date.now();
    shown.fromMs = shown.toMs - shown.seconds * 1_000;
  }
  const { sensorId, fromMs, toMs } = shown;
  const path = `/api/sensors/${encodeURIComponent(sensorId)}/readings`;
  const query = `from=${fromMs}&to=${toMs}`;
  byId("sensor-csv").href = `${path}.csv?${query}`;
  // A field that a person is writing in is left alone.
  if (!byId("sensor-span").contains(document.activeElement)) {
    byId("sensor-from").value = localTime(fromMs);
    byId("sensor-to").value = localTime(toMs);
  }
  try {
    show(await getJson(`${path}?${query}&points=${POINTS_MAX}`, signal));
  } catch (error) {
    if (error.name !== "AbortError") {
      const drawn = drawnToMs === undefined ? "" : ` The chart is as of ${dateText(drawnToMs)}.`;
      setText(byId("sensor-summary"), `The history cannot be read: ${error.message}.${drawn}`);
    }
  }
}

function show({ points, intervalMs, fromMs, toMs }) {
  if (shown === null) return;
  drawnToMs = toMs;
  chart.renew([
    points.map(({ atMs }) => atMs / 1_000),
    points.map(({ min }) => min),
    points.map(({ max }) => max),
    points.map(({ mean }) => mean),
  ]);
  const text = points.length === 0
    ? `No readings between ${dateText(fromMs)} and ${dateText(toMs)}.`
    : summaryText(points, intervalMs);
  setText(byId("sensor-summary"), text);
  byId("sensor-chart").setAttribute("aria-label", text);
}

function summaryText(points, intervalMs) {
  const readings = points.reduce((sum, each) => sum + each.count, 0);
  const min = measured(Math.min(...points.map((each) => each.min)));
  const max = measured(Math.max(...points.map((each) => each.max)));
  const detail = intervalMs === 0
    ? ""
    : `, drawn in ${count(points.length)} steps of ${durationText(intervalMs)}`;
  return `${count(readings)} readings from ${min} to ${max} ${unit}`.trimEnd() + detail;
}

/** As `<input type="datetime-local">` wants it. */
function localTime(ms) {
  const local = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}
