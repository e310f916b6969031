/**
 * Judges what PostgreSQL has said. Pure: facts in, findings out.
 *
 * @module
 */
import { describeError } from "../errors.ts";
import type { Answer } from "../kafka/kafka_facts.ts";
import type {
  PostgresFacts,
  PostgresServerFacts,
  SchemaFacts,
} from "../postgres/postgres_facts.ts";
import type { Pooler } from "../postgres/pooler.ts";
import type { Settings } from "../settings/table.ts";
import { bytesText } from "./bytes_text.ts";
import { type Finding, findingsOf } from "./finding.ts";

/** What PostgreSQL's facts are compared with. */
export interface PostgresContext {
  /** Those in force. */
  readonly settings: Settings<"postgres" | "consumer">;
  /** What lends connections. */
  readonly pooler: Answer<Pooler>;
  /** Migrations that have not been applied; an error: the database's past does not fit. */
  readonly pending: Answer<readonly string[]>;
  /** What became of a look as `POSTGRES_READ_USER`; null: it succeeded, or there is no such role. */
  readonly readFault: Error | null;
}

const postgres = findingsOf("postgres");

/** The oldest version that the tests run on. */
const VERSION_TESTED_MIN = 15;

/** The oldest version that has everything which the SQL names. */
const VERSION_MIN = 13;

/** Connections of the dashboard beside those of the flow. */
const SITE_CONNECTIONS = 3;

/** Judges all of it, in the order in which a person would ask. */
export function postgresFindings(
  { server, schema }: PostgresFacts,
  { settings, pooler, pending, readFault }: PostgresContext,
): readonly Finding[] {
  const found = [
    version(server),
    writable(server),
    role(server),
    connections(server, settings),
    lender(pooler),
    place(server),
    encoding(server),
    durability(server),
    migrations(pending),
    disk(server, schema),
  ];
  const tables = [rights(schema), keys(schema), crashSafety(schema)];
  // Of tables that are there in part, only what is wrong can be said.
  if (pending instanceof Error || pending.length > 0) {
    return [...found, ...tables.filter(({ state }) => state !== "ok")];
  }
  const readers = settings.postgres.readUser === undefined ? [] : [readRole(readFault)];
  return [...found, ...tables, dataSet(schema), ...readers];
}

function version({ version, versionMajor }: PostgresServerFacts): Finding {
  if (versionMajor < VERSION_MIN) {
    return postgres.failure("version", `${version} is too old`, "Use 15 or later.");
  }
  if (versionMajor < VERSION_TESTED_MIN) {
    return postgres.warning("version", `${version} is not tested`, "Use 15 or later.");
  }
  return postgres.ok("version", version);
}

function writable({ isStandby, isReadOnly }: PostgresServerFacts): Finding {
  if (isStandby) {
    return postgres.failure(
      "writable",
      "this is a standby, which refuses to write",
      "Set POSTGRES_HOST to the primary server.",
    );
  }
  if (isReadOnly) {
    return postgres.failure(
      "writable",
      "default_transaction_read_only=on for this role or database",
      "Log in as another role, or turn it off.",
    );
  }
  return postgres.ok("writable", "a primary server");
}

function role({ isSuperuser }: PostgresServerFacts): Finding {
  if (!isSuperuser) return postgres.ok("role", "not a superuser");
  return postgres.warning(
    "role",
    "POSTGRES_USER is a superuser, and may do more than it needs",
    "Use the roles of security/postgres_roles.sql.",
  );
}

function connections(
  server: PostgresServerFacts,
  { postgres: { poolMax, readUser }, consumer }: PostgresContext["settings"],
): Finding {
  const needed = poolMax + (consumer.httpPort === 0 ? 0 : SITE_CONNECTIONS);
  // Those of the dashboard can be another role's.
  const ownNeeded = readUser === undefined ? needed : poolMax;
  const { connections: used, connectionsMax, roleConnectionsMax } = server;
  if (roleConnectionsMax >= 0 && roleConnectionsMax < ownNeeded) {
    return postgres.failure(
      "connections",
      `this role may have ${roleConnectionsMax}, and a consumer takes up to ${ownNeeded}`,
      "Raise its CONNECTION LIMIT, or lower POSTGRES_POOL_MAX.",
    );
  }
  const text = `${used} of ${connectionsMax} taken, a consumer takes up to ${needed}`;
  return connectionsMax - used >= needed
    ? postgres.ok("connections", text)
    : postgres.warning("connections", text, "Raise max_connections, or lower POSTGRES_POOL_MAX.");
}

