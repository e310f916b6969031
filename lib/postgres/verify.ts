/**
 * The proof that nothing was lost or stored twice: every line of the ledger adds up, and the tables
 * hold what the ledger says.
 *
 * @module
 */
import { ledgerLineOf, SELECT_LEDGER } from "./client.ts";
import type { SqlPool, SqlSession } from "./pool.ts";
import type { LedgerLine } from "./store.ts";
import { table } from "../table.ts";

/** One line of the ledger. Offsets are texts, for JSON readers whose numbers are narrower. */
export interface VerifiedPartition {
  /** Name of the topic. */
  readonly topic: string;
  /** UUID of this life of the topic. */
  readonly topicId: string;
  /** Number of the partition. */
  readonly partition: number;
  /** Offset at which the line was opened. */
  readonly first: string;
  /** One past the last offset that is stored. */
  readonly next: string;
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
  /** Offsets gone back over. */
  readonly rewound: number;
}

/** What {@linkcode verifyLedger} found. */
export interface VerifyReport {
  /** True if there are no problems. */
  readonly ok: boolean;
  /** Rows of `sensor_events`. */
  readonly rows: number;
  /** By topic, life of the topic and partition. */
  readonly partitions: readonly VerifiedPartition[];
  /** A sentence each, naming the partition, what was expected and what was found. */
  readonly problems: readonly string[];
}

/** Counting reads whole tables. */
const VERIFY_TIMEOUT_MS = 600_000;

/** What is counted in one snapshot. */
interface Counts {
  readonly lines: readonly LedgerLine[];
  /** Rows of `sensor_events` by partition. */
  readonly rows: ReadonlyMap<number, number>;
  /** Dead letters by {@linkcode placeOf}. */
  readonly deadLetters: ReadonlyMap<string, number>;
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
  return {
    ok: problems.length === 0,
    rows: [...counts.rows.values()].reduce((sum, rows) => sum + rows, 0),
    partitions: counts.lines.map(verifiedPartitionOf),
    problems,
  };
}

async function readCounts(session: SqlSession): Promise<Counts> {
  await session.query({
    action: "set the time limit",
    text: `SET LOCAL statement_timeout = ${VERIFY_TIMEOUT_MS}`,
  });
  const ledger = await session.query({ action: "read the ledger", text: SELECT_LEDGER });
  const rows = await session.query({
    action: "count the rows of sensor_events",
    text: "SELECT kafka_partition, count(*) AS rows FROM sensor_events GROUP BY kafka_partition",
    timeoutMs: VERIFY_TIMEOUT_MS,
  });
  const deadLetters = await session.query({
    action: "count the rows of dead_letters",
    text: `
      SELECT cluster_id, topic, topic_id, kafka_partition, count(DISTINCT kafka_offset) AS letters
      FROM dead_letters GROUP BY cluster_id, topic, topic_id, kafka_partition`,
    timeoutMs: VERIFY_TIMEOUT_MS,
  });
  return {
    lines: ledger.rows.map(ledgerLineOf),
    rows: new Map(rows.rows.map((row) => [Number(row.kafka_partition), Number(row.rows)])),
    deadLetters: new Map(deadLetters.rows.map((row) => [
      [row.cluster_id, row.topic, row.topic_id, row.kafka_partition].join(" "),
      Number(row.letters),
    ])),
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
    `${nameOf(line)}: the ledger passed ${passed} offsets and accounts for ${accounted}`,
  ];
}

/**
 * A row knows its partition but not its topic: rows are compared with the sum over all lines of the
 * partition.
 */
function rowProblems({ lines, rows }: Counts): readonly string[] {
  const inserted = new Map<number, number>([...rows.keys()].map((partition) => [partition, 0]));
  for (const line of lines) {
    inserted.set(line.partition, (inserted.get(line.partition) ?? 0) + line.inserted);
  }
  return [...inserted].flatMap(([partition, expected]) => {
    const found = rows.get(partition) ?? 0;
    if (found === expected) return [];
    return [
      `partition ${partition}: the ledger inserted ${expected} rows, sensor_events holds ${found}`,
    ];
  });
}

/** A message that was read again after a rewind is counted again and kept once. */
function deadLetterProblems({ lines, deadLetters }: Counts): readonly string[] {
  const known = new Set(lines.map(placeOf));
  const strays = [...deadLetters.keys()].filter((place) => !known.has(place)).map((place) =>
    `dead_letters holds messages of a partition that the ledger does not know: ${place}`
  );
  const mismatches = lines.flatMap((line) => {
    const found = deadLetters.get(placeOf(line)) ?? 0;
    const matches = line.rewound === 0 ? found === line.deadLetters : found <= line.deadLetters;
    if (matches) return [];
    return [
      `${nameOf(line)}: the ledger counts ${line.deadLetters} dead letters, ` +
      `dead_letters holds ${found}`,
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

/** The report as a table and sentences for a terminal. */
export function verifyText(report: VerifyReport): string {
  const head = ["partition", "first", "next", "inserted", "duplicates", "dead letters"];
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
    ? `ok: every offset is accounted for, and the table holds ${report.rows} rows`
    : `NOT ok: ${report.problems.length} problems`;
  return [
    ...table([[...head, "skipped", "gaps", "rewound"], ...rows]),
    "",
    ...report.problems,
    verdict,
  ].join("\n");
}
