/**
 * PostgreSQL as a server of the stack.
 *
 * PostgreSQL refuses to run as root. Started by root, it runs as the user `postgres`, and its data
 * has to lie where that user can go.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import process from "node:process";
// @ts-types="@types/pg"
import pg from "pg";
import { systemClock } from "../../lib/clock.ts";
import { ConfigurationError } from "../../lib/errors.ts";
import { type Account, findProgram, runProgram } from "./program.ts";
import { ANSWER_MS_MAX, type Server } from "./server.ts";

/** The database and the role that owns it. */
export interface DatabaseNames {
  /** Name of the database. */
  readonly database: string;
  /** Name of the role. */
  readonly user: string;
  /** The role's password. */
  readonly password: string;
}

/** A connection of the superuser. */
export interface SuperuserSession {
  /** Runs one statement. */
  query(text: string, values?: readonly unknown[]): Promise<{
    readonly rows: readonly Readonly<Record<string, unknown>>[];
    /** Rows that the statement returned or changed. */
    readonly rowCount: number | null;
  }>;
}

/** A PostgreSQL server, with a way in for its superuser. */
export interface PostgresServer extends Server {
  /** Its data directory, a child of `dir`. */
  readonly data: string;
  /** Path of the file that holds the password of the superuser `postgres`. */
  readonly passwordFile: string;
  /**
   * Runs `work` with a connection of the superuser `postgres`.
   *
   * @param database name of the database to connect to
   */
  asSuperuser<T>(database: string, work: (session: SuperuserSession) => Promise<T>): Promise<T>;
}

const INSTALL = "apt-get install -y postgresql-15";
const SUPERUSER = "postgres";

const REAP_MS_MAX = 10_000;

/**
 * A PostgreSQL server on `port`, its data under `dir` or, if the account `postgres` cannot reach
 * that, in a directory of that account's home.
 */
export async function postgresServer(dir: string, port: number): Promise<PostgresServer> {
  const account = Deno.uid() === 0 ? await postgresAccount() : undefined;
  const home = account === undefined ? dir : await reachableDir(dir, account);
  const data = join(home, "data");
  const passwordFile = join(home, "superuser_password");
  const asSuperuser: PostgresServer["asSuperuser"] = async (database, work) => {
    const password = await Deno.readTextFile(passwordFile);
    return withClient({ port, database, user: SUPERUSER, password }, work);
  };
  return {
    name: "postgres",
    dir: home,
    data,
    passwordFile,
    ports: [port],
    marker: data,
    stopSignal: "SIGINT",
    account,
    asSuperuser,
    prepare: async (report) => {
      if (home !== dir) report(`postgres keeps its data in ${home}: its user cannot reach ${dir}`);
      const postgres = await findPostgresProgram("postgres");
      await Deno.mkdir(home, { recursive: true });
      if (account !== undefined) await Deno.chown(home, account.uid, account.gid);
      if (!await exists(data)) await createCluster({ data, passwordFile, account });
      await waitUntilReaped(join(data, "postmaster.pid"));
      return [postgres, "-D", data, ...postgresArguments(port)];
    },
    ask: () => asSuperuser("postgres", async (session) => void await session.query("SELECT 1")),
  };
}

/** Creates the role and its database where they are missing. */
export async function ensureDatabase(server: PostgresServer, names: DatabaseNames): Promise<void> {
  const user = pg.escapeIdentifier(names.user);
  await server.asSuperuser("postgres", async (session) => {
    const roles = await session.query("SELECT FROM pg_roles WHERE rolname = $1", [names.user]);
    if (roles.rowCount === 0) await session.query(`CREATE ROLE ${user} LOGIN CREATEDB`);
    await session.query(`ALTER ROLE ${user} PASSWORD ${pg.escapeLiteral(names.password)}`);
    const databases = await session.query("SELECT FROM pg_database WHERE datname = $1", [
      names.database,
    ]);
    if (databases.rowCount !== 0) return;
    await session.query(`CREATE DATABASE ${pg.escapeIdentifier(names.database)} OWNER ${user}`);
  });
}

