/**
 * The report of a campaign as one HTML page: the verdict, the table, and what happened when. It
 * holds no script and asks for nothing, so it can be kept and opened anywhere.
 *
 * @module
 */
import type { CampaignReport, PlayedFault } from "./campaign.ts";
import { ROWS_WITHIN_MS } from "./fault.ts";
import { boundsLines, brokenPromises, seconds, summarize, TABLE_HEAD } from "./report.ts";

const WIDTH = 1_160;
const PANEL_HEIGHT = 150;
const PANEL_GAP = 34;
const LEFT = 56;
const BIN_MS = 5_000;

/** A curve: values by time, ms since the campaign began. */
interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [atMs: number, value: number])[];
}

/** The whole page. */
export function proofPage(report: CampaignReport): string {
  const broken = brokenPromises(report);
  const { ending: { oracle }, kills, seed, hold, durationMs, startedAtMs, played, bounds } = report;
  const verdict = broken.length === 0
    ? `<p class="ok">Nothing lost, nothing stored twice, nothing wrongly dead-lettered.</p>`
    : `<p class="broken">Broken:</p><ul>${
      broken.map((one) => `<li>${escape(one)}</li>`).join("")
    }</ul>`;
  const figures = [
    [String(oracle.acknowledged), "acknowledged messages checked"],
    [String(oracle.rows), "rows compared"],
    [String(oracle.deadLetters), "dead letters compared"],
    [String(played.length), "times a fault was played"],
    [String(kills), "processes killed"],
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>sensor-ledger: proof</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>${STYLE}</style></head>
<body><main><h1>What happened to the readings</h1>
<p>Made by <code>deno task prove ${hold === "short" ? "--short " : ""}--seed ${seed}</code> on
${new Date(startedAtMs).toISOString().slice(0, 16).replace("T", " ")} UTC, in
${Math.round(durationMs / 60_000)} minutes, on real servers.</p>
${verdict}
<dl>${figures.map(([n, text]) => `<div><dt>${text}</dt><dd>${n}</dd></div>`).join("")}</dl>
<h2>Timeline</h2>
<p>Each band is a fault, from its start until it was healed; hover over it for its name.
${PARTIES.map((party) => `<span class="key ${party}"></span> ${party}`).join(" ")}</p>
${timeline(report)}
<h2>Fault by fault</h2>
${faultTable(report)}
<p>A stall is the longest time without a new row. "Rows after" counts from healing, or from a kill. Killing
several consumers at once counts for each of its points; a consumer that dies while the group waits for
another makes it wait once more, and the promised time is that much longer.</p>
${
    bounds === undefined
      ? ""
      : `<h2>At full speed</h2><ul>${
        boundsLines(bounds).map((line) => `<li>${escape(line)}</li>`).join("")
      }</ul>`
  }
</main></body></html>
`;
}

function faultTable(report: CampaignReport): string {
  const rows = summarize(report).map((fault) => {
    const cells = [
      fault.times,
      fault.lost,
      fault.storedTwice,
      fault.wronglyDeadLettered,
      seconds(fault.longestStallMs),
      seconds(fault.rowsAfterMs),
      seconds(fault.rowsWithinMs),
    ];
    const data = cells.map((cell) => `<td>${cell}</td>`).join("");
    return `<tr><th scope="row">${escape(fault.name)}</th>${data}</tr>`;
  });
  const head = TABLE_HEAD.map((text) => `<th scope="col">${text}</th>`).join("");
  return `<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${
    rows.join("\n")
  }</tbody></table></div>`;
}

/** Two panels over one axis of time: how fast, and how much waits. */
function timeline(report: CampaignReport): string {
  const { startedAtMs, durationMs, acknowledged, sightings, played } = report;
  const sent = acknowledged.map(({ atMs, messages }) => [atMs - startedAtMs, messages] as const);
  const stored = sightings.map(({ atMs, passed }) => [atMs - startedAtMs, passed] as const);
  const rates = [
    { name: "sent", points: ratesOf(sent, durationMs) },
    { name: "stored", points: ratesOf(stored, durationMs) },
  ];
  const waiting = sent.map(([atMs, count]) => {
    const passed = stored.findLast(([storedAtMs]) => storedAtMs <= atMs)?.[1] ?? 0;
    return [atMs, Math.max(0, count - passed)] as const;
  });
  const height = 2 * (PANEL_HEIGHT + PANEL_GAP) + 24;
  return `<div class="wide"><svg viewBox="0 0 ${WIDTH} ${height}" role="img"
aria-label="Messages sent and stored per second, messages that wait, and faults, over time">
${played.map((one) => band(one, report, height)).join("\n")}
${panel("messages per second", rates, 0, durationMs)}
${panel("messages that wait", [{ name: "waiting", points: waiting }], 1, durationMs)}
${axis(durationMs, height)}</svg></div>`;
}

function band(
  one: PlayedFault,
  { startedAtMs, durationMs }: CampaignReport,
  height: number,
): string {
  const from = place(one.injectedAtMs - startedAtMs, durationMs);
  const shareOfTime = (one.healedAtMs - one.injectedAtMs) / durationMs;
  const width = Math.max(1.5, shareOfTime * (WIDTH - LEFT)).toFixed(1);
  const text = `${one.name}, at ${minutes(one.injectedAtMs - startedAtMs)}, stall ` +
    seconds(one.longestStallMs);
  return `<rect class="fault ${one.party}" x="${from}" y="16" width="${width}" height="${
    height - 40
  }"><title>${escape(text)}</title></rect>`;
}

