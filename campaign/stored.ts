/**
 * What is in the tables and in Redis, read by queries of its own, for those who judge it. It shares no
 * code with the pipeline.
 *
 * @module
 */

/** A row of `sensor_events` as it should be. */
export interface ExpectedRow {
  /** In lower case. */
  readonly unique_reading_id: string;
  /** As sent. */
  readonly sensor_id: string;
  /** As sent. */
  readonly sensor_type: string;
  /** Degrees. */
  readonly latitude: number;
  /** Degrees. */
  readonly longitude: number;
  /** The event time, microseconds since 1970. */
  readonly timestampUs: bigint;
  /** To the last digit. */
  readonly value: number;
  /** As sent. */
  readonly unit: string;
  /** As sent. */
  readonly status: string;
  /** Percent. */
  readonly battery_level: number;
}

/** A row of `sensor_events` as it is. */
export interface StoredRow extends ExpectedRow {
  /** Where its message stood. */
  readonly partition: number;
  /** Where its message stood. */
  readonly offset: number;
}

/** A row of `dead_letters`. */
export interface StoredDeadLetter {
  /** Where the message stood. */
  readonly partition: number;
  /** Where the message stood. */
  readonly offset: number;
  /** The rule that it broke. */
  readonly reason: string;
  /** Its beginning; null: it had no value. */
  readonly payload: Uint8Array | null;
  /** Length of the whole value, bytes. */
  readonly payloadBytes: number;
  /** Of the whole value, hexadecimal. */
  readonly sha256: string;
  /** Null: it had none. */
  readonly key: Uint8Array | null;
}

/** A row of `ledger`. */
export interface StoredLine {
  /** Number of the partition. */
  readonly partition: number;
  /** Where it was opened. */
  readonly first: number;
  /** One past the last offset that is stored. */
  readonly next: number;
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

/** Everything that the pipeline has stored. */
export interface Stored {
  /** `sensor_events`. */
  readonly rows: readonly StoredRow[];
  /** `dead_letters`. */
  readonly deadLetters: readonly StoredDeadLetter[];
  /** `ledger`. */
  readonly lines: readonly StoredLine[];
}

/** Runs a query and gives its rows; `bigint` and `numeric` come as text. */
export type Query = (text: string) => Promise<readonly Readonly<Record<string, unknown>>[]>;

/** Problems beyond this number say nothing new. */
const PROBLEMS_MAX = 20;

/** Reads all tables. */
export async function readStored(query: Query): Promise<Stored> {
  const rows = await query(`
    SELECT *, (extract(epoch FROM "timestamp") * 1000000)::bigint AS us FROM sensor_events`);
  const deadLetters = await query(
    `SELECT *, encode(payload_sha256, 'hex') AS hash FROM dead_letters`,
  );
  const lines = await query("SELECT * FROM ledger");
  return {
    rows: rows.map((row) => ({
      unique_reading_id: String(row.unique_reading_id),
      sensor_id: String(row.sensor_id),
      sensor_type: String(row.sensor_type),
      latitude: row.latitude as number,
      longitude: row.longitude as number,
      timestampUs: BigInt(String(row.us)),
      value: row.value as number,
      unit: String(row.unit),
      status: String(row.status),
      battery_level: row.battery_level as number,
      partition: row.kafka_partition as number,
      offset: Number(row.kafka_offset),
    })),
    deadLetters: deadLetters.map((row) => ({
      partition: row.kafka_partition as number,
      offset: Number(row.kafka_offset),
      reason: String(row.reason),
      payload: row.payload as Uint8Array | null,
      payloadBytes: row.payload_bytes as number,
      sha256: String(row.hash),
      key: row.key as Uint8Array | null,
    })),
    lines: lines.map((row) => ({
      partition: row.kafka_partition as number,
      first: Number(row.first_offset),
      next: Number(row.next_offset),
      inserted: Number(row.inserted),
      duplicates: Number(row.duplicates),
      deadLetters: Number(row.dead_letters),
      skipped: Number(row.skipped),
      gaps: Number(row.gaps),
      rewound: Number(row.rewound),
    })),
  };
}

/** Compares the last values in Redis with the rows: the newest by (event time, id) of each sensor. */
export function findLastValueProblems(
  rows: readonly StoredRow[],
  last: ReadonlyMap<string, string>,
  index: ReadonlyMap<string, string>,
): readonly string[] {
  const newest = new Map<string, StoredRow>();
  for (const row of rows) {
    const known = newest.get(row.sensor_id);
    if (known === undefined || isNewer(row, known)) newest.set(row.sensor_id, row);
  }
  const problems: string[] = [];
  for (const [sensor, row] of newest) {
    const text = last.get(sensor) ?? "null";
    const id = (JSON.parse(text) as { unique_reading_id?: string } | null)?.unique_reading_id;
    if (id?.toLowerCase() !== row.unique_reading_id) {
      problems.push(`last:${sensor} is of ${id}, expected ${row.unique_reading_id}`);
    }
    const score = index.get(sensor);
    if (score !== String(row.timestampUs)) {
      problems.push(`last:index of ${sensor} is ${score}, expected ${row.timestampUs}`);
    }
  }
  if (index.size !== newest.size) {
    problems.push(`last:index has ${index.size} sensors, expected ${newest.size}`);
  }
  return problems.slice(0, PROBLEMS_MAX);
}

function isNewer(row: StoredRow, known: StoredRow): boolean {
  if (row.timestampUs !== known.timestampUs) return row.timestampUs > known.timestampUs;
  return row.unique_reading_id > known.unique_reading_id;
}
