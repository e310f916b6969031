/**
 * The floor: the same rows into the same table with nothing around it. No Kafka, no parsing, no
 * Redis, no ledger; two plain connections that insert batches prepared beforehand. What the
 * consumer reaches of this says what all the rest costs.
 *
 * @module
 */
// @ts-types="@types/pg"
import pg from "pg";
import { partitionOf } from "../../lib/kafka/partitioner.ts";
import type { PostgresSettings } from "../../lib/postgres/pool.ts";
import { type Bed, createDatabase, PARTITIONS } from "./bed.ts";
import type { WorkloadMessage } from "./workload.ts";

const CONNECTIONS = 2;
const BATCH_ROWS = 5_000;

/** Columns of the table in the order of {@linkcode rowOf}, each with the type of its array. */
const COLUMNS: readonly [name: string, type: string][] = [
  ["unique_reading_id", "uuid"],
  ["sensor_id", "text"],
  ["sensor_type", "text"],
  ["latitude", "double precision"],
  ["longitude", "double precision"],
  ['"timestamp"', "timestamptz"],
  ["value", "double precision"],
  ["unit", "text"],
  ["status", "text"],
  ["battery_level", "integer"],
  ["kafka_partition", "integer"],
  ["kafka_offset", "bigint"],
];

const INSERT = `
  INSERT INTO sensor_events (${COLUMNS.map(([name]) => name).join(", ")})
  SELECT * FROM unnest(${COLUMNS.map(([, type], index) => `$${index + 1}::${type}[]`).join(", ")})
  ON CONFLICT DO NOTHING`;

/** The rows of one statement. */
export interface FloorBatch {
  /** An array literal for each column. */
  readonly columns: readonly string[];
  /** How many there are. */
  readonly rows: number;
}

/**
 * Inserts the batches into a new database.
 *
 * @returns rows sent per second, repeats included.
 */
export async function measureFloor(
  bed: Bed,
  batches: readonly FloorBatch[],
  name: string,
): Promise<number> {
  await using database = await createDatabase(bed, name);
  const clients = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => connect(database.settings)),
  );
  const queue = batches.values();
  const startMs = performance.now();
  // One iterator for both: each takes the next batch that nobody has taken.
  await Promise.all(clients.map(async (client) => {
    for (const { columns } of queue) {
      await client.query({ name: "insert", text: INSERT, values: [...columns] });
    }
  }));
  const seconds = (performance.now() - startMs) / 1_000;
  await Promise.all(clients.map((client) => client.end()));
  return batches.reduce((sum, { rows }) => sum + rows, 0) / seconds;
}

/** Cuts the messages into batches of 5,000 rows, each sorted by id. */
export function floorBatches(messages: Iterable<WorkloadMessage>): readonly FloorBatch[] {
  const batches: FloorBatch[] = [];
  const nextOffsets = Array.from({ length: PARTITIONS }, () => 0);
  let rows: Row[] = [];
  const close = (): void => {
    if (rows.length > 0) batches.push(batchOf(rows));
    rows = [];
  };
  for (const message of messages) {
    const partition = partitionOf(message.key, PARTITIONS);
    rows.push(rowOf(message, partition, nextOffsets[partition]!++));
    if (rows.length === BATCH_ROWS) close();
  }
  close();
  return batches;
}

type Row = readonly [id: string, ...(string | number)[]];

function rowOf({ reading }: WorkloadMessage, partition: number, offset: number): Row {
  return [
    reading.unique_reading_id,
    reading.sensor_id,
    reading.sensor_type,
    reading.location.latitude,
    reading.location.longitude,
    reading.timestamp,
    reading.value,
    reading.unit,
    reading.status,
    reading.battery_level,
    partition,
    offset,
  ];
}

function batchOf(rows: Row[]): FloorBatch {
  // Unsorted, two connections that meet at the same ids can wait for each other in a circle.
  rows.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
  return {
    // None of the workload's texts needs quotes in an array literal.
    columns: COLUMNS.map((_, column) => `{${rows.map((row) => row[column]).join(",")}}`),
    rows: rows.length,
  };
}

async function connect(settings: PostgresSettings): Promise<pg.Client> {
  const { host, port, database, user, password } = settings;
  const client = new pg.Client({ host, port, database, user, password });
  await client.connect();
  return client;
}
