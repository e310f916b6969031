/**
 * Connections to PostgreSQL, and the one place where its errors get their class.
 *
 * {@linkcode SqlPool} is all that the rest of this folder needs of a server, so that a PostgreSQL
 * inside the process can serve the tests.
 *
 * @module
 */
// @ts-types="@types/pg"
import pg from "pg";
import { connectFault, settingsOf } from "../connect_fault.ts";
import {
  ConfigurationError,
  describeError,
  NoAnswerError,
  RowDataError,
  TooMuchError,
  TransientError,
} from "../errors.ts";
import { type AddressSettings, postgresPlace } from "../settings/server_place.ts";
import { tlsOptions, type TlsSettings } from "../tls.ts";
import { unreachable } from "../unreachable.ts";
import { BoundClient } from "./bound_client.ts";
import { Connections } from "./connections.ts";
import {
  beginStatements,
  runTransactionQuery,
  type SqlCopy,
  type SqlValue,
  type TransactionMode,
  type TransactionSettings,
} from "./session.ts";
import {
  BATCH_REFUSALS,
  COPY_REFUSALS,
  poolerRule,
  type SqlPurpose,
  sqlstateRule,
} from "./sqlstates.ts";

export type { SqlCopy, SqlValue, TransactionMode };

/** Where the database is, who asks, and how long one may wait. */
export interface PostgresSettings extends TlsSettings, AddressSettings {
  /** Name of the database. */
  readonly database: string;
  /** Role to log in as. */
  readonly user: string;
  /** Its password. */
  readonly password: string;
  /**
   * `read_only`: the server refuses to write on these connections, whatever the role may do.
   *
   * @default "read_write"
   */
  readonly access?: TransactionSettings["access"];
  /**
   * `require`: log in only if the server proves that the encrypted connection ends at itself.
   *
   * @default "disable"
   */
  readonly channelBinding?: "disable" | "require";
  /**
   * Shown in `pg_stat_activity`.
   *
   * @default APPLICATION_NAME
   */
  readonly applicationName?: string;
  /** The schema of the tables, as `search_path` is written; undefined: the role's search path. */
  readonly schema?: string | undefined;
  /** Most connections at the same time. A call that finds all of them busy waits for one. */
  readonly poolMax: number;
  /** Longest wait for a connection, ms. */
  readonly connectTimeoutMs: number;
  /** The server cancels a statement that runs longer, ms. */
  readonly statementTimeoutMs: number;
}

/** One statement; in {@linkcode SqlPool.transaction}, and without `values`, several. */
export interface SqlQuery {
  /** What is being done, for error texts: `store a batch`. */
  readonly action: string;
  /** SQL. Several statements are separated by semicolons. */
  readonly text: string;
  /** The arguments `$1`, `$2`, … */
  readonly values?: readonly SqlValue[];
  /** Rows that go into a table first, in the same transaction. Not in {@linkcode SqlPool.transaction}. */
  readonly copy?: SqlCopy;
  /** Longer than the pool's own bound, for a statement that is known to take its time, ms. */
  readonly timeoutMs?: number;
  /**
   * What an error means, see {@linkcode SqlPurpose}.
   *
   * @default "run", with rows to copy "copy"
   */
  readonly purpose?: SqlPurpose;
  /** `none`: for VACUUM, which is none. It runs with whatever settings the session has. */
  readonly transaction?: "none";
}

/** A row as the driver gives it: a `bigint` comes as text, a `double precision` as number. */
export type SqlRow = Readonly<Record<string, unknown>>;

/** The answer to the last statement of a query. */
export interface SqlResult {
  /** Empty for a statement that returns none. */
  readonly rows: readonly SqlRow[];
  /** Rows returned, or changed. */
  readonly rowCount: number;
}

/** Something that runs statements: a pool, or one transaction. */
export interface SqlSession {
  /**
   * Runs one query.
   *
   * @throws {TransientError} if PostgreSQL is away or in trouble; the outcome can be unknown.
   * @throws {ConfigurationError} if it needs manual correction.
   * @throws {RowDataError} if PostgreSQL refused the data of some row.
   * @throws {BatchRefusedError} if `store_batch`, `finish_batch` or a copy refuses the batch.
   */
  query(query: SqlQuery): Promise<SqlResult>;
}

