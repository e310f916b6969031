/**
 * Looks at the three servers and at the ledger once a second, beside the flow and on connections of
 * its own, and remembers what it saw.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { GroupMember } from "../kafka/group_member.ts";
import { offlineOf, onlineOf, type TopicIdentity, type Watermarks } from "../kafka/message.ts";
import type { LedgerLine } from "../postgres/store.ts";
import type { ServerName } from "../errors.ts";
import type { Breaker } from "../redis/breaker.ts";
import type { Cache } from "../redis/cache.ts";
import { withTimeLimit } from "../time_limit.ts";
import { type RatePoint, TopicHistory } from "./lag.ts";
import { Servers } from "./servers.ts";

/** Whom the monitor asks. */
export interface MonitorParts {
  /** Knows the topic. */
  readonly member: Pick<GroupMember, "identity" | "watermarks">;
  /** Reads the ledger, on a connection that the flow does not use. */
  readonly readLedger: () => Promise<readonly LedgerLine[]>;
  /** Redis, on a connection that the flow does not use. */
  readonly cache: Pick<Cache, "marks">;
  /** Those of the flow: open ones say what Redis does not do for it. */
  readonly breakers: { readonly read: Breaker; readonly write: Breaker };
  /** The data set whose last values Redis holds, while that is another one, and alive. */
  readonly neighbour?: () => string | undefined;
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

/** Points of the rate chart. */
const RATE_POINTS_MAX = 180;

/** The event loop's drift is the worst of this many looks. */
const DRIFT_LOOKS = 15;

/** Names no reading: only whether Redis answers matters. */
const PROBE_ID = "00000000-0000-0000-0000-000000000000";

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
  readonly #watermarks = new Map<number, Watermarks>();
  #offline: ReadonlyMap<number, string> = new Map();
  #topic: TopicIdentity | undefined;
  #ledger: readonly LedgerLine[] | undefined;
  #looks = 0;

  /** Asks nobody before {@linkcode Monitor.run}. */
  constructor(parts: MonitorParts) {
    this.#parts = parts;
    this.servers = new Servers(parts.clock);
  }

  /** The readable ranges of the topic, as seen last; of a partition without a leader: before. */
  get watermarks(): ReadonlyMap<number, Watermarks> {
    return this.#watermarks;
  }

  /** Partitions that cannot be read or written now, each with the reason. */
  get offline(): ReadonlyMap<number, string> {
    return this.#offline;
  }

  /** The present life of the topic, as seen last. */
  get topic(): TopicIdentity | undefined {
    return this.#topic;
  }

  /** All lines of the ledger, as seen last; undefined: not seen yet. */
  get ledger(): readonly LedgerLine[] | undefined {
    return this.#ledger;
  }

  /** The lines of the topic's present life, by partition. */
  get presentLedger(): ReadonlyMap<number, LedgerLine> {
    const topicId = this.#topic?.topicId;
    const lines = (this.#ledger ?? []).filter(({ topic }) => topic.topicId === topicId);
    return new Map(lines.map((line) => [line.partition, line]));
  }

  /** Rates of the last minutes, a point for each look. */
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
    const { member, readLedger, cache, breakers } = this.#parts;
    const wantsIdentity = this.#looks++ % IDENTITY_LOOKS === 0 || this.#topic === undefined;
    this.#ask("kafka", async () => {
      if (wantsIdentity) this.#topic = await member.identity();
      const ranges = await member.watermarks();
      this.#offline = offlineOf(ranges);
      for (const [partition, marks] of onlineOf(ranges)) this.#watermarks.set(partition, marks);
      for (const partition of this.#watermarks.keys()) {
        if (!ranges.has(partition)) this.#watermarks.delete(partition);
      }
      return offlineText(this.#offline);
    });
    this.#ask("postgres", async () => {
      this.#ledger = await readLedger();
    });
    this.#ask("redis", async () => {
      await cache.marks([PROBE_ID]);
      return limitationOf(breakers) ?? neighbourText(this.#parts.neighbour?.());
    });
  }

  /** One question to each server at a time: a silent one must not collect them. */
  #ask(name: ServerName, question: () => Promise<string | undefined | void>): void {
    if (this.#asking.has(name)) return;
    this.#asking.add(name);
    const answer = question();
    answer.catch(() => {}).finally(() => this.#asking.delete(name));
    withTimeLimit(() => answer, { clock: this.#parts.clock, limitMs: ANSWER_MS_MAX }).then(
      (limitation) => this.servers.answered(name, limitation ?? undefined),
      (error) => this.servers.failed(name, error),
    );
  }

  #remember(): void {
    if (this.#watermarks.size === 0 || this.#ledger === undefined) return;
    let passed = 0;
    for (const line of this.presentLedger.values()) passed += line.next + line.rewound;
    const ends = new Map(
      Array.from(this.#watermarks, ([partition, { high }]) => [partition, high]),
    );
    this.history.add({ atMs: this.#parts.clock.elapsedMs(), ends, passed });
    const point = { atMs: this.#parts.clock.now(), ...this.history.rates() };
    keepLast(this.#ratePoints, point, RATE_POINTS_MAX);
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
