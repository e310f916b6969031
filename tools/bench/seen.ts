/**
 * What it costs to be looked at: the same drain alone, with a dashboard and Prometheus before it, and
 * with hundreds of slow clients on top.
 *
 * @module
 */
import type { Bed } from "./bed.ts";
import { type Backlog, type DrainResult, measureDrain } from "./drain.ts";
import type { Figure } from "./figures.ts";
import { holdConnections, openDashboard } from "./visitors.ts";

/** How many clients ask slowly and stay. */
const SLOW_CLIENTS = 500;

/** One round. */
export interface SeenResult {
  /** Nothing is served. */
  readonly alone: DrainResult;
  /** A dashboard and Prometheus look at it. */
  readonly watched: DrainResult;
  /** The same, and slow clients hold connections. */
  readonly crowded: DrainResult;
}

/** Three drains, in the other order every second round, so that no place is always the warmer one. */
export async function measureSeen(bed: Bed, backlog: Backlog, round: number): Promise<SeenResult> {
  const results: Partial<Record<keyof SeenResult, DrainResult>> = {};
  const ways = ["alone", "watched", "crowded"] as const;
  for (const way of round % 2 === 0 ? ways.toReversed() : ways) {
    results[way] = await measureWay(bed, backlog, { way, name: `bench_${way}_${round}` });
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
  ];
}

async function measureWay(
  bed: Bed,
  backlog: Backlog,
  { way, name }: { readonly way: keyof SeenResult; readonly name: string },
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

/** A port of the loopback that nobody listens on now. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
