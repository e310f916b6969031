/**
 * Kafka, PostgreSQL and Redis together, on loopback, with their data under one directory: what
 * `deno task stack` starts, and what the integration tests and the bench start for themselves.
 *
 * @module
 */
import { join, resolve } from "node:path";
import {
  type BrokerPlace,
  type Cluster,
  type Detour,
  ensureTopic,
  kafkaServer,
  newClusterId,
  type TopicSpec,
} from "./kafka.ts";
import { ConfigurationError } from "../../lib/errors.ts";
import {
  type DatabaseNames,
  ensureDatabase,
  type PostgresServer,
  postgresServer,
} from "./postgres.ts";
import { redisServer } from "./redis.ts";
import { type Server, serverPid, startServer, stopServer } from "./server.ts";

/** The kinds of servers in a stack. */
export const SERVER_KINDS = ["kafka", "postgres", "redis"] as const;

/** One of {@linkcode SERVER_KINDS}. */
export type ServerKind = typeof SERVER_KINDS[number];

/** The port of each kind of server. */
export type Ports = Readonly<Record<ServerKind, number>>;

/** The servers' own ports, and this project's defaults. */
export const PORTS_DEFAULT: Ports = { kafka: 9092, postgres: 5432, redis: 6379 };

/** The topic that a stack creates. */
export const TOPIC_DEFAULT: TopicSpec = { topic: "iot-sensor-data", partitions: 6 };

/** Largest number of brokers in one stack. */
export const BROKERS_MAX = 3;

const DATABASE: DatabaseNames = { database: "iotdb", user: "iotuser", password: "iotpassword" };

/** Which servers a stack has, and where. */
export interface StackPlan {
  /** Holds everything that the servers keep. */
  readonly dir: string;
  /** Broker n listens on `kafka + 2 * (n - 1)`, its controller on the port after that. */
  readonly ports: Ports;
  /** The kinds that it has. */
  readonly kinds: readonly ServerKind[];
  /** From 1 to {@linkcode BROKERS_MAX}. */
  readonly brokers: number;
}

/** What to start. */
export interface StackOptions extends Partial<TopicSpec> {
  /** Where the servers keep what they have; made if it is missing. */
  readonly dir: string;
  /**
   * Ports other than the usual ones.
   * @default those that the stack in `dir` had last, else {@linkcode PORTS_DEFAULT}
   */
  readonly ports?: Partial<Ports>;
  /**
   * The kinds to start.
   * @default all
   */
  readonly only?: readonly ServerKind[] | undefined;
  /**
   * Number of brokers, see {@linkcode StackPlan.brokers}.
   * @default the number that the stack in `dir` was made with, else 1
   */
  readonly brokers?: number | undefined;
  /**
   * Second ways in to the brokers, by rising node id. They hold for this start only.
   * @default none
   */
  readonly detours?: readonly Detour[];
  /** Called with a line of text for each step. */
  readonly report?: (line: string) => void;
}

/** A stack that runs. */
export interface Stack {
  /** The settings with which producer and consumer find the servers. */
  readonly settings: Readonly<Record<string, string>>;
  /** The servers that were asked for. */
  readonly servers: StackServers;
  /** Ends those servers; their data stay. */
  stop(): Promise<void>;
  /** Ends those servers and removes all that the stack has kept. */
  remove(): Promise<void>;
}

/** The servers of a stack by kind; a kind that the stack does not have is empty. */
export interface StackServers {
  /** The brokers, by rising node id. */
  readonly kafka: readonly Server[];
  /** At most one. */
  readonly postgres: readonly PostgresServer[];
  /** At most one. */
  readonly redis: readonly Server[];
}

/** A plan as it is kept in the stack's directory, with what must not change from start to start. */
export interface StoredPlan extends StackPlan {
  /** Name of the Kafka cluster. */
  readonly clusterId: string;
}

