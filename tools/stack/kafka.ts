/**
 * Apache Kafka as servers of the stack: one broker, or several that form one cluster. Each is
 * broker and controller at once (KRaft), so nothing else has to run.
 *
 * @module
 */
import { join } from "node:path";
import { systemClock } from "../../lib/clock.ts";
import { exchange } from "./exchange.ts";
import { findProgram, runProgram } from "./program.ts";
import { type Server, START_MS_MAX } from "./server.ts";

/** The version that the stack fetches and starts. */
export const KAFKA_VERSION = "4.3.1";

/** Largest message that the topic takes, in bytes. */
export const TOPIC_MESSAGE_BYTES_MAX = 1_048_576;

/** Where one broker of a cluster is. */
export interface BrokerPlace {
  /** From 1. */
  readonly nodeId: number;
  /** Holds its configuration, its data and its log. */
  readonly dir: string;
  /** The clients' port. */
  readonly port: number;
  /** The port on which the cluster's controllers talk. */
  readonly controllerPort: number;
  /** A second way in, for clients that are to come through something in between. */
  readonly detour?: Detour | undefined;
  /** Further lines of its configuration; they win. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Further options of its Java. */
  readonly javaOptions?: readonly string[];
}

/**
 * A listener of a broker behind a proxy. Clients who come in here are told to come to the proxy
 * again; the brokers among themselves, and who asks on their usual ports, go straight.
 */
export interface Detour {
  /** The broker listens here. */
  readonly port: number;
  /** Clients are sent here. */
  readonly proxyPort: number;
}

/** Brokers that form one cluster. */
export interface Cluster {
  /** 22 characters, see {@linkcode newClusterId}. */
  readonly id: string;
  /** All of them, by rising node id. */
  readonly brokers: readonly BrokerPlace[];
}

/** A topic to create. */
export interface TopicSpec {
  /** Its name. */
  readonly topic: string;
  /** How many partitions it gets if it is new. */
  readonly partitions: number;
}

/** A random name for a new cluster: 16 bytes in base64url. */
export function newClusterId(): string {
  // Kafka's own tools take a leading dash for an option.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true }).replace(/^-/, "A");
}

/** The server that is one broker of a cluster. */
export function kafkaServer(cluster: Cluster, broker: BrokerPlace): Server {
  const properties = join(broker.dir, "server.properties");
  return {
    name: broker.nodeId === 1 ? "kafka" : `kafka-${broker.nodeId}`,
    dir: broker.dir,
    ports: [
      broker.port,
      broker.controllerPort,
      ...broker.detour === undefined ? [] : [broker.detour.port],
    ],
    marker: properties,
    stopSignal: "SIGTERM",
    prepare: async (report) => {
      const java = await findJava();
      const classPath = join(await kafkaLibs(report), "*");
      await Deno.mkdir(broker.dir, { recursive: true });
      await Deno.writeTextFile(properties, brokerProperties(cluster, broker));
      if (!await isFormatted(broker)) {
        const format = ["kafka.tools.StorageTool", "format", "--ignore-formatted"];
        await runProgram([
          ...[java, ...TOOL_OPTIONS, "-cp", classPath, ...format],
          ...["--cluster-id", cluster.id, "--config", properties],
        ]);
      }
      const options = [
        ...(cluster.brokers.length > 1 ? CROWDED_OPTIONS : []),
        ...(broker.javaOptions ?? []),
      ];
      return [java, ...BROKER_OPTIONS, ...options, "-cp", classPath, "kafka.Kafka", properties];
    },
    ask: async () => {
      if (await countBrokers(broker.port) === 0) {
        throw new Error(`Cannot use kafka on port ${broker.port}: it knows no broker yet`);
      }
    },
  };
}

