/**
 * What our SQL needs of a session, set again by each transaction.
 *
 * A role, a database or a server may have defaults of its own: floats that are rounded when they are
 * printed, another isolation level, a time limit, commits that do not wait for the disk. And behind
 * a pooler a session is shared: what one client sets, the next one finds. So nothing is left to
 * defaults, nothing is said when connecting (a pooler refuses what it does not know), nothing is
 * prepared by name, and what is set ends with the transaction.
 *
 * It costs no round trip: BEGIN, the settings, the statement and COMMIT leave in one flight. Rows to copy
 * cost one: the server asks for them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
// @ts-types="@types/pg"
import pg from "pg";
import type { SqlResult } from "./pool.ts";

/** An argument of a statement; null: NULL. A Buffer goes out as it is, in the binary format of its type. */
export type SqlValue = string | number | Buffer | null;

/** `snapshot`: all statements see the same instant, and none can write. */
export type TransactionMode = "read_committed" | "snapshot";

/** The statement that begins a transaction of each mode. */
export const BEGIN: Readonly<Record<TransactionMode, string>> = {
  read_committed: "BEGIN ISOLATION LEVEL READ COMMITTED",
  snapshot: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
};

/** How a transaction differs from others. */
export interface TransactionSettings {
  /** Isolation. */
  readonly mode: TransactionMode;
  /**
   * `read_only`: the server refuses to write, whatever the role may do.
   *
   * @default "read_write"
   */
  readonly access?: "read_write" | "read_only" | undefined;
  /** The server cancels a statement that runs longer, ms. */
  readonly statementTimeoutMs: number;
  /** Where the tables are, as `search_path` is written; undefined: where the role looks. */
  readonly schema?: string | undefined;
}

/** A client that froze between two statements holds its locks no longer than this, ms. */
const IDLE_IN_TRANSACTION_MS_MAX = 60_000;

/**
 * What every transaction sets. Formats of dates, intervals, bytes and time zones are not here: our
 * SQL prints none.
 */
const SETTINGS: Readonly<Record<string, string | number>> = {
  // 0 and less round; from 1 on a float has the shortest text that gives it back.
  extra_float_digits: 1,
  // The time limit of a statement is a limit for its waits, too.
  lock_timeout: 0,
  idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS_MAX,
  // A network can be cut in the middle of a flight, behind the statement and before COMMIT. The server
  // waits for the rest then, with all locks, and none of its time limits counts there. So it asks
  // whether our computer is still there, s; its default is to begin with that after two hours.
  tcp_keepalives_idle: 10,
  tcp_keepalives_interval: 5,
  tcp_keepalives_count: 3,
};

/** `off` would acknowledge rows that a crash takes back; who waits for more may do so. */
const WAIT_FOR_DISK = "(current_setting('synchronous_commit') <> 'off' " +
  "OR set_config('synchronous_commit', 'on', true) IS NOT NULL)";

/**
 * The statements that begin a transaction: BEGIN, the time limit, and one that sets the rest and
 * returns nothing.
 */
export function beginStatements(
  { mode, access, statementTimeoutMs, schema }: TransactionSettings,
): readonly string[] {
  const settings = { ...SETTINGS, ...(schema !== undefined && { search_path: schema }) };
  // Conditions and not columns: an answer without columns needs no description.
  const conditions = Object.entries(settings).map(([name, value]) =>
    `set_config('${name}', ${literal(value)}, true) IS NOT NULL`
  );
  const isReadOnly = access === "read_only" && mode !== "snapshot";
  return [
    `${BEGIN[mode]}${isReadOnly ? " READ ONLY" : ""}`,
    // Alone and first: until then the role's own limit counts, which may be short.
    `SET LOCAL statement_timeout = ${statementTimeoutMs}`,
    `SELECT WHERE ${[...conditions, WAIT_FOR_DISK].join(" AND ")}`,
  ];
}

function literal(value: string | number): string {
  return `'${String(value).replaceAll("'", "''")}'`;
}

/** Rows that go into a table before a statement, in its transaction. */
export interface SqlCopy {
  /** `COPY … FROM STDIN BINARY`. */
  readonly text: string;
  /** The rows in PostgreSQL's binary format of a copy. */
  readonly rows: Buffer;
}

/** One statement that is a transaction of its own. */
export interface TransactionQuery {
  /** What {@linkcode beginStatements} gives. */
  readonly begin: readonly string[];
  /** What goes before the statement. */
  readonly copy?: SqlCopy | undefined;
  /** The one statement. */
  readonly text: string;
  /** Its arguments. */
  readonly values: readonly SqlValue[];
  /** Longest wait for the answer, ms; undefined: the client's own bound. */
  readonly queryTimeoutMs?: number;
}

/** A connection of the driver. */
export interface DriverConnection {
  /** Sends what knows on its own how to be sent. */
  query(query: { readonly submit: (connection: never) => void }): unknown;
}

