/**
 * How fast the producer sends a file.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { type Bed, openTopic } from "./bed.ts";
import { startProgram } from "./child_program.ts";
import type { WorkloadMessage } from "./workload.ts";

const CHUNK_LINES = 1_000;
const LINE_FEED = Uint8Array.of(0x0a);

/** What one run of the producer measured. */
export interface ProducerResult {
  /** By the program's own clock, which starts when it is connected. */
  readonly messagesPerSecond: number;
  /** Over the life of the process, start and end included. */
  readonly wallMessagesPerSecond: number;
  /** Most memory of the process at any time. */
  readonly peakRssMb: number;
}

/**
 * Sends a file to a new topic.
 *
 * @throws {Error} If the producer fails, or says anything but that all was acknowledged.
 */
export async function measureProducer(
  bed: Bed,
  file: { readonly path: string; readonly lines: number },
  name: string,
): Promise<ProducerResult> {
  await (await openTopic(bed, name)).close();
  const startMs = performance.now();
  await using producer = await startProgram("produce", ["--from", file.path], {
    env: { TOPIC_NAME: name, LOG_FORMAT: "json" },
    logFile: join(bed.dir, `${name}.log`),
  });
  await producer.succeeded();
  const wallSeconds = (performance.now() - startMs) / 1_000;
  const summary = /^acknowledged +([\d,]+)\nfailed +0\nin [\d.]+ s, ([\d,]+)\/s$/m
    .exec(producer.output)?.slice(1).map((text) => Number(text.replaceAll(",", "")));
  if (summary?.[0] !== file.lines) {
    throw new Error(`Cannot measure the producer: it says ${producer.output.trim()}`);
  }
  return {
    messagesPerSecond: summary[1]!,
    wallMessagesPerSecond: file.lines / wallSeconds,
    peakRssMb: producer.usage.peakRssBytes / 1_000_000,
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
