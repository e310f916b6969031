/**
 * Two questions that a supervisor asks: does the process have to be restarted, and can it do its
 * work now?
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { OPEN_MS_MAX } from "../consumer/open_transactions.ts";
import { heldBackText } from "../kafka/message.ts";
import { clockText } from "../quantities.ts";
import type { SeenHeldBack } from "./monitor.ts";
import { isThere, type Servers, type ServerStatus } from "./servers.ts";
import type { FlowStatistics } from "./statistics.ts";

/** An answer, with the reasons for a no. */
export interface Health {
  /** The answer. */
  readonly ok: boolean;
  /** A sentence for each reason; empty if the answer is yes. */
  readonly reasons: readonly string[];
  /** What a person should know all the same; absent if nothing. */
  readonly notes?: readonly string[];
}

/** The loop ticks four times a second. Silent for this long, it hangs, ms. */
const TICK_MS_MAX = 10_000;

/**
 * Longest time of one batch, ms. A statement may take 30 s by default, and each half of a batch
 * with a refused row has its own; a batch without an end hangs.
 */
const BATCH_MS_MAX = 300_000;

/** A server that has not answered for this long does not count as there, ms. */
const ANSWER_AGE_MS_MAX = 10_000;

/** Whether the loop moves. A server that is away is no reason to restart. */
export function liveness(statistics: FlowStatistics): Health {
  const reasons: string[] = [];
  const { silentMs, workingMs } = statistics;
  if (silentMs > TICK_MS_MAX) reasons.push(`the loop has not moved for ${seconds(silentMs)}`);
  if (workingMs > BATCH_MS_MAX) reasons.push(`a batch has taken ${seconds(workingMs)} so far`);
  return { ok: reasons.length === 0, reasons };
}

/**
 * Whether messages can flow: the group has let us in, Kafka and PostgreSQL answer. Redis is not
 * asked about: the flow goes on without it.
 *
 * A partition without a leader is a note as long as others of ours can be read. This process does
 * what can be done, the next one could not do more, and an orchestrator that waits for readiness
 * would hold up its rollout for as long as a broker is away.
 */
export function readiness(
  parts: {
    readonly statistics: FlowStatistics;
    readonly servers: Servers;
    readonly clock: Clock;
    /** See `Monitor.offline`. */
    readonly offline: ReadonlyMap<number, string>;
    /** See `Monitor.heldBack`. */
    readonly heldBack: ReadonlyMap<number, SeenHeldBack>;
  },
): Health {
  const { statistics, servers, clock } = parts;
  const reasons = [...liveness(statistics).reasons];
  if (statistics.totals.rebalances === 0) reasons.push("the group has not assigned partitions yet");
  for (const [name, title] of [["kafka", "Kafka"], ["postgres", "PostgreSQL"]] as const) {
    const status = servers.states[name];
    const ageMs = clock.now() - (status.answeredAtMs ?? status.sinceMs);
    const absence = absenceText(title, status);
    if (absence !== undefined) reasons.push(absence);
    else if (ageMs > ANSWER_AGE_MS_MAX) {
      reasons.push(`${title} last answered ${seconds(ageMs)} ago`);
    }
  }
  for (const { step, partitions, text } of statistics.troubles) {
    reasons.push(`${step} fails in partition ${partitions.join(", ")}: ${text}`);
  }
  const { lost, isAllLost, held } = topicNotes(parts);
  if (isAllLost) reasons.push(...lost);
  // Offsets that another program has set keep nothing from flowing.
  const others = statistics.notices.filter(({ kind }) => kind === "offsets");
  for (const { kind, text } of statistics.notices) if (kind !== "offsets") reasons.push(text);
  const notes = [...others.map(({ text }) => text), ...(isAllLost ? [] : lost), ...held];
  return { ok: reasons.length === 0, reasons, ...(notes.length > 0 && { notes }) };
}

/** Why a server is of no use at all, and since when; undefined: it is of some. */
function absenceText(title: string, { state, sinceMs, detail }: ServerStatus): string | undefined {
  const since = `${clockText(sinceMs)} UTC`;
  switch (state) {
    case "never_reached":
      return `${title} has not answered since the start at ${since}: ${detail}`;
    case "away":
      return `${title} has not answered since ${since}: ${detail}`;
    case "refuses":
      return `${title} has refused since ${since}: ${detail}`;
    case "ok":
    case "degraded":
      return undefined;
  }
}

/** What the brokers said of our partitions; nothing while they do not answer. */
function topicNotes(
  { statistics, servers, offline, heldBack, clock }: Parameters<typeof readiness>[0],
): { readonly lost: readonly string[]; readonly isAllLost: boolean; readonly held: string[] } {
  const ours = isThere(servers.states.kafka) ? statistics.assignedPartitions : [];
  const lost = ours.filter((partition) => offline.has(partition)).map((partition) =>
    `partition ${partition} cannot be read: ${offline.get(partition)}; start its broker`
  );
  const held = ours.flatMap((partition) => {
    const seen = heldBack.get(partition);
    const isLong = seen !== undefined && clock.elapsedMs() - seen.sinceMs >= OPEN_MS_MAX;
    return isLong ? [heldBackText(partition, seen)] : [];
  });
  return { lost, isAllLost: lost.length > 0 && lost.length === ours.length, held };
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1_000)} s`;
}