/** The configuration file of one broker. */
export function brokerProperties(cluster: Cluster, broker: BrokerPlace): string {
  const copies = Math.min(cluster.brokers.length, 3);
  const voters = cluster.brokers.map((each) => `${each.nodeId}@127.0.0.1:${each.controllerPort}`);
  const settings: Record<string, string | number> = {
    "process.roles": "broker,controller",
    "node.id": broker.nodeId,
    "controller.quorum.voters": voters.join(","),
    "listeners":
      `PLAINTEXT://127.0.0.1:${broker.port},CONTROLLER://127.0.0.1:${broker.controllerPort}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${broker.port}`,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "log.dirs": dataDir(broker),
    "default.replication.factor": copies,
    "min.insync.replicas": copies > 1 ? 2 : 1,
    "offsets.topic.replication.factor": copies,
    "transaction.state.log.replication.factor": copies,
    "transaction.state.log.min.isr": copies > 1 ? 2 : 1,
    "group.initial.rebalance.delay.ms": 0,
    "auto.create.topics.enable": "false",
    ...broker.detour !== undefined && detourSettings(broker, broker.detour),
  };
  return Object.entries({ ...settings, ...broker.settings }).map(([name, value]) =>
    `${name}=${value}\n`
  ).join("");
}

function detourSettings(broker: BrokerPlace, detour: Detour): Record<string, string> {
  const usual = `PLAINTEXT://127.0.0.1:${broker.port}`;
  return {
    "listeners": `${usual},CONTROLLER://127.0.0.1:${broker.controllerPort},` +
      `DETOUR://127.0.0.1:${detour.port}`,
    "advertised.listeners": `${usual},DETOUR://127.0.0.1:${detour.proxyPort}`,
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT",
  };
}

/**
 * Creates the topic unless there is one of its name, once all brokers of the cluster have met.
 *
 * @throws {Error} If the brokers do not meet in time, or refuse the topic.
 */
export async function ensureTopic(cluster: Cluster, spec: TopicSpec): Promise<void> {
  const [first] = cluster.brokers;
  if (first === undefined) return;
  await waitForBrokers(first.port, cluster.brokers.length);
  await runKafkaTool("org.apache.kafka.tools.TopicCommand", [
    ...["--bootstrap-server", `127.0.0.1:${first.port}`, "--create", "--if-not-exists"],
    ...["--topic", spec.topic, "--partitions", String(spec.partitions)],
    ...["--replication-factor", String(Math.min(cluster.brokers.length, 3))],
    ...["--config", `max.message.bytes=${TOPIC_MESSAGE_BYTES_MAX}`],
    // The broker's clock, so that a sensor's wrong clock never decides what is kept.
    ...["--config", "message.timestamp.type=LogAppendTime"],
  ]);
}

/** How a tool of Kafka runs. */
export interface KafkaToolOptions {
  /** Path of a file that it reads from its standard input. */
  readonly input?: string;
}

/**
 * Runs one of Kafka's own command-line tools and returns what it prints.
 *
 * @param className such as `org.apache.kafka.tools.TopicCommand`
 * @throws {Error} If it exits with a code other than 0; the message holds the end of its output.
 */
export async function runKafkaTool(
  className: string,
  args: readonly string[],
  { input = "/dev/null" }: KafkaToolOptions = {},
): Promise<string> {
  const classPath = await kafkaClassPath();
  const script = 'input=$1; shift; exec "$@" <"$input"';
  return await runProgram([
    ...["/bin/sh", "-c", script, "sh", input],
    ...[await findJava(), ...TOOL_OPTIONS, "-cp", classPath, className, ...args],
  ]);
}

/** The class path of Kafka and its tools, for Java. */
export async function kafkaClassPath(): Promise<string> {
  return join(await kafkaLibs(() => {}), "*");
}

/**
 * Reads the number of brokers from a Metadata response, version 6, size field included.
 *
 * @param response at least its first {@linkcode METADATA_HEAD_BYTES} bytes
 */
export function brokersInMetadata(response: Uint8Array): number {
  // Size, correlation id and throttle time come first, each of four bytes.
  return new DataView(response.buffer, response.byteOffset).getInt32(12);
}

/** How much of a Metadata response {@linkcode brokersInMetadata} reads, in bytes. */
export const METADATA_HEAD_BYTES = 16;

/** Metadata request, version 6, for no topic: size, api key, version, correlation id, … */
const METADATA_REQUEST = new Uint8Array([
  ...[0, 0, 0, 15, 0, 3, 0, 6, 0, 0, 0, 1],
  // … no client id, an empty list of topics, and create none.
  ...[0xff, 0xff, 0, 0, 0, 0, 0],
]);

