/**
 * What all measurements stand on: the servers of the private stack, fresh databases and topics.
 *
 * @module
 */
import { join } from "node:path";
import { systemClock } from "../../lib/clock.ts";
import { openKafka } from "../../lib/kafka/connection.ts";
import {
  ensureTopic,
  type OpenTopicWriter,
  openTopicWriter,
} from "../../lib/kafka/kafkajs_topic_writer.ts";
import type { MessageToSend } from "../../lib/kafka/message.ts";
import { partitionOf } from "../../lib/kafka/partitioner.ts";
import { createLog } from "../../lib/log.ts";
import { loadMigrations, migrate } from "../../lib/postgres/migrate.ts";
import { openPool, type PostgresSettings, type SqlPool } from "../../lib/postgres/pool.ts";
import { readSettings } from "../../lib/settings/read.ts";
import { GROUPS, type Settings } from "../../lib/settings/table.ts";
import { exchange } from "../stack/exchange.ts";
import type { PostgresServer } from "../stack/postgres.ts";
import { type Server, startServer, stopServer } from "../stack/server.ts";
import { findStack } from "../stack/stack.ts";
import { MARKER } from "../with_stack.ts";
import { PARTITIONS } from "./workload.ts";

/** Messages of one send when a topic is filled, as many as the producer puts into one. */
const FILL_MESSAGES = 1_000;

const MIGRATIONS_DIR = join(import.meta.dirname!, "..", "..", "migrations");

/** The servers, ready for measurements. */
export interface Bed {
  /** Where the servers are, and how to get in. */
  readonly settings: Settings;
  /** The same for programs, added to the environment. */
  readonly env: Readonly<Record<string, string>>;
  /** The servers. */
  readonly servers: BedServers;
  /** Holds logs and files of the bench; removed with the stack. */
  readonly dir: string;
}

/** The servers of a bed. */
export interface BedServers {
  /** The only broker. */
  readonly kafka: Server;
  /** The database. */
  readonly postgres: PostgresServer;
  /** The cache. */
  readonly redis: Server;
}

/** A database of its own with the project's tables. Disposing of it drops it. */
export interface BenchDatabase extends AsyncDisposable {
  /** The way to it. */
  readonly settings: PostgresSettings;
  /** Connections of the bench's own. */
  readonly pool: SqlPool;
}

/**
 * Finds the stack that `tools/with_stack.ts` has started, and makes PostgreSQL keep the time of
 * each commit, which takes a restart.
 *
 * @throws {Error} If there is no such stack: other servers are not touched.
 */
export async function prepareBed(): Promise<Bed> {
  const dir = Deno.env.get(MARKER);
  const stack = dir === undefined ? undefined : await findStack(dir);
  const [kafka, postgres, redis] = [stack?.kafka[0], stack?.postgres[0], stack?.redis[0]];
  if (dir === undefined || !kafka || !postgres || !redis) {
    throw new Error("Cannot run without a stack of its own; run: deno task bench");
  }
  await postgres.asSuperuser("postgres", async (session) => {
    await session.query("ALTER SYSTEM SET track_commit_timestamp = on");
  });
  await stopServer(postgres);
  await startServer(postgres);
  return { settings: settingsOf({}), env: {}, servers: { kafka, postgres, redis }, dir };
}

/** The settings with which a program finds the servers, if its environment has `env` added. */
export function settingsOf(env: Readonly<Record<string, string>>): Settings {
  return readSettings(GROUPS, {
    env: (name) => env[name] ?? Deno.env.get(name),
    readFile: Deno.readTextFileSync,
  });
}

/**
 * Makes a database with the tables, and leaves PostgreSQL without unwritten pages.
 *
 * @param copyOf A database to copy, rows and all; its connections are closed for that.
 */
export async function createDatabase(
  bed: Bed,
  database: string,
  { copyOf }: { readonly copyOf?: BenchDatabase | undefined } = {},
): Promise<BenchDatabase> {
  const settings = { ...bed.settings.postgres, database };
  await copyOf?.pool.close();
  const template = copyOf === undefined
    ? ""
    // The other strategy would write all of it to the log as well.
    : ` TEMPLATE "${copyOf.settings.database}" STRATEGY FILE_COPY`;
  await bed.servers.postgres.asSuperuser("postgres", async (session) => {
    await session.query(`CREATE DATABASE "${database}" OWNER "${settings.user}"${template}`);
  });
  const pool = openPool(settings);
  await migrate(pool, await loadMigrations(MIGRATIONS_DIR));
  await bed.servers.postgres.asSuperuser("postgres", (session) => session.query("CHECKPOINT"));
  return {
    settings,
    pool,
    [Symbol.asyncDispose]: async () => {
      await pool.close();
      await bed.servers.postgres.asSuperuser("postgres", async (session) => {
        await session.query(`DROP DATABASE "${database}" WITH (FORCE)`);
      });
    },
  };
}

/** Makes Redis forget everything. */
export async function emptyRedis(bed: Bed): Promise<void> {
  const answer = await exchange(
    bed.servers.redis.ports[0]!,
    new TextEncoder().encode("FLUSHALL\r\n"),
    "+OK\r\n".length,
  );
  if (answer[0] !== "+".charCodeAt(0)) throw new Error("Cannot empty Redis: it refuses");
}

/** Makes a topic and connects a writer to it. */
export async function openTopic(bed: Bed, topic: string): Promise<OpenTopicWriter> {
  const log = createLog({ level: "error", format: "text", write: () => {}, clock: systemClock });
  const kafka = openKafka({ ...bed.settings.kafka, clientId: "sensor-ledger-bench" }, log);
  await ensureTopic(kafka, topic, PARTITIONS);
  return await openTopicWriter(kafka, topic);
}

/** Makes a topic and writes these messages to it, the key deciding the partition. */
export async function fillTopic(
  bed: Bed,
  topic: string,
  messages: Iterable<MessageToSend & { readonly key: string }>,
): Promise<void> {
  await using writer = await openTopic(bed, topic);
  const waiting = Array.from({ length: PARTITIONS }, (): MessageToSend[] => []);
  const sends = Array.from({ length: PARTITIONS }, () => Promise.resolve());
  const send = async (partition: number): Promise<void> => {
    const batch = waiting[partition]!.splice(0);
    await sends[partition];
    sends[partition] = batch.length === 0 ? Promise.resolve() : writer.send(partition, batch);
  };
  for (const message of messages) {
    const partition = partitionOf(message.key, PARTITIONS);
    if (waiting[partition]!.push(message) === FILL_MESSAGES) await send(partition);
  }
  for (const partition of waiting.keys()) await send(partition);
  await Promise.all(sends);
}

/** Settings with which the consumer reads `topic` into `database`, in a group of its own, unseen. */
export function consumerEnv(
  bed: Bed,
  topic: string,
  database: PostgresSettings,
): Record<string, string> {
  return {
    ...bed.env,
    TOPIC_NAME: topic,
    // Each database is new, and so must be what the brokers know of its consumer.
    KAFKA_GROUP_ID: database.database,
    POSTGRES_DB: database.database,
    LOG_FORMAT: "json",
    HTTP_PORT: "0",
  };
}

/** How many offsets the ledger has passed, over all partitions. */
export async function offsetsPassed(pool: SqlPool): Promise<number> {
  const { rows } = await pool.query({
    action: "read how far the consumer is",
    text: "SELECT coalesce(sum(next_offset - first_offset), 0) AS passed FROM ledger",
  });
  return Number(rows[0]?.passed);
}
