/**
 * A producer of the campaign: the producer of the project, with a journal of what was sent and
 * acknowledged. Started again after a kill, it first sends what was not acknowledged, as it was.
 *
 * It prints the number of acknowledged messages as it grows, one per line.
 *
 * @module
 */
import process from "node:process";
import { systemClock } from "../lib/clock.ts";
import { openKafka } from "../lib/kafka/connection.ts";
import { type OpenTopicWriter, openTopicWriter } from "../lib/kafka/kafkajs_topic_writer.ts";
import type { MessageToSend } from "../lib/kafka/message.ts";
import type { TopicWriter } from "../lib/kafka/topic_writer.ts";
import { produce } from "../lib/producer/producer.ts";
import { EXIT, openProgram } from "../lib/program.ts";
import { reach } from "../lib/reach.ts";
import { flushErrors, print } from "../lib/standard_streams.ts";
import { TroubleLog } from "../lib/trouble_log.ts";
import { generate, type GeneratedMessage, type Ratios } from "./generated_messages.ts";
import { JournalWriter, readJournal } from "./journal.ts";
import { armFromInput, endAtOnce, KillSwitch, writerWithPoints } from "./kill_points.ts";

/** How many messages are made up at a time. Repeats and conflicts reach no further back. */
const CHUNK_MESSAGES = 500;
const BATCH_MESSAGES_MAX = 500;
const TOLD_EVERY_MS = 250;

/** What the campaign tells the program, as JSON in its only argument. */
export interface ProducerTask {
  /** Path of the journal. */
  readonly journal: string;
  /** Makes different producers send different messages. */
  readonly seed: number;
  /** Messages per second. */
  readonly rate: number;
  /** What is sent. */
  readonly ratios: Ratios;
}

type NumberedMessage = GeneratedMessage & { readonly number: number };

/** First what an earlier run left open, then new messages without end. */
function* messages(task: ProducerTask, open: readonly NumberedMessage[], from: number): Generator<
  NumberedMessage
> {
  yield* open;
  let number = from;
  for (;;) {
    // No chunk is made twice, whatever number it begins with.
    const chunk = generate(CHUNK_MESSAGES, task.ratios, task.seed * 1_000_003 + number);
    for (const message of chunk) yield { ...message, number: number++ };
  }
}

/** The writer takes messages of the source and of nowhere else. */
function isNumbered(message: MessageToSend): message is NumberedMessage {
  return "number" in message;
}

/** Notes what is sent before it is sent, and what was acknowledged. */
function journalled(writer: TopicWriter, journal: JournalWriter, kill: KillSwitch): TopicWriter {
  return {
    partitions: writer.partitions,
    send: async (partition, batch) => {
      const numbered = batch.filter(isNumbered);
      journal.noteSent(numbered);
      kill.reached("send noted");
      await writer.send(partition, batch);
      journal.noteAcknowledged(numbered.map(({ number }) => number));
    },
    close: () => writer.close(),
  };
}

async function run(task: ProducerTask): Promise<void> {
  const program = openProgram(["kafka", "producer"]);
  const { settings, log, signal } = program;
  const kill = new KillSwitch(endAtOnce);
  void armFromInput(kill);
  const earlier = await readJournal(task.journal);
  const open = earlier.filter((message) => message.acknowledgedAtMs === undefined);
  let acknowledged = earlier.length - open.length;
  using journal = new JournalWriter(task.journal);
  const kafka = openKafka({ ...settings.kafka, clientId: "campaign-producer", retries: 1 }, log);
  const troubles = new TroubleLog({ clock: systemClock, log });
  const connect = (): Promise<OpenTopicWriter> =>
    openTopicWriter(kafka, settings.kafka.topic, settings.producer);
  const writer = await reach(program, connect, { troubles });
  if (writer === undefined) return;
  const telling = setInterval(() => void print(String(acknowledged)), TOLD_EVERY_MS);
  const result = await produce(
    messages(task, open, (earlier.at(-1)?.number ?? -1) + 1),
    journalled(writerWithPoints(writer, kill), journal, kill),
    {
      ...settings.producer,
      clock: systemClock,
      signal,
      drainMs: settings.stop.deadlineMs,
      batchMessagesMax: BATCH_MESSAGES_MAX,
      ratePerSecond: task.rate,
      observer: { acknowledged: (_, batch) => acknowledged += batch.length },
    },
  );
  clearInterval(telling);
  await print(String(acknowledged));
  if (result.failed > 0) process.exitCode = EXIT.failed;
}

if (import.meta.main) {
  await run(JSON.parse(process.argv[2]!));
  await flushErrors();
  process.exit();
}
