/**
 * What grows with the rows: how fast the consumer's own COPY stores batches in a table of one
 * million rows or of thirty, whose ids are random (v4) or rise with time (v7).
 *
 * All tables are filled first. Then each round measures each of them in turn, so that whatever else
 * the machine does falls on all alike. A checkpoint goes before each run: from then on PostgreSQL
 * writes the whole page to its log at the first change of each, which is the dear part.
 *
 * @module
 */
import { type ReadingAt, readingRows } from "../../fakes/reading_rows.ts";
import { type TopicIdentity, UNKNOWN_EPOCH } from "../../lib/kafka/message.ts";
import { openStore, type PostgresStore } from "../../lib/postgres/client.ts";
import type { ReadingRows } from "../../lib/reading/reading_columns.ts";
import { type Bed, type BenchDatabase, createDatabase } from "./bed.ts";
import type { Figure } from "./figures.ts";
import { createSource, type WorkloadMessage, type WorkloadOptions } from "./workload.ts";

type Ids = WorkloadOptions["ids"];

/** In the order in which they are measured. */
const VERSIONS: readonly Ids[] = ["v4", "v7"];

/** As many as the consumer puts into one transaction. */
const BATCH_ROWS = 5_000;

/** Transactions at the same time, each of a partition of its own, as the consumer has them. */
const WRITERS = 2;

/** Stored before each run and not measured: the pages that every batch needs come back. */
const WARM_UP_BATCHES = 4;

/**
 * Rows of one statement that fills. It inserts them by rising id, so that it visits each page of the
 * index once; the index comes out as one that grew row by row.
 */
const FILL_ROWS = 1_000_000;

const US_BETWEEN_ROWS = 100;

const TOPIC: TopicIdentity = {
  clusterId: "bench",
  topic: "bench-growth",
  topicId: "00000000-0000-4000-8000-000000000001",
};

/** What to measure. */
export interface GrowthOptions {
  /** Sizes of the tables, rows, rising. */
  readonly sizes: readonly number[];
  /** How often each table is measured. */
  readonly rounds: number;
  /** Batches of one run, 5,000 rows each. They stay in the table. */
  readonly runBatches: number;
  /** Sensors behind the readings. */
  readonly sensors: number;
  /** Called with a line of text for each step. */
  readonly report: (line: string) => void;
}

/** What a filled table takes on disk, bytes. */
export interface TableSizes {
  /** The table without its indexes. */
  readonly table: number;
  /** The index on the ids. */
  readonly idIndex: number;
  /** The index on sensor and time. */
  readonly sensorIndex: number;
}

/** What was measured on one table. */
export interface GrowthPoint {
  /** Version of its ids. */
  readonly ids: WorkloadOptions["ids"];
  /** Rows that it was filled with. */
  readonly rows: number;
  /** One value a round. */
  readonly rowsPerSecond: readonly number[];
  /** What PostgreSQL wrote to its log for one row; one value a round. */
  readonly walBytesPerRow: readonly number[];
  /** As it was filled, before the first run. */
  readonly bytes: TableSizes;
}

type NewReading = Omit<ReadingAt, "offset">;

/** A filled table, and what to store in it next. */
interface Growing {
  readonly ids: Ids;
  readonly rows: number;
  readonly bytes: TableSizes;
  readonly database: BenchDatabase;
  readonly nextReading: () => NewReading;
  readonly rowsPerSecond: number[];
  readonly walBytesPerRow: number[];
}

/**
 * Fills a table of each size and version, and measures them in turns. Takes about 0.6 KB of disk for
 * each row of all sizes together.
 *
 * @throws {Error} If a batch is not stored whole.
 */
export async function measureGrowth(bed: Bed, options: GrowthOptions): Promise<GrowthPoint[]> {
  await using stack = new AsyncDisposableStack();
  const tables: Growing[] = [];
  // It would come whenever it likes, and write much. Whole pages are of no use while filling.
  await configure(bed, { autovacuum: "off", full_page_writes: "off" });
  for (const ids of VERSIONS) {
    for (const table of await fillTables(bed, { ...options, ids })) {
      stack.use(table.database);
      tables.push(table);
    }
  }
  await configure(bed, { full_page_writes: "on" });
  for (let round = 1; round <= options.rounds; round++) {
    for (const table of tables) {
      await measureRun(bed, table, options.runBatches);
      options.report(
        `round ${round}, ${table.ids}, ${table.rows} rows: ` +
          `${table.rowsPerSecond.at(-1)!.toFixed(0)} rows/s`,
      );
    }
  }
  return tables.map(({ ids, rows, rowsPerSecond, walBytesPerRow, bytes }) => {
    return { ids, rows, rowsPerSecond, walBytesPerRow, bytes };
  });
}