/**
 * Sends a whole transaction at once and waits for its end. If it fails, the session is left in a
 * transaction that can only be rolled back.
 */
export function runTransactionQuery(
  client: DriverConnection,
  query: TransactionQuery,
): Promise<SqlResult> {
  return new Promise((resolve, reject) => {
    client.query(
      new Flight(query, (error, results) => {
        // One result for each statement; the last one is COMMIT's.
        const result: pg.QueryResult | undefined = Array.isArray(results)
          ? results.at(-2)
          : undefined;
        if (result === undefined) reject(error ?? new Error("no answer to the statement"));
        else resolve({ rows: result.rows, rowCount: result.rowCount ?? 0 });
      }),
    );
  });
}

/**
 * The driver sends one statement and waits for its answer. In the extended protocol a server goes on to the next
 * message on its own until a Sync, and after an error it skips all that comes before the Sync, COMMIT
 * as well: so the statements can go together.
 */
class Flight extends pg.Query {
  /** The driver looks for it here. */
  readonly query_timeout: number | undefined;
  readonly #query: TransactionQuery;
  /** All has been sent, up to the Sync. */
  #isWhole = false;

  constructor(
    query: TransactionQuery,
    callback: (error: Error | null | undefined, results: unknown) => void,
  ) {
    super({ text: query.text, values: [...query.values] }, callback);
    this.query_timeout = query.queryTimeoutMs;
    this.#query = query;
  }

  override submit = (connection: pg.Connection): void => {
    const { begin, copy, text, values } = this.#query;
    together(connection, () => {
      for (const statement of begin) send(connection, statement);
      bind(connection, { text, values, portal: STATEMENT });
      if (copy === undefined) return this.#finish(connection);
      send(connection, copy.text);
      connection.flush();
    });
  };

  /**
   * The server is ready for the rows. All of the flight could leave at once, and PostgreSQL takes it;
   * but poolers follow a copy by its answers (a PgBouncer after 1.25 would lend us its connection for
   * good). To wait costs a way to and fro, and nobody is held up: nothing is written yet.
   */
  handleCopyInResponse(connection: pg.Connection): void {
    const { copy } = this.#query;
    if (copy === undefined || this.#isWhole) return;
    together(connection, () => {
      sendRows(connection, copy.rows);
      this.#finish(connection);
    });
  }

  /** A server that refuses the copy before it asks for rows waits for a Sync. */
  handleError(error: Error, connection: pg.Connection): void {
    if (!this.#isWhole) connection.sync();
    this.#isWhole = true;
    Reflect.get(pg.Query.prototype, "handleError").call(this, error, connection);
  }

  #finish(connection: pg.Connection): void {
    connection.describe({ type: "P", name: STATEMENT }, true);
    connection.execute({ portal: STATEMENT }, true);
    send(connection, "COMMIT");
    connection.sync();
    this.#isWhole = true;
  }
}

/** The portal of the statement. It ends with the transaction. */
const STATEMENT = "statement";

/** What `work` sends leaves in one write. */
function together(connection: pg.Connection, work: () => void): void {
  connection.stream.cork();
  try {
    work();
  } finally {
    connection.stream.uncork();
  }
}

/**
 * Sends the rows as one message, which the server takes in whole before it inserts the first one; and
 * what follows them is short, because the statement's arguments have gone ahead. So a client that
 * freezes while it sends, and whose network is alive, holds neither a row nor an id that others wait
 * for, unless just the last few hundred bytes are missing.
 */
function sendRows(connection: pg.Connection, rows: Buffer): void {
  const head = Buffer.allocUnsafe(MESSAGE_HEAD_BYTES);
  head.writeUInt8(COPY_DATA, 0);
  head.writeInt32BE(LENGTH_BYTES + rows.length, 1);
  // The driver's own way copies the rows once more, into a buffer that it keeps.
  connection.stream.write(head);
  connection.stream.write(rows);
  connection.stream.write(COPY_DONE);
}

const LENGTH_BYTES = 4;
const MESSAGE_HEAD_BYTES = 1 + LENGTH_BYTES;
const COPY_DATA = "d".charCodeAt(0);
const COPY_DONE = Buffer.of("c".charCodeAt(0), 0, 0, 0, LENGTH_BYTES);

/** One statement whose rows nobody wants. */
function send(connection: pg.Connection, text: string): void {
  bind(connection, { text, values: [], portal: "" });
  connection.execute({}, true);
}

/** Prepares a statement without a name: one would belong to the session, which need not be ours alone. */
function bind(
  connection: pg.Connection,
  { text, values, portal }: {
    readonly text: string;
    readonly values: readonly SqlValue[];
    readonly portal: string;
  },
): void {
  connection.parse({ name: "", text, types: [] }, true);
  const arguments_ = values.map((value) => typeof value === "object" ? value : String(value));
  connection.bind({ portal, values: arguments_ }, true);
}