/** Connections on which statements run alone or together. */
export interface SqlPool extends SqlSession {
  /** Runs `work` in a transaction, and rolls it back if `work` throws. */
  transaction<T>(mode: TransactionMode, work: (session: SqlSession) => Promise<T>): Promise<T>;
  /**
   * Ends the statements under way, at the server, too, and closes the connections, within seconds.
   * Once more does nothing.
   */
  close(): Promise<void>;
}

/**
 * A batch is refused by an everyday answer, raised as an error so that nothing of its transaction
 * stays. The store turns it into a value.
 */
export class BatchRefusedError extends Error {
  /** `BatchRefusedError`. */
  override name = "BatchRefusedError";
  /** SQLSTATE: one of our own, `SL…`, or one of {@linkcode COPY_REFUSALS}. */
  readonly code: string;
  /** What belongs to it, see `migrations/`. */
  readonly detail: string;

  /** Made by {@linkcode classifyPostgresError} alone. */
  constructor(message: string, { code, detail, ...options }: ErrorOptions & {
    readonly code: string;
    readonly detail: string;
  }) {
    super(message, options);
    this.code = code;
    this.detail = detail;
  }
}

/**
 * This side waits a little longer than the server, so that the server's own answer wins. It ends a
 * wait that no server will end: the network swallows packets and nobody hangs up.
 */
const QUERY_TIMEOUT_MARGIN_MS = 1_000;

/** Shown in `pg_stat_activity`. */
export const APPLICATION_NAME = "sensor-ledger";

/**
 * What the driver is told of one connection.
 *
 * @internal
 */
export function driverOptions(settings: PostgresSettings): pg.ClientConfig {
  return {
    host: settings.host,
    port: settings.port,
    database: settings.database,
    user: settings.user,
    password: settings.password,
    // Named also where there is none: left out, the driver would look at variables of its own.
    ssl: tlsOptions(settings) ?? false,
    connectionTimeoutMillis: settings.connectTimeoutMs,
    query_timeout: settings.statementTimeoutMs + QUERY_TIMEOUT_MARGIN_MS,
    keepAlive: true,
    // Of all that a server can be told when connecting, this alone: poolers know it.
    application_name: settings.applicationName ?? APPLICATION_NAME,
  };
}

/**
 * Opens a pool. Nothing connects before the first statement.
 *
 * @param stop when it aborts, the pool closes: what is under way ends there and then
 */
export function openPool(settings: PostgresSettings, stop?: AbortSignal): SqlPool {
  const pool = new pg.Pool({
    ...driverOptions(settings),
    ...(settings.channelBinding === "require" && { Client: BoundClient }),
    max: settings.poolMax,
    // A connection is kept: it holds the plans inside of `store_batch`.
    idleTimeoutMillis: 0,
  });
  // A lost connection is told twice, by an event and by the call that was using it. The call's
  // error counts; the event without a listener would end the process.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  const connections = new Connections(pool);
  const close = (): Promise<void> => {
    stop?.removeEventListener("abort", close);
    return connections.close();
  };
  stop?.addEventListener("abort", close);
  if (stop?.aborted) void close();
  const parts = { pool, connections, place: postgresPlace(settings) };
  const begin = (
    mode: TransactionMode,
    statementTimeoutMs = settings.statementTimeoutMs,
  ): readonly string[] => beginStatements({ ...settings, mode, statementTimeoutMs });
  const run = (client: pg.PoolClient, query: SqlQuery): Promise<SqlResult> =>
    classified(query, parts, () => send(client, query));
  const runAlone = (client: pg.PoolClient, query: SqlQuery): Promise<SqlResult> =>
    classified(
      query,
      parts,
      () => sendAlone(client, query, begin("read_committed", query.timeoutMs)),
    );
  return {
    query: (query) =>
      withClient(parts, query.action, async (client, keep) => {
        if (query.transaction === "none") return await run(client, query);
        try {
          return await runAlone(client, query);
        } catch (error) {
          // An everyday answer, and the connection's plans are worth keeping.
          if (error instanceof BatchRefusedError) {
            await run(client, { action: "roll back", text: "ROLLBACK" }).then(keep, () => {});
          }
          throw error;
        }
      }),
    transaction: (mode, work) =>
      withClient(parts, "begin a transaction", async (client) => {
        await run(client, { action: "begin a transaction", text: begin(mode).join("; ") });
        const result = await work({ query: (query) => run(client, query) });
        await run(client, { action: "commit a transaction", text: "COMMIT" });
        return result;
      }),
    close,
  };
}