/** Each size goes on where the one before ends, in a copy of it. */
async function fillTables(
  bed: Bed,
  { sizes, sensors, ids, report }: GrowthOptions & { readonly ids: Ids },
): Promise<Growing[]> {
  const tables: Growing[] = [];
  const startUs = (Date.now() - 12 * 3_600_000) * 1_000;
  let filled = 0;
  for (const rows of sizes) {
    const name = `bench_growth_${ids}_${rows}`;
    const database = await createDatabase(bed, name, { copyOf: tables.at(-1)?.database });
    const source = createSource({ sensors, ids });
    const sensorIds = sensorIdsOf(source, sensors);
    for (let from = filled; from < rows; from += FILL_ROWS) {
      const to = Math.min(from + FILL_ROWS, rows);
      await fill(bed, name, { ids, sensorIds, from, to, startUs });
      report(`${name}: ${to} rows`);
    }
    filled = rows;
    const bytes = await sizesOf(bed, name);
    let timeUs = startUs + rows * US_BETWEEN_ROWS;
    const nextReading = (): NewReading => {
      timeUs += US_BETWEEN_ROWS;
      return { reading: source(timeUs).reading, eventTimeUs: timeUs };
    };
    tables.push({ ids, rows, bytes, database, nextReading, rowsPerSecond: [], walBytesPerRow: [] });
  }
  return tables;
}

/** The source picks a sensor for each reading; all have come after so many. */
function sensorIdsOf(source: (timeUs: number) => WorkloadMessage, sensors: number): string[] {
  const ids = new Set<string>();
  while (ids.size < sensors) ids.add(source(0).reading.sensor_id);
  return [...ids];
}

/** The id of a row whose event time is `us`. */
const FILL_IDS: Readonly<Record<Ids, string>> = {
  v4: "gen_random_uuid()",
  v7: `overlay(gen_random_uuid()::text PLACING
    overlay(lpad(to_hex(us / 1000), 12, '0') PLACING '-' FROM 9 FOR 0) || '-7' FROM 1 FOR 15)::uuid`,
};

async function fill(
  bed: Bed,
  database: string,
  { ids, sensorIds, from, to, startUs }: {
    readonly ids: Ids;
    readonly sensorIds: readonly string[];
    readonly from: number;
    readonly to: number;
    readonly startUs: number;
  },
): Promise<void> {
  await bed.servers.postgres.asSuperuser(database, async (session) => {
    await session.query("SET work_mem = '512MB'");
    await session.query(
      `INSERT INTO sensor_events (
        unique_reading_id, sensor_id, sensor_type, latitude, longitude, "timestamp", value, unit,
        status, battery_level, kafka_partition, kafka_offset
      )
      SELECT ${FILL_IDS[ids]} AS id,
        ($1::text[])[1 + floor(random() * cardinality($1::text[]))::integer], 'temperature',
        round((random() * 180 - 90)::numeric, 6), round((random() * 360 - 180)::numeric, 6),
        to_timestamp(us / 1e6), round((random() * 60 - 10)::numeric, 2), 'C', 'active',
        floor(random() * 101), number % 6, number / 6
      FROM (
        SELECT number, $2::bigint + number * ${US_BETWEEN_ROWS} AS us
        FROM generate_series($3::bigint, $4::bigint - 1) AS number
      ) AS numbered
      ORDER BY id`,
      [sensorIds, startUs, from, to],
    );
  });
}

async function measureRun(bed: Bed, table: Growing, runBatches: number): Promise<void> {
  await using store = openStore(table.database.settings);
  const lines = await openLines(store);
  await storeAll(store, batchesOf(table, lines, WARM_UP_BATCHES));
  const batches = batchesOf(table, lines, runBatches);
  await bed.servers.postgres.asSuperuser("postgres", (session) => session.query("CHECKPOINT"));
  const walBefore = await walBytes(bed);
  const startMs = performance.now();
  await storeAll(store, batches);
  const seconds = (performance.now() - startMs) / 1_000;
  const rows = runBatches * BATCH_ROWS;
  table.rowsPerSecond.push(Math.round(rows / seconds));
  table.walBytesPerRow.push(Math.round((await walBytes(bed) - walBefore) / rows));
}

/** A partition's place in the ledger, when all that was prepared is stored. */
interface Line {
  readonly dataSetId: string;
  readonly partition: number;
  next: number;
}

async function openLines(store: PostgresStore): Promise<readonly Line[]> {
  const dataSetId = await store.dataSetId();
  return await Promise.all(Array.from({ length: WRITERS }, async (_, partition) => {
    return { dataSetId, partition, next: await store.openLedgerLine(TOPIC, partition, 0) };
  }));
}