/**
 * The path of one of PostgreSQL's programs.
 *
 * @throws {ConfigurationError} If it is not installed.
 */
export async function findPostgresProgram(name: string): Promise<string> {
  return await findProgram({ name, dirs: BINARY_DIRS, install: INSTALL });
}

/** Debian keeps each version's programs out of `PATH`; the newest one is looked at first. */
const BINARY_DIRS = [18, 17, 16, 15].map((version) => `/usr/lib/postgresql/${version}/bin`);

/** Room for a development machine; what makes a commit durable keeps its safe default. */
function postgresArguments(port: number): readonly string[] {
  const settings: Record<string, string> = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    // A socket's path must be shorter than many directories are.
    unix_socket_directories: "",
    shared_buffers: "512MB",
    max_wal_size: "4GB",
    checkpoint_timeout: "15min",
  };
  return Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
}

async function createCluster(
  { data, passwordFile, account }: {
    readonly data: string;
    readonly passwordFile: string;
    readonly account: Account | undefined;
  },
): Promise<void> {
  const initdb = await findPostgresProgram("initdb");
  await Deno.writeTextFile(passwordFile, crypto.randomUUID(), { mode: 0o600 });
  if (account !== undefined) await Deno.chown(passwordFile, account.uid, account.gid);
  // Renamed when it is whole, so that an interrupted start leaves nothing that looks complete.
  const unfinished = `${data}.unfinished`;
  await Deno.remove(unfinished, { recursive: true }).catch(() => {});
  const options = [`--pwfile=${passwordFile}`, "--auth=scram-sha-256", `--username=${SUPERUSER}`];
  const locale = ["--no-locale", "--encoding=UTF8", "--no-instructions"];
  await runProgram([initdb, "-D", unfinished, ...options, ...locale], { account });
  await Deno.rename(unfinished, data);
}

/**
 * Waits until the process of a killed server has left the process table. Until then PostgreSQL
 * takes it for alive and refuses to start; process 1 can take seconds to clear it away.
 */
async function waitUntilReaped(lockFile: string): Promise<void> {
  const [line = ""] = (await Deno.readTextFile(lockFile).catch(() => "")).split("\n");
  const startedMs = systemClock.elapsedMs();
  while (isInProcessTable(Number(line)) && systemClock.elapsedMs() - startedMs < REAP_MS_MAX) {
    await systemClock.sleep(100);
  }
}

function isInProcessTable(pid: number): boolean {
  try {
    return Number.isSafeInteger(pid) && pid > 1 && process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function withClient<T>(
  address: { port: number; database: string; user: string; password: string },
  work: (session: SuperuserSession) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    ...address,
    host: "127.0.0.1",
    connectionTimeoutMillis: ANSWER_MS_MAX,
  });
  // A server that goes away is reported by the query; without a listener it would end the program.
  client.on("error", () => {});
  try {
    await client.connect();
    return await work({ query: (text, values = []) => client.query(text, [...values]) });
  } finally {
    await client.end().catch(() => {});
  }
}

async function postgresAccount(): Promise<Account & { readonly home: string }> {
  const line = (await Deno.readTextFile("/etc/passwd")).split("\n")
    .find((entry) => entry.startsWith("postgres:"));
  const [, , uid, gid, , home] = (line ?? "").split(":");
  if (home === undefined) {
    throw new ConfigurationError(
      `Cannot run postgres as root, and there is no user postgres: "${INSTALL}" makes one`,
    );
  }
  return { uid: Number(uid), gid: Number(gid), home };
}

/** `dir` if the account can go there, else a directory of its home whose name tells `dir` apart. */
async function reachableDir(
  dir: string,
  account: Account & { readonly home: string },
): Promise<string> {
  let existing = dir;
  while (!await exists(existing)) existing = dirname(existing);
  const enter = runProgram(["/bin/sh", "-c", 'cd "$1"', "sh", existing], { account });
  if (await enter.then(() => true, () => false)) return dir;
  const name = createHash("sha256").update(dir).digest("hex").slice(0, 12);
  return join(account.home, `sensor-ledger-${name}`);
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
