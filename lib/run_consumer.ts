/**
 * What `consumer run` does: opens everything, reads the topic until stopped, and sets the exit code.
 *
 * @module
 */
import process from "node:process";
import { systemClock } from "./clock.ts";
import { consume } from "./consumer/consumer.ts";
import { tellAll } from "./consumer/observer.ts";
import { parseStartFrom } from "./consumer/placement.ts";
import { examineAtStart } from "./doctor/command.ts";
import { ConfigurationError, describeError } from "./errors.ts";
import { serveConsumer } from "./http/consumer_site.ts";
import { CONSUMER_CLIENT_ID, type GroupMember } from "./kafka/group_member.ts";
import { type OpenGroupMember, openGroupMember } from "./kafka/kafkajs_group_member.ts";
import { openStore, type PostgresStore } from "./postgres/client.ts";
import { loadMigrations, pendingMigrations } from "./postgres/migrate.ts";
import type { Store } from "./postgres/store.ts";
import { EXIT, exitWithin, openProgram, type Program, reach } from "./program.ts";
import { Breaker } from "./redis/breaker.ts";
import type { Cache } from "./redis/cache.ts";
import { openCache } from "./redis/client.ts";
import { BatchSpans } from "./traces.ts";

/** How long a stuck consumer may take to close its connections, ms. */
const CLOSE_STUCK_MS = 3_000;

/** Flags of the command. */
export interface RunFlags {
  /** Stop when everything that is in the topic now is stored. */
  readonly untilEnd?: true;
  /** Where to begin a topic that the ledger does not know, see {@linkcode parseStartFrom}. */
  readonly from?: string;
}

/** What leaves the process, to be wrapped by whoever wants to see or to disturb it. */
export interface FlowPorts {
  /** Reads the topic. */
  readonly member: GroupMember;
  /** Decides and keeps. */
  readonly store: Store;
  /** Saves the store work. */
  readonly cache: Cache;
}

/** What the program that runs it brings along. */
export interface RunParts {
  /** Path of the directory of the migrations that must have been applied. */
  readonly migrations: string;
  /**
   * Takes the ports as they were opened and gives those that the flow uses.
   * @default the same
   */
  readonly wrap?: (ports: FlowPorts) => FlowPorts;
}

/**
 * Runs the consumer.
 *
 * @throws {ConfigurationError} if a flag or a setting is wrong, or migrations are pending.
 */
export async function runConsumer(
  flags: RunFlags,
  { migrations, wrap = (ports) => ports }: RunParts,
): Promise<void> {
  const startFrom = parseStartFrom(flags.from);
  const program = openProgram([
    "kafka",
    "postgres",
    "redis",
    "limits",
    "consumer",
    "http",
  ]);
  const { settings, log, signal } = program;
  await using store = openStoreOf(program);
  const isReady = await reach(program, () => requireMigrated(store, migrations));
  const member = isReady && await reach(program, () => openMemberOf(program));
  if (!member) return;
  await using _ = member;
  await using cache = openCache(settings.redis, { clock: systemClock, log });
  // Its first answer only. The flow goes on without Redis, but a wrong password or certificate is a
  // mistake that is best seen now.
  await cache.connected().catch((error) => {
    if (error instanceof ConfigurationError) throw error;
  });
  await using _examination = examineAtStart(program, migrations);
  const breakers = { read: breakerOf(program, "reads"), write: breakerOf(program, "writes") };
  const flow = { member, breakers, clock: systemClock, log };
  await using site = await serveConsumer(settings, flow);
  if (site !== undefined) log.info("dashboard", { url: site.url });
  const summary = await consume(
    {
      ...flow,
      ...wrap({ member, store, cache }),
      observer: tellAll([site?.observer ?? {}, new BatchSpans(settings.kafka)]),
    },
    {
      ...settings.consumer,
      shutdownDeadlineMs: settings.stop.deadlineMs,
      limits: settings.limits,
      startFrom,
      until: flags.untilEnd ? "end" : "never",
      signal,
    },
  );
  if (summary.ended !== "cleanly" || program.overdue.aborted) process.exitCode = EXIT.failed;
  // What is stuck may not let itself be closed either.
  if (summary.ended === "stuck") exitWithin(CLOSE_STUCK_MS);
}

/**
 * Makes the store. Nothing connects yet.
 *
 * @param stop ends what is under way; absent: when the stop is overdue
 */
export function openStoreOf(program: Program<"postgres">, stop = program.overdue): PostgresStore {
  return openStore(program.settings.postgres, stop);
}

/** Connects to the brokers as a member of the group that has not joined yet. */
export function openMemberOf({ settings, log }: Program<"kafka">): Promise<OpenGroupMember> {
  const connection = { ...settings.kafka, clientId: CONSUMER_CLIENT_ID };
  return openGroupMember(connection, settings.kafka, log);
}

async function requireMigrated(store: PostgresStore, migrations: string): Promise<true> {
  const pending = await pendingMigrations(store.pool, await loadMigrations(migrations));
  if (pending.length === 0) return true;
  throw new ConfigurationError(
    `Cannot use the database: ${pending.length} migrations are pending; run: deno task migrate`,
  );
}

function breakerOf({ settings, log }: Program<"redis">, calls: string): Breaker {
  return new Breaker({
    clock: systemClock,
    budgetMs: settings.redis.budgetMs,
    onOpen: (cause) =>
      log.warn(`Redis ${calls} bypassed; PostgreSQL decides alone`, {
        cause: describeError(cause),
      }),
    onClose: () => log.info(`Redis ${calls} are used again`),
  });
}
