/** Starts the page and keeps it up to date. */

import { noteConnection, noteTime } from "./age.js";
import { showDeadLetters, startDeadLetters } from "./dead_letters.js";
import { byId, getJson, setText } from "./dom.js";
import { timeText } from "./format.js";
import { showOverview } from "./overview.js";
import { openSensor, startSensor } from "./sensor.js";
import { showSensorAges, startSensors } from "./sensors.js";

/** A stream without an event for this long is taken for dead, ms: one comes every second. */
const SILENCE_MS_MAX = 6_000;
const RETRY_MS = 2_000;
/** What no event renews gets older all the same, ms. */
const AGE_MS = 1_000;

let stream;
let lastEventAt = 0;
let lostSince;
let lastStatus;

function show(status) {
  lastEventAt = Date.now();
  lostSince = undefined;
  lastStatus = status;
  noteTime(status.nowMs);
  noteConnection(false);
  document.body.dataset.connection = "live";
  byId("connection").dataset.state = "live";
  setText(byId("connection"), "Live");
  showAll();
}

function showLost() {
  // What came last is the last sign of life, and not what was tried in vain afterwards.
  lostSince ??= lastEventAt === 0 ? Date.now() : lastEventAt;
  noteConnection(true);
  document.body.dataset.connection = "lost";
  byId("connection").dataset.state = "lost";
  setText(byId("connection"), `No connection since ${timeText(lostSince)}, trying again`);
  showAll();
}

function showAll() {
  if (lastStatus === undefined) return;
  showOverview(lastStatus, lostSince);
  showDeadLetters(lastStatus);
  showSensorAges();
}

function connect() {
  stream?.close();
  stream = new EventSource("/api/events");
  stream.addEventListener("message", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("error", showLost);
}

/** The browser connects again on its own, but not after every kind of failure. */
function watchOver() {
  const isSilent = Date.now() - lastEventAt > SILENCE_MS_MAX;
  if (isSilent) showLost();
  if (isSilent || stream.readyState === EventSource.CLOSED) connect();
}

startDeadLetters();
startSensors(openSensor);
startSensor();
getJson("/api/status").then(show, showLost);
connect();
setInterval(watchOver, RETRY_MS);
setInterval(showAll, AGE_MS);