function panel(
  title: string,
  curves: readonly Curve[],
  number: number,
  durationMs: number,
): string {
  const bottom = (number + 1) * (PANEL_HEIGHT + PANEL_GAP);
  const values = curves.flatMap(({ points }) => points.map(([, value]) => value));
  const most = Math.max(1, ...values);
  const paths = curves.map(({ name, points }) => {
    const line = points.map(([atMs, value], index) => {
      const y = bottom - (value / most) * PANEL_HEIGHT;
      return `${index === 0 ? "M" : "L"}${place(atMs, durationMs)} ${y.toFixed(1)}`;
    });
    return `<path class="${name}" d="${line.join("")}"/>`;
  });
  const legend = curves.map(({ name }) => `<tspan class="${name}" dx="10">${name}</tspan>`).join(
    "",
  );
  return `<text x="${LEFT}" y="${bottom - PANEL_HEIGHT - 6}">${title}${legend}</text>
<text class="tick" x="${LEFT - 6}" y="${bottom - PANEL_HEIGHT + 4}">${Math.round(most)}</text>
<text class="tick" x="${LEFT - 6}" y="${bottom + 4}">0</text>
<line x1="${LEFT}" x2="${WIDTH}" y1="${bottom}" y2="${bottom}"/>${paths.join("")}`;
}

function axis(durationMs: number, height: number): string {
  const stepMs = durationMs > 3_600_000 ? 600_000 : durationMs > 600_000 ? 120_000 : 30_000;
  const ticks: string[] = [];
  for (let atMs = 0; atMs < durationMs; atMs += stepMs) {
    ticks.push(`<text x="${place(atMs, durationMs)}" y="${height - 8}">${minutes(atMs)}</text>`);
  }
  return ticks.join("");
}

function ratesOf(counts: Curve["points"], durationMs: number): Curve["points"] {
  const rates: [number, number][] = [];
  let before = 0;
  for (let endMs = BIN_MS; endMs <= durationMs; endMs += BIN_MS) {
    const count = counts.findLast(([atMs]) => atMs <= endMs)?.[1] ?? before;
    // A restored backup takes rows away; they come again.
    rates.push([endMs - BIN_MS / 2, Math.max(0, count - before) / (BIN_MS / 1_000)]);
    before = count;
  }
  return rates;
}

function place(atMs: number, durationMs: number): string {
  return (LEFT + (atMs / durationMs) * (WIDTH - LEFT)).toFixed(1);
}

function minutes(ms: number): string {
  return `${Math.floor(ms / 60_000)}:${String(Math.floor(ms / 1_000) % 60).padStart(2, "0")}`;
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

const PARTIES = Object.keys(ROWS_WITHIN_MS);

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d5d9de, #3a4048);
  --sent: light-dark(#8a6d00, #e3c04d); --stored: light-dark(#0a6b8a, #53bfe0);
  --bad: light-dark(#b3261e, #ff8a80); --good: light-dark(#1b6e3c, #6fd39a); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 1160px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 19px; margin: 32px 0 8px; }
.ok { color: var(--good); font-weight: 600; } .broken { color: var(--bad); font-weight: 600; }
dl { display: flex; flex-wrap: wrap; gap: 12px 36px; margin: 16px 0; }
dt { font-size: 13px; opacity: .75; } dd { margin: 0; font-size: 22px; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { text-align: left; font-weight: 400; white-space: normal; } thead th { font-weight: 600; }
svg { width: 100%; min-width: 700px; font-size: 12px; fill: currentColor; }
svg path { fill: none; stroke-width: 1.5; } svg line { stroke: var(--line); }
.tick { text-anchor: end; opacity: .75; }
path.sent { stroke: var(--sent); } tspan.sent { fill: var(--sent); }
path.stored { stroke: var(--stored); } tspan.stored { fill: var(--stored); }
path.waiting { stroke: currentColor; }
.key { display: inline-block; width: 12px; height: 12px; margin-left: 8px; opacity: .45; }
.key.Consumer { background: #4c8bf5; } .key.Producer { background: #8e63ce; }
.key.Kafka { background: #d9822b; } .key.PostgreSQL { background: #2f9e63; }
.key.Redis { background: #d64545; }
.fault { opacity: .28; fill: #888; } .fault:hover { opacity: .6; }
.fault.Consumer { fill: #4c8bf5; } .fault.Producer { fill: #8e63ce; } .fault.Kafka { fill: #d9822b; }
.fault.PostgreSQL { fill: #2f9e63; } .fault.Redis { fill: #d64545; }
`;
