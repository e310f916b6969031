/** The state of the flow: from one object that comes once a second. */

import { ageOf, consumerNow, showAge } from "./age.js";
import { Chart, quietAxes, timeTicks } from "./chart.js";
import { byId, element, setText, syncList } from "./dom.js";
import { count, duration, durationText, rate, timeText } from "./format.js";
import { showReasons } from "./reasons.js";

/** States in which a server is of no use. */
const NO_USE = ["never_reached", "refuses", "away"];

const SERVERS = [["kafka", "Kafka"], ["redis", "Redis"], ["postgres", "PostgreSQL"]];

const TONES = {
  starting: "calm",
  empty: "calm",
  idle: "good",
  working: "good",
  behind: "warn",
  degraded: "warn",
  waiting: "bad",
};

const OUTCOMES = [
  ["inserted", "new readings stored"],
  ["duplicates", "duplicates caught"],
  ["deadLetters", "dead letters"],
  ["skipped", "offsets without a message"],
  ["gaps", "deleted before they were read"],
];

const CLASSES = { inserted: "inserted", duplicates: "duplicates", deadLetters: "dead" };

const STAGES = [
  ["parse", "parse and check"],
  ["redis", "look up in Redis"],
  ["store", "store in PostgreSQL"],
  ["mark", "mark in Redis"],
];

const rateChart = new Chart(byId("rate-chart"), (pick) => ({
  cursor: { show: false },
  // On the right a time fits whole.
  padding: [8, 28, 0, 0],
  scales: { y: { range: (_plot, _min, max) => [0, Math.max(1, max * 1.15)] } },
  axes: quietAxes(pick).map((axis, index) => index === 0 ? { ...axis, values: timeTicks } : axis),
  series: [
    {},
    { stroke: pick("second"), width: 1.5, points: { show: false } },
    { stroke: pick("accent"), width: 2, fill: pick("accent-soft"), points: { show: false } },
  ],
}));

let announced = "";

/** Longer than this between two points, ms, and the chart has a gap: nobody knows what was there. */
const GAP_MS_MIN = 2_500;

/**
 * Shows a state. Called again while no new one comes, for what it shows gets older.
 *
 * @param lostSinceMs Since when the consumer cannot be heard; undefined: it can.
 */
export function showOverview(status, lostSinceMs) {
  if (lostSinceMs === undefined) showVerdict(status);
  else showLostVerdict(status, lostSinceMs);
  showFigures(status);
  showOutcomes(status);
  showPartitions(status.lag.partitions);
  showHeldBack(status.lag.partitions);
  showStages(status.latency.stagesMs);
  showReasons(status);
  showRates(status);
  setText(byId("topic"), status.topic ?? "");
  const up = durationText(status.nowMs - status.startedAtMs);
  const { batches, rebalances, retries } = status.sinceStart;
  setText(
    byId("uptime"),
    `Up ${up} · batches ${count(batches)} · assignments ${count(rebalances)} · ` +
      `retries ${count(retries)}`,
  );
}

function showVerdict({ summary, servers, nowMs }) {
  byId("verdict").dataset.tone = TONES[summary.state] ?? "calm";
  document.body.dataset.flow = summary.state;
  setText(byId("summary"), summary.text);
  byId("empty").hidden = summary.state !== "empty";
  const items = SERVERS.map(([name, title]) => ({ name, title, nowMs, server: servers[name] }));
  syncList(byId("servers"), items, {
    keyOf: ({ name }) => name,
    make: ({ title }) => {
      const state = element("span", { class: "state" });
      const item = element("li", {}, element("span", { class: "name" }, title), state);
      return {
        element: item,
        update: ({ server, nowMs }) => {
          item.dataset.state = server.state;
          setText(state, serverText(server, nowMs));
          if (server.detail === "") item.removeAttribute("title");
          else item.title = server.detail;
        },
      };
    },
  });
  announce(summary.state, servers);
}

function serverText({ state, sinceMs }, nowMs) {
  const since = `since ${timeText(sinceMs)}`;
  switch (state) {
    case "ok":
      return "answers";
    case "degraded":
      return `degraded ${since}`;
    case "away":
      return `no answer ${since} (${durationText(nowMs - sinceMs)})`;
    case "refuses":
      return `refuses ${since} (${durationText(nowMs - sinceMs)})`;
    default:
      return `never reached ${since} (${durationText(nowMs - sinceMs)})`;
  }
}

/** What the consumer said last is not a verdict any more. */
function showLostVerdict({ nowMs }, lostSinceMs) {
  byId("verdict").dataset.tone = "calm";
  const text = `No connection to the consumer since ${timeText(lostSinceMs)}. ` +
    `This page shows the state as of ${timeText(nowMs)}.`;
  setText(byId("summary"), text);
  byId("empty").hidden = true;
  for (const item of byId("servers").children) {
    item.dataset.state = "unknown";
    setText(item.querySelector(".state"), "unknown");
  }
  if (announced !== "lost") setText(byId("announcer"), "No connection to the consumer.");
  announced = "lost";
}

