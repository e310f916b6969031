/**
 * The end of a campaign: everything is stored, and then everything is looked for, four times over:
 * by `verify`, by the oracle, by PostgreSQL's own check of its indexes, and in Redis.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@redis/client";
import { findLastValueProblems, type Query, readStored } from "./stored.ts";
import type { Bed } from "./bed.ts";
import { openDatabase, readPositions } from "./database.ts";
import type { Fleet } from "./fleet.ts";
import { readJournal } from "./journal.ts";
import { readEnds } from "./topic.ts";
import { findDoubledLetters, judge, type OracleReport } from "./oracle.ts";

/** What was found at the end. */
export interface Ending {
  /** What the oracle found. */
  readonly oracle: OracleReport;
  /** What `verify` said, a sentence for each problem. */
  readonly verifyProblems: readonly string[];
  /** Offsets that the ledger has counted as deleted before they were read. */
  readonly gaps: number;
  /** What amcheck said about the indexes, a sentence for each problem. */
  readonly indexProblems: readonly string[];
  /** Indexes that amcheck looked at. */
  readonly indexes: number;
  /** Last values in Redis that are not the newest rows, a sentence for each. */
  readonly lastValueProblems: readonly string[];
}

/** Longest time to store what is in the topic once the faults are over, ms. */
const DRAINED_MS_MAX = 180_000;
/** Longest time for last values to be repaired once everything is stored, ms. */
const REPAIRED_MS_MAX = 60_000;
const LOOK_MS = 200;

/** Waits until the ledger has passed everything that is in the topic. */
export async function waitUntilDrained(bed: Bed): Promise<void> {
  const deadlineMs = performance.now() + DRAINED_MS_MAX;
  for (;;) {
    const behind = await lagMessages(bed).catch(() => undefined);
    if (behind === 0) return;
    if (performance.now() > deadlineMs) {
      throw new Error(`Cannot drain the topic: the ledger is behind by ${behind} messages`);
    }
    await sleep(LOOK_MS);
  }
}

/** Looks for everything, once all programs have stopped. */
export async function lookForEverything(
  { bed, fleet, deleted }: {
    readonly bed: Bed;
    readonly fleet: Fleet;
    /** See {@linkcode judge}. */
    readonly deleted: ReadonlySet<string>;
  },
): Promise<Omit<Ending, "lastValueProblems">> {
  await using database = await openDatabase(bed);
  const { query } = database;
  const journals = await Promise.all((await fleet.journals()).map(readJournal));
  const judged = judge(journals.flat(), await readStored(query), deleted);
  const findings = [...judged.findings, ...await findDoubledLetters(query)];
  const [sums] = await query("SELECT coalesce(sum(gaps), 0) AS gaps FROM ledger");
  return {
    oracle: { ...judged, findings },
    verifyProblems: await fleet.verify(),
    gaps: Number(sums!.gaps),
    ...await checkIndexes(bed),
  };
}

/** Waits for the last values to be those of the newest rows; says what is wrong if they never are. */
export async function waitForLastValues(bed: Bed): Promise<readonly string[]> {
  const deadlineMs = performance.now() + REPAIRED_MS_MAX;
  await using database = await openDatabase(bed);
  const { rows } = await readStored(database.query);
  for (;;) {
    const problems = findLastValueProblems(rows, ...await readLastValues(bed));
    if (problems.length === 0 || performance.now() > deadlineMs) return problems;
    await sleep(LOOK_MS);
  }
}

async function lagMessages(bed: Bed): Promise<number> {
  await using database = await openDatabase(bed);
  const next = await readPositions(database.query);
  const ends = await readEnds(bed);
  // Of a topic that was just recreated, the ledger still stands above the end.
  return ends.entries().reduce((sum, [partition, end]) => {
    return sum + Math.abs(end - (next.get(partition) ?? 0));
  }, 0);
}

/** Whether every row is in the indexes and nothing else is, by PostgreSQL's own extension. */
function checkIndexes(bed: Bed): Promise<Pick<Ending, "indexes" | "indexProblems">> {
  const { postgres, direct } = bed;
  return postgres.asSuperuser(direct.postgres.database, ({ query }) => {
    return checkEachIndex(async (text) => (await query(text)).rows);
  });
}

async function checkEachIndex(
  query: Query,
): Promise<Pick<Ending, "indexes" | "indexProblems">> {
  await query("CREATE EXTENSION IF NOT EXISTS amcheck");
  const indexes = await query(`
    SELECT indexrelid::regclass::text AS name FROM pg_index JOIN pg_class ON oid = indexrelid
    WHERE relam = (SELECT oid FROM pg_am WHERE amname = 'btree')
      AND indrelid IN ('sensor_events'::regclass, 'dead_letters'::regclass, 'ledger'::regclass)`);
  const indexProblems: string[] = [];
  for (const { name } of indexes) {
    try {
      await query(`SELECT bt_index_parent_check('${name}', heapallindexed => true)`);
    } catch (error) {
      indexProblems.push(`${name}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return { indexes: indexes.length, indexProblems };
}

/** The ids of last values by sensor, and the index of their times. */
async function readLastValues(
  bed: Bed,
): Promise<[last: Map<string, string>, index: Map<string, string>]> {
  const client = createClient({ socket: bed.direct.redis });
  await client.connect();
  try {
    const scores = await client.zRangeWithScores("last:index", 0, -1);
    const index = new Map(scores.map(({ value, score }) => [value, String(score)]));
    const sensors = [...index.keys()];
    const keys = sensors.map((sensor) => `last:${sensor}`);
    const texts = keys.length === 0 ? [] : await client.mGet(keys);
    return [new Map(sensors.map((sensor, at) => [sensor, texts[at] ?? "null"])), index];
  } finally {
    client.destroy();
  }
}
