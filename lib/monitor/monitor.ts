/**
 * Looks at the three servers and at the ledger once a second, alongside the flow and on connections of
 * its own, and remembers what it saw.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { GroupMember } from "../kafka/group_member.ts";
import { NoAnswerError, type ServerName } from "../errors.ts";
import {
  type HeldBack,
  offlineOf,
  onlineOf,
  type TopicIdentity,
  type Watermarks,
} from "../kafka/message.ts";
import type { LedgerLine, OpenDeadLetters } from "../postgres/store.ts";
import type { Breaker } from "../redis/breaker.ts";
import { type Cache, PROBE_ID } from "../redis/cache.ts";
import { withTimeLimit } from "../time_limit.ts";
import type { TroubleLog } from "../trouble_log.ts";
import { type RatePoint, TopicHistory } from "./lag.ts";
import { Servers } from "./servers.ts";
import type { FlowStatistics, FlowTotals } from "./statistics.ts";

/** Whom the monitor asks. */
export interface MonitorParts {
  /** Knows the topic. */
  readonly member: Pick<GroupMember, "identity" | "watermarks" | "heldBack">;
  /** Reads the tables, on a connection that the flow does not use. */
  readonly tables: {
    readonly ledger: () => Promise<readonly LedgerLine[]>;
    readonly openDeadLetters: () => Promise<OpenDeadLetters>;
  };
  /** Redis, on a connection that the flow does not use. */
  readonly cache: Pick<Cache, "marks">;
  /** Those of the flow: open ones say what Redis does not do for it. */
  readonly breakers: { readonly read: Breaker; readonly write: Breaker };
  /** What this process knows of itself. */
  readonly statistics: Pick<FlowStatistics, "neighbour" | "totals">;
  /** Is notified of a server that does not answer a look. Its refusals are reported by who needs it. */
  readonly troubles?: TroubleLog | undefined;
  /** Paces the looks. */
  readonly clock: Clock;
}

/** How often the monitor looks, ms. */
export const LOOK_MS = 1_000;

/**
 * A server that has not answered for this long counts as away, ms. More than a reader's statement may
 * take, so that the word of a server that is there comes before.
 */
const ANSWER_MS_MAX = 2_500;

/** The life of the topic is asked for once in this many looks. */
const IDENTITY_LOOKS = 10;

/** What costs more than the rest, and changes more slowly, is looked at once in this many looks. */
const SELDOM_LOOKS = 5;

/** Points of the rate chart. */
const RATE_POINTS_MAX = 180;

/** The event loop's drift is the worst of this many looks. */
const DRIFT_LOOKS = 15;

/** The end of a partition as it was seen; all times are in `elapsedMs`. */
export interface SeenWatermarks extends Watermarks {
  /** When it was asked for. */
  readonly seenMs: number;
}

/** The ledger as it was seen. */
export interface SeenLedger {
  /** All lines. */
  readonly lines: readonly LedgerLine[];
  /**
   * What this process had counted when it asked: all of that is in the lines, and so are batches
   * whose answers were still on their way.
   */
  readonly totals: FlowTotals;
  /** When it was asked for, in `elapsedMs`. */
  readonly seenMs: number;
}

/** What an open transaction holds back, as it was seen. */
export interface SeenHeldBack extends HeldBack {
  /** When this transaction was seen first, in `elapsedMs`. */
  readonly sinceMs: number;
  /** When it was seen last, in `elapsedMs`. */
  readonly seenMs: number;
}

/** Looks, remembers, and tells whoever listens that there is something new. */
export class Monitor {
  /** The states of the servers. */
  readonly servers: Servers;
  /** Looks at the topic. */
  readonly history: TopicHistory = new TopicHistory();
  readonly #parts: MonitorParts;
  readonly #asking = new Set<ServerName>();
  readonly #listeners = new Set<() => void>();
  readonly #ratePoints: RatePoint[] = [];
  readonly #driftsMs: number[] = [];
  readonly #watermarks = new Map<number, SeenWatermarks>();
  #offline: ReadonlyMap<number, string> = new Map();
  #heldBack: ReadonlyMap<number, SeenHeldBack> = new Map();
  #topic: TopicIdentity | undefined;
  #topicSeenMs: number | undefined;
  #ledger: SeenLedger | undefined;
  #openDeadLetters: OpenDeadLetters & { readonly seenMs: number } | undefined;
  #looks = 0;
  #rememberedMs = -Infinity;
  /** A question that the end has cut off says nothing of its server. */
  #isOver = false;

