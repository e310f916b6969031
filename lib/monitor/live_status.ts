/**
 * The state of the whole flow in one object: what the dashboard shows and `/api/status` answers.
 *
 * @module
 */
import type { Flood } from "../consumer/flood_guard.ts";
import { type Stage, STAGES } from "../consumer/observer.ts";
import type { LedgerLine } from "../postgres/store.ts";
import type { Clock } from "../clock.ts";
import type { ServerName } from "../errors.ts";
import type { SlidingHistogram } from "./histogram.ts";
import { etaSeconds, type RatePoint, type TopicRates } from "./lag.ts";
import type { Monitor } from "./monitor.ts";
import type { ServerStatus } from "./servers.ts";
import type { FlowStatistics, Notice, Trouble } from "./statistics.ts";

/** The state of the flow in a word. */
export type FlowState =
  /** It has not been seen at work yet. */
  | "starting"
  /** The topic is empty and always was. */
  | "empty"
  /** Messages are stored as they come. */
  | "working"
  /** Everything is stored and nothing comes. */
  | "idle"
  /** More is waiting than comes in a few seconds. */
  | "behind"
  /** It goes on, with less than it should have, or with much that is no reading. */
  | "degraded"
  /** It waits for a server. */
  | "waiting";

/** Two quantiles of a duration, ms. */
export interface Quantiles {
  /** Half of all took no longer. */
  readonly p50: number;
  /** Of a hundred, one took longer. */
  readonly p99: number;
}

/** One partition, of whichever member. */
export interface LivePartition {
  /** Number of the partition. */
  readonly partition: number;
  /** The first offset that is not stored; null: the ledger has no line yet. */
  readonly nextOffset: number | null;
  /** The end of the log. */
  readonly endOffset: number;
  /** Offsets between the two. */
  readonly lagMessages: number;
  /** Age of the oldest message that is not stored, seconds. */
  readonly lagSeconds: number;
  /** Whether this process reads it. */
  readonly isAssigned: boolean;
  /** Nobody reads it, and this process shall tell of its lag. */
  readonly isOrphan: boolean;
  /** Why it can neither be read nor written now; null: it can. */
  readonly offline: string | null;
}

/** Sums over lines of the ledger; `passed` is the sum of the five behind it, or something is wrong. */
export interface LedgerSums {
  /** Offsets passed. */
  readonly passed: number;
  /** Readings that became rows. */
  readonly inserted: number;
  /** Readings that were stored already. */
  readonly duplicates: number;
  /** Messages that became dead letters. */
  readonly deadLetters: number;
  /** Offsets without a message. */
  readonly skipped: number;
  /** Offsets that were deleted before they were read. */
  readonly gaps: number;
  /** `passed` minus the five: 0. */
  readonly unaccounted: number;
}

/** See the module. Every time is in ms since 1970. */
export interface LiveStatus {
  /** When this was put together. */
  readonly nowMs: number;
  /** When the process started. */
  readonly startedAtMs: number;
  /** Name of the topic; null: not known yet. */
  readonly topic: string | null;
  /** In a word, and in a sentence. */
  readonly summary: { readonly state: FlowState; readonly text: string };
  /** The three servers. */
  readonly servers: Readonly<Record<ServerName, ServerStatus>>;
  /** What fails again and again at the moment, for the longest time. */
  readonly trouble: Trouble | null;
  /** What a person should know, the oldest first. */
  readonly notices: readonly Notice[];
  /** Messages per second, of the whole topic. */
  readonly rates: TopicRates;
  /** Of this process, last minute; null: nothing was stored. */
  readonly latency: {
    /** From the message's time in Kafka to the commit of its transaction. */
    readonly delayMs: Quantiles | null;
    /** The stages of a batch. */
    readonly stagesMs: Readonly<Record<Stage, Quantiles | null>>;
  };
  /** The whole topic. */
  readonly lag: {
    /** Sum over the partitions. */
    readonly messages: number;
    /** The worst of the partitions. */
    readonly seconds: number;
    /** Until it is gone at the present rates; null: it does not shrink. */
    readonly etaSeconds: number | null;
    /** By rising number. */
    readonly partitions: readonly LivePartition[];
  };
  /** Counts of this process. */
  readonly sinceStart: {
    readonly messages: number;
    readonly inserted: number;
    readonly duplicates: number;
    readonly conflicts: number;
    readonly deadLetters: number;
    readonly skipped: number;
    readonly batches: number;
    readonly rebalances: number;
    readonly retries: number;
    readonly rejections: Readonly<Record<string, number>>;
  };
  /** All topics that the ledger knows; null: not read yet. */
  readonly ledger: LedgerSums | null;
  /** Rates of the last minutes. */
  readonly history: readonly RatePoint[];
}