/** A batch that needs only be sent. */
interface PreparedBatch {
  readonly line: Line;
  readonly fromOffset: number;
  readonly readings: ReadingRows;
}

/** Made beforehand, in turns for each line: only the storing is measured. */
function batchesOf(table: Growing, lines: readonly Line[], batches: number): PreparedBatch[] {
  return Array.from({ length: batches }, (_, number) => {
    const line = lines[number % lines.length]!;
    const fromOffset = line.next;
    line.next += BATCH_ROWS;
    const readings = Array.from(
      { length: BATCH_ROWS },
      (_, index) => ({ ...table.nextReading(), offset: fromOffset + index }),
    );
    return { line, fromOffset, readings: readingRows(readings) };
  });
}

/** The batches of a line one after the other, the lines at the same time. */
async function storeAll(store: PostgresStore, batches: readonly PreparedBatch[]): Promise<void> {
  const lines = [...Map.groupBy(batches, ({ line }) => line).values()];
  await Promise.all(lines.map(async (ofLine) => {
    for (const batch of ofLine) await storeBatch(store, batch);
  }));
}

/** As the consumer stores a batch in which nothing repeats: by COPY. */
async function storeBatch(
  store: PostgresStore,
  { line, fromOffset, readings }: PreparedBatch,
): Promise<void> {
  const { dataSetId, partition } = line;
  const outcome = await store.storeBatch({
    dataSetId,
    topic: TOPIC,
    partition,
    fromOffset,
    nextOffset: fromOffset + BATCH_ROWS,
    fromEpoch: UNKNOWN_EPOCH,
    nextEpoch: UNKNOWN_EPOCH,
    readings,
    duplicates: 0,
    skipped: 0,
    deadLetters: [],
    suspects: [],
  }, "copy");
  if (outcome.kind !== "stored" || outcome.inserted !== BATCH_ROWS) {
    throw new Error(`Cannot measure: a batch came out as ${JSON.stringify(outcome)}`);
  }
}

async function configure(bed: Bed, settings: Readonly<Record<string, string>>): Promise<void> {
  await bed.servers.postgres.asSuperuser("postgres", async (session) => {
    for (const [name, value] of Object.entries(settings)) {
      await session.query(`ALTER SYSTEM SET ${name} = ${value}`);
    }
    await session.query("SELECT pg_reload_conf()");
  });
}

/** What the server has written to its log since it was made. */
async function walBytes(bed: Bed): Promise<number> {
  const { rows } = await bed.servers.postgres.asSuperuser(
    "postgres",
    (session) => session.query("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS bytes"),
  );
  return Number(rows[0]?.bytes);
}

async function sizesOf(bed: Bed, database: string): Promise<TableSizes> {
  const { rows } = await bed.servers.postgres.asSuperuser(database, (session) =>
    session.query(`
      SELECT pg_relation_size('sensor_events') AS table,
        pg_relation_size('sensor_events_pkey') AS id_index,
        pg_relation_size('sensor_events_sensor_id_timestamp') AS sensor_index`));
  const row = rows[0] ?? {};
  return {
    table: Number(row.table),
    idIndex: Number(row.id_index),
    sensorIndex: Number(row.sensor_index),
  };
}

/** What {@linkcode measureGrowth} found, as figures; each version of ids also against the other. */
export function growthFigures(points: readonly GrowthPoint[]): Figure[] {
  const figures: Figure[] = [];
  for (const { ids, rows, rowsPerSecond, walBytesPerRow, bytes } of points) {
    const table = `${ids}, ${rows.toLocaleString("en-US")} rows`;
    const mib = (size: number): number[] => [size / 2 ** 20];
    figures.push(
      { name: `${table}: stored rows/s`, rounds: rowsPerSecond, digits: 0 },
      { name: "  log, bytes a row", rounds: walBytesPerRow, digits: 0 },
      { name: "  table, MiB", rounds: mib(bytes.table), digits: 0 },
      { name: "  index on ids, MiB", rounds: mib(bytes.idIndex), digits: 0 },
      { name: "  index on sensor and time, MiB", rounds: mib(bytes.sensorIndex), digits: 0 },
    );
  }
  for (const random of points.filter(({ ids }) => ids === "v4")) {
    const rising = points.find(({ ids, rows }) => ids === "v7" && rows === random.rows);
    if (rising === undefined) continue;
    figures.push({
      name: `v7 / v4 at ${random.rows.toLocaleString("en-US")} rows`,
      rounds: rising.rowsPerSecond.map((rate, round) => rate / random.rowsPerSecond[round]!),
      digits: 2,
    });
  }
  return figures;
}
