/**
 * Watches the ledger from outside, on a connection of its own: when each partition moved, and how
 * many rows there were when. It asks often, so that stalls are known to a tenth of a second.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { DirectWays } from "./bed.ts";

/** How often the ledger is looked at, ms. */
const POLL_MS = 100;
/** A database that does not answer in this time is away, ms. */
const ANSWER_MS_MAX = 2_000;

/** What was seen at an instant. */
export interface Sighting {
  /** When, ms since 1970. */
  readonly atMs: number;
  /** Rows that the ledger has counted. */
  readonly inserted: number;
  /** Offsets that the ledger has passed, all partitions and all lives of the topic together. */
  readonly passed: number;
}

/** The longest time between two neighbours of these times, from the first to the last bound, ms. */
export function longestGapMs(
  atMs: readonly number[],
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): number {
  const between = atMs.filter((each) => each > fromMs && each < toMs).sort((a, b) => a - b);
  const ends = [...between, toMs];
  return ends.reduce(
    (longest, end, index) => Math.max(longest, end - (ends[index - 1] ?? fromMs)),
    0,
  );
}

/** Watches until it is disposed. */
export class ProgressWatch implements AsyncDisposable {
  readonly #address: DirectWays["postgres"];
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;
  readonly #movedAtMs = new Map<string, number>();
  readonly #next = new Map<string, string>();
  readonly #rowsCameAtMs: number[] = [];
  /** Each change of the counts, by time. */
  readonly sightings: Sighting[] = [];

  /** Begins to watch. */
  constructor(address: DirectWays["postgres"]) {
    this.#address = address;
    this.#watching = this.#watch();
  }

  /** When new rows were seen for the first time since then, ms since 1970; undefined: not yet. */
  firstRowsSince(sinceMs: number): number | undefined {
    return this.#rowsCameAtMs.find((atMs) => atMs >= sinceMs);
  }

  /** When rows came, ms since 1970, in order. */
  get rowsCameAtMs(): readonly number[] {
    return this.#rowsCameAtMs;
  }

  /** True if so many partitions have moved since then. */
  haveMovedSince(sinceMs: number, partitions: number): boolean {
    return this.#movedAtMs.values().filter((atMs) => atMs >= sinceMs).toArray().length >=
      partitions;
  }

  /** Ends the watching. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#watching;
  }

  async #watch(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const client = new pg.Client({
        ...this.#address,
        connectionTimeoutMillis: ANSWER_MS_MAX,
        query_timeout: ANSWER_MS_MAX,
      });
      client.on("error", () => {});
      try {
        await client.connect();
        await this.#look(client);
      } catch {
        // The database is in trouble, which is what a campaign is for.
        await sleep(POLL_MS);
      } finally {
        await client.end().catch(() => {});
      }
    }
  }

  async #look(client: pg.Client): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const { rows } = await client.query(
        "SELECT topic_id, kafka_partition, next_offset, inserted FROM ledger",
      );
      const atMs = Date.now();
      let inserted = 0;
      let passed = 0;
      for (const row of rows) {
        const line = `${row.topic_id} ${row.kafka_partition}`;
        if (this.#next.get(line) !== row.next_offset) this.#movedAtMs.set(line, atMs);
        this.#next.set(line, row.next_offset);
        inserted += Number(row.inserted);
        passed += Number(row.next_offset);
      }
      const last = this.sightings.at(-1);
      // Fewer than before: a backup was restored. What comes after counts from there.
      if (last !== undefined && inserted > last.inserted) this.#rowsCameAtMs.push(atMs);
      if (last?.inserted !== inserted || last.passed !== passed) {
        this.sightings.push({ atMs, inserted, passed });
      }
      await sleep(POLL_MS);
    }
  }
}
