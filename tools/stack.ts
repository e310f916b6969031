/**
 * `deno task stack`: Kafka, PostgreSQL and Redis on this machine, without containers.
 *
 * Standard output holds the result alone, so that `deno task stack up > .env` gives a file of
 * settings; what is going on is told on standard error.
 *
 * @module
 */
import { Command, InvalidArgumentError, Option } from "commander";
import { describeError } from "../lib/errors.ts";
import { print, writeError } from "../lib/standard_streams.ts";
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

async function up(options: UpOptions): Promise<number> {
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
  Object.entries(stack.settings).forEach(([name, value]) => say(`${name}=${value}`));
  tell(`ready in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  return 0;
}

async function down({ dir }: { readonly dir: string }): Promise<number> {
  const servers = await findStack(dir);
  if (servers === undefined) {
    tell(`There is no stack in ${dir}`);
    return 0;
  }
  await Promise.all(
    allServers(servers).map(async (server) => {
      tell(`${server.name} ${await stopServer(server)}`);
    }),
  );
  return 0;
}

async function status({ dir }: { readonly dir: string }): Promise<number> {
  const servers = await findStack(dir);
  if (servers === undefined) {
    tell(`There is no stack in ${dir}`);
    return 1;
  }
  const answers = await Promise.all(
    allServers(servers).map(async (server) => {
      const state = await serverState(server);
      const text = state.kind === "stopped"
        ? "stopped"
        : state.kind === "answers"
        ? `answers on 127.0.0.1:${server.ports[0]} (pid ${state.pid})`
        : `runs but does not answer (pid ${state.pid}): ${state.cause}`;
      say(`${server.name.padEnd(8)} ${text}`);
      return state.kind === "answers";
    }),
  );
  return answers.every((answer) => answer) ? 0 : 1;
}

function integer(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

function serverKinds(text: string): readonly ServerKind[] {
  return text.split(",").map((name) => {
    const kind = SERVER_KINDS.find((each) => each === name.trim());
    if (kind === undefined) {
      throw new InvalidArgumentError(`It must be a comma list of ${SERVER_KINDS.join(", ")}.`);
    }
    return kind;
  });
}

function port(kind: ServerKind): Option {
  const text = `port of ${kind} (default: the last one, else ${PORTS_DEFAULT[kind]})`;
  return new Option(`--${kind}-port <port>`, text).argParser(integer);
}

function commandLine(exit: (code: number) => void): Command {
  const program = new Command("stack").description(
    "Kafka, PostgreSQL and Redis on this machine, on loopback, without containers.",
  );
  const command = (name: string, description: string): Command =>
    program.command(name).description(description)
      .option("--dir <dir>", "where the servers keep their data", ".stack");
  command("up", "start what does not run, wait until it answers, print the settings to use")
    .option("--only <kinds>", `some of ${SERVER_KINDS.join(",")}`, serverKinds)
    .addOption(port("kafka"))
    .addOption(port("postgres"))
    .addOption(port("redis"))
    .option("--brokers <n>", `brokers of the Kafka cluster, 1 to ${BROKERS_MAX}`, integer)
    .option("--topic <name>", "topic to create", TOPIC_DEFAULT.topic)
    .option("--partitions <n>", "partitions of a new topic", integer, TOPIC_DEFAULT.partitions)
    .action(async (options: UpOptions) => exit(await up(options)));
  command("down", "end the servers that were started here; their data stay")
    .action(async (options: { dir: string }) => exit(await down(options)));
  command("status", "say what each server does; exit code 0 if all of them answer")
    .action(async (options: { dir: string }) => exit(await status(options)));
  return program;
}

function say(line: string): void {
  void print(line);
}

function tell(line: string): void {
  writeError(`${line}\n`);
}

if (import.meta.main) {
  endAtStop(() =>
    tell('interrupted; servers that run already are ended by "deno task stack down"')
  );
  try {
    await commandLine((code) => Deno.exitCode = code).parseAsync(Deno.args, { from: "user" });
  } catch (error) {
    tell(describeError(error));
    Deno.exitCode = 1;
  }
}
