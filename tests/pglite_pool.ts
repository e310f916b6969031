/**
 * A PostgreSQL inside the process, which runs the SQL of this project in the tests that need no
 * server. It has one session, so nothing about concurrency can be learned from it.
 *
 * @module
 */
import { PGlite } from "@electric-sql/pglite";
import {
  classifyPostgresError,
  type SqlCopy,
  type SqlPool,
  type SqlQuery,
  type SqlResult,
  type TransactionMode,
} from "../lib/postgres/pool.ts";
import { BEGIN } from "../lib/postgres/session.ts";

/** Starts an empty database and calls `use` with it. */
export async function withPglite(use: (pool: SqlPool) => Promise<void>): Promise<void> {
  await using database = await PGlite.create();
  await use(pglitePool(database));
}

function pglitePool(database: PGlite): SqlPool {
  // One session: whoever comes while a transaction is open has to wait, as for a connection.
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = turn.then(work);
    turn = result.catch(() => {});
    return result;
  };
  const query = (sql: SqlQuery): Promise<SqlResult> => runQuery(database, sql);
  const together = async <T>(mode: TransactionMode, work: () => Promise<T>): Promise<T> => {
    await database.exec(BEGIN[mode]);
    try {
      const result = await work();
      await database.exec("COMMIT");
      return result;
    } catch (error) {
      await database.exec("ROLLBACK");
      throw error;
    }
  };
  const copyFirst = (sql: SqlQuery, copy: SqlCopy): Promise<SqlResult> =>
    together("read_committed", async () => {
      await runCopy(database, sql.action, copy);
      return await query({ purpose: "copy", ...sql });
    });
  return {
    query: (sql) => inTurn(() => sql.copy === undefined ? query(sql) : copyFirst(sql, sql.copy)),
    transaction: (mode, work) => inTurn(() => together(mode, () => work({ query }))),
    close: () => database.close(),
  };
}

async function runQuery(
  database: PGlite,
  { action, text, values, purpose }: SqlQuery,
): Promise<SqlResult> {
  try {
    const results = values === undefined
      ? await database.exec(text)
      : [await database.query<Record<string, unknown>>(text, [...values])];
    const last = results.at(-1);
    const rows = last?.rows ?? [];
    return { rows, rowCount: rows.length || (last?.affectedRows ?? 0) };
  } catch (error) {
    throw classifyPostgresError(action, error, { purpose });
  }
}

/** What a client would send arrives as the file that it has for this. */
async function runCopy(database: PGlite, action: string, { text, rows }: SqlCopy): Promise<void> {
  const fromFile = text.replace("FROM STDIN", "FROM '/dev/blob'");
  try {
    await database.query(fromFile, [], { blob: new Blob([new Uint8Array(rows)]) });
  } catch (error) {
    throw classifyPostgresError(action, error, { purpose: "copy" });
  }
}