interface PoolParts {
  readonly pool: pg.Pool;
  readonly connections: Connections;
  /** For error texts. */
  readonly place: string;
}

/**
 * Runs `work` on a connection of its own. After an error the connection is closed unless `work` has
 * called `keep`: it can be in doubt (a timeout, a plan that no longer fits), and closing it also
 * rolls back whatever it had open.
 */
async function withClient<T>(
  { pool, connections, place }: PoolParts,
  action: string,
  work: (client: pg.PoolClient, keep: () => void) => Promise<T>,
): Promise<T> {
  let client: pg.PoolClient;
  try {
    client = await pool.connect();
  } catch (error) {
    if (connections.isClosing) throw stoppedError(action);
    throw classifyPostgresError(action, error, { purpose: "connect", place });
  }
  let isSound = false;
  const keep = (): void => {
    isSound = true;
  };
  try {
    const result = await connections.use(client, () => work(client, keep));
    keep();
    return result;
  } catch (error) {
    // Without the server's word on it, the statement may still be running there.
    if (!isServersWord(error)) connections.cancel(client);
    throw error;
  } finally {
    client.release(!isSound);
  }
}

function stoppedError(action: string): TransientError {
  return new TransientError(`Cannot ${action}: stopped before its end`);
}

/** Whether an error, or what caused it, is an answer of the server. */
function isServersWord(error: unknown): boolean {
  return serverErrorOf(error instanceof Error ? error.cause : undefined) !== undefined;
}

/** Gives errors their class. */
async function classified(
  { action, copy, purpose = copy === undefined ? "run" : "copy" }: SqlQuery,
  { connections, place }: PoolParts,
  work: () => Promise<SqlResult>,
): Promise<SqlResult> {
  try {
    return await work();
  } catch (error) {
    if (connections.isClosing) throw stoppedError(action);
    throw classifyPostgresError(action, error, { purpose, place });
  }
}

/** Sends one statement as a transaction of its own, in one round trip. */
function sendAlone(
  client: pg.PoolClient,
  { copy, text, values = [], timeoutMs }: SqlQuery,
  begin: readonly string[],
): Promise<SqlResult> {
  const limit = timeoutMs !== undefined && { queryTimeoutMs: timeoutMs + QUERY_TIMEOUT_MARGIN_MS };
  return runTransactionQuery(client, { begin, copy, text, values, ...limit });
}

/** Sends a query as it is. */
async function send(client: pg.PoolClient, query: SqlQuery): Promise<SqlResult> {
  const result: pg.QueryResult | pg.QueryResult[] = await client.query({
    text: query.text,
    ...(query.values !== undefined && { values: [...query.values] }),
    ...(query.timeoutMs !== undefined && { query_timeout: query.timeoutMs }),
  });
  const last = Array.isArray(result) ? result.at(-1) : result;
  return { rows: last?.rows ?? [], rowCount: last?.rowCount ?? 0 };
}

/** What a PostgreSQL error says about itself; errors of the network have none of this. */
interface ServerError {
  readonly code: string;
  readonly message: string;
  readonly detail: string;
  readonly hint: string;
  readonly table: string;
  /** Where in the work: `COPY sensor_events, line 1, column unit`. */
  readonly where: string;
}

