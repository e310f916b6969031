/**
 * The proof that nothing was lost or stored twice: every line of the ledger adds up, and the tables
 * hold what the ledger says.
 *
 * @module
 */
import { ledgerLineOf, SELECT_LEDGER } from "./client.ts";
import type { SqlPool, SqlRow, SqlSession } from "./pool.ts";
import type { LedgerLine } from "./store.ts";
import { table } from "../table.ts";
import { counted } from "../quantities.ts";

/** One line of the ledger. Offsets are texts, for JSON readers whose numbers are narrower. */
export interface VerifiedPartition extends
  Pick<
    LedgerLine,
    "partition" | "inserted" | "duplicates" | "deadLetters" | "skipped" | "gaps" | "rewound"
  > {
  /** Name of the topic. */
  readonly topic: string;
  /** UUID of this life of the topic. */
  readonly topicId: string;
  /** Offset at which the line was opened. */
  readonly first: string;
  /** One past the last offset that is stored. */
  readonly next: string;
}

/** What {@linkcode verifyLedger} found. */
export interface VerifyReport {
  /** True if there are no problems. */
  readonly ok: boolean;
  /** Rows of `sensor_events`. */
  readonly rows: number;
  /** Rows that came otherwise than through the ledger: replayed dead letters. */
  readonly added: number;
  /** Rows that were deleted because of their age. */
  readonly deleted: number;
  /** Dead letters by what became of them. */
  readonly deadLetters: DeadLetterCounts;
  /** By topic, life of the topic and partition. */
  readonly partitions: readonly VerifiedPartition[];
  /** A sentence each, naming the partition, what was expected and what was found. */
  readonly problems: readonly string[];
}

/** How many dead letters there are in each state. */
export interface DeadLetterCounts {
  /** Nobody has dealt with them yet. */
  readonly open: number;
  /** Replayed: a row of `sensor_events` now, or found to repeat one. */
  readonly replayed: number;
  /** Given up, with a reason, and kept. */
  readonly discarded: number;
  /** Deleted because of their age, after they had been dealt with. */
  readonly deleted: number;
}

/** Counting reads whole tables. */
const VERIFY_TIMEOUT_MS = 600_000;

/** What is counted in one snapshot. */
interface Counts {
  readonly lines: readonly LedgerLine[];
  /** By partition. */
  readonly rows: ReadonlyMap<Partition, RowCounts>;
  /** By {@linkcode placeOf}. */
  readonly deadLetters: ReadonlyMap<string, LetterCounts>;
}

/** Null: rows that are from no partition. */
type Partition = number | null;

/** The rows of one partition. */
interface RowCounts {
  /** Rows that `sensor_events` holds. */
  readonly found: number;
  readonly added: number;
  readonly deleted: number;
}

/** The dead letters of one partition of one life of a topic. */
interface LetterCounts extends DeadLetterCounts {
  /** Offsets for which `dead_letters` holds one. */
  readonly found: number;
}

/**
 * Compares the ledger with itself and with the tables. All is read from one snapshot, so the answer
 * is right also while consumers run.
 *
 * @throws {TransientError} if PostgreSQL is away.
 * @throws {ConfigurationError} if the tables do not exist.
 */
export async function verifyLedger(pool: SqlPool): Promise<VerifyReport> {
  const counts = await pool.transaction("snapshot", readCounts);
  const problems = [
    ...counts.lines.flatMap(sumProblems),
    ...rowProblems(counts),
    ...deadLetterProblems(counts),
  ];
  const rows = [...counts.rows.values()];
  const letters = [...counts.deadLetters.values()];
  return {
    ok: problems.length === 0,
    rows: sumOf(rows, "found"),
    added: sumOf(rows, "added"),
    deleted: sumOf(rows, "deleted"),
    deadLetters: {
      open: sumOf(letters, "open"),
      replayed: sumOf(letters, "replayed"),
      discarded: sumOf(letters, "discarded"),
      deleted: sumOf(letters, "deleted"),
    },
    partitions: counts.lines.map(verifiedPartitionOf),
    problems,
  };
}

