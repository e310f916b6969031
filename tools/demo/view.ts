/**
 * What the demo shows of itself: lines that move on a terminal, with its address always the last of
 * them, and now and then a line elsewhere.
 *
 * @module
 */
import type { Clock } from "../../lib/clock.ts";
import { durationText, grouped } from "../../lib/quantities.ts";
import { endLive, errorColumns, print, showLive } from "../../lib/standard_streams.ts";
import { columnsOf } from "../../lib/text_columns.ts";

/** How often the lines on a terminal change, ms. */
const TERMINAL_MS = 250;

/** Elsewhere the first line comes after this time, and each wait is twice the one before, ms. */
const PLAIN_MS = { first: 5_000, max: 60_000 } as const;

/** What became of the messages so far. */
export interface Sums {
  /** Since when, s. */
  readonly seconds: number;
  /** All that were read. */
  readonly messages: number;
  /** Those that are rows now. */
  readonly inserted: number;
  /** Those that repeat a row. */
  readonly duplicates: number;
  /** Those that contradict a row. */
  readonly conflicts: number;
  /** Those that are not valid readings. */
  readonly broken: number;
}

/** Where the lines go: to a terminal that can rewrite them, or wherever else. */
export type Place = "terminal" | "elsewhere";

/** Shows the sums and the address again and again until `signal` aborts. */
export async function showProgress(
  { sums, url, place, clock }: {
    readonly sums: () => Sums;
    readonly url: string;
    readonly place: Place;
    readonly clock: Clock;
  },
  signal: AbortSignal,
): Promise<void> {
  let waitMs: number = place === "terminal" ? 0 : PLAIN_MS.first;
  while (!signal.aborted) {
    await clock.sleep(waitMs, signal);
    if (signal.aborted) break;
    if (place === "terminal") {
      const columns = errorColumns() ?? 80;
      showLive(`  ${sumsLine(sums(), columns - 3)}`, `  ${addressLine(url)}`);
      waitMs = TERMINAL_MS;
    } else {
      await print(`  ${sumsLine(sums())}`);
      waitMs = Math.min(PLAIN_MS.max, waitMs * 2);
    }
  }
  if (place === "terminal") await endLive();
}

/** Says where to look, and how to end it. */
export function addressLine(url: string): string {
  return `Dashboard: ${url}   Ctrl-C ends it`;
}

/** The sums in as many words as fit. */
export function sumsLine(sums: Sums, columns = Infinity): string {
  const { seconds, messages, inserted, duplicates, conflicts, broken } = sums;
  const start = `${durationText(seconds)}   ${grouped(inserted)} stored`;
  const forms = [
    `${durationText(seconds)}   ${grouped(messages)} messages   ${grouped(inserted)} stored   ` +
    `${grouped(duplicates)} duplicates caught   ` +
    `${grouped(conflicts)} conflicts and ${grouped(broken)} broken set aside`,
    `${start}   ${grouped(duplicates)} duplicates   ${grouped(conflicts)} conflicts   ` +
    `${grouped(broken)} broken`,
    `${start}   ${grouped(duplicates)} duplicates   ${grouped(conflicts + broken)} set aside`,
  ];
  return forms.find((form) => columnsOf(form) <= columns) ?? start;
}
