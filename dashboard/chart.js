/** Charts by uPlot, in the colours of the page, which follow the system's. */

/* global uPlot */

const dark = matchMedia("(prefers-color-scheme: dark)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/**
 * A chart that fills `host` and lives as long as the page.
 *
 * @param describe Gives the options of uPlot; called again when the colours change.
 */
export class Chart {
  #host;
  #describe;
  #plot;
  #data;

  constructor(host, describe) {
    this.#host = host;
    this.#describe = describe;
    dark.addEventListener("change", () => this.#rebuild());
    new ResizeObserver(() => this.#resize()).observe(host);
  }

  /** Shows data: a list of x in seconds, and lists of y. */
  show(data) {
    this.#data = data;
    if (this.#plot === undefined) this.#rebuild();
    else this.#plot.setData(data);
  }

  /** Shows data that needs other options. */
  renew(data) {
    this.#data = data;
    this.#rebuild();
  }

  #size() {
    const { width, height } = this.#host.getBoundingClientRect();
    return { width: Math.max(120, Math.floor(width)), height: Math.max(120, Math.floor(height)) };
  }

  #resize() {
    if (this.#host.clientWidth > 0) this.#plot?.setSize(this.#size());
  }

  #rebuild() {
    if (this.#data === undefined) return;
    this.#plot?.destroy();
    const options = { ...this.#size(), legend: { show: false }, ...this.#describe(colour) };
    this.#plot = new uPlot(options, this.#data, this.#host);
  }
}

/** Axes that stay in the background. */
export function quietAxes(pick, { ySize = 52 } = {}) {
  const axis = {
    stroke: pick("quiet"),
    font: `12px ${getComputedStyle(document.body).fontFamily}`,
    grid: { stroke: pick("line"), width: 1 },
    ticks: { show: false },
  };
  return [
    { ...axis, grid: { show: false }, size: 28, space: 70 },
    { ...axis, size: ySize, space: 44 },
  ];
}

/** Times of the x axis with 24 hours a day, and the day where the span is long. */
export function timeTicks(_plot, splits) {
  const span = (splits.at(-1) ?? 0) - (splits[0] ?? 0);
  const format = new Intl.DateTimeFormat(
    "en-GB",
    span > 2 * 86_400
      ? { day: "numeric", month: "short" }
      : span > 12 * 3_600
      ? { weekday: "short", hour: "2-digit", minute: "2-digit" }
      : span > 600
      ? { hour: "2-digit", minute: "2-digit" }
      : { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  );
  return splits.map((seconds) => format.format(seconds * 1_000));
}
