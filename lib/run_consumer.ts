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
import { ConfigurationError, describeError, MissingError, NoAnswerError } from "./errors.ts";
import { requireReader, serveConsumer } from "./http/consumer_site.ts";
import { CONSUMER_CLIENT_ID, type GroupMember } from "./kafka/group_member.ts";
import {
  createGroupMember,
  type GroupMemberClient,
  type OpenGroupMember,
  openGroupMember,
} from "./kafka/kafkajs_group_member.ts";
import { openStore, type PostgresStore } from "./postgres/client.ts";
import { loadMigrations, pendingMigrations } from "./postgres/migrate.ts";
import type { Store } from "./postgres/store.ts";
import { EXIT, exitWithin, openProgram, type Program } from "./program.ts";
import { reach, type ReachOptions } from "./reach.ts";
import { Breaker } from "./redis/breaker.ts";
import type { Cache } from "./redis/cache.ts";
import { openCache, type RedisCache } from "./redis/client.ts";
import { BatchSpans } from "./traces.ts";
import { serverTitles, TroubleLog } from "./trouble_log.ts";
import { counted } from "./quantities.ts";

/** How long a stuck consumer may take to close its connections, ms. */
const CLOSE_STUCK_MS = 3_000;

/** The same for one that has not begun: nothing is in progress, and what it waits for may be silent, ms. */
const CLOSE_IDLE_MS = 500;

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

/** The groups of settings that a consumer needs. */
const GROUPS = ["kafka", "postgres", "redis", "limits", "consumer", "http"] as const;

type ConsumerProgram = Program<typeof GROUPS[number]>;

/** Clients of the servers, which connect when they are asked for something. */
interface Clients {
  readonly member: GroupMemberClient;
  readonly store: PostgresStore;
  readonly cache: RedisCache;
}

/**
 * Runs the consumer. Its pages are served first: they say what it waits for.
 *
 * @throws {ConfigurationError} if a flag or a setting is wrong; with `untilEnd`, also if migrations are
 * pending or the topic does not exist.
 */
export async function runConsumer(
  flags: RunFlags,
  { migrations, wrap = (ports) => ports }: RunParts,
): Promise<void> {
  const startFrom = parseStartFrom(flags.from);
  const program = openProgram(GROUPS);
  const { settings, log, signal } = program;
  const troubles = new TroubleLog({ clock: systemClock, log, titles: serverTitles(settings) });
  await using store = openStoreOf(program);
  await using member = createGroupMember(...memberArguments(program));
  await using cache = openCache(settings.redis, { clock: systemClock, log });
  const clients = { member, store, cache };
  const breakers = {
    read: breakerOf(program, { troubles, calls: "reads" }),
    write: breakerOf(program, { troubles, calls: "writes" }),
  };
  const flow = { member, breakers, clock: systemClock, log, troubles };
  await using site = await serveConsumer(settings, flow);
  if (site !== undefined) log.info("dashboard", { url: site.url });
  const isReady = await reachAll(program, clients, {
    migrations,
    troubles,
    missing: flags.untilEnd ? "fails" : "waits",
    // That a server does not answer the site knows on its own.
    onWait: (error) => {
      const isKnown = error === undefined || error instanceof NoAnswerError;
      site?.observer.noticed("start", isKnown ? undefined : describeError(error));
    },
  });
  if (!isReady) return exitWithin(CLOSE_IDLE_MS);
  await using _examination = examineAtStart(program, migrations);
  const summary = await consume(
    {
      ...flow,
      ...wrap(clients),
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

/** Waits until PostgreSQL and Kafka have what the flow needs. False: it was stopped before. */
async function reachAll(
  program: ConsumerProgram,
  { store, member, cache }: Clients,
  { migrations, ...options }: ReachOptions & { readonly migrations: string },
): Promise<boolean> {
  const steps = [
    () => requireMigrated(store, migrations),
    () => requireReader(program.settings.postgres),
    () => member.connect(),
    // Its first answer only. The flow goes on without Redis, but a wrong password or certificate is a
    // mistake that is best seen now.
    () =>
      cache.connected().catch((error) => {
        if (error instanceof ConfigurationError) throw error;
      }),
  ];
  for (const step of steps) {
    if (!await reach(program, () => step().then(() => true), options)) return false;
  }
  return true;
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
export function openMemberOf(program: Program<"kafka">): Promise<OpenGroupMember> {
  return openGroupMember(...memberArguments(program));
}

function memberArguments({ settings, log }: Program<"kafka">): Parameters<typeof openGroupMember> {
  return [{ ...settings.kafka, clientId: CONSUMER_CLIENT_ID }, settings.kafka, log];
}

async function requireMigrated(store: PostgresStore, migrations: string): Promise<void> {
  const pending = await pendingMigrations(store.pool, await loadMigrations(migrations));
  if (pending.length === 0) return;
  throw new MissingError(
    `Cannot use the database: ${
      counted(pending.length, "migration is", "migrations are")
    } pending; run: deno task migrate`,
  );
}

function breakerOf(
  { settings }: Program<"redis">,
  { troubles, calls }: { readonly troubles: TroubleLog; readonly calls: string },
): Breaker {
  return new Breaker({
    clock: systemClock,
    budgetMs: settings.redis.budgetMs,
    onFailure: (cause, failures) => {
      // One slow answer is nothing to speak of: the next one may be in time.
      const isSlow = cause instanceof NoAnswerError && cause.server === undefined;
      if (!isSlow || failures > 1) troubles.met([`Redis ${calls}`], cause, { server: "redis" });
    },
    onClose: () => troubles.left(`Redis ${calls}`),
  });
}
