/**
 * The floors: the same rows into the same table with nothing around it. No Kafka, no parsing, no
 * Redis, no ledger; two plain connections that send batches prepared beforehand, either by INSERT,
 * which leaves repeats out, or by COPY, see `copy_floor.ts`. What the consumer reaches of these says
 * what all the rest costs.
 *
 * @module
 */
// @ts-types="@types/pg"
import pg from "pg";
import { partitionOf } from "../../lib/kafka/partitioner.ts";
import type { PostgresSettings } from "../../lib/postgres/pool.ts";
import { type Bed, createDatabase } from "./bed.ts";
import { BATCH_ROWS, COLUMNS, type CopyBatch, copyInto } from "./copy_floor.ts";
import { type ServersCpu, withServersCpu } from "./cpu.ts";
import { PARTITIONS, type WorkloadMessage } from "./workload.ts";

const CONNECTIONS = 2;
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

/** What one run of a floor measured. */
export interface FloorResult {
  /** Until the last batch was committed, seconds. */
  readonly seconds: number;
  /** What the servers used. */
  readonly cpuSeconds: ServersCpu;
}

/** Inserts the batches into a new database. */
export function measureInserts(
  bed: Bed,
  batches: readonly FloorBatch[],
  name: string,
): Promise<FloorResult> {
  return measureFloor(bed, { batches, name }, async (client, { columns }) => {
    await client.query({ name: "insert", text: INSERT, values: [...columns] });
  });
}

/** Copies the batches into a new database. */
export function measureCopies(
  bed: Bed,
  batches: readonly CopyBatch[],
  name: string,
): Promise<FloorResult> {
  return measureFloor(bed, { batches, name }, copyInto);
}

async function measureFloor<Batch>(
  bed: Bed,
  { batches, name }: { readonly batches: readonly Batch[]; readonly name: string },
  store: (client: pg.Client, batch: Batch) => Promise<void>,
): Promise<FloorResult> {
  await using database = await createDatabase(bed, name);
  const { result, cpuSeconds } = await withServersCpu(bed, async () => {
    const startMs = performance.now();
    await storeAll(database.settings, batches, store);
    return (performance.now() - startMs) / 1_000;
  });
  return { seconds: result, cpuSeconds };
}

/** Copies rows into a database that is there already. */
export async function copyAll(
  settings: PostgresSettings,
  batches: readonly CopyBatch[],
): Promise<void> {
  await storeAll(settings, batches, copyInto);
}

async function storeAll<Batch>(
  settings: PostgresSettings,
  batches: readonly Batch[],
  store: (client: pg.Client, batch: Batch) => Promise<void>,
): Promise<void> {
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => connect(settings)));
  const queue = batches.values();
  try {
    // One iterator for both: each takes the next batch that nobody has taken.
    await Promise.all(clients.map(async (client) => {
      for (const batch of queue) await store(client, batch);
    }));
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
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