  /** Asks nobody before {@linkcode Monitor.run}. */
  constructor(parts: MonitorParts) {
    this.#parts = parts;
    this.servers = new Servers(parts.clock);
  }

  /** The readable ranges of the topic, as seen last; of a partition without a leader: before. */
  get watermarks(): ReadonlyMap<number, SeenWatermarks> {
    return this.#watermarks;
  }

  /** When the topic was seen last, in `elapsedMs`; undefined: never. */
  get topicSeenMs(): number | undefined {
    return this.#topicSeenMs;
  }

  /** What waits behind open transactions, as seen last. */
  get heldBack(): ReadonlyMap<number, SeenHeldBack> {
    return this.#heldBack;
  }

  /** Partitions that cannot be read or written now, each with the reason. */
  get offline(): ReadonlyMap<number, string> {
    return this.#offline;
  }

  /** The present life of the topic, as seen last. */
  get topic(): TopicIdentity | undefined {
    return this.#topic;
  }

  /** The ledger, as seen last; undefined: not seen yet. */
  get ledger(): SeenLedger | undefined {
    return this.#ledger;
  }

  /** How many dead letters wait for a person, as seen last; undefined: not counted yet. */
  get openDeadLetters(): OpenDeadLetters & { readonly seenMs: number } | undefined {
    return this.#openDeadLetters;
  }

  /** The lines of the topic's present life, by partition. */
  get presentLedger(): ReadonlyMap<number, LedgerLine> {
    const topicId = this.#topic?.topicId;
    const lines = (this.#ledger?.lines ?? []).filter(({ topic }) => topic.topicId === topicId);
    return new Map(lines.map((line) => [line.partition, line]));
  }

  /** Rates of the last minutes, a point for each look at which both servers answered. */
  get ratePoints(): readonly RatePoint[] {
    return this.#ratePoints;
  }

  /** How much later than planned a timer of this process fired, worst of the last looks, ms. */
  get eventLoopDriftMs(): number {
    return Math.max(0, ...this.#driftsMs);
  }

  /** Calls `listener` after each look; returns what ends that. */
  onLook(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Looks until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    signal.addEventListener("abort", () => this.#isOver = true, { once: true });
    while (!signal.aborted) {
      this.#look();
      const plannedMs = clock.elapsedMs() + LOOK_MS;
      await clock.sleep(LOOK_MS, signal);
      if (signal.aborted) return;
      keepLast(this.#driftsMs, Math.max(0, clock.elapsedMs() - plannedMs), DRIFT_LOOKS);
      this.#remember();
      for (const listener of this.#listeners) listener();
    }
  }

  /** Asks all servers and waits for none. */
  #look(): void {
    const { cache, breakers, statistics } = this.#parts;
    const look = this.#looks++;
    this.#ask("kafka", () => this.#lookAtTopic(look));
    this.#ask("postgres", () => this.#lookAtTables(look));
    this.#ask("redis", async () => {
      await cache.marks(PROBE_ID);
      return limitationOf(breakers) ?? neighbourText(statistics.neighbour);
    });
  }

  async #lookAtTopic(look: number): Promise<string | undefined> {
    const { member, clock } = this.#parts;
    if (look % IDENTITY_LOOKS === 0 || this.#topic === undefined) {
      this.#topic = await member.identity();
    }
    const seenMs = clock.elapsedMs();
    const ranges = await member.watermarks();
    this.#offline = offlineOf(ranges);
    for (const [partition, marks] of onlineOf(ranges)) {
      this.#watermarks.set(partition, { ...marks, seenMs });
    }
    for (const partition of this.#watermarks.keys()) {
      if (!ranges.has(partition)) this.#watermarks.delete(partition);
    }
    this.#topicSeenMs = seenMs;
    // What fails only here gets old, and the topic does not.
    if (look % SELDOM_LOOKS === 0) await this.#lookBehindTransactions().catch(() => {});
    return offlineText(this.#offline);
  }

  async #lookBehindTransactions(): Promise<void> {
    const { member, clock } = this.#parts;
    const seenMs = clock.elapsedMs();
    const before = this.#heldBack;
    this.#heldBack = new Map(
      Array.from(await member.heldBack(), ([partition, held]) => {
        const known = before.get(partition);
        const sinceMs = known?.offset === held.offset ? known.sinceMs : seenMs;
        return [partition, { ...held, sinceMs, seenMs }];
      }),
    );
  }

