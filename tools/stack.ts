/**
 * `deno task stack`: Kafka, PostgreSQL and Redis on this machine, without containers.
 *
 * Standard output holds the result alone, so that `deno task stack up > .env` gives a file of
 * settings; what is going on is told on standard error.
 *
 * @module
 */
import process from "node:process";
import { Command, Option } from "commander";
import { runCommandLine, someOf, whole } from "../lib/command_line.ts";
import { EXIT } from "../lib/program.ts";
import { print, printText, tell } from "../lib/standard_streams.ts";
import { endAtStop } from "../lib/stop_signal.ts";
import { serverState, stopServer } from "./stack/server.ts";
import {
  allServers,
  BROKERS_MAX,
  findStack,
  PORTS_DEFAULT,
  SERVER_KINDS,
  type ServerKind,
  startStack,
  TOPIC_DEFAULT,
} from "./stack/stack.ts";

interface UpOptions {
  readonly dir: string;
  readonly only?: readonly ServerKind[];
  readonly kafkaPort?: number;
  readonly postgresPort?: number;
  readonly redisPort?: number;
  readonly brokers?: number;
  readonly topic: string;
  readonly partitions: number;
}

interface DownOptions {
  readonly dir: string;
  readonly only?: readonly ServerKind[];
}

async function up(options: UpOptions): Promise<void> {
  const startedMs = performance.now();
  const stack = await startStack({
    dir: options.dir,
    only: options.only,
    ports: {
      ...options.kafkaPort !== undefined && { kafka: options.kafkaPort },
      ...options.postgresPort !== undefined && { postgres: options.postgresPort },
      ...options.redisPort !== undefined && { redis: options.redisPort },
    },
    brokers: options.brokers,
    topic: options.topic,
    partitions: options.partitions,
    report: tell,
  });
  for (const [name, value] of Object.entries(stack.settings)) await print(`${name}=${value}`);
  tell(`ready in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
}

async function down({ dir, only = SERVER_KINDS }: DownOptions): Promise<void> {
  const servers = await findStack(dir);
  if (servers === undefined) return tell(`There is no stack in ${dir}`);
  const chosen = only.flatMap((kind) => servers[kind]);
  await Promise.all(chosen.map(async (server) => {
    tell(`${server.name} ${await stopServer(server)}`);
  }));
}

async function status({ dir }: { readonly dir: string }): Promise<void> {
  const servers = await findStack(dir);
  if (servers === undefined) {
    tell(`There is no stack in ${dir}`);
    process.exitCode = EXIT.failed;
    return;
  }
  const answers = await Promise.all(
    allServers(servers).map(async (server) => {
      const state = await serverState(server);
      const text = state.kind === "stopped"
        ? "stopped"
        : state.kind === "answers"
        ? `answers on 127.0.0.1:${server.ports[0]} (pid ${state.pid})`
        : `runs but does not answer (pid ${state.pid}): ${state.cause}`;
      await printText(`${server.name.padEnd(8)} ${text}`);
      return state.kind === "answers";
    }),
  );
  if (!answers.every((answer) => answer)) process.exitCode = EXIT.failed;
}

const PORT_MAX = 65_535;

/** More than this no test and no bench needs. */
const PARTITIONS_MAX = 10_000;

function port(kind: ServerKind): Option {
  const text = `port of ${kind} (default: the last one, else ${PORTS_DEFAULT[kind]})`;
  return new Option(`--${kind}-port <port>`, text).argParser(whole(1, PORT_MAX));
}

function commandLine(): Command {
  const program = new Command("stack").description(
    "Kafka, PostgreSQL and Redis on 127.0.0.1, without containers.",
  );
  const command = (name: string, description: string): Command =>
    program.command(name).description(description)
      .option("--dir <dir>", "where the servers keep their data", ".stack");
  command("up", "start the servers, wait until they answer, and print the settings to use")
    .option("--only <kinds>", `some of ${SERVER_KINDS.join(",")}`, someOf(SERVER_KINDS))
    .addOption(port("kafka"))
    .addOption(port("postgres"))
    .addOption(port("redis"))
    .option(
      "--brokers <n>",
      `brokers of the Kafka cluster, 1 to ${BROKERS_MAX}`,
      whole(1, BROKERS_MAX),
    )
    .option("--topic <name>", "topic to create", TOPIC_DEFAULT.topic)
    .option(
      "--partitions <n>",
      "partitions of a new topic",
      whole(1, PARTITIONS_MAX),
      TOPIC_DEFAULT.partitions,
    )
    .action(up);
  command("down", "stop the servers that were started here; keep their data")
    .option("--only <kinds>", `some of ${SERVER_KINDS.join(",")}`, someOf(SERVER_KINDS))
    .action(down);
  command("status", "show the state of each server; exit code 0 if all of them answer")
    .action(status);
  return program;
}

if (import.meta.main) {
  endAtStop(() => tell('interrupted; "deno task stack down" stops the servers that have started'));
  await runCommandLine(commandLine());
}
