/** The state of the flow: from one object that comes once a second. */

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

/** Shows a state. */
export function showOverview(status) {
  showVerdict(status);
  showFigures(status);
  showOutcomes(status);
  showPartitions(status.lag.partitions);
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
      return `in part ${since}`;
    case "away":
      return `no answer ${since} (${durationText(nowMs - sinceMs)})`;
    case "refuses":
      return `refuses ${since} (${durationText(nowMs - sinceMs)})`;
    default:
      return `never reached ${since} (${durationText(nowMs - sinceMs)})`;
  }
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

function showFigures({ rates, lag, latency, sinceStart }) {
  setText(byId("in-rate"), rate(rates.inPerSecond));
  setText(byId("stored-rate"), rate(rates.storedPerSecond));
  setText(byId("stored-note"), `${count(sinceStart.messages)} since start`);
  setText(byId("lag"), count(lag.messages));
  setText(byId("lag-unit"), lag.messages === 1 ? "message" : "messages");
  setText(byId("lag-note"), lagNote(lag));
  const { delayMs } = latency;
  const [number, unit] = delayMs === null ? ["–", ""] : duration(delayMs.p50);
  setText(byId("delay"), number);
  setText(byId("delay-unit"), unit);
  setText(
    byId("delay-note"),
    delayMs === null ? "" : `half within this, 99 % within ${durationText(delayMs.p99)}`,
  );
}

function lagNote({ messages, seconds, etaSeconds }) {
  if (messages === 0) return "caught up";
  const age = `oldest ${durationText(seconds * 1_000)}`;
  return etaSeconds === null || etaSeconds < 2
    ? age
    : `${age}, done in ${durationText(etaSeconds * 1_000)}`;
}

function showOutcomes({ sinceStart, ledger }) {
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
  showEquation(sinceStart, ledger);
}

function showEquation(sinceStart, ledger) {
  const stamp = byId("ledger-stamp");
  if (ledger === null) return setText(stamp, "not read yet");
  const ok = ledger.unaccounted === 0;
  stamp.dataset.ok = String(ok);
  setText(stamp, ok ? "Yes, to the last one" : `No: ${count(ledger.unaccounted)} missing`);
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
      return {
        element: element("tr", {}, ...cells),
        update: (each) => {
          const behind = each.lagMessages === 0
            ? "0"
            : `${count(each.lagMessages)} (${durationText(each.lagSeconds * 1_000)})`;
          const texts = [
            String(each.partition),
            each.nextOffset === null ? "–" : count(each.nextOffset),
            count(each.endOffset),
            behind,
            each.offline ?? (each.isAssigned ? "yes" : "no"),
          ];
          for (const [index, text] of texts.entries()) setText(cells[index], text);
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
  if (history.length === 0) return;
  rateChart.show([
    history.map(({ atMs }) => atMs / 1_000),
    history.map(({ inPerSecond }) => inPerSecond),
    history.map(({ storedPerSecond }) => storedPerSecond),
  ]);
  byId("rate-chart").setAttribute(
    "aria-label",
    `Rates of the last minutes. Now ${rate(rates.inPerSecond)} messages per second in, ` +
      `${rate(rates.storedPerSecond)} stored.`,
  );
}
