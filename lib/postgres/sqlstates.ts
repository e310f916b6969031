/**
 * What PostgreSQL's error codes mean to this program, and what a person does about each: a table.
 *
 * The server's own words always stand before a cure. A cure says what to change, with the setting's
 * name; where it is the empty string, waiting is all that there is to do.
 *
 * Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
 *
 * @module
 */

/**
 * Who has to do something:
 *
 * - `row_data`: nobody; one row's data is refused.
 * - `configuration`: a person; the same call has the same answer until then.
 * - `transient`: nobody, or whoever runs the server; the same call can succeed later.
 * - `away`: as `transient`; it is the same as if the server said nothing.
 * - `too_much`: as `transient`, and less work at once can succeed sooner.
 * - `unexpected`: nothing that we know of leads here; as `transient`, with an alarm.
 */
export type SqlstateKind =
  | "row_data"
  | "configuration"
  | "transient"
  | "away"
  | "too_much"
  | "unexpected";

/** One line of the table. */
export interface SqlstateRule {
  /** Who has to do something. */
  readonly kind: SqlstateKind;
  /** What, as sentences without the last full stop; "": nothing. */
  readonly cure: string;
}

/**
 * What was under way: logging in, a statement of a migration, rows that are copied, or any other
 * statement.
 *
 * The same code says something else in each: in a migration a missing table is nothing that another
 * migration would bring, and while logging in there is no row whose data could be refused.
 */
export type SqlPurpose = "connect" | "migrate" | "copy" | "run";

/** Everyday answers to a batch, raised by the functions of `migrations/`. */
export const BATCH_REFUSALS: ReadonlySet<string> = new Set(["SL001", "SL003", "SL004", "SL005"]);

/**
 * A table refuses a copy, and may take the same rows by INSERT, which decides then. Whoever ALTERs a
 * table or guards its rows must not stop the flow, only slow it down.
 */
export const COPY_REFUSALS: ReadonlySet<string> = new Set([
  // An id is stored already. Or a unique key that is not ours: then INSERT says it once more.
  "23505",
  // Row-level security counts for this role.
  "0A000",
  // A column has another type, and takes its values only by a cast.
  "22P03",
  // The name is a view's.
  "42809",
]);

const MIGRATE = "Run: deno task migrate";
const SEARCH_PATH = "If the tables are there, name their schema in POSTGRES_SCHEMA";
const VERSIONS = "The tables are older or newer than this program. Run: deno task migrate. If it " +
  "finds nothing to do, they are newer: use the version of the program that created them";
const SCHEMA_CHANGED =
  "The tables are not as the migrations left them: compare them with the files in " +
  "migrations/, and undo what was changed by hand";
const IN_THE_WAY =
  "Something with this name exists that no migration recorded: rename or drop it, or " +
  "restore the matching table schema_migrations";
const TOO_OLD = "Use PostgreSQL 15 or later";
const OTHER_CONSTRAINT =
  "A constraint that this program did not create refuses a row: drop it, or make it " +
  "allow the row";
const POOLER =
  "This program prepares nothing by name: a pooler is mixing up its clients' sessions. Use " +
  "PgBouncer 1.18 or later with pool_mode transaction or session";
const POOLER_LOG =
  "If this comes from a pooler, see its log, and set its pool_mode to transaction or " +
  "session";
const LOG_IN = "Check POSTGRES_USER and POSTGRES_PASSWORD";
const SERVER_LOG = "See the server's log";
const DAMAGED = "The database is damaged: see the server's log, and restore it from a backup";
const START_OPTIONS =
  "The server refuses a setting at the start of the connection: check the settings " +
  "of the role and the database, and the options in DATABASE_URL";

