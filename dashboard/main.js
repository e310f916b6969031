/** Starts the page and keeps it up to date. */

import { noteDeadLetters, startDeadLetters } from "./dead_letters.js";
import { byId, getJson, setText } from "./dom.js";
import { timeText } from "./format.js";
import { showOverview } from "./overview.js";
import { openSensor, startSensor } from "./sensor.js";
import { startSensors } from "./sensors.js";

/** A stream without an event for this long is taken for dead, ms: one comes every second. */
const SILENCE_MS_MAX = 6_000;
const RETRY_MS = 2_000;

let stream;
let lastEventAt = 0;
let lostSince;

function show(status) {
  lastEventAt = Date.now();
  lostSince = undefined;
  document.body.dataset.connection = "live";
  byId("connection").dataset.state = "live";
  setText(byId("connection"), "Live");
  showOverview(status);
  noteDeadLetters(status);
}

function showLost() {
  lostSince ??= Date.now();
  document.body.dataset.connection = "lost";
  byId("connection").dataset.state = "lost";
  setText(byId("connection"), `No connection since ${timeText(lostSince)}, trying again`);
}

function connect() {
  stream?.close();
  stream = new EventSource("/api/events");
  stream.addEventListener("message", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("error", showLost);
}

/** The browser connects again by itself, but not after every kind of failure. */
function watchOver() {
  const isSilent = Date.now() - Math.max(lastEventAt, lostSince ?? 0) > SILENCE_MS_MAX;
  if (isSilent) showLost();
  if (isSilent || stream.readyState === EventSource.CLOSED) connect();
}

startDeadLetters();
startSensors(openSensor);
startSensor();
getJson("/api/status").then(show, showLost);
connect();
setInterval(watchOver, RETRY_MS);
