/** Batches as other producers compress them, and batches that nobody should decompress. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { Buffer } from "node:buffer";
import { createGzip, createZstdCompress, type Gzip, type ZstdCompress } from "node:zlib";
import { CompressionCodecs, CompressionTypes, Kafka, logLevel } from "kafkajs";
import { systemClock } from "../../lib/clock.ts";
import { COMPRESSIONS } from "../../lib/kafka/compression.ts";
import { openKafka } from "../../lib/kafka/connection.ts";
import { openTopicWriter } from "../../lib/kafka/kafkajs_topic_writer.ts";
import { createLog } from "../../lib/log.ts";
import { runKafkaTool } from "../../tools/stack/kafka.ts";
import type { SentMessage } from "./checker.ts";
import { generate, type GeneratedMessage, PLAIN } from "../../campaign/generated_messages.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";
import { ConfluentKafka } from "./transactional_producers.ts";

/** Well above what a consumer needs, and well below what a bomb becomes. */
const PEAK_MB_MAX = 600;

const MIB = 1_048_576;

Deno.test("main_consumer.ts reads every codec of Kafka's own producer", async () => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  const sent: SentMessage[] = [];
  for (const [index, codec] of ["none", "gzip", "snappy", "lz4", "zstd"].entries()) {
    const messages = generate(200, PLAIN, 500 + index).filter(isOneLine);
    await produceByTool(pipeline, codec, messages);
    for (const { value, truth } of messages) {
      sent.push({ partition: 0, offset: sent.length, key: null, value, truth });
    }
  }
  await pipeline.run("run", "--until-end");
  await pipeline.assertStored(sent);
});

Deno.test("what the producer compresses is read by main_consumer.ts and by another client", async () => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  await using other = await ConfluentKafka.start(pipeline);
  const log = createLog({ level: "error", format: "text", write: () => {}, clock: systemClock });
  const brokers = pipeline.env.KAFKA_BROKER!.split(",");
  const kafka = openKafka({ brokers, clientId: "codecs" }, log);
  const sent: (SentMessage & { readonly value: Uint8Array })[] = [];
  for (const [index, compression] of COMPRESSIONS.entries()) {
    const messages = generate(200, PLAIN, 520 + index).filter(isOneLine);
    await using writer = await openTopicWriter(kafka, pipeline.topic, { compression });
    await writer.send(0, messages);
    for (const { key, value, truth } of messages) {
      const bytes = key === null ? null : new TextEncoder().encode(key);
      sent.push({ partition: 0, offset: sent.length, key: bytes, value: value!, truth });
    }
  }
  assert.deepEqual(
    (await other.read()).map(({ offset, value }) => [offset, value]),
    sent.map(({ offset, value }) => [offset, value]),
  );
  await pipeline.run("run", "--until-end");
  await pipeline.assertStored(sent);
});

Deno.test("main_consumer.ts keeps a bomb as a dead letter, in bounded memory", async (t) => {
  const codecs = [
    ["zstd", CompressionTypes.ZSTD, createZstdCompress, 1_024],
    ["gzip", CompressionTypes.GZIP, createGzip, 900],
  ] as const;
  for (const [name, codec, create, megabytes] of codecs) {
    await t.step(`${megabytes} MiB in ${name}`, async () => {
      await using pipeline = await RealPipeline.open({ partitions: 1 });
      const before = await pipeline.send(generate(10, PLAIN, 510));
      await produceBomb(pipeline, codec, await bombOf(create(), megabytes));
      const after = await pipeline.send(generate(10, PLAIN, 511));
      await using consumer = pipeline.consumer();
      await consumer.until(
        "it is past the bomb",
        async () => await pipeline.passed() === 21,
        DONE_MS,
      );
      const peakMb = await consumer.peakMb();
      assert(peakMb < PEAK_MB_MAX, `${peakMb} MB`);
      consumer.signal("SIGTERM");
      await consumer.succeeded(DONE_MS);

      const { rows, deadLetters } = await pipeline.stored();
      assert.equal(rows.length, before.length + after.length);
      assert.deepEqual(deadLetters.map(({ offset, reason }) => [offset, reason]), [
        [10, "unreadable_batch"],
      ]);
      assert.equal((await pipeline.verify()).ok, true);
    });
  }
});

/** Kafka's console producer sends a message for each line. */
function isOneLine({ value }: GeneratedMessage): boolean {
  return value !== null && !/[\r\n]/.test(new TextDecoder().decode(value));
}

async function produceByTool(
  pipeline: RealPipeline,
  codec: string,
  messages: readonly GeneratedMessage[],
): Promise<void> {
  const file = await Deno.makeTempFile();
  try {
    const lines = messages.map(({ value }) => `${new TextDecoder().decode(value!)}\n`);
    await Deno.writeTextFile(file, lines.join(""));
    await runKafkaTool("org.apache.kafka.tools.ConsoleProducer", [
      ...["--bootstrap-server", pipeline.env.KAFKA_BROKER!, "--topic", pipeline.topic],
      ...["--compression-codec", codec],
    ], { input: file });
  } finally {
    await Deno.remove(file);
  }
}

/** One record whose value is nothing but zeros, compressed on the way so that it is never whole. */
async function bombOf(compressor: Gzip | ZstdCompress, megabytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  compressor.on("data", (chunk: Buffer) => chunks.push(chunk));
  const valueBytes = megabytes * MIB;
  const head = Buffer.concat([Buffer.from([0, 0, 0, 1]), varint(valueBytes)]);
  const write = async (bytes: Buffer): Promise<void> => {
    if (!compressor.write(bytes)) await once(compressor, "drain");
  };
  await write(Buffer.concat([varint(head.length + valueBytes + 1), head]));
  const zeros = Buffer.alloc(4 * MIB);
  for (let done = 0; done < valueBytes; done += zeros.length) await write(zeros);
  compressor.end(Buffer.from([0]));
  await once(compressor, "end");
  return Buffer.concat(chunks);
}

/** As records have it: seven bits a byte, the lowest first, positive numbers doubled. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value * 2;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push(rest % 128 + 128);
  return Buffer.from([...bytes, rest]);
}

/** Sends a batch of one message whose compressed form is this. */
async function produceBomb(
  pipeline: RealPipeline,
  codec: CompressionTypes.GZIP | CompressionTypes.ZSTD,
  bomb: Buffer,
): Promise<void> {
  const usual = CompressionCodecs[codec];
  CompressionCodecs[codec] = () => ({
    compress: () => Promise.resolve(bomb),
    decompress: (buffer: Buffer) => Promise.resolve(buffer),
  });
  const brokers = pipeline.env.KAFKA_BROKER!.split(",");
  const producer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).producer();
  try {
    await producer.connect();
    const messages = [{ value: "x", partition: 0 }];
    await producer.send({ topic: pipeline.topic, compression: codec, messages });
  } finally {
    await producer.disconnect();
    CompressionCodecs[codec] = usual;
  }
}