/** Says to a screen reader what has changed, and not every figure. */
function announce(state, servers) {
  const trouble = SERVERS.filter(([name]) => NO_USE.includes(servers[name].state))
    .map(([name, title]) =>
      `${title} ${servers[name].state === "refuses" ? "refuses" : "does not answer"}.`
    );
  const text = [`State: ${state}.`, ...trouble].join(" ");
  if (text !== announced) setText(byId("announcer"), text);
  announced = text;
}

function showFigures({ rates, lag, latency, sinceStart, servers, nowMs }) {
  const rateAge = ageOf(rates?.measuredAtMs);
  showFigure("in", { value: rates && rate(rates.inPerSecond), note: "whole topic", age: rateAge });
  showFigure("stored", {
    value: rates && rate(rates.storedPerSecond),
    note: `${count(sinceStart.messages)} since start`,
    age: rateAge,
  });
  const lagAge = ageOf(lag.measuredAtMs);
  const isSure = lagAge.isFresh && isThere(servers.kafka) && isThere(servers.postgres);
  showFigure("lag", {
    value: lag.messages === null ? null : count(lag.messages),
    unit: lag.messages === 1 ? "message" : "messages",
    note: lagNote(lag, isSure),
    age: lagAge,
  });
  const { delayMs } = latency;
  const [value, unit] = delayMs === null ? [null, ""] : duration(delayMs.p50);
  const note = delayMs === null
    ? "nothing stored in the last minute"
    : `median; 99 % within ${durationText(delayMs.p99)}`;
  showFigure("delay", { value, unit, note, age: ageOf(nowMs) });
}

/** A figure that was never measured is a dash; an old one is grey, with its time for a note. */
function showFigure(name, { value, unit = "/s", note, age }) {
  setText(byId(name), value ?? "–");
  setText(byId(`${name}-unit`), value === null ? "" : unit);
  setText(byId(`${name}-note`), age.text === "" ? note : age.text);
  showAge(byId(name).closest(".figure"), age);
}

function isThere({ state }) {
  return state === "ok" || state === "degraded";
}

/** @param isSure Whether anything can be judged from it. */
function lagNote({ messages, seconds, etaSeconds, partitions }, isSure) {
  if (messages === null) return "unknown";
  const held = partitions.reduce((sum, { heldBack }) => sum + (heldBack?.messages ?? 0), 0);
  const behind = held === 0 ? "" : `, ${count(held)} behind open transactions`;
  if (messages === 0) return `${isSure ? "caught up" : "when last seen"}${behind}`;
  const age = `oldest ${durationText(seconds * 1_000)}`;
  return etaSeconds === null || etaSeconds < 2
    ? `${age}${behind}`
    : `${age}, done in ${durationText(etaSeconds * 1_000)}${behind}`;
}

/** Both columns are of one moment: what this process had counted when it asked for the ledger. */
function showOutcomes({ ledger, servers, ...status }) {
  const sinceStart = ledger?.sinceStart ?? status.sinceStart;
  const age = ageOf(ledger?.measuredAtMs);
  showAge(byId("ledger"), age);
  setText(
    byId("ledger-age"),
    ledger === null
      ? "The ledger has not been read yet."
      : `Both columns as of ${timeText(ledger.measuredAtMs)}.`,
  );
  const shown = OUTCOMES
    .map(([name, title]) => ({ name, title, here: sinceStart[name], all: ledger?.[name] }))
    .filter(({ name, here = 0, all = 0 }) => CLASSES[name] !== undefined || here + all > 0);
  syncList(byId("outcomes"), shown, {
    keyOf: ({ name }) => name,
    make: ({ name, title }) => {
      const [hereCell, allCell] = [element("td"), element("td")];
      const head = element("th", { scope: "row", class: CLASSES[name] }, title);
      return {
        element: element("tr", {}, head, hereCell, allCell),
        update: ({ here, all }) => {
          setText(hereCell, here === undefined ? "–" : count(here));
          setText(allCell, all === undefined ? "–" : count(all));
        },
      };
    },
  });
  syncList(byId("outcome-bar"), shown, {
    keyOf: ({ name }) => name,
    make: ({ name }) => {
      const part = element("span", { class: CLASSES[name] });
      return { element: part, update: ({ all = 0 }) => part.style.flexGrow = all };
    },
  });
  showStamp(ledger, age.isFresh && isThere(servers.postgres));
  if (ledger !== null) showEquation(sinceStart, ledger);
}

