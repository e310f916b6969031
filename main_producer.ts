/**
 * The producer's command line: reads flags and settings, opens the source and the topic, sends,
 * and sets the exit code. How messages are made and sent is in `lib/`.
 *
 * @module
 */
import { open } from "node:fs/promises";
import process from "node:process";
import { Command, InvalidArgumentError, Option } from "commander";
import { systemClock } from "./lib/clock.ts";
import { runCommandLine, whole } from "./lib/command_line.ts";
import { ConfigurationError, describeError } from "./lib/errors.ts";
import { serveProducer, tellBoth } from "./lib/http/producer_site.ts";
import { openKafka } from "./lib/kafka/connection.ts";
import {
  ensureTopic,
  type OpenTopicWriter,
  openTopicWriter,
} from "./lib/kafka/kafkajs_topic_writer.ts";
import type { MessageToSend } from "./lib/kafka/message.ts";
import { LINE_BYTES_MAX, readMessages } from "./lib/producer/ndjson.ts";
import { produce, type Source as MessageSource } from "./lib/producer/producer.ts";
import { EXIT, openProgram, type Program, VERSION } from "./lib/program.ts";
import { reach } from "./lib/reach.ts";
import { PRODUCER_GROUPS } from "./lib/settings/table.ts";
import { createProgress, type Goal, type Progress } from "./lib/producer/progress.ts";
import { canRewrite, endLive, printText, showLive, tell } from "./lib/standard_streams.ts";
import { SENSORS_MAX, simulate } from "./lib/producer/simulator.ts";
import { serverTitles, TroubleLog } from "./lib/trouble_log.ts";
import { counted } from "./lib/quantities.ts";

/** PRODUCER_BATCH_BYTES_MAX is reached before, except by very small messages. */
const BATCH_MESSAGES_MAX = 5_000;

/** Tries of one connection attempt; the loop around it says what it waits for. */
const CONNECT_RETRIES = 1;

const DUPLICATES_OF_ENABLE_DUPLICATES = 0.25;
const SIMULATED_RATE = 10;
const RATE_MAX = 1_000_000;
const DEFAULT_SEED = 1;
const SEED_MAX = 2 ** 32 - 1;
const FILE_CHUNK_BYTES = 262_144;

type ProducerProgram = Program<(typeof PRODUCER_GROUPS)[number]>;

interface Flags {
  readonly rate?: number;
  readonly count?: number;
  readonly sensors: number;
  readonly seed?: number;
  readonly duplicates?: number;
  readonly conflicts: number;
  readonly late: number;
  readonly bad: number;
  readonly from?: string;
  readonly ensureTopic?: number;
}

const cli = new Command("producer")
  .description("Sends sensor readings to Kafka: simulated ones, or the lines of a file.")
  .version(VERSION)
  .option(
    "--rate <n>",
    `messages per second, 0: as fast as possible (default: ${SIMULATED_RATE}, ` +
      "with --from 0)",
    rate,
  )
  .option("--count <n>", "stop after this many messages (default: never)", whole(0, 2 ** 53 - 1))
  .option("--sensors <n>", "how many sensors to simulate", whole(1, SENSORS_MAX), 50)
  .option(
    "--seed <n>",
    "make a run repeatable, except for its times (default: same sensors, new readings)",
    whole(0, SEED_MAX),
  )
  .option(
    "--duplicates <ratio>",
    "share of messages that repeat an earlier one byte for byte " +
      `(default: ${DUPLICATES_OF_ENABLE_DUPLICATES}, or 0 with ENABLE_DUPLICATES=false)`,
    ratio,
  )
  .option("--conflicts <ratio>", "share that repeat an earlier id with other content", ratio, 0)
  .option("--late <ratio>", "share whose event time is minutes to hours in the past", ratio, 0)
  .option("--bad <ratio>", "share that are invalid in one of many ways", ratio, 0)
  .addOption(
    new Option("--from <file>", "send the lines of a file unchanged (- for standard input)")
      .conflicts(["sensors", "seed", "duplicates", "conflicts", "late", "bad"]),
  )
  .option(
    "--ensure-topic <partitions>",
    "create the topic first if it does not exist",
    whole(1, 10_000),
  )
  .addHelpText(
    "after",
    `
Settings come from the environment, see .env.example: KAFKA_BROKER, TOPIC_NAME and others.
Exit code: 0 all acknowledged, 1 something was not, 2 a wrong flag or setting.
Examples:
  deno task produce --ensure-topic 6 --count 1000 --rate 0
  deno task produce --rate 200 --sensors 500 --late 0.05 --bad 0.01
  deno task produce --from readings.ndjson`,
  )
  .action(run);

await runCommandLine(cli);