/** By code, or by the class that is its first two characters. The code's own line wins. */
const RULES: ReadonlyMap<string, SqlstateRule> = new Map(
  ([
    // Connections. Poolers use 08P01 for whatever they have to say.
    ["08", "away", ""],
    ["08P01", "away", POOLER_LOG],
    // Cached plans after a change of the tables go with their connection.
    ["0A000", "transient", `If it persists, this server lacks a feature. ${TOO_OLD}`],
    ["21000", "row_data", ""],
    ["22", "row_data", ""],
    // No value of a row, but of a setting: each transaction begins with some.
    ["22023", "configuration", START_OPTIONS],
    [
      "22P03",
      "unexpected",
      "The parameters of store_batch are those of another version. " + VERSIONS,
    ],
    ["23", "unexpected", OTHER_CONSTRAINT],
    ["23502", "row_data", ""],
    ["23514", "row_data", ""],
    [
      "25006",
      "transient",
      "This server is a standby, or the role or database is read-only: set POSTGRES_HOST to the " +
      "primary server. After a failover the program continues without a restart",
    ],
    ["25P03", "transient", ""],
    ["26000", "transient", POOLER],
    [
      "28",
      "configuration",
      "Check that the role POSTGRES_USER exists and may log in, that the server's pg_hba.conf admits it " +
      "from this host, and POSTGRES_TLS and POSTGRES_TLS_CERT: the server may require encryption or a " +
      "certificate",
    ],
    ["28P01", "configuration", LOG_IN],
    ["3D000", "configuration", "Create the database, or check POSTGRES_DB"],
    [
      "3F000",
      "configuration",
      "The search_path names no schema that exists and that POSTGRES_USER may use: create the schema, " +
      "grant USAGE on it, or name it in POSTGRES_SCHEMA",
    ],
    ["40", "transient", ""],
    ["42", "configuration", VERSIONS],
    [
      "42501",
      "configuration",
      "Grant POSTGRES_USER the right, see security/postgres_roles.sql, or set POSTGRES_USER to the " +
      "owner of the tables",
    ],
    ["42601", "configuration", TOO_OLD],
    ["42P01", "configuration", `${MIGRATE}. ${SEARCH_PATH}`],
    ["42P05", "transient", POOLER],
    ["53", "transient", SERVER_LOG],
    ["53100", "transient", "The server's disk is full: free some space"],
    [
      "53200",
      "too_much",
      "The server is out of memory: give it more, or lower BATCH_MESSAGES_MAX and its work_mem",
    ],
    [
      "53300",
      "transient",
      "Raise max_connections or the role's CONNECTION LIMIT, or lower POSTGRES_POOL_MAX or the number " +
      "of consumers",
    ],
    ["53400", "transient", "Raise the server's limit that the message names"],
    ["54", "too_much", "Lower BATCH_MESSAGES_MAX"],
    [
      "55P03",
      "transient",
      "Another session holds a lock: SELECT * FROM pg_stat_activity shows which",
    ],
    [
      "57014",
      "too_much",
      "If it took too long: see in pg_stat_activity what blocks it, or raise " +
      "POSTGRES_STATEMENT_TIMEOUT_MS",
    ],
    ["57", "transient", ""],
    ["57P01", "away", ""],
    ["57P02", "away", ""],
    [
      "57P03",
      "away",
      "The server is starting, stopping or recovering: wait, or see its log",
    ],
    ["57P04", "transient", "The database was dropped: create it, or check POSTGRES_DB"],
    ["58", "transient", `The server cannot use its files: check its disk and its log`],
    ["F0", "unexpected", SERVER_LOG],
    ["P0", "unexpected", "A trigger or function in the database refuses it: its message says why"],
    ["XX", "unexpected", `An internal error of the server. ${SERVER_LOG}`],
    [
      "XX000",
      "unexpected",
      `An internal error of the server: see its log. A hosted pooler says this of a user or database that ` +
      "it does not know: check POSTGRES_USER and POSTGRES_HOST",
    ],
    ["XX001", "unexpected", DAMAGED],
    ["XX002", "unexpected", DAMAGED],
  ] as const).map(([code, kind, cure]) => [code, { kind, cure }]),
);

/** What differs in a statement of a migration: no cure may be to migrate. */
const MIGRATE_RULES: ReadonlyMap<string, SqlstateRule> = new Map(
  ([
    // Rows that are there already, or the words of a trigger: no batch to halve.
    ["21", "configuration", SCHEMA_CHANGED],
    ["22", "configuration", "A value in the tables prevents it: correct it, and run migrate again"],
    ["23", "configuration", "A row in the tables prevents it: correct it, and run migrate again"],
    ["42", "configuration", SCHEMA_CHANGED],
    [
      "42501",
      "configuration",
      "Grant the role CREATE on the schema, or set POSTGRES_USER to the owner of the tables: a " +
      "migration creates and changes them",
    ],
    ["42601", "configuration", TOO_OLD],
    ["42701", "configuration", IN_THE_WAY],
    ["42710", "configuration", IN_THE_WAY],
    ["42723", "configuration", IN_THE_WAY],
    ["42P06", "configuration", IN_THE_WAY],
    ["42P07", "configuration", IN_THE_WAY],
    [
      "2B",
      "configuration",
      "Something that this program did not create depends on it: drop that first",
    ],
    ["57014", "transient", "See in pg_stat_activity what blocks it, and run migrate again"],
  ] as const).map(([code, kind, cure]) => [code, { kind, cure }]),
);

/** What differs while logging in: nothing of ours is there yet. */
const CONNECT_RULES: ReadonlyMap<string, SqlstateRule> = new Map(
  ([
    ["21", "unexpected", ""],
    ["22", "configuration", START_OPTIONS],
    ["23", "unexpected", ""],
    ["42", "configuration", START_OPTIONS],
    [
      "42501",
      "configuration",
      "Grant POSTGRES_USER the right to connect, see security/postgres_roles.sql",
    ],
    ["57014", "transient", "The login took too long: check the server's load and log"],
  ] as const).map(([code, kind, cure]) => [code, { kind, cure }]),
);

const OF_PURPOSE: Readonly<Record<SqlPurpose, ReadonlyMap<string, SqlstateRule>>> = {
  connect: CONNECT_RULES,
  migrate: MIGRATE_RULES,
  copy: new Map(),
  run: new Map(),
};

/** Unknown is never the message's fault. */
const UNKNOWN: SqlstateRule = { kind: "unexpected", cure: "" };

/** The rule for a code, by what was under way: the purpose's own first, the code before its class. */
export function sqlstateRule(code: string, purpose: SqlPurpose): SqlstateRule {
  const special = OF_PURPOSE[purpose];
  const group = code.slice(0, 2);
  return special.get(code) ?? special.get(group) ?? RULES.get(code) ?? RULES.get(group) ?? UNKNOWN;
}

/** What PgBouncer refuses for good, up to 1.19 and in part later. It knows one language. */
const POOLER_REFUSALS =
  /authentication failed|no such (user|database)|does not exist|login rejected|SSL required|unsupported startup parameter/;

/**
 * The rule for a refusal of PgBouncer. It says 08P01 to a wrong password as to a server that is away,
 * so here, and nowhere else, the words decide; undefined: they are no refusal.
 */
export function poolerRule(code: string, message: string): SqlstateRule | undefined {
  if (code !== "08P01" || !POOLER_REFUSALS.test(message)) return undefined;
  return {
    kind: "configuration",
    cure:
      "A pooler says so: check POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and POSTGRES_TLS, " +
      "that the pooler knows this user and this database, and that PGOPTIONS is not set",
  };
}