const BROKER_OPTIONS = ["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"];

/**
 * Several brokers on one machine are there to be hurt, not for speed. Without the optimizing
 * compiler each takes a third less time of the processors to start.
 */
const CROWDED_OPTIONS = ["-XX:TieredStopAtLevel=1"];

/** For tools that end at once: no time for the optimizing compiler. */
const TOOL_OPTIONS = [
  ...["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
  "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

function dataDir(broker: BrokerPlace): string {
  return join(broker.dir, "data");
}

/** The tool that formats would find this out, too, but takes a second for it at each start. */
async function isFormatted(broker: BrokerPlace): Promise<boolean> {
  return await Deno.stat(join(dataDir(broker), "meta.properties")).then(() => true, () => false);
}

async function countBrokers(port: number): Promise<number> {
  return brokersInMetadata(await exchange(port, METADATA_REQUEST, METADATA_HEAD_BYTES));
}

async function waitForBrokers(port: number, count: number): Promise<void> {
  const startedMs = systemClock.elapsedMs();
  while (await countBrokers(port) < count) {
    if (systemClock.elapsedMs() - startedMs > START_MS_MAX) {
      throw new Error(`Cannot use the cluster: fewer than ${count} brokers have met`);
    }
    await systemClock.sleep(100);
  }
}

async function findJava(): Promise<string> {
  const install = "apt-get install -y openjdk-17-jre-headless";
  return await findProgram({ name: "java", install });
}

/**
 * The directory of Kafka's jar files, fetched by Maven on first use into the user's cache, where
 * every stack finds them. `SENSOR_LEDGER_KAFKA_LIBS` names another, complete one.
 */
async function kafkaLibs(report: (line: string) => void): Promise<string> {
  const given = Deno.env.get("SENSOR_LEDGER_KAFKA_LIBS");
  if (given !== undefined && given !== "") return given;
  const cache = Deno.env.get("XDG_CACHE_HOME") ??
    join(Deno.env.get("HOME") ?? "/var/tmp", ".cache");
  const libs = join(cache, "sensor-ledger", `kafka-${KAFKA_VERSION}`);
  if (await Deno.stat(libs).then(() => true, () => false)) return libs;
  report(`fetching Kafka ${KAFKA_VERSION} with Maven, about 45 MB, once`);
  await fetchKafka(libs);
  return libs;
}

async function fetchKafka(libs: string): Promise<void> {
  const maven = await findProgram({ name: "mvn", install: "apt-get install -y maven" });
  await Deno.mkdir(join(libs, ".."), { recursive: true });
  // Fetched beside its place and renamed when whole; of two at once, one comes second and yields.
  const unfinished = await Deno.makeTempDir({ dir: join(libs, ".."), prefix: "unfinished-" });
  try {
    const pom = join(unfinished, "pom.xml");
    await Deno.writeTextFile(pom, kafkaPom());
    const goal = ["dependency:copy-dependencies", "-DincludeScope=runtime"];
    await runProgram([
      maven,
      "-q",
      "-B",
      "-f",
      pom,
      ...goal,
      `-DoutputDirectory=${unfinished}/libs`,
    ]);
    await Deno.rename(join(unfinished, "libs"), libs).catch(async (error) => {
      await Deno.stat(libs).catch(() => {
        throw error;
      });
    });
  } finally {
    await Deno.remove(unfinished, { recursive: true });
  }
}

function kafkaPom(): string {
  const artifacts = [
    `org.apache.kafka:kafka_2.13:${KAFKA_VERSION}`,
    `org.apache.kafka:kafka-tools:${KAFKA_VERSION}`,
    // Without a logger the broker would not say why it stops.
    "org.slf4j:slf4j-simple:1.7.36",
  ];
  const dependencies = artifacts.map((artifact) => {
    const [group, name, version] = artifact.split(":");
    return `<dependency><groupId>${group}</groupId><artifactId>${name}</artifactId>` +
      `<version>${version}</version></dependency>`;
  });
  return `<project><modelVersion>4.0.0</modelVersion>
<groupId>sensor-ledger</groupId><artifactId>stack</artifactId><version>1</version>
<dependencies>${dependencies.join("\n")}</dependencies></project>
`;
}