/**
 * Starts what does not run yet, waits until all of it answers, and creates topic, role and
 * database where they are missing. If one server cannot start, those that were started here are
 * ended again.
 *
 * @throws {ConfigurationError} If a program is missing, a port is taken, or the plan does not fit
 * the one that the stack in `dir` was made by.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const report = options.report ?? (() => {});
  await Deno.mkdir(options.dir, { recursive: true });
  // Two starts at once in one directory would each take the other's servers for strangers.
  using lock = await Deno.open(join(options.dir, "lock"), { write: true, create: true });
  await lock.lock(true);
  const stored = await readPlan(options.dir);
  const plan = planStack(options, stored);
  if (stored !== undefined) await assertNotMoved(stored, plan);
  await writePlan(plan);
  const asked = options.only ?? SERVER_KINDS;
  const servers = await stackServers(plan, { kinds: asked, detours: options.detours });
  await startAll(allServers(servers), report);
  const spec = {
    topic: options.topic ?? TOPIC_DEFAULT.topic,
    partitions: options.partitions ?? TOPIC_DEFAULT.partitions,
  };
  await Promise.all([
    servers.kafka.length > 0 ? ensureTopic(clusterOf(plan), spec) : undefined,
    ...servers.postgres.map((server) => ensureDatabase(server, DATABASE)),
  ]);
  const stop = async (): Promise<void> => {
    await Promise.all(allServers(servers).map((server) => stopServer(server)));
  };
  return {
    settings: stackSettings({ ...plan, kinds: asked }, spec.topic),
    servers,
    stop,
    remove: async () => {
      await stop();
      // A server's data can lie elsewhere than in the stack's directory.
      const dirs = [...allServers(servers).map((server) => server.dir), plan.dir];
      for (const each of dirs) await removeDir(each);
    },
  };
}

/** The servers of the stack that was made in `dir`; undefined if none was. */
export async function findStack(dir: string): Promise<StackServers | undefined> {
  const plan = await readPlan(dir);
  return plan === undefined ? undefined : await stackServers(plan);
}

/** Every server of a stack in one list. */
export function allServers(servers: StackServers): readonly Server[] {
  return [...servers.kafka, ...servers.postgres, ...servers.redis];
}

/**
 * Completes what was asked for by what the stack had last, and that by the defaults.
 *
 * @throws {ConfigurationError} If two servers would share a port, a number is out of its bounds,
 * or the number of brokers is another than the one that the data were made for.
 */
export function planStack(options: StackOptions, stored?: StoredPlan): StoredPlan {
  const ports = { ...PORTS_DEFAULT, ...stored?.ports, ...options.ports };
  const asked = options.only ?? SERVER_KINDS;
  const brokers = options.brokers ?? stored?.brokers ?? 1;
  if (!Number.isInteger(brokers) || brokers < 1 || brokers > BROKERS_MAX) {
    throw new ConfigurationError(`Cannot plan ${brokers} brokers: from 1 to ${BROKERS_MAX}`);
  }
  if (stored !== undefined && brokers !== stored.brokers) {
    throw new ConfigurationError(
      `Cannot start ${brokers} brokers in ${stored.dir}: it was made for ${stored.brokers}`,
    );
  }
  const plan = {
    dir: resolve(options.dir),
    ports,
    kinds: SERVER_KINDS.filter((kind) => asked.includes(kind) || stored?.kinds.includes(kind)),
    brokers,
    clusterId: stored?.clusterId ?? newClusterId(),
  };
  assertPortsDistinct(plan);
  return plan;
}

/** The settings with which producer and consumer find the servers of a plan. */
export function stackSettings(plan: StoredPlan, topic: string): Record<string, string> {
  const settings: Record<string, string> = {};
  if (plan.kinds.includes("kafka")) {
    const addresses = clusterOf(plan).brokers.map((broker) => `127.0.0.1:${broker.port}`);
    settings.KAFKA_BROKER = addresses.join(",");
    settings.TOPIC_NAME = topic;
  }
  if (plan.kinds.includes("postgres")) {
    settings.POSTGRES_HOST = "127.0.0.1";
    settings.POSTGRES_PORT = String(plan.ports.postgres);
    settings.POSTGRES_DB = DATABASE.database;
    settings.POSTGRES_USER = DATABASE.user;
    settings.POSTGRES_PASSWORD = DATABASE.password;
  }
  if (plan.kinds.includes("redis")) {
    settings.REDIS_HOST = "127.0.0.1";
    settings.REDIS_PORT = String(plan.ports.redis);
  }
  return settings;
}

