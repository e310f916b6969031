/**
 * What each codec of the producer costs and saves: the same file is sent, and its topic stored.
 *
 * @module
 */
import { join } from "node:path";
import { COMPRESSIONS } from "../../lib/kafka/compression.ts";
import type { Bed } from "./bed.ts";
import { measureDrain } from "./drain.ts";
import type { Figure, Run, RunResult } from "./figures.ts";
import { measureProducer, writeLines } from "./producer.ts";
import { workload, type WorkloadOptions } from "./workload.ts";

/** What to measure. */
export interface CompressionOptions {
  /** The lines of the file. */
  readonly work: WorkloadOptions;
  /** How often, in turns. */
  readonly rounds: number;
  /** Called with a line of text for each step. */
  readonly report: (line: string) => void;
}

/** What {@linkcode measureCompression} found. */
export interface CompressionResult {
  /** Each codec's producer, and the drain of what it sent. */
  readonly runs: readonly Run[];
  /** Bytes that the broker keeps of a message. */
  readonly figures: readonly Figure[];
}

/** Sends the file with each codec in turn, and stores what was sent. */
export async function measureCompression(
  bed: Bed,
  { work, rounds, report }: CompressionOptions,
): Promise<CompressionResult> {
  const path = join(bed.dir, "compression.ndjson");
  const ids = new Set(Array.from(workload(work), ({ reading }) => reading.unique_reading_id));
  await writeLines(path, workload(work));
  const results = COMPRESSIONS.map((codec) => {
    return { codec, sends: [] as RunResult[], drains: [] as RunResult[], bytes: [] as number[] };
  });
  for (let round = 1; round <= rounds; round++) {
    for (const { codec, sends, drains, bytes } of results) {
      const topic = `bench_${codec}_${round}`;
      const env = { PRODUCER_COMPRESSION: codec };
      const sent = await measureProducer(bed, { path, lines: work.messages, topic, env });
      sends.push(runResult(sent));
      bytes.push(logBytes(bed, topic) / work.messages);
      const backlog = { topic, messages: work.messages, readings: ids.size };
      drains.push(runResult(await measureDrain(bed, backlog, { name: topic })));
      report(`${codec}, ${round}: ${sent.messagesPerSecond} messages/s`);
    }
  }
  return {
    runs: results.flatMap(({ codec, sends, drains }) => [
      { name: `producer, ${codec}`, rounds: sends },
      { name: `  drain of it`, rounds: drains },
    ]),
    figures: results.map(({ codec, bytes }) => {
      return {
        name: `${codec}, bytes a message on the wire and on disk`,
        rounds: bytes,
        digits: 0,
      };
    }),
  };
}

function runResult(
  result:
    & { readonly messagesPerSecond: number; readonly cpuSeconds: number }
    & Pick<
      RunResult,
      "serversCpuSeconds" | "peakRssMb"
    >,
): RunResult {
  return { ...result, perSecond: result.messagesPerSecond, programCpuSeconds: result.cpuSeconds };
}

/** What the broker keeps of a topic: the batches as they were sent. */
function logBytes({ servers }: Bed, topic: string): number {
  const data = join(servers.kafka.dir, "data");
  let bytes = 0;
  for (const { name } of Deno.readDirSync(data)) {
    if (!name.startsWith(`${topic}-`)) continue;
    for (const file of Deno.readDirSync(join(data, name))) {
      if (file.name.endsWith(".log")) bytes += Deno.statSync(join(data, name, file.name)).size;
    }
  }
  return bytes;
}
