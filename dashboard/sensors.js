/** The table of sensors: a page of it, silent ones first, asked for again and again. */

import { ageOf, noteTime, showAge } from "./age.js";
import { byId, element, getJson, setText, syncList } from "./dom.js";
import { count, duration, measured } from "./format.js";

const PAGE_SENSORS = 20;
const REFRESH_MS = 2_000;
const SEARCH_PAUSE_MS = 250;
const LOW_BATTERY = 15;

/** Where the pages before this one began, the first one's beginning included. */
let beginnings = [""];
let following = null;
let asking = new AbortController();
let lastPage;
let openSensor = () => {};

/** Starts to show sensors; `onOpen` is called with the one that a person picks. */
export function startSensors(onOpen) {
  openSensor = onOpen;
  let pause;
  byId("sensor-filters").addEventListener("submit", (event) => event.preventDefault());
  byId("sensor-search").addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(restart, SEARCH_PAUSE_MS);
  });
  byId("sensor-type").addEventListener("change", restart);
  byId("sensors-next").addEventListener("click", () => {
    beginnings.push(following);
    refresh();
  });
  byId("sensors-previous").addEventListener("click", () => {
    beginnings.pop();
    refresh();
  });
  setInterval(() => {
    if (!document.hidden) refresh();
  }, REFRESH_MS);
  refresh();
}

function restart() {
  beginnings = [""];
  refresh();
}

/** The newest question counts: an older one that is still under way is dropped. */
async function refresh() {
  asking.abort();
  asking = new AbortController();
  const query = new URLSearchParams({
    limit: PAGE_SENSORS,
    after: beginnings.at(-1),
    search: byId("sensor-search").value.trim(),
    type: byId("sensor-type").value,
  });
  try {
    show(await getJson(`/api/sensors?${query}`, asking.signal));
  } catch (error) {
    if (error.name !== "AbortError" && lastPage === undefined) {
      setText(byId("sensor-count"), "currently unavailable");
    }
  }
}

/** Shows how old the table is: what cannot be read again gets older. */
export function showSensorAges() {
  if (lastPage === undefined) return;
  const age = ageOf(lastPage.measuredAtMs);
  showAge(byId("sensors"), age);
  setText(byId("sensor-count"), `${countText(lastPage)}${age.text === "" ? "" : ` · ${age.text}`}`);
}

function show(page) {
  noteTime(page.nowMs);
  following = page.next;
  // A page behind the last one: sensors went away meanwhile.
  if (page.sensors.length === 0 && beginnings.length > 1) return restart();
  byId("sensors-previous").disabled = beginnings.length === 1;
  byId("sensors-next").disabled = following === null;
  lastPage = page;
  showSensorAges();
  showTypes(page.types);
  const rows = byId("sensor-rows");
  if (page.sensors.length === 0) {
    const text = page.total === 0 ? "No sensors have reported yet." : "No sensors match.";
    rows.replaceChildren(element("tr", {}, element("td", { class: "nothing", colspan: 6 }, text)));
    rows.syncedParts = undefined;
    return;
  }
  syncList(rows, page.sensors, {
    keyOf: ({ sensorId }) => sensorId,
    make: makeRow,
  });
  for (const sensor of page.sensors) {
    rows.syncedParts.get(sensor.sensorId).showAge(page.nowMs - sensor.atMs);
  }
}

function countText({ matching, total, silent, source }) {
  const all = matching === total ? count(total) : `${count(matching)} of ${count(total)}`;
  // Why nothing new is stored is another question: the flow may stand still.
  const quiet = total === 0
    ? "none yet"
    : silent === 0
    ? "all reported within the last minute"
    : `${count(silent)} without a new reading for more than a minute`;
  return `${all} · ${quiet}${source === "postgres" ? " · read from PostgreSQL" : ""}`;
}

function showTypes(types) {
  const select = byId("sensor-type");
  const known = Array.from(select.options, ({ value }) => value).slice(1);
  if (known.join() === types.join()) return;
  const chosen = select.value;
  const options = types.map((type) => element("option", { value: type }, type));
  select.replaceChildren(element("option", { value: "" }, "All types"), ...options);
  select.value = types.includes(chosen) ? chosen : "";
}

function makeRow({ sensorId }) {
  const open = element("button", { type: "button", class: "open", title: sensorId }, sensorId);
  const type = element("td", { class: "optional" });
  const [number, unit] = [element("b"), element("span", { class: "unit" })];
  const value = element("td", { class: "number reading" }, number, " ", unit);
  const [line, drawing] = makeSparkline();
  const [ageNumber, ageUnit] = [document.createTextNode(""), element("span", { class: "unit" })];
  const age = element("td", { class: "number age" }, ageNumber, " ", ageUnit);
  const battery = element("td", { class: "number optional" });
  const row = element(
    "tr",
    {},
    element("th", { scope: "row" }, open),
    type,
    value,
    element("td", { class: "optional" }, drawing),
    age,
    battery,
  );
  let current;
  open.addEventListener("click", () => openSensor(current));
  return {
    element: row,
    update: (sensor) => {
      current = sensor;
      row.className = sensor.isSilent ? "silent" : "";
      setText(type, sensor.sensorType);
      setText(number, measured(sensor.value));
      setText(unit, sensor.unit);
      setText(battery, `${sensor.batteryLevel} %`);
      battery.classList.toggle("low", sensor.batteryLevel <= LOW_BATTERY);
      line.setAttribute("d", sparklinePath(sensor.sparkline));
    },
    showAge: (ms) => {
      const [text, of] = duration(Math.max(0, ms));
      ageNumber.data = ms < 1_000 ? "now" : text;
      setText(ageUnit, ms < 1_000 ? "" : of);
    },
  };
}

const SVG = "http://www.w3.org/2000/svg";

/** The same figures are in the chart of the sensor, so a screen reader passes over it. */
function makeSparkline() {
  const line = document.createElementNS(SVG, "path");
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "spark");
  drawing.setAttribute("viewBox", "-1 -2 152 30");
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("aria-hidden", "true");
  drawing.append(line);
  return [line, drawing];
}

/** A line through the means; where nothing was measured it goes on to the next point. */
function sparklinePath(means) {
  const points = (means ?? []).flatMap((mean, index) => mean === null ? [] : [{ index, mean }]);
  if (points.length === 0) return "";
  const min = Math.min(...points.map(({ mean }) => mean));
  const max = Math.max(...points.map(({ mean }) => mean));
  const x = ({ index }) => (150 * index / (means.length - 1)).toFixed(1);
  const y = ({ mean }) => (max === min ? 13 : 26 - 26 * (mean - min) / (max - min)).toFixed(1);
  const path = points.map((point) => `${x(point)} ${y(point)}`).join("L");
  // A lone point becomes a dot.
  return points.length === 1 ? `M${path}h.1` : `M${path}`;
}
