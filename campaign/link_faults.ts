/**
 * What can happen on the way to a server: the same four faults for each.
 *
 * @module
 */
import type { Random } from "../lib/producer/random.ts";
import type { Bed } from "./bed.ts";
import { drawLeader } from "./cluster.ts";
import type { FaultProxy, LinkMode } from "./fault_proxy.ts";
import { EVENT, nothingToHeal, type ServerFault } from "./fault.ts";
import { waitUntil } from "./wait_until.ts";

/** Whose links are hurt. */
type Party = "Kafka" | "PostgreSQL" | "Redis";

/** How often in a row replies are lost: not each of them is the reply to what stores a batch. */
const LOSSES = 10;

/** Longest time without any reply, ms. Nothing is promised of that, so it is long. */
const SILENCE_MS_MAX = 60_000;

/** Between a slow network and one that is as good as gone. */
const SLOW = { latencyMs: { min: 50, max: 300 }, bytesPerSecondMax: 2 * 1_024 * 1_024 };

/** Faults of the links to Kafka, PostgreSQL and Redis. */
export const LINK_FAULTS: readonly ServerFault[] = (["Kafka", "PostgreSQL", "Redis"] as const)
  .flatMap((party) => [
    modeFault(party, "half open: nothing comes through", { short: 12_000, long: 30_000 }, () => {
      return { kind: "half open" };
    }),
    modeFault(party, "reset, again and again", { short: 5_000, long: 20_000 }, () => {
      return { kind: "reset" };
    }),
    modeFault(party, "slow", { short: 10_000, long: 30_000 }, (random) => ({
      kind: "slow",
      latencyMs: random.between(SLOW.latencyMs.min, SLOW.latencyMs.max),
      bytesPerSecondMax: SLOW.bytesPerSecondMax,
    })),
    lostReplies(party),
  ]);

function modeFault(
  party: Party,
  what: string,
  holdMs: ServerFault["holdMs"],
  mode: (random: Random) => LinkMode,
): ServerFault {
  return {
    name: `${linkName(party)} ${what}`,
    party,
    holdMs,
    inject: async ({ bed }, random) => {
      const links = linksTo(bed, party);
      const link = links[party === "Kafka" ? await drawLeader(bed, random) : 0]!;
      link.setMode(mode(random));
      return { heal: () => Promise.resolve(link.setMode({ kind: "pass" })) };
    },
  };
}

/** What was asked for has happened, and whoever asked does not know. */
function lostReplies(party: Party): ServerFault {
  return {
    name: `${linkName(party)} loses replies to what was done`,
    party,
    holdMs: EVENT,
    inject: async ({ bed }) => {
      const links = linksTo(bed, party);
      try {
        for (let loss = 1; loss <= LOSSES; loss++) await loseReply(links);
      } finally {
        for (const link of links) link.setMode({ kind: "pass" });
      }
      return { heal: nothingToHeal };
    },
  };
}

async function loseReply(links: readonly FaultProxy[]): Promise<void> {
  const count = (): number => links.reduce((sum, link) => sum + link.repliesLost, 0);
  const before = count();
  await waitUntil("a reply that can be lost", SILENCE_MS_MAX, () => {
    // At each look, for whoever has connected since the last one.
    for (const link of links) link.setMode({ kind: "lose replies" });
    return Promise.resolve(count() > before);
  });
}

function linkName(party: Party): string {
  return party === "Kafka" ? "Link to a broker" : `Link to ${party}`;
}

function linksTo({ links }: Bed, party: Party): readonly FaultProxy[] {
  switch (party) {
    case "Kafka":
      return links.kafka;
    case "PostgreSQL":
      return [links.postgres];
    case "Redis":
      return [links.redis];
  }
}
