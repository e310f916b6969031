/**
 * The small lines in the table of sensors: means of equal parts of the last minutes, kept for a few
 * seconds, so that a table that is asked for every two seconds does not read thousands of rows each
 * time.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Pages, TimeRange } from "../postgres/pages.ts";

/** How much time a line shows, ms. */
export const SPARKLINE_MS = 600_000;

/** Into how many parts it is divided. */
export const SPARKLINE_SLOTS = 30;

/** A line is shown this long before it is read again, ms: half a part. */
const FRESH_MS = SPARKLINE_MS / SPARKLINE_SLOTS / 2;

/** Lines that are kept; when there are more, all are forgotten. */
const LINES_MAX = 5_000;

/** A line and when it was read, by the clock's elapsed time. */
interface Line {
  readonly means: readonly (number | null)[];
  readonly readAtMs: number;
}

/** Keeps the lines. */
export class Sparklines {
  readonly #pages: Pick<Pages, "sparklines">;
  readonly #clock: Clock;
  readonly #lines = new Map<string, Line>();

  /** Knows nothing before the first question. */
  constructor(pages: Pick<Pages, "sparklines">, clock: Clock) {
    this.#pages = pages;
    this.#clock = clock;
  }

  /** The range that a line shows when it is read now. */
  range(): TimeRange {
    const toMs = Math.ceil(this.#clock.now());
    return { fromMs: toMs - SPARKLINE_MS, toMs };
  }

  /**
   * The lines of these sensors: means of the parts, null where there is no reading.
   *
   * @throws what {@linkcode Pages.sparklines} throws.
   */
  async of(
    sensorIds: readonly string[],
  ): Promise<ReadonlyMap<string, readonly (number | null)[]>> {
    const nowMs = this.#clock.elapsedMs();
    const lines = new Map<string, readonly (number | null)[]>();
    for (const id of sensorIds) {
      const line = this.#lines.get(id);
      if (line !== undefined && nowMs - line.readAtMs < FRESH_MS) lines.set(id, line.means);
    }
    const missing = sensorIds.filter((id) => !lines.has(id));
    if (missing.length === 0) return lines;
    const read = await this.#pages.sparklines(missing, this.range(), SPARKLINE_SLOTS);
    if (this.#lines.size + read.size > LINES_MAX) this.#lines.clear();
    for (const [id, means] of read) {
      lines.set(id, means);
      this.#lines.set(id, { means, readAtMs: nowMs });
    }
    return lines;
  }
}