function lender(pooler: Answer<Pooler>): Finding {
  if (pooler instanceof Error) {
    return postgres.warning(
      "pooler",
      `cannot tell whether there is one: ${describeError(pooler)}`,
      "",
    );
  }
  if (pooler === "none") return postgres.ok("pooler", "none between this program and the server");
  const text = `a pooler lends its connections for one ${pooler} at a time`;
  return pooler === "statement"
    ? postgres.failure("pooler", text, "Set its pool_mode to transaction or session.")
    : postgres.ok("pooler", text);
}

function place({ schema, searchPath }: PostgresServerFacts): Finding {
  if (schema !== null) return postgres.ok("schema", schema);
  return postgres.failure(
    "schema",
    `the search_path (${searchPath}) names no schema that exists and that POSTGRES_USER may use`,
    "Create one, grant USAGE on it, or name it in POSTGRES_SCHEMA.",
  );
}

function encoding({ encoding }: PostgresServerFacts): Finding {
  if (encoding === "UTF8") return postgres.ok("encoding", encoding);
  return postgres.failure(
    "encoding",
    `${encoding} cannot hold every reading`,
    "Create the database with ENCODING 'UTF8'.",
  );
}

function durability(
  { hasFsync, hasFullPageWrites, synchronousCommit }: PostgresServerFacts,
): Finding {
  if (hasFsync && hasFullPageWrites) {
    return postgres.ok(
      "durability",
      `fsync, full_page_writes, synchronous_commit=${synchronousCommit}`,
    );
  }
  const off = [hasFsync ? "" : "fsync", hasFullPageWrites ? "" : "full_page_writes"];
  return postgres.failure(
    "durability",
    `${
      off.filter(Boolean).join(" and ")
    } off: a crash of the server's computer can corrupt the database`,
    "Turn it on.",
  );
}

function migrations(pending: Answer<readonly string[]>): Finding {
  if (pending instanceof Error) {
    return postgres.failure("migrations", describeError(pending), "");
  }
  if (pending.length === 0) return postgres.ok("migrations", "all applied");
  return postgres.failure(
    "migrations",
    `${pending.length} pending: ${pending.join(", ")}`,
    "Run: deno task migrate",
  );
}

function disk({ databaseBytes }: PostgresServerFacts, { readingsBytes }: SchemaFacts): Finding {
  return postgres.ok(
    "disk",
    `the database takes ${bytesText(databaseBytes)}, readings ${bytesText(readingsBytes)} of it; ` +
      "SQL cannot tell how much is free",
  );
}

function rights({ missingRights }: SchemaFacts): Finding {
  if (missingRights.length === 0) return postgres.ok("rights", "everything that run needs");
  return postgres.failure(
    "rights",
    `POSTGRES_USER lacks ${missingRights.join(", ")}`,
    "Run security/postgres_roles.sql, or grant them.",
  );
}

function readRole(fault: Error | null): Finding {
  if (fault === null) return postgres.ok("read role", "POSTGRES_READ_USER can read the tables");
  return postgres.failure(
    "read role",
    describeError(fault),
    "Check POSTGRES_READ_USER, POSTGRES_READ_PASSWORD and the role's rights.",
  );
}

function keys({ missingKeys }: SchemaFacts): Finding {
  if (missingKeys.length === 0) return postgres.ok("unique keys", "present and valid");
  return postgres.failure(
    "unique keys",
    `missing or not valid: ${missingKeys.join("; ")}`,
    "Create them again: they keep readings from being stored twice.",
  );
}

function crashSafety({ unloggedTables }: SchemaFacts): Finding {
  if (unloggedTables.length === 0) return postgres.ok("crash safety", "no table is UNLOGGED");
  return postgres.failure(
    "crash safety",
    `a crash of the server empties ${unloggedTables.join(", ")}: UNLOGGED`,
    "ALTER TABLE … SET LOGGED.",
  );
}

function dataSet({ renewsDataSet }: SchemaFacts): Finding {
  if (renewsDataSet) return postgres.ok("data set", "an emptied table counts as a new data set");
  return postgres.failure(
    "data set",
    "trigger renew_data_set of sensor_events is missing or disabled: once the table is emptied, " +
      "marks in Redis would be taken for rows",
    "ALTER TABLE sensor_events ENABLE TRIGGER renew_data_set.",
  );
}
