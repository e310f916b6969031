/**
 * What keeps a demo small that runs for hours in memory: the topic forgets what is stored, old rows go
 * as `retain` deletes them, and PostgreSQL uses their room again. No row goes that is not counted,
 * so `verify` holds at the end.
 *
 * @module
 */
import type { MemoryKafka } from "../../fakes/kafka_cluster.ts";
import type { Clock } from "../../lib/clock.ts";
import { TransientError } from "../../lib/errors.ts";
import { retain } from "../../lib/operations/retain.ts";
import { discardDeadLetters, readDeadLetters } from "../../lib/postgres/dead_letters.ts";
import type { SqlPool } from "../../lib/postgres/pool.ts";

/** What there is to keep small. */
export interface Household {
  /** Holds the messages. */
  readonly kafka: MemoryKafka;
  /** The consumers' group, whose committed messages may go. */
  readonly group: string;
  /** Holds the rows. */
  readonly pool: SqlPool;
  /** Paces the work. */
  readonly clock: Clock;
}

/** What stays. */
export interface HousekeepingOptions {
  /** Rows older than this go, ms; undefined: none goes. */
  readonly rowsOlderThanMs: number | undefined;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** How often it looks, ms. */
const ROUND_MS = 5_000;

/** How often in a row's life old ones are looked for: each time all of the table is read. */
const DELETIONS_PER_AGE = 10;

/** How many stored messages of a partition stay in the topic. */
const MESSAGES_KEPT = 2_000;

/** Rows that go in one step: the only connection is taken for a tenth of a second. */
const STEP_ROWS = 5_000;
const STEP_LETTERS = 1_000;

/** Rows that may stay, about 400 bytes each with their indexes. */
const ROWS_MAX = 120_000;

/** How long rows stay at a rate: as many as fit, but no longer than the page's charts want, ms. */
export function rowsKeptMs(ratePerSecond: number): number {
  return Math.min(1_200_000, Math.max(20_000, ROWS_MAX / ratePerSecond * 1_000));
}

/** Looks again and again until the signal aborts. */
export async function keepSmall(
  household: Household,
  { rowsOlderThanMs, signal }: HousekeepingOptions,
): Promise<void> {
  const { kafka, group, pool, clock } = household;
  let deletedAtMs = clock.elapsedMs();
  while (!signal.aborted) {
    await clock.sleep(ROUND_MS, signal);
    for (const [number, nextOffset] of kafka.groups.committed.get(group) ?? []) {
      kafka.deleteRecords(number, nextOffset - MESSAGES_KEPT);
    }
    try {
      const sinceMs = clock.elapsedMs() - deletedAtMs;
      if (rowsOlderThanMs !== undefined && sinceMs > rowsOlderThanMs / DELETIONS_PER_AGE) {
        deletedAtMs = clock.elapsedMs();
        await deleteOld(household, rowsOlderThanMs, signal);
      }
      // It uses old segments of its log again only from here on.
      await pool.query({ action: "write a checkpoint", text: "CHECKPOINT" });
    } catch (error) {
      // While PostgreSQL is away there is nothing to do.
      if (!(error instanceof TransientError)) throw error;
    }
  }
}

async function deleteOld(
  { pool, clock }: Household,
  ageMs: number,
  signal: AbortSignal,
): Promise<void> {
  await discardOld(pool, clock.now() - ageMs);
  // The messages of old rows have left the topic by the lines above, whatever their age.
  const member = { retentionMs: () => Promise.resolve(0) };
  const { readings, deadLetters } = await retain({ pool, clock, member }, {
    readingsOlderThanMs: ageMs,
    deadLettersOlderThanMs: ageMs,
    batchRowsMax: STEP_ROWS,
    mode: "delete",
    signal,
  });
  if (readings + deadLetters > 0 && !signal.aborted) {
    await pool.query({
      action: "make room",
      text: "VACUUM sensor_events, dead_letters",
      transaction: "none",
    });
  }
}

/** Nobody will look into them any more, and only what is dealt with may be deleted. */
async function discardOld(pool: SqlPool, untilMs: number): Promise<void> {
  const page = { order: "oldest", limit: STEP_LETTERS, payloadBytesMax: 1 } as const;
  for (let discarded = STEP_LETTERS; discarded === STEP_LETTERS;) {
    const letters = await readDeadLetters(pool, { untilMs, state: "open" }, page);
    discarded = letters.length;
    const ids = letters.map(({ id }) => id);
    if (discarded > 0) await discardDeadLetters(pool, ids, "old, and the demo keeps little");
  }
}