async function run(flags: Flags): Promise<void> {
  const program: ProducerProgram = openProgram(PRODUCER_GROUPS);
  const { settings, log, signal } = program;
  const source = await openSource(flags, program);
  const troubles = new TroubleLog({ clock: systemClock, log, titles: serverTitles(settings) });
  const progress = createProgress({
    clock: systemClock,
    log,
    troubles,
    showLine: canRewrite() ? showLive : undefined,
    goal: { messages: flags.count, bytes: source.bytes },
  });
  const http = { ...settings.http, port: settings.producer.httpPort };
  await using site = await serveProducer(http, { clock: systemClock, log });
  if (site !== undefined) log.info("metrics", { url: `${site.url}/metrics` });
  const writer = await reach(program, () => openWriter(flags, program), {
    troubles,
    server: "kafka",
    onWait: (error) => site?.waiting(error),
  });
  if (writer === undefined) return hasEnd(flags) ? sayInterrupted(progress) : undefined;
  await using _ = writer;
  const ratePerSecond = flags.rate ?? (flags.from === undefined ? SIMULATED_RATE : 0);
  log.info("sending", {
    topic: settings.kafka.topic,
    partitions: writer.partitions,
    source: source.name,
    perSecond: ratePerSecond === 0 ? "as many as possible" : ratePerSecond,
  });
  const shown = new AbortController();
  const showing = progress.show(shown.signal);
  const result = await produce(source.messages, writer, {
    ...settings.producer,
    clock: systemClock,
    signal,
    drainMs: settings.stop.deadlineMs,
    batchMessagesMax: BATCH_MESSAGES_MAX,
    ratePerSecond,
    messagesMax: flags.count ?? Infinity,
    observer: site === undefined ? progress : tellBoth(progress, site.observer),
  });
  shown.abort();
  await showing;
  await endLive();
  const refused = source.refused();
  const sums = { ...result, sent: result.sent + refused, failed: result.failed + refused };
  await printText(progress.summary(sums));
  if (result.error !== undefined) throw result.error;
  if (sums.failed > 0) process.exitCode = EXIT.failed;
  if (signal.aborted && hasEnd(flags) && !source.isEnded() && result.sent !== flags.count) {
    sayInterrupted(progress);
  }
}

/** A simulation without a count goes on until it is stopped: it has done its work by then. */
function hasEnd({ count, from }: Flags): boolean {
  return count !== undefined || from !== undefined;
}

function sayInterrupted(progress: Progress): void {
  tell(progress.interruption());
  process.exitCode = EXIT.failed;
}

async function openWriter(
  flags: Flags,
  { settings, log }: ProducerProgram,
): Promise<OpenTopicWriter> {
  const { topic } = settings.kafka;
  const clientId = "sensor-ledger-producer";
  const kafka = openKafka({ ...settings.kafka, clientId, retries: CONNECT_RETRIES }, log);
  if (flags.ensureTopic !== undefined) {
    const { outcome, partitions } = await ensureTopic(kafka, topic, flags.ensureTopic);
    if (outcome === "created") log.info("topic created", { topic, partitions });
    else if (partitions !== flags.ensureTopic) {
      log.warn("the topic exists with another number of partitions and is left unchanged", {
        topic,
        partitions,
        wanted: flags.ensureTopic,
      });
    }
  }
  return openTopicWriter(kafka, topic, settings.producer);
}

interface Source {
  readonly name: string;
  readonly messages: MessageSource;
  /** How many were left out because no topic takes them. */
  refused(): number;
  /** Whether all of it has been read. */
  isEnded(): boolean;
  /** How large it is, and how far it was read, if that is known. */
  readonly bytes?: Goal["bytes"];
}

function openSource(flags: Flags, program: ProducerProgram): Source | Promise<Source> {
  return flags.from === undefined ? openSimulation(flags, program) : openFile(flags.from, program);
}

function openSimulation(flags: Flags, { settings }: ProducerProgram): Source {
  const { seed = DEFAULT_SEED, sensors, bad, late, conflicts } = flags;
  const usual = settings.producer.enableDuplicates ? DUPLICATES_OF_ENABLE_DUPLICATES : 0;
  const duplicate = flags.duplicates ?? usual;
  // Producers without a seed share their sensors, and must not make the same ids.
  const salt = flags.seed === undefined ? crypto.getRandomValues(new Uint32Array(1))[0]! : 0;
  const ratios = { bad, late, duplicate, conflict: conflicts };
  try {
    const messages = simulate({ clock: systemClock, seed, salt, sensors, ratios });
    return {
      name: counted(sensors, "simulated sensor"),
      messages,
      refused: () => 0,
      isEnded: () => false,
    };
  } catch (error) {
    throw new ConfigurationError(describeError(error), { cause: error });
  }
}

async function openFile(path: string, { log }: Program): Promise<Source> {
  let refused = 0;
  const tooLong = (line: number, bytes: number): void => {
    refused++;
    log.error("line skipped: it is too long for any topic", {
      line,
      bytes,
      bytesMax: LINE_BYTES_MAX,
    });
  };
  let bytesRead = 0;
  const read = (bytes: number): void => {
    bytesRead = bytes;
  };
  let isEnded = false;
  const messages = async function* (
    chunks: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Iterable<MessageToSend>> {
    yield* readMessages(chunks, { tooLong, read });
    isEnded = true;
  };
  const ends = { refused: () => refused, isEnded: () => isEnded };
  if (path === "-") return { ...ends, name: "standard input", messages: messages(process.stdin) };
  const { chunks, size } = await openChunks(path);
  const bytes = { size, read: () => bytesRead };
  return { ...ends, name: path, messages: messages(chunks), bytes };
}

async function openChunks(
  path: string,
): Promise<{ readonly chunks: AsyncIterable<Uint8Array>; readonly size: number }> {
  try {
    const file = await open(path);
    const stat = await file.stat();
    if (stat.isDirectory()) throw new Error("it is a directory");
    // A pipe has no size, and is read to its end.
    return { chunks: file.createReadStream({ highWaterMark: FILE_CHUNK_BYTES }), size: stat.size };
  } catch (error) {
    throw new ConfigurationError(`Cannot read ${path}`, { cause: error });
  }
}

function ratio(text: string): number {
  const value = numberOf(text);
  if (value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError("It must be a number from 0 to 1, for example 0.05.");
}

function rate(text: string): number {
  const value = numberOf(text);
  if (value >= 0 && value <= RATE_MAX) return value;
  throw new InvalidArgumentError(`It must be a number from 0 to ${RATE_MAX}.`);
}

/** Plain decimals only: Number() alone takes "", "0x10" and "Infinity". */
function numberOf(text: string): number {
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
}
