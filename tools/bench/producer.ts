/**
 * How fast the producer sends a file.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { type Bed, openTopic } from "./bed.ts";
import { startProgram } from "./child_program.ts";
import { type ServersCpu, withServersCpu } from "./cpu.ts";
import type { WorkloadMessage } from "./workload.ts";

const CHUNK_LINES = 1_000;
const LINE_FEED = Uint8Array.of(0x0a);

/** What one run of the producer measured. */
export interface ProducerResult {
  /** By the program's own clock, which starts when it is connected. */
  readonly messagesPerSecond: number;
  /** Over the life of the process, start and end included. */
  readonly wallMessagesPerSecond: number;
  /** Of the whole process, start and end included. */
  readonly cpuSeconds: number;
  /** What the servers used from its start to its end. */
  readonly serversCpuSeconds: ServersCpu;
  /** Most memory of the process at any time. */
  readonly peakRssMb: number;
}

/** What to send, and how. */
export interface ProducerOptions {
  /** The file. */
  readonly path: string;
  /** How many lines it has. */
  readonly lines: number;
  /** Name of the new topic. */
  readonly topic: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Sends a file to a new topic.
 *
 * @throws {Error} If the producer fails, or says anything but that all was acknowledged.
 */
export async function measureProducer(
  bed: Bed,
  { path, lines, topic, env = {} }: ProducerOptions,
): Promise<ProducerResult> {
  await (await openTopic(bed, topic)).close();
  const { result, cpuSeconds } = await withServersCpu(bed, async () => {
    const startMs = performance.now();
    await using producer = await startProgram("produce", ["--from", path], {
      env: { ...bed.env, TOPIC_NAME: topic, LOG_FORMAT: "json", ...env },
      logFile: join(bed.dir, `${topic}.log`),
    });
    await producer.succeeded();
    const wallSeconds = (performance.now() - startMs) / 1_000;
    return { wallSeconds, output: producer.output, usage: producer.usage };
  });
  const summary = /^acknowledged +([\d,]+)\nfailed +0\nin [\d.]+ s, ([\d,]+)\/s$/m
    .exec(result.output)?.slice(1).map((text) => Number(text.replaceAll(",", "")));
  if (summary?.[0] !== lines) {
    throw new Error(`Cannot measure the producer: it says ${result.output.trim()}`);
  }
  return {
    messagesPerSecond: summary[1]!,
    wallMessagesPerSecond: lines / result.wallSeconds,
    cpuSeconds: result.usage.cpuSeconds,
    serversCpuSeconds: cpuSeconds,
    peakRssMb: result.usage.peakRssBytes / 1_000_000,
  };
}

/** Writes the messages to a file, a line each. */
export async function writeLines(path: string, messages: Iterable<WorkloadMessage>): Promise<void> {
  await Deno.writeFile(path, ReadableStream.from(chunksOf(messages)));
}

function* chunksOf(messages: Iterable<WorkloadMessage>): Generator<Uint8Array, void, void> {
  let chunk: Uint8Array[] = [];
  for (const { value } of messages) {
    chunk.push(value, LINE_FEED);
    if (chunk.length < 2 * CHUNK_LINES) continue;
    yield Buffer.concat(chunk);
    chunk = [];
  }
  yield Buffer.concat(chunk);
}