/** What the status is made of. */
export interface LiveStatusParts {
  /** Knows this process. */
  readonly statistics: FlowStatistics;
  /** Knows the servers and the topic. */
  readonly monitor: Monitor;
  /** Knows the time. */
  readonly clock: Clock;
}

/** A lag of more than this many seconds is worth a word. */
const BEHIND_SECONDS = 5;

/** Puts the status together. Asks nobody. */
export function liveStatus(parts: LiveStatusParts): LiveStatus {
  const { statistics, monitor, clock } = parts;
  const partitions = livePartitions(parts);
  const rates = monitor.history.rates();
  const lagMessages = partitions.reduce((sum, { lagMessages }) => sum + lagMessages, 0);
  const { retries, ...totals } = statistics.totals;
  const withoutSummary = {
    nowMs: clock.now(),
    startedAtMs: statistics.startedAtMs,
    topic: monitor.topic?.topic ?? null,
    servers: monitor.servers.states,
    trouble: statistics.troubles.toSorted((a, b) => a.sinceMs - b.sinceMs)[0] ?? null,
    notices: statistics.notices,
    rates,
    latency: {
      delayMs: quantilesOf(statistics.delay),
      stagesMs: Object.fromEntries(
        STAGES.map((stage) => [stage, quantilesOf(statistics.stages[stage])]),
      ) as Record<Stage, Quantiles | null>,
    },
    lag: {
      messages: lagMessages,
      seconds: Math.max(0, ...partitions.map(({ lagSeconds }) => lagSeconds)),
      etaSeconds: etaSeconds(lagMessages, rates) ?? null,
      partitions,
    },
    sinceStart: {
      ...totals,
      conflicts: statistics.rejections.get("id_conflict") ?? 0,
      retries: retries.placing + retries.storing,
      rejections: Object.fromEntries(statistics.rejections),
    },
    ledger: monitor.ledger === undefined ? null : ledgerSums(monitor.ledger),
    history: monitor.ratePoints,
  };
  return { ...withoutSummary, summary: summaryOf(withoutSummary, statistics.flood) };
}

/** Sums up lines of the ledger. */
export function ledgerSums(lines: readonly LedgerLine[]): LedgerSums {
  const sum = (of: (line: LedgerLine) => number): number =>
    lines.reduce((total, line) => total + of(line), 0);
  const passed = sum(({ next, first, rewound }) => next - first + rewound);
  const parts = {
    inserted: sum((line) => line.inserted),
    duplicates: sum((line) => line.duplicates),
    deadLetters: sum((line) => line.deadLetters),
    skipped: sum((line) => line.skipped),
    gaps: sum((line) => line.gaps),
  };
  const accounted = Object.values(parts).reduce((total, part) => total + part, 0);
  return { passed, ...parts, unaccounted: passed - accounted };
}

function livePartitions({ statistics, monitor, clock }: LiveStatusParts): LivePartition[] {
  const ledger = monitor.presentLedger;
  const elapsedMs = clock.elapsedMs();
  const numbers = new Set([...monitor.watermarks.keys(), ...monitor.offline.keys()]);
  return [...numbers].sort((a, b) => a - b).map((partition) => {
    const { low, high } = monitor.watermarks.get(partition) ?? { low: 0, high: 0 };
    const position = statistics.positions.get(partition);
    const line = ledger.get(partition);
    // Our own position is newer than the last look at the ledger.
    const next = Math.max(position?.nextOffset ?? 0, line?.next ?? low);
    const lastAtMs = position?.lastMessageAtMs;
    const lastMessageAgeMs = lastAtMs === undefined ? undefined : clock.now() - lastAtMs;
    const lagMessages = Math.max(0, high - next);
    return {
      partition,
      nextOffset: position?.nextOffset ?? line?.next ?? null,
      // The last look at the topic can be older than what has been stored since.
      endOffset: Math.max(high, next),
      lagMessages,
      lagSeconds: lagMessages === 0 ? 0 : monitor.history.lagSeconds(
        { partition, nextOffset: next },
        { elapsedMs, lastMessageAgeMs },
      ),
      isAssigned: statistics.assignedPartitions.includes(partition),
      isOrphan: statistics.orphans.includes(partition),
      offline: monitor.offline.get(partition) ?? null,
    };
  });
}