/** What is known of a call that failed. */
export interface FailedCall {
  /**
   * See {@linkcode SqlPurpose}.
   *
   * @default "run"
   */
  readonly purpose?: SqlPurpose | undefined;
  /**
   * Where the server is looked for, and by which settings, see `postgresPlace()`.
   *
   * @default it is inside this process
   */
  readonly place?: string | undefined;
}

/**
 * Gives an error of the driver or of the server its class, by SQLSTATE.
 *
 * @param action What was being done: the error reads `Cannot <action>: …`. Where it was only to
 * connect, that is said.
 */
export function classifyPostgresError(
  action: string,
  error: unknown,
  { purpose = "run", place }: FailedCall = {},
): TransientError | ConfigurationError | RowDataError | BatchRefusedError {
  const server = serverErrorOf(error);
  const isConnecting = purpose === "connect" && place !== undefined;
  const tried = isConnecting ? `connect to PostgreSQL at ${place}` : action;
  const because = (reason: string): string => `Cannot ${tried}: ${reason}`;
  if (error instanceof ConfigurationError) {
    return new ConfigurationError(because(error.message), { cause: error });
  }
  // No SQLSTATE: refused, reset, timed out, "Connection terminated". The outcome can be unknown.
  if (server === undefined) {
    const fault = connectFault(error);
    if (fault !== undefined) {
      const cure = `. Check ${settingsOf(fault, "POSTGRES")}`;
      return new ConfigurationError(because(`${fault.text}${cure}`), { cause: error });
    }
    if (isQueryTimeout(error)) {
      const { cure } = sqlstateRule("57014", purpose);
      return new TooMuchError(because(`${describeError(error)}. ${cure}`), { cause: error });
    }
    const wanted = isConnecting ? undefined : action;
    return unreachable({ name: "PostgreSQL", server: "postgres", place, action: wanted }, error);
  }
  const { code, table } = server;
  const said = `${server.message} (SQLSTATE ${code})`;

  // Raised by our own SQL.
  if (BATCH_REFUSALS.has(code) || (purpose === "copy" && isCopyRefusal(server))) {
    return new BatchRefusedError(because(said), { cause: error, code, detail: server.detail });
  }
  if (code === "SL002") {
    return new ConfigurationError(because(`${said}. ${server.hint}`), { cause: error });
  }

  // Constraints of our own bookkeeping. No message can break them: the program is at fault, and to
  // call it bad data would throw good readings away.
  if (
    (purpose === "run" || purpose === "copy") && code.startsWith("23") && table !== "sensor_events"
  ) {
    const alarm = `ALARM, a fault of this program: ${said}, table ${table}`;
    return new TransientError(because(alarm), { cause: error });
  }

  const { kind, cure } = poolerRule(code, server.message) ?? sqlstateRule(code, purpose);
  const alarm = kind === "unexpected" ? "ALARM, unexpected: " : "";
  const text = because(`${alarm}${said}${cure === "" ? "" : `. ${cure}`}`);
  if (kind === "away") return new NoAnswerError(text, { cause: error, server: "postgres" });
  return new ERRORS[kind](text, { cause: error });
}

/** A value that is too short for its column is 08P01, as what poolers say; they name no place. */
function isCopyRefusal({ code, where }: ServerError): boolean {
  return COPY_REFUSALS.has(code) || (code === "08P01" && where !== "");
}

/** Unknown is never the message's fault. */
const ERRORS = {
  row_data: RowDataError,
  configuration: ConfigurationError,
  transient: TransientError,
  too_much: TooMuchError,
  unexpected: TransientError,
} as const;

/** The driver gave up waiting for the answer to a statement; its text is all that tells. */
function isQueryTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === "Query read timeout";
}

function serverErrorOf(error: unknown): ServerError | undefined {
  // Errors of the operating system have a `code` as well; only the server's have a severity.
  if (!(error instanceof Error) || !("severity" in error) || !("code" in error)) return undefined;
  const text = (key: string): string => {
    const value: unknown = Reflect.get(error, key);
    return typeof value === "string" ? value : "";
  };
  return {
    code: text("code"),
    message: error.message,
    detail: text("detail"),
    hint: text("hint"),
    table: text("table"),
    where: text("where"),
  };
}
