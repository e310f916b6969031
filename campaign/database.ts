/**
 * The database as the campaign asks it: on a connection of its own that no fault hurts.
 *
 * @module
 */
import pg from "pg";
import type { Query } from "./stored.ts";
import type { Bed } from "./bed.ts";

/** An open connection. */
export interface Database extends AsyncDisposable {
  /** Runs a query and gives its rows. */
  readonly query: Query;
}

/**
 * Opens a connection.
 *
 * @param name of the database
 * @default name the one that the readings flow to
 */
export async function openDatabase(
  bed: Bed,
  name: string = bed.direct.postgres.database,
): Promise<Database> {
  const client = new pg.Client({ ...bed.direct.postgres, database: name });
  client.on("error", () => {});
  await client.connect();
  return {
    query: async (text) => (await client.query(text)).rows,
    [Symbol.asyncDispose]: () => client.end(),
  };
}

/**
 * Where the ledger stands, by partition. Of a topic that was recreated, the line that moved last is
 * the one in use.
 */
export async function readPositions(query: Query): Promise<ReadonlyMap<number, number>> {
  const rows = await query(`
    SELECT DISTINCT ON (kafka_partition) kafka_partition, next_offset FROM ledger
    ORDER BY kafka_partition, updated_at DESC`);
  return new Map(rows.map((row) => [Number(row.kafka_partition), Number(row.next_offset)]));
}
