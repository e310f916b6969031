/**
 * What it costs to be looked at: the same drain alone, with a dashboard and Prometheus before it, and
 * with hundreds of slow clients on top, and with hundreds that ask without a pause.
 *
 * @module
 */
import type { Bed } from "./bed.ts";
import { type Backlog, type DrainResult, measureDrain } from "./drain.ts";
import type { Figure } from "./figures.ts";
import { freePort } from "../stack/free_ports.ts";
import { holdConnections, openDashboard, openReaders } from "./visitors.ts";

/** How many clients ask slowly and stay. */
const SLOW_CLIENTS = 500;

/** How many readers ask at once. */
const READERS = 300;

/** One round. */
export interface SeenResult {
  /** Nothing is served. */
  readonly alone: DrainResult;
  /** A dashboard and Prometheus look at it. */
  readonly watched: DrainResult;
  /** The same, and slow clients hold connections. */
  readonly crowded: DrainResult;
  /** Readers ask all at once and without a pause. */
  readonly asked: AskedResult;
}

/** A drain beside readers. */
export interface AskedResult extends DrainResult {
  /** Longest wait for `/healthz`, ms. */
  readonly healthMsMax: number;
}

/** A drain each way, in the other order every second round, so that no place is always the warmer one. */
export async function measureSeen(bed: Bed, backlog: Backlog, round: number): Promise<SeenResult> {
  const results: { -readonly [Way in keyof SeenResult]?: SeenResult[Way] } = {};
  const ways = ["alone", "watched", "crowded", "asked"] as const;
  for (const way of round % 2 === 0 ? ways.toReversed() : ways) {
    const name = `bench_${way}_${round}`;
    if (way === "asked") results.asked = await measureAsked(bed, backlog, name);
    else results[way] = await measureWay(bed, backlog, { way, name });
  }
  return results as SeenResult;
}

/** The ratios of each round. */
export function seenFigures(results: readonly SeenResult[]): Figure[] {
  const ratios = (
    key: "messagesPerSecond" | "cpuSecondsPer100k",
    [of, to]: readonly [keyof SeenResult, keyof SeenResult],
  ): number[] => results.map((each) => each[of][key] / each[to][key]);
  const watched = ["watched", "alone"] as const;
  const crowded = ["crowded", "watched"] as const;
  const asked = ["asked", "alone"] as const;
  return [
    {
      name: "drain with dashboard and metrics / without",
      rounds: ratios("messagesPerSecond", watched),
      digits: 3,
    },
    { name: "  its CPU", rounds: ratios("cpuSecondsPer100k", watched), digits: 3 },
    {
      name: `drain with ${SLOW_CLIENTS} slow clients / without`,
      rounds: ratios("messagesPerSecond", crowded),
      digits: 3,
    },
    { name: "  its CPU", rounds: ratios("cpuSecondsPer100k", crowded), digits: 3 },
    {
      name: `drain while ${READERS} readers ask at once / without`,
      rounds: ratios("messagesPerSecond", asked),
      digits: 3,
    },
    {
      name: "  longest wait for /healthz, ms",
      rounds: results.map(({ asked }) => asked.healthMsMax),
      digits: 0,
    },
  ];
}

async function measureWay(
  bed: Bed,
  backlog: Backlog,
  { way, name }: { readonly way: Exclude<keyof SeenResult, "asked">; readonly name: string },
): Promise<DrainResult> {
  if (way === "alone") return await measureDrain(bed, backlog, { name });
  const port = freePort();
  await using viewers = openDashboard(`http://127.0.0.1:${port}`);
  await using slow = holdConnections(port, way === "crowded" ? SLOW_CLIENTS : 0);
  const result = await measureDrain(bed, backlog, { name, env: { HTTP_PORT: String(port) } });
  if (viewers.count === 0 || (way === "crowded" && slow.count < SLOW_CLIENTS)) {
    throw new Error(
      `Cannot trust this drain: ${viewers.count} answers, ${slow.count} slow connections`,
    );
  }
  return result;
}

async function measureAsked(bed: Bed, backlog: Backlog, name: string): Promise<AskedResult> {
  const port = freePort();
  await using readers = openReaders(`http://127.0.0.1:${port}`, READERS);
  const drain = await measureDrain(bed, backlog, { name, env: { HTTP_PORT: String(port) } });
  if (readers.count === 0) throw new Error("Cannot trust this drain: nobody got an answer");
  return { ...drain, healthMsMax: readers.healthMsMax };
}