function quantilesOf(histogram: SlidingHistogram): Quantiles | null {
  const p50 = histogram.quantile(0.5);
  const p99 = histogram.quantile(0.99);
  return p50 === undefined || p99 === undefined ? null : { p50, p99 };
}

function summaryOf(
  status: Omit<LiveStatus, "summary">,
  flood: Flood | undefined,
): LiveStatus["summary"] {
  const { servers, rates, lag, trouble, ledger, notices } = status;
  const rate = `${Math.round(rates.storedPerSecond)} messages/s`;
  const absence = absenceOf("PostgreSQL", servers.postgres) ?? absenceOf("Kafka", servers.kafka);
  if (absence !== undefined) return absence;
  if (trouble !== null) return troubleSummary(trouble, lag.partitions);
  const notice = notices.find(({ kind }) => kind !== "offsets");
  if (notice !== undefined) return noticeSummary(notice);
  if (flood !== undefined) return { state: "degraded", text: floodText(flood) };
  const redis = absenceOf("Redis", servers.redis);
  if (redis !== undefined) {
    return { state: "degraded", text: `${redis.text} Storing ${rate}.` };
  }
  if (servers.redis.state === "degraded") {
    return { state: "degraded", text: `Redis ${servers.redis.detail}. Storing ${rate}.` };
  }
  if (servers.kafka.state === "degraded") {
    return {
      state: "degraded",
      text:
        `Kafka: ${servers.kafka.detail}. Its messages wait, the others are stored. Storing ${rate}.`,
    };
  }
  if (ledger === null || lag.partitions.length === 0) {
    return { state: "starting", text: "Starting: waiting for the servers' first answers." };
  }
  if (ledger.passed === 0 && lag.messages === 0) {
    return { state: "empty", text: "No messages yet." };
  }
  if (lag.seconds > BEHIND_SECONDS) {
    return {
      state: "behind",
      text: `Catching up: ${lag.messages} messages are waiting. Storing ${rate}.`,
    };
  }
  return rates.storedPerSecond > 0
    ? { state: "working", text: `Up to date. Storing ${rate}.` }
    : { state: "idle", text: "Up to date. No new messages at the moment." };
}

/** What goes on although a server does not do its part. */
const MEANWHILE = {
  PostgreSQL: "Messages wait in Kafka; none is lost.",
  Kafka: "Everything read so far is stored.",
  Redis: "PostgreSQL finds the duplicates alone.",
} as const;

/** The summary if the server is of no use; undefined: it is of some. */
function absenceOf(
  title: keyof typeof MEANWHILE,
  { state, detail }: ServerStatus,
): LiveStatus["summary"] | undefined {
  switch (state) {
    case "never_reached":
      return {
        state: "starting",
        text: `Starting: waiting for the first answer of ${title}: ${detail}.`,
      };
    case "away":
      return { state: "waiting", text: `${title} does not answer. ${MEANWHILE[title]}` };
    case "refuses":
      return { state: "waiting", text: `${title} refuses: ${detail}. ${MEANWHILE[title]}` };
    case "ok":
    case "degraded":
      return undefined;
  }
}

function noticeSummary({ kind, text }: Notice): LiveStatus["summary"] {
  return kind === "membership"
    ? { state: "waiting", text: `Trying again: ${text}` }
    : { state: "degraded", text: `${text.slice(0, 1).toUpperCase()}${text.slice(1)}` };
}

function troubleSummary(
  { partitions, text }: Trouble,
  all: readonly LivePartition[],
): LiveStatus["summary"] {
  const flows = all.some(({ isAssigned, partition }) =>
    isAssigned && !partitions.includes(partition)
  );
  return flows
    ? { state: "degraded", text: `Trying again with partition ${partitions.join(", ")}: ${text}` }
    : { state: "waiting", text: `Trying again: ${text}` };
}

function floodText({ deadLetters, messages, reasons }: Flood): string {
  const named = reasons.map(([reason, count]) => `${reason} ${count}`).join(", ");
  return `Of the last ${messages} messages, ${deadLetters} are not valid readings: ${named}. ` +
    "They are kept as dead letters.";
}