async function startAll(
  servers: readonly Server[],
  report: (line: string) => void,
): Promise<void> {
  const started: Server[] = [];
  const outcomes = await Promise.allSettled(servers.map(async (server) => {
    const wasDown = await serverPid(server) === undefined;
    if (wasDown) started.push(server);
    await startServer(server, report);
    report(`${server.name} ${wasDown ? "started" : "runs already"}, port ${server.ports[0]}`);
  }));
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed === undefined) return;
  await Promise.all(started.map((server) => stopServer(server)));
  throw failed.reason;
}

/** A server that runs keeps its ports: asking for others would start a second one on its data. */
async function assertNotMoved(stored: StoredPlan, plan: StoredPlan): Promise<void> {
  const moved = SERVER_KINDS.filter((kind) => stored.ports[kind] !== plan.ports[kind]);
  const servers = await stackServers(stored);
  for (const server of moved.flatMap((kind) => servers[kind])) {
    if (await serverPid(server) !== undefined) {
      throw new ConfigurationError(
        `Cannot move ${server.name}: it runs on port ${server.ports[0]}; stop the stack first`,
      );
    }
  }
}

function assertPortsDistinct(plan: StoredPlan): void {
  const ports = [
    ...clusterOf(plan).brokers.flatMap((broker) => [broker.port, broker.controllerPort]),
    plan.ports.postgres,
    plan.ports.redis,
  ];
  const bad = ports.find((port, index) =>
    !Number.isInteger(port) || port < 1 || port > 65_535 || ports.indexOf(port) !== index
  );
  if (bad === undefined) return;
  throw new ConfigurationError(
    `Cannot use port ${bad}: ports go from 1 to 65535, each is used once, and kafka needs ` +
      `${2 * plan.brokers} from ${plan.ports.kafka} on`,
  );
}

async function stackServers(
  plan: StoredPlan,
  { kinds = plan.kinds, detours }: {
    readonly kinds?: readonly ServerKind[];
    readonly detours?: readonly Detour[] | undefined;
  } = {},
): Promise<StackServers> {
  const cluster = clusterOf(plan, detours);
  const has = (kind: ServerKind): boolean => kinds.includes(kind);
  return {
    kafka: has("kafka") ? cluster.brokers.map((broker) => kafkaServer(cluster, broker)) : [],
    postgres: has("postgres")
      ? [await postgresServer(join(plan.dir, "postgres"), plan.ports.postgres)]
      : [],
    redis: has("redis") ? [redisServer(join(plan.dir, "redis"), plan.ports.redis)] : [],
  };
}

function clusterOf(plan: StoredPlan, detours: readonly Detour[] = []): Cluster {
  const brokers = Array.from({ length: plan.brokers }, (_, index): BrokerPlace => ({
    nodeId: index + 1,
    dir: join(plan.dir, `kafka-${index + 1}`),
    port: plan.ports.kafka + 2 * index,
    controllerPort: plan.ports.kafka + 2 * index + 1,
    detour: detours[index],
  }));
  return { id: plan.clusterId, brokers };
}

async function removeDir(dir: string): Promise<void> {
  await Deno.remove(dir, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

async function readPlan(dir: string): Promise<StoredPlan | undefined> {
  try {
    const plan: StoredPlan = JSON.parse(await Deno.readTextFile(join(dir, "stack.json")));
    // The directory may have been moved since; its servers are looked for where it is now.
    return { ...plan, dir: resolve(dir) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function writePlan(plan: StoredPlan): Promise<void> {
  await Deno.writeTextFile(join(plan.dir, "stack.json"), `${JSON.stringify(plan, null, 2)}\n`);
}