function sumOf<Key extends string>(
  counts: readonly Readonly<Record<Key, number>>[],
  key: Key,
): number {
  return counts.reduce((sum, one) => sum + one[key], 0);
}

const COUNT_ROWS = `
  SELECT kafka_partition, sum(found) AS found, sum(added) AS added, sum(deleted) AS deleted
  FROM (
    SELECT kafka_partition, count(*) AS found, 0 AS added, 0 AS deleted
    FROM sensor_events GROUP BY kafka_partition
    UNION ALL
    SELECT kafka_partition, 0, added, deleted FROM row_corrections
  ) AS counts
  GROUP BY kafka_partition ORDER BY kafka_partition`;

const COUNT_DEAD_LETTERS = `
  SELECT cluster_id, topic, topic_id, kafka_partition, sum(found) AS found, sum(open) AS open,
    sum(replayed) AS replayed, sum(discarded) AS discarded, sum(deleted) AS deleted
  FROM (
    SELECT cluster_id, topic, topic_id, kafka_partition, count(DISTINCT kafka_offset) AS found,
      count(*) FILTER (WHERE resolution IS NULL) AS open,
      count(*) FILTER (WHERE resolution IN ('inserted', 'duplicate')) AS replayed,
      count(*) FILTER (WHERE resolution = 'discarded') AS discarded, 0 AS deleted
    FROM dead_letters GROUP BY cluster_id, topic, topic_id, kafka_partition
    UNION ALL
    SELECT cluster_id, topic, topic_id, kafka_partition, 0, 0, 0, 0, deleted
    FROM dead_letter_deletions
  ) AS counts
  GROUP BY cluster_id, topic, topic_id, kafka_partition`;

async function readCounts(session: SqlSession): Promise<Counts> {
  await session.query({
    action: "set the time limit",
    text: `SET LOCAL statement_timeout = ${VERIFY_TIMEOUT_MS}`,
  });
  const ledger = await session.query({ action: "read the ledger", text: SELECT_LEDGER });
  const rows = await session.query({
    action: "count the rows of sensor_events",
    text: COUNT_ROWS,
    timeoutMs: VERIFY_TIMEOUT_MS,
  });
  const deadLetters = await session.query({
    action: "count the rows of dead_letters",
    text: COUNT_DEAD_LETTERS,
    timeoutMs: VERIFY_TIMEOUT_MS,
  });
  return {
    lines: ledger.rows.map(ledgerLineOf),
    rows: new Map(rows.rows.map((row) => [
      row.kafka_partition === null ? null : Number(row.kafka_partition),
      { found: Number(row.found), added: Number(row.added), deleted: Number(row.deleted) },
    ])),
    deadLetters: new Map(deadLetters.rows.map((row) => [
      [row.cluster_id, row.topic, row.topic_id, row.kafka_partition].join(" "),
      letterCountsOf(row),
    ])),
  };
}

function letterCountsOf(row: SqlRow): LetterCounts {
  return {
    found: Number(row.found),
    open: Number(row.open),
    replayed: Number(row.replayed),
    discarded: Number(row.discarded),
    deleted: Number(row.deleted),
  };
}

function placeOf({ topic, partition }: LedgerLine): string {
  return [topic.clusterId, topic.topic, topic.topicId, partition].join(" ");
}

/** The constraint ledger_adds_up says the same; this does not take its word for it. */
function sumProblems(line: LedgerLine): readonly string[] {
  const passed = line.next - line.first + line.rewound;
  const accounted = line.inserted + line.duplicates + line.deadLetters + line.skipped + line.gaps;
  if (passed === accounted) return [];
  return [
    `${nameOf(line)}: the ledger passed ${counted(passed, "offset")} but accounts for ${accounted}`,
  ];
}

/**
 * A row knows its partition but not its topic: rows are compared with the sum over all lines of the
 * partition.
 */