/** @param isSure Whether the ledger can be judged now. */
function showStamp(ledger, isSure) {
  const stamp = byId("ledger-stamp");
  if (ledger === null || !isSure) {
    stamp.dataset.ok = "unknown";
    return setText(stamp, ledger === null ? "not read yet" : "currently unknown");
  }
  const ok = ledger.unaccounted === 0;
  stamp.dataset.ok = String(ok);
  setText(stamp, ok ? "Yes, to the last message" : `No: ${count(ledger.unaccounted)} missing`);
}

function showEquation(sinceStart, ledger) {
  const here = sinceStart.messages + sinceStart.skipped;
  syncList(byId("equation"), [{ here, all: ledger.passed }], {
    keyOf: () => "sum",
    make: () => {
      const [hereCell, allCell] = [element("td"), element("td")];
      const head = element("th", { scope: "row" }, "= offsets passed");
      return {
        element: element("tr", {}, head, hereCell, allCell),
        update: (sum) => {
          setText(hereCell, count(sum.here));
          setText(allCell, count(sum.all));
        },
      };
    },
  });
}

function showPartitions(partitions) {
  syncList(byId("partitions"), partitions, {
    keyOf: ({ partition }) => partition,
    make: () => {
      const cells = Array.from(
        { length: 5 },
        (_, index) => element("td", index < 4 ? { class: "number" } : {}),
      );
      const row = element("tr", {}, ...cells);
      return {
        element: row,
        update: (each) => {
          const age = ageOf(each.measuredAtMs);
          showAge(row, age);
          const texts = [
            String(each.partition),
            each.nextOffset === null ? "–" : count(each.nextOffset),
            each.endOffset === null ? "–" : count(each.endOffset),
            `${behindText(each)}${age.text === "" ? "" : `, ${age.text}`}`,
            each.offline ?? (each.isAssigned ? "yes" : "no"),
          ];
          for (const [index, text] of texts.entries()) setText(cells[index], text);
        },
      };
    },
  });
}

function behindText({ lagMessages, lagSeconds }) {
  if (lagMessages === null) return "–";
  if (lagMessages === 0) return "0";
  return `${count(lagMessages)} (${durationText(lagSeconds * 1_000)})`;
}

function showHeldBack(partitions) {
  const held = partitions.filter(({ heldBack }) => heldBack !== null);
  syncList(byId("held-back"), held, {
    keyOf: ({ partition }) => partition,
    make: () => {
      const item = element("li");
      return {
        element: item,
        update: ({ partition, heldBack: { messages, offset, sinceMs, measuredAtMs } }) => {
          const age = ageOf(measuredAtMs);
          showAge(item, age);
          const held = messages === 1 ? "1 message waits" : `${count(messages)} messages wait`;
          const text =
            `Partition ${partition}: ${held} behind a transaction that begins at offset ` +
            `${count(offset)}, open since ${timeText(sinceMs)} or earlier`;
          setText(item, age.text === "" ? text : `${text}, ${age.text}`);
        },
      };
    },
  });
}

function showStages(stagesMs) {
  const stages = STAGES.map(([name, title]) => ({ name, title, quantiles: stagesMs[name] }));
  syncList(byId("stages"), stages, {
    keyOf: ({ name }) => name,
    make: ({ title }) => {
      const [p50, p99] = [element("td", { class: "number" }), element("td", { class: "number" })];
      return {
        element: element("tr", {}, element("td", {}, title), p50, p99),
        update: ({ quantiles }) => {
          setText(p50, quantiles === null ? "–" : durationText(quantiles.p50));
          setText(p99, quantiles === null ? "–" : durationText(quantiles.p99));
        },
      };
    },
  });
}

function showRates({ history, rates }) {
  const age = ageOf(rates?.measuredAtMs);
  showAge(byId("rate-chart"), age, byId("rates-age"));
  if (history.length === 0) return;
  rateChart.show(withGaps(history));
  byId("rate-chart").setAttribute(
    "aria-label",
    rates === null || !age.isFresh
      ? `Rates of the last minutes, ${age.text}`
      : `Rates of the last minutes. Now ${rate(rates.inPerSecond)} messages per second in, ` +
        `${rate(rates.storedPerSecond)} stored.`,
  );
}

/** Columns for the chart, up to now. Where nobody measured there is no line. */
function withGaps(history) {
  const points = [];
  const now = { atMs: consumerNow(), inPerSecond: null, storedPerSecond: null };
  for (const point of [...history, now]) {
    const lastMs = points.at(-1)?.atMs ?? point.atMs;
    if (point.atMs - lastMs > GAP_MS_MIN) points.push({ ...now, atMs: lastMs + 1 });
    points.push(point);
  }
  return [
    points.map(({ atMs }) => atMs / 1_000),
    points.map(({ inPerSecond }) => inPerSecond),
    points.map(({ storedPerSecond }) => storedPerSecond),
  ];
}
