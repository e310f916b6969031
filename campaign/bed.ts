/**
 * The bed of a campaign: a private stack of real servers, each reached by our programs over a link
 * that can be hurt. Who judges goes straight.
 *
 * Brokers have a second listener for clients, whose address in their metadata is that of the link;
 * so every connection of a client to any broker goes over that broker's link.
 *
 * @module
 */
import type { PostgresServer } from "../tools/stack/postgres.ts";
import { freePorts } from "../tools/stack/free_ports.ts";
import { type Server, serverPid, stopServer } from "../tools/stack/server.ts";
import { BROKERS_MAX, startStack, TOPIC_DEFAULT } from "../tools/stack/stack.ts";
import { type DatabaseDisk, openDatabaseDisk } from "./database_disk.ts";
import { type FaultProxy, openFaultProxy } from "./fault_proxy.ts";

/** What a bed is made of. */
export interface BedOptions {
  /** Holds what the servers keep; made, and removed with the bed. */
  readonly dir: string;
  /** Called with a line of text for each step. */
  readonly report: (line: string) => void;
  /** Partitions of the topic. */
  readonly partitions: number;
  /**
   * Number of brokers. Three keep each message three times and need two to acknowledge it.
   * @default 3
   */
  readonly brokers?: number;
}

/** The ways to the servers that no fault of a link touches. */
export interface DirectWays {
  /** `host:port` of each broker, by rising node id. */
  readonly brokers: readonly string[];
  /** The database, as its owner. */
  readonly postgres: {
    /** Address. */
    readonly host: string;
    /** TCP port. */
    readonly port: number;
    /** Name of the database. */
    readonly database: string;
    /** Role that owns it. */
    readonly user: string;
    /** Its password. */
    readonly password: string;
  };
  /** The accelerator. */
  readonly redis: {
    /** Address. */
    readonly host: string;
    /** TCP port. */
    readonly port: number;
  };
}

/** The links of a bed. */
export interface Links {
  /** To each broker, by rising node id. */
  readonly kafka: readonly FaultProxy[];
  /** To PostgreSQL. */
  readonly postgres: FaultProxy;
  /** To Redis. */
  readonly redis: FaultProxy;
}

/** Servers that may be hurt. Disposing of it ends them and removes all that they kept. */
export interface Bed extends AsyncDisposable {
  /** The topic that carries the readings. */
  readonly topic: string;
  /** Its partitions. */
  readonly partitions: number;
  /** Environment with which our programs find the servers, over the links. */
  readonly settings: Readonly<Record<string, string>>;
  /** For the supervisor and the oracle. */
  readonly direct: DirectWays;
  /** What can be hurt on the way. */
  readonly links: Links;
  /** The brokers, by rising node id. */
  readonly brokers: readonly Server[];
  /** The database server. */
  readonly postgres: PostgresServer;
  /** What the database lies on. */
  readonly disk: DatabaseDisk;
  /** The accelerator's server. */
  readonly redis: Server;
}

const HOST = "127.0.0.1";

/**
 * Starts the servers and opens the links; they pass.
 *
 * @throws {ConfigurationError} If a program is missing.
 */
export async function openBed(options: BedOptions): Promise<Bed> {
  const { dir, report, partitions, brokers = BROKERS_MAX } = options;
  await using resources = new AsyncDisposableStack();
  const ports = freePorts();
  const link = async (targetPort: number): Promise<FaultProxy> =>
    resources.use(await openFaultProxy({ targetPort }));
  const links = {
    kafka: await Promise.all(ports.detours.slice(0, brokers).map(link)),
    postgres: await link(ports.postgres),
    redis: await link(ports.redis),
  };
  const detours = links.kafka.map((proxy, index) => ({
    port: ports.detours[index]!,
    proxyPort: proxy.port,
  }));
  const stack = await startStack({ dir, report, partitions, brokers, ports, detours });
  resources.defer(() => stack.remove());
  const [[postgres], [redis]] = [stack.servers.postgres, stack.servers.redis];
  if (postgres === undefined || redis === undefined) throw new Error("Cannot use half a stack");
  const direct = directWays(stack.settings);
  const disk = resources.use(await openDatabaseDisk(postgres, direct.postgres.database));
  resources.defer(() => endServers([...stack.servers.kafka, redis], postgres));
  const opened = resources.move();
  return {
    topic: TOPIC_DEFAULT.topic,
    partitions,
    settings: settingsOver(links, stack.settings),
    direct,
    links,
    brokers: stack.servers.kafka,
    postgres,
    disk,
    redis,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

function directWays(settings: Readonly<Record<string, string>>): DirectWays {
  const get = (name: string): string => {
    const value = settings[name];
    if (value === undefined) throw new Error(`Cannot find ${name} among the stack's settings`);
    return value;
  };
  return {
    brokers: get("KAFKA_BROKER").split(","),
    postgres: {
      host: get("POSTGRES_HOST"),
      port: Number(get("POSTGRES_PORT")),
      database: get("POSTGRES_DB"),
      user: get("POSTGRES_USER"),
      password: get("POSTGRES_PASSWORD"),
    },
    redis: { host: get("REDIS_HOST"), port: Number(get("REDIS_PORT")) },
  };
}

function settingsOver(
  links: Links,
  direct: Readonly<Record<string, string>>,
): Record<string, string> {
  return {
    ...direct,
    KAFKA_BROKER: links.kafka.map(({ port }) => `${HOST}:${port}`).join(","),
    POSTGRES_HOST: HOST,
    POSTGRES_PORT: String(links.postgres.port),
    REDIS_HOST: HOST,
    REDIS_PORT: String(links.redis.port),
  };
}

/** Ends servers in whatever state a fault has left them; their data are not wanted any more. */
async function endServers(others: readonly Server[], postgres: PostgresServer): Promise<void> {
  await Promise.all([
    ...others.map((server) => stopServer(server, "SIGKILL")),
    // Killed outright it would leave sessions behind, and they hold on to the disk.
    stopServer(postgres, "SIGQUIT"),
  ]);
  for (const server of [...others, postgres]) {
    if (await serverPid(server) !== undefined) throw new Error(`Cannot end ${server.name}`);
  }
}