function rowProblems({ lines, rows }: Counts): readonly string[] {
  const inserted = new Map<Partition, number>([...rows.keys()].map((partition) => [partition, 0]));
  for (const line of lines) {
    inserted.set(line.partition, (inserted.get(line.partition) ?? 0) + line.inserted);
  }
  return [...inserted].flatMap(([partition, expected]) => {
    const { found, added, deleted } = rows.get(partition) ?? NO_ROWS;
    if (found === expected + added - deleted) return [];
    const corrections = added + deleted === 0 ? "" : `${added} were added, ${deleted} deleted, `;
    return [
      `${partition === null ? "rows of no partition" : `partition ${partition}`}: ` +
      `the ledger inserted ${counted(expected, "row")}, ${corrections}sensor_events holds ${found}`,
    ];
  });
}

const NO_ROWS: RowCounts = { found: 0, added: 0, deleted: 0 };

/** A message that was read again after a rewind is counted again and kept once. */
function deadLetterProblems({ lines, deadLetters }: Counts): readonly string[] {
  const known = new Set(lines.map(placeOf));
  const strays = [...deadLetters.keys()].filter((place) => !known.has(place)).map((place) =>
    `dead_letters holds messages of a partition that is not in the ledger: ${place}`
  );
  const mismatches = lines.flatMap((line) => {
    const { found = 0, deleted = 0 } = deadLetters.get(placeOf(line)) ?? {};
    const kept = found + deleted;
    const matches = line.rewound === 0 ? kept === line.deadLetters : kept <= line.deadLetters;
    if (matches) return [];
    return [
      `${nameOf(line)}: the ledger counts ${counted(line.deadLetters, "dead letter")}, ` +
      `${deleted === 0 ? "" : `${deleted} were deleted, `}dead_letters holds ${found}`,
    ];
  });
  return [...mismatches, ...strays];
}

function nameOf({ topic, partition }: LedgerLine): string {
  return `topic ${topic.topic} (${topic.topicId}), partition ${partition}`;
}

function verifiedPartitionOf(line: LedgerLine): VerifiedPartition {
  return {
    topic: line.topic.topic,
    topicId: line.topic.topicId,
    partition: line.partition,
    first: String(line.first),
    next: String(line.next),
    inserted: line.inserted,
    duplicates: line.duplicates,
    deadLetters: line.deadLetters,
    skipped: line.skipped,
    gaps: line.gaps,
    rewound: line.rewound,
  };
}

/** The report as a table and sentences; `columns` are those of the terminal, if there is one. */
export function verifyText(report: VerifyReport, columns?: number): string {
  const head = ["partition", "first", "next", "inserted", "duplicates", "dead letters"]
    .concat("skipped", "gaps", "rewound");
  const rows = report.partitions.map((one) => [
    String(one.partition),
    one.first,
    one.next,
    String(one.inserted),
    String(one.duplicates),
    String(one.deadLetters),
    String(one.skipped),
    String(one.gaps),
    String(one.rewound),
  ]);
  const verdict = report.ok
    ? `ok: every offset is accounted for, and the table holds ${counted(report.rows, "row")}`
    : `NOT ok: ${counted(report.problems.length, "problem")}`;
  return [
    ...table(head, rows, { columns }),
    "",
    ...report.problems,
    ...correctionsText(report),
    verdict,
  ].join("\n");
}

/** What happened alongside the flow, if anything did. */
function correctionsText({ added, deleted, deadLetters }: VerifyReport): readonly string[] {
  const { open, replayed, discarded } = deadLetters;
  return [
    ...(open + replayed + discarded + deadLetters.deleted === 0 ? [] : [
      `dead letters: ${open} open, ${replayed} replayed, ${discarded} discarded, ` +
      `${deadLetters.deleted} deleted`,
    ]),
    ...(added + deleted === 0 ? [] : [
      `rows outside the ledger: ${added} added by replays or the take-over, ${deleted} deleted`,
    ]),
  ];
}