  async #lookAtTables(look: number): Promise<undefined> {
    const { tables, clock, statistics } = this.#parts;
    const seenMs = clock.elapsedMs();
    const totals = { ...statistics.totals };
    this.#ledger = { lines: await tables.ledger(), totals, seenMs };
    if (look % SELDOM_LOOKS !== 0) return;
    // The same here: a count that takes too long must not call the server away.
    await tables.openDeadLetters().then(
      (open) => this.#openDeadLetters = { ...open, seenMs },
      () => {},
    );
  }

  /** One question to each server at a time: a silent one must not collect them. */
  #ask(name: ServerName, question: () => Promise<string | undefined | void>): void {
    if (this.#asking.has(name)) return;
    this.#asking.add(name);
    const answer = question();
    answer.catch(() => {}).finally(() => this.#asking.delete(name));
    withTimeLimit(() => answer, { clock: this.#parts.clock, limitMs: ANSWER_MS_MAX }).then(
      (limitation) => {
        this.servers.answered(name, limitation ?? undefined);
        this.#parts.troubles?.left(`look at ${name}`);
      },
      (error) => this.#failed(name, error),
    );
  }

  #failed(server: ServerName, error: unknown): void {
    if (this.#isOver) return;
    this.servers.failed(server, error);
    const { troubles } = this.#parts;
    if (error instanceof NoAnswerError) troubles?.met([`look at ${server}`], error, { server });
    else troubles?.left(`look at ${server}`);
  }

  /** Only what was seen again counts: a server that is away has not come to rest. */
  #remember(): void {
    const [topicMs, ledgerMs] = [this.#topicSeenMs, this.#ledger?.seenMs];
    if (topicMs === undefined || ledgerMs === undefined || this.#watermarks.size === 0) return;
    const atMs = Math.min(topicMs, ledgerMs);
    if (atMs <= this.#rememberedMs) return;
    this.#rememberedMs = Math.max(topicMs, ledgerMs);
    let passed = 0;
    for (const line of this.presentLedger.values()) passed += line.next + line.rewound;
    const ends = new Map(
      Array.from(this.#watermarks, ([partition, { high }]) => [partition, high]),
    );
    this.history.add({ atMs, ends, passed });
    const point = this.history.rates();
    if (point !== undefined) keepLast(this.#ratePoints, point, RATE_POINTS_MAX);
  }
}

function offlineText(offline: ReadonlyMap<number, string>): string | undefined {
  if (offline.size === 0) return undefined;
  const [reason] = offline.values();
  return `partition ${[...offline.keys()].join(", ")} cannot be read or written: ${reason}`;
}

function limitationOf({ read, write }: MonitorParts["breakers"]): string | undefined {
  if (read.isOpen && write.isOpen) return "is too slow or refuses: bypassed";
  if (read.isOpen) return "lookups are bypassed";
  if (write.isOpen) return "refuses to write: marks and last values are skipped";
  return undefined;
}

function neighbourText(owner: string | undefined): string | undefined {
  return owner === undefined
    ? undefined
    : `holds last values of another data set, ${owner}: ours are not written; ` +
      "set REDIS_PREFIX or REDIS_DATABASE";
}

function keepLast<Item>(items: Item[], item: Item, max: number): void {
  items.push(item);
  if (items.length > max) items.shift();
}
