/**
 * The state of the whole flow in one object: what the dashboard shows and `/api/status` answers.
 *
 * @module
 */
import type { Flood } from "../consumer/flood_guard.ts";
import { type Stage, STAGES } from "../consumer/observer.ts";
import type { HeldBack } from "../kafka/message.ts";
import type { LedgerLine, OpenDeadLetters } from "../postgres/store.ts";
import type { Clock } from "../clock.ts";
import type { ServerName } from "../errors.ts";
import type { SlidingHistogram } from "./histogram.ts";
import { etaSeconds, type RatePoint, type TopicRates } from "./lag.ts";
import type { Monitor, SeenHeldBack } from "./monitor.ts";
import { isThere, type ServerStatus } from "./servers.ts";
import type { FlowStatistics, FlowTotals, Notice, Trouble } from "./statistics.ts";
import { counted } from "../quantities.ts";

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

/** When a figure was measured. Nobody may take an old one for what is true now. */
export interface Measured {
  /** ms since 1970. */
  readonly measuredAtMs: number;
}

/** Older figures are not what is true now, ms. */
export const FIGURE_AGE_MS_MAX = 10_000;

/** One partition, of whichever member. */
export interface LivePartition {
  /** Number of the partition. */
  readonly partition: number;
  /** The first offset that is not stored; null: the ledger has no line yet, or was not read. */
  readonly nextOffset: number | null;
  /** The end of the log; null: never seen. */
  readonly endOffset: number | null;
  /** Offsets between the two; null: not known. */
  readonly lagMessages: number | null;
  /** Age of the oldest message that is not stored, seconds; null: not known. */
  readonly lagSeconds: number | null;
  /** When all that is known of it was true, ms since 1970; null: never. */
  readonly measuredAtMs: number | null;
  /** What waits behind an open transaction and cannot be read yet; null: nothing that was seen. */
  readonly heldBack: HeldBack & Measured & { readonly sinceMs: number } | null;
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

/** What became of messages and offsets. */
export type OutcomeCounts = Pick<
  FlowTotals,
  "messages" | "inserted" | "duplicates" | "deadLetters" | "skipped"
>;

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
  /** Messages per second, of the whole topic; null: not measured yet. */
  readonly rates: TopicRates & Measured | null;
  /** Of this process, last minute; null: nothing was stored. */
  readonly latency: {
    /** From the message's time in Kafka to the commit of its transaction. */
    readonly delayMs: Quantiles | null;
    /** The stages of a batch. */
    readonly stagesMs: Readonly<Record<Stage, Quantiles | null>>;
  };
  /** The whole topic. A sum is as old as its oldest part, and not known if one of them is not. */
  readonly lag: {
    /** ms since 1970; null: it is not known. */
    readonly measuredAtMs: number | null;
    /** Sum over the partitions. */
    readonly messages: number | null;
    /** The worst of the partitions. */
    readonly seconds: number | null;
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
  readonly ledger:
    | LedgerSums & Measured & {
      /** What this process had counted when it asked for the ledger. */
      readonly sinceStart: OutcomeCounts;
    }
    | null;
  /** Those that nobody has replayed or given up; null: not counted yet. */
  readonly openDeadLetters: OpenDeadLetters & Measured | null;
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
  const dated = datesOf(clock);
  const { retries, ...totals } = statistics.totals;
  const { openDeadLetters } = monitor;
  const rates = monitor.history.rates();
  const withoutSummary = {
    nowMs: clock.now(),
    startedAtMs: statistics.startedAtMs,
    topic: monitor.topic?.topic ?? null,
    servers: monitor.servers.states,
    trouble: statistics.troubles.toSorted((a, b) => a.sinceMs - b.sinceMs)[0] ?? null,
    notices: statistics.notices,
    rates: rates === undefined ? null : ratesOf(rates, dated),
    latency: {
      delayMs: quantilesOf(statistics.delay),
      stagesMs: Object.fromEntries(
        STAGES.map((stage) => [stage, quantilesOf(statistics.stages[stage])]),
      ) as Record<Stage, Quantiles | null>,
    },
    lag: lagOf(livePartitions(parts), rates),
    sinceStart: {
      ...totals,
      conflicts: statistics.rejections.get("id_conflict") ?? 0,
      retries: retries.placing + retries.storing,
      rejections: Object.fromEntries(statistics.rejections),
    },
    ledger: ledgerOf(monitor, dated),
    openDeadLetters: openDeadLetters === undefined ? null : {
      count: openDeadLetters.count,
      isMore: openDeadLetters.isMore,
      measuredAtMs: dated(openDeadLetters.seenMs),
    },
    history: monitor.ratePoints.map((point) => ({ ...point, atMs: dated(point.atMs) })),
  };
  return { ...withoutSummary, summary: summaryOf(withoutSummary, statistics.flood) };
}

/** Whether a figure still says what is true now. */
export function isFresh(
  measured: { readonly measuredAtMs: number | null } | null,
  nowMs: number,
): boolean {
  const measuredAtMs = measured?.measuredAtMs ?? null;
  return measuredAtMs !== null && nowMs - measuredAtMs <= FIGURE_AGE_MS_MAX;
}

/** Turns `elapsedMs` into dates. The wall clock can jump; the age of a figure must not. */
function datesOf(clock: Clock): (seenMs: number) => number {
  const startMs = clock.now() - clock.elapsedMs();
  return (seenMs) => Math.round(startMs + seenMs);
}

function ratesOf(
  { atMs, ...rates }: RatePoint,
  dated: (seenMs: number) => number,
): LiveStatus["rates"] {
  return { ...rates, measuredAtMs: dated(atMs) };
}

function ledgerOf({ ledger }: Monitor, dated: (seenMs: number) => number): LiveStatus["ledger"] {
  if (ledger === undefined) return null;
  const { messages, inserted, duplicates, deadLetters, skipped } = ledger.totals;
  return {
    ...ledgerSums(ledger.lines),
    sinceStart: { messages, inserted, duplicates, deadLetters, skipped },
    measuredAtMs: dated(ledger.seenMs),
  };
}

function lagOf(
  partitions: readonly LivePartition[],
  rates: TopicRates | undefined,
): LiveStatus["lag"] {
  let [messages, seconds, measuredAtMs] = [0, 0, Infinity];
  for (const each of partitions) {
    messages += each.lagMessages ?? 0;
    seconds = Math.max(seconds, each.lagSeconds ?? 0);
    measuredAtMs = Math.min(measuredAtMs, each.measuredAtMs ?? -Infinity);
  }
  if (!Number.isFinite(measuredAtMs)) {
    return { measuredAtMs: null, messages: null, seconds: null, etaSeconds: null, partitions };
  }
  const eta = rates === undefined ? undefined : etaSeconds(messages, rates);
  return { measuredAtMs, messages, seconds, etaSeconds: eta ?? null, partitions };
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

function livePartitions(parts: LiveStatusParts): LivePartition[] {
  const { monitor } = parts;
  const numbers = new Set([...monitor.watermarks.keys(), ...monitor.offline.keys()]);
  return [...numbers].sort((a, b) => a - b).map((partition) => livePartition(parts, partition));
}

function livePartition(
  { statistics, monitor, clock }: LiveStatusParts,
  partition: number,
): LivePartition {
  const dated = datesOf(clock);
  const marks = monitor.watermarks.get(partition);
  const position = statistics.positions.get(partition);
  const line = monitor.presentLedger.get(partition);
  const held = monitor.heldBack.get(partition);
  const rest = {
    partition,
    nextOffset: position?.nextOffset ?? line?.next ?? null,
    isAssigned: statistics.assignedPartitions.includes(partition),
    isOrphan: statistics.orphans.includes(partition),
    offline: monitor.offline.get(partition) ?? null,
    heldBack: held === undefined ? null : heldBackOf(held, dated),
  };
  // Where a partition of ours stands is known at any time, the others' from the ledger alone.
  const storedSeenMs = position === undefined ? monitor.ledger?.seenMs : Infinity;
  if (marks === undefined || storedSeenMs === undefined) {
    const endOffset = marks?.high ?? null;
    return { ...rest, endOffset, lagMessages: null, lagSeconds: null, measuredAtMs: null };
  }
  // Our own position is newer than the last look at the ledger.
  const next = Math.max(position?.nextOffset ?? 0, line?.next ?? marks.low);
  const lastAtMs = position?.lastMessageAtMs;
  const lastMessageAgeMs = lastAtMs === undefined ? undefined : clock.now() - lastAtMs;
  const lagMessages = Math.max(0, marks.high - next);
  const seenMs = Math.min(marks.seenMs, storedSeenMs);
  const lagSeconds = lagMessages === 0 ? 0 : monitor.history.lagSeconds(
    { partition, nextOffset: next },
    { elapsedMs: seenMs, lastMessageAgeMs },
  );
  return {
    ...rest,
    // The last look at the topic can be older than what has been stored since.
    endOffset: Math.max(marks.high, next),
    lagMessages,
    lagSeconds,
    measuredAtMs: dated(seenMs),
  };
}

function heldBackOf(
  { offset, messages, sinceMs, seenMs }: SeenHeldBack,
  dated: (seenMs: number) => number,
): LivePartition["heldBack"] {
  return { offset, messages, sinceMs: dated(sinceMs), measuredAtMs: dated(seenMs) };
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
  const { servers, lag, trouble, ledger, notices } = status;
  const absence = absenceOf(servers);
  if (absence !== undefined) return absence;
  if (trouble !== null) return troubleSummary(trouble, lag.partitions);
  const notice = notices.find(({ kind }) => kind !== "offsets");
  if (notice !== undefined) return noticeSummary(notice);
  if (flood !== undefined) return { state: "degraded", text: floodText(flood, status) };
  const storing = storingText(status);
  if (!isThere(servers.redis)) {
    const text = `${absenceText("Redis", servers.redis)} PostgreSQL finds the duplicates alone.`;
    return { state: "degraded", text: `${text}${storing}` };
  }
  if (servers.redis.state === "degraded") {
    return { state: "degraded", text: `Redis ${servers.redis.detail}.${storing}` };
  }
  if (servers.kafka.state === "degraded") {
    return {
      state: "degraded",
      text: `Kafka: ${servers.kafka.detail}. Its messages wait, the others are stored.${storing}`,
    };
  }
  if (!isFresh(ledger, status.nowMs) || !isFresh(lag, status.nowMs)) {
    return { state: "starting", text: "Starting: waiting for the servers' first answers." };
  }
  if (ledger?.passed === 0 && lag.messages === 0) {
    return { state: "empty", text: "No messages yet." };
  }
  if ((lag.seconds ?? 0) > BEHIND_SECONDS) {
    const waiting = counted(lag.messages ?? 0, "message is", "messages are");
    return { state: "behind", text: `Catching up: ${waiting} waiting.${storing}` };
  }
  if (storing === "") return { state: "working", text: "Up to date." };
  return status.rates?.storedPerSecond === 0
    ? { state: "idle", text: "Up to date. No new messages at the moment." }
    : { state: "working", text: `Up to date.${storing}` };
}

/** How fast it stores, as the end of a text; nothing if that was not measured just now. */
function storingText({ rates, nowMs }: Omit<LiveStatus, "summary">): string {
  if (rates === null || !isFresh(rates, nowMs)) return "";
  return ` Storing ${Math.round(rates.storedPerSecond)} messages/s.`;
}

/** The summary if the flow cannot go on for want of a server; undefined: it can. */
function absenceOf(
  { kafka, postgres }: LiveStatus["servers"],
): LiveStatus["summary"] | undefined {
  const both = [["PostgreSQL", postgres], ["Kafka", kafka]] as const;
  const awaited = both.filter(([, { state }]) => state === "never_reached")
    .map(([title, { detail }]) => `waiting for the first answer of ${title}: ${detail}`);
  const texts = both
    .filter(([, server]) => !isThere(server) && server.state !== "never_reached")
    .map(([title, server]) => absenceText(title, server));
  if (awaited.length > 0) {
    const text = [`Starting: ${awaited.join("; ")}.`, ...texts].join(" ");
    return { state: "starting", text };
  }
  if (texts.length === 0) return undefined;
  texts.push(isThere(kafka) ? "Messages wait in Kafka." : "Nobody knows how many messages wait.");
  return { state: "waiting", text: texts.join(" ") };
}

function absenceText(title: string, { state, detail }: ServerStatus): string {
  return state === "refuses" ? `${title} refuses: ${detail}.` : `${title} does not answer.`;
}

function noticeSummary({ kind, text }: Notice): LiveStatus["summary"] {
  return kind === "membership" || kind === "start"
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

function floodText(
  { deadLetters, messages, reasons }: Flood,
  { openDeadLetters, nowMs }: Omit<LiveStatus, "summary">,
): string {
  const named = reasons.map(([reason, count]) => `${reason} ${count}`).join(", ");
  const head = `Of the last ${
    counted(messages, "message")
  }, ${deadLetters} are not valid readings: ${named}.`;
  if (openDeadLetters === null || !isFresh(openDeadLetters, nowMs)) {
    return `${head} They are kept as dead letters.`;
  }
  const { count, isMore } = openDeadLetters;
  const open = count === 1 && !isMore ? "1 dead letter is" : `${count} dead letters are`;
  return `${head} ${isMore ? "More than " : ""}${open} open.`;
}
