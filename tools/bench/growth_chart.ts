/**
 * Draws what the bench of growth measured: `docs/growth.svg` from `docs/growth.json`.
 *
 * @module
 */
import { median } from "./figures.ts";

/** What is drawn of one table, see `GrowthPoint`. */
export interface ChartPoint {
  /** Version of its ids: the points of each make one line. */
  readonly ids: string;
  /** Rows that it held. */
  readonly rows: number;
  /** One value a round. */
  readonly rowsPerSecond: readonly number[];
  /** One value a round. */
  readonly walBytesPerRow: readonly number[];
}

const WIDTH = 720;
const HEIGHT = 300;
const PANEL = { width: 250, height: 190, top: 60 } as const;
const TICKS_MAX = 5;

/** Legible on white and on black. */
const COLORS = ["#d9480f", "#1c7ed6", "#2b8a3e", "#862e9c"];

const STYLE = `
  svg { font: 12px system-ui, sans-serif; fill: #495057 }
  .page { fill: #ffffff }
  .title { font-weight: 600; fill: #212529 }
  .grid { stroke: #dee2e6 }
  .line { fill: none; stroke-width: 2 }
  .range { stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    svg { fill: #adb5bd }
    .page { fill: #16191d }
    .title { fill: #f1f3f5 }
    .grid { stroke: #343a40 }
  }
`;

/** One of the two pictures. */
interface Panel {
  readonly title: string;
  readonly left: number;
  readonly valuesOf: (point: ChartPoint) => readonly number[];
}

const PANELS: readonly Panel[] = [
  { title: "Stored rows a second", left: 60, valuesOf: (point) => point.rowsPerSecond },
  { title: "Bytes of log a row", left: 420, valuesOf: (point) => point.walBytesPerRow },
];

/**
 * The chart as SVG: a line for each version of ids through the medians, and a bar from the least to
 * the greatest round at each point.
 *
 * @throws {RangeError} If there is no point, or one without a round.
 */
export function growthChart(points: readonly ChartPoint[]): string {
  const versions = [...new Set(points.map(({ ids }) => ids))];
  const legend = versions.map((ids, index) => {
    const x = PANELS[0]!.left + index * 130;
    return `<circle cx="${x + 4}" cy="18" r="4" fill="${colorOf(index)}"/>` +
      text({ x: x + 14, y: 22 }, `${ids} ids`);
  });
  const panels = PANELS.flatMap((panel) => panelOf(panel, points, versions));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img"` +
    ` aria-label="${summaryOf(points)}">`,
    `<style>${STYLE}</style>`,
    `<rect class="page" width="${WIDTH}" height="${HEIGHT}"/>`,
    ...legend,
    ...panels,
    "</svg>\n",
  ].join("\n");
}

function panelOf(
  panel: Panel,
  points: readonly ChartPoint[],
  versions: readonly string[],
): string[] {
  const { title, left, valuesOf } = panel;
  const sizes = [...new Set(points.map(({ rows }) => rows))].sort((a, b) => a - b);
  const step = tickStep(Math.max(...points.flatMap(valuesOf)));
  const ticks = Math.ceil(Math.max(...points.flatMap(valuesOf)) / step);
  const bottom = PANEL.top + PANEL.height;
  const xOf = (rows: number): number => left + PANEL.width * positionOf(rows, sizes);
  const yOf = (value: number): number => bottom - PANEL.height * value / (step * ticks);
  const grid = Array.from({ length: ticks + 1 }, (_, index) => {
    const y = yOf(index * step);
    return `<path class="grid" d="M${left} ${round(y)}h${PANEL.width}"/>` +
      text({ x: left - 8, y: y + 4, anchor: "end" }, (index * step).toLocaleString("en-US"));
  });
  const labels = sizes.map((rows) =>
    text({ x: xOf(rows), y: bottom + 20, anchor: "middle" }, millions(rows))
  );
  const lines = versions.flatMap((ids, index) => {
    const own = points.filter((point) => point.ids === ids).sort((a, b) => a.rows - b.rows);
    const spots = own.map((point) => {
      const values = valuesOf(point);
      const [x, low, middle, high] = [
        xOf(point.rows),
        ...[Math.min(...values), median(values), Math.max(...values)].map(yOf),
      ].map(round);
      return { at: `${x} ${middle}`, bar: `M${x} ${low}V${high}`, x, middle };
    });
    const color = colorOf(index);
    return [
      `<path class="line" stroke="${color}" d="M${spots.map(({ at }) => at).join("L")}"/>`,
      `<path class="range" stroke="${color}" d="${spots.map(({ bar }) => bar).join("")}"/>`,
      ...spots.map(({ x, middle }) => `<circle cx="${x}" cy="${middle}" r="4" fill="${color}"/>`),
    ];
  });
  return [
    text({ x: left, y: PANEL.top - 14, name: "title" }, title),
    ...grid,
    ...labels,
    text({ x: left + PANEL.width / 2, y: bottom + 38, anchor: "middle" }, "rows in the table"),
    ...lines,
  ];
}

/** From 0 to 1, evenly by factor; a single size stands in the middle. */
function positionOf(rows: number, sizes: readonly number[]): number {
  const [least = rows, most = rows] = [sizes[0], sizes.at(-1)];
  return least === most ? 0.5 : 0.04 + 0.92 * Math.log(rows / least) / Math.log(most / least);
}

/** The smallest of 1, 2, 5, 10, 20, … that needs at most so many steps to reach `max`. */
export function tickStep(max: number): number {
  let step = 1;
  for (let index = 0; max / step > TICKS_MAX; index++) step *= index % 3 === 1 ? 2.5 : 2;
  return step;
}

function millions(rows: number): string {
  return rows >= 1_000_000
    ? `${(rows / 1_000_000).toLocaleString("en-US")} million`
    : rows.toLocaleString("en-US");
}

function summaryOf(points: readonly ChartPoint[]): string {
  return points.map(({ ids, rows, rowsPerSecond, walBytesPerRow }) =>
    `${ids}, ${millions(rows)}: ${median(rowsPerSecond).toFixed(0)} rows a second, ` +
    `${median(walBytesPerRow).toFixed(0)} bytes of log a row`
  ).join("; ");
}

interface Place {
  readonly x: number;
  readonly y: number;
  readonly anchor?: "middle" | "end";
  readonly name?: string;
}

function text({ x, y, anchor, name }: Place, words: string): string {
  const attributes = (anchor === undefined ? "" : ` text-anchor="${anchor}"`) +
    (name === undefined ? "" : ` class="${name}"`);
  return `<text x="${round(x)}" y="${round(y)}"${attributes}>${words}</text>`;
}

function colorOf(index: number): string {
  return COLORS[index % COLORS.length]!;
}

function round(coordinate: number): number {
  return Math.round(coordinate * 10) / 10;
}
