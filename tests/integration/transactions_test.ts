/** Transactions of other producers, some of them aborted: what is stored is what was committed. */
import assert from "node:assert/strict";
import {
  generate,
  type GeneratedMessage,
  messageOf,
  PLAIN,
  seeded,
} from "../../campaign/generated_messages.ts";
import { runKafkaTool } from "../../tools/stack/kafka.ts";
import { findMessageProblems, type SentMessage } from "./checker.ts";
import { pass } from "./processes.ts";
import { RealPipeline } from "./real_pipeline.ts";
import {
  ConfluentKafka,
  openKafkajsProducer,
  type Outcome,
  type TransactionalProducer,
} from "./transactional_producers.ts";

/** The key of an abort marker, as a message can have it, too. */
const MARKER_KEY = new Uint8Array(4);

/** How long a marker may take to be in the log after a transaction has ended, ms. */
const MARKER_MS = 300;

/** Steps of the transactions by chance. */
const STEPS = 150;

/** Three producers and all that they sent. */
class Scene implements AsyncDisposable {
  readonly pipeline: RealPipeline;
  readonly producers: readonly TransactionalProducer[];
  readonly #sent = new Map<string, GeneratedMessage>();
  readonly #confluent: ConfluentKafka;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    pipeline: RealPipeline,
    confluent: ConfluentKafka,
    { producers, resources }: {
      readonly producers: readonly TransactionalProducer[];
      readonly resources: AsyncDisposableStack;
    },
  ) {
    this.pipeline = pipeline;
    this.producers = producers;
    this.#confluent = confluent;
    this.#resources = resources;
  }

  static async open(): Promise<Scene> {
    await using opening = new AsyncDisposableStack();
    const pipeline = opening.use(await RealPipeline.open({ partitions: 1 }));
    const confluent = opening.use(await ConfluentKafka.start(pipeline));
    const kafkajs = await openKafkajsProducer(pipeline, "kafkajs");
    opening.defer(() => kafkajs.close());
    const producers = [kafkajs, await confluent.producer("one"), await confluent.producer("two")];
    return new Scene(pipeline, confluent, { producers, resources: opening.move() });
  }

  async send(
    producer: TransactionalProducer,
    message: GeneratedMessage,
    key?: Uint8Array,
  ): Promise<void> {
    this.#sent.set(textOf(message.value!), message);
    await producer.send(key ?? new TextEncoder().encode(message.key!), message.value!);
  }

  /** Stores all, and compares it with what a reader of committed messages of another library sees. */
  async assertStored(): Promise<number> {
    const seen = await this.#confluent.read();
    const sent = seen.map((message): SentMessage => ({
      ...message,
      truth: this.#sent.get(textOf(message.value!))!.truth,
    }));
    await this.pipeline.run("run", "--until-end");
    const stored = await this.pipeline.stored();
    assert.deepEqual(findMessageProblems(sent, stored), []);
    assert.equal(stored.rows.length, sent.length);
    const { ok, partitions: [line] } = await this.pipeline.verify();
    const { first, next, skipped, inserted } = line!;
    const end = (await this.pipeline.endOffsets()).get(0)!;
    assert.deepEqual([ok, first, next, skipped], [true, "0", String(end), end - inserted]);
    return stored.rows.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** The same reading, measured right this time. */
function corrected({ truth }: GeneratedMessage): GeneratedMessage {
  assert.ok(truth.kind === "reading");
  return messageOf({ ...truth.row, value: truth.row.value + 1 });
}

async function end(producer: TransactionalProducer, outcome: Outcome): Promise<void> {
  await producer.end(outcome);
  await pass(MARKER_MS);
}

Deno.test("main_consumer.ts stores nothing of aborted transactions", async (t) => {
  await using scene = await Scene.open();
  const [a, b, c] = scene.producers as [
    TransactionalProducer,
    TransactionalProducer,
    TransactionalProducer,
  ];
  const messages = generate(12, PLAIN, 700);
  await t.step("two are open at once, and the later one is aborted first", async () => {
    for (const [index, producer] of [a, b, c].entries()) {
      await producer.begin();
      await scene.send(producer, messages[index]!);
    }
    await end(b, "abort");
    await end(a, "abort");
    await end(c, "commit");
    assert.equal(await scene.assertStored(), 1);
  });
  await t.step("the same reading comes again after its transaction was aborted", async () => {
    for (const [index, producer] of [a, b].entries()) {
      await producer.begin();
      await scene.send(producer, corrected(messages[index]!));
      await end(producer, "commit");
    }
    assert.equal(await scene.assertStored(), 3);
  });
  await t.step("a message has the key of an abort marker", async () => {
    await c.begin();
    await a.begin();
    for (const message of messages.slice(3, 7)) {
      await scene.send(a, message, MARKER_KEY);
      await scene.send(c, corrected(message), MARKER_KEY);
    }
    await end(a, "abort");
    await end(c, "commit");
    assert.equal(await scene.assertStored(), 7);
  });
});

Deno.test("main_consumer.ts says what a transaction of a dead producer holds back", async () => {
  await using pipeline = await RealPipeline.open({ partitions: 1 });
  const [before, lost, ...behind] = generate(4, PLAIN, 702);
  await pipeline.send([before!]);
  await using confluent = await ConfluentKafka.start(pipeline);
  const producer = await confluent.producer("dying", 600_000);
  await producer.begin();
  await producer.send(MARKER_KEY, lost!.value!);
  await confluent[Symbol.asyncDispose]();
  await pipeline.send(behind);

  const { stderr } = await pipeline.run("run", "--until-end");
  assert.match(stderr, /partition 0: 3 messages wait .* offset 1: left for a later run/);
  const status = JSON.parse((await pipeline.run("status", "--json")).stdout);
  const { lagMessages, end, heldBack } = status.partitions[0];
  assert.deepEqual([lagMessages, end, heldBack], [0, 1, { offset: 1, messages: 3 }]);
  const { stdout } = await pipeline.run("doctor");
  const [, place] = /warning .* abort (--topic .*--start-offset 1)/.exec(stdout)!;

  // As doctor says.
  await runKafkaTool("org.apache.kafka.tools.TransactionsCommand", [
    ...["--bootstrap-server", pipeline.env.KAFKA_BROKER!, "abort", ...place!.split(" ")],
  ]);
  await pipeline.run("run", "--until-end");
  const ids = [before!, ...behind].map(({ truth }) =>
    truth.kind === "reading" ? truth.row.unique_reading_id : ""
  );
  const { rows, deadLetters } = await pipeline.stored();
  assert.deepEqual(rows.map((row) => row.unique_reading_id).sort(), ids.sort());
  assert.deepEqual(deadLetters, []);
});

Deno.test("main_consumer.ts stores what another reader of committed messages sees", async () => {
  const seed = 701;
  const random = seeded(seed);
  await using scene = await Scene.open();
  const messages = generate(STEPS, PLAIN, seed);
  const open = new Map<TransactionalProducer, GeneratedMessage[]>();
  /** What was aborted and shall come again. */
  const again: GeneratedMessage[] = [];
  let committed = 0;
  const endOf = async (producer: TransactionalProducer, outcome: Outcome): Promise<void> => {
    const own = open.get(producer)!;
    open.delete(producer);
    if (outcome === "abort") again.push(...own.map(corrected));
    else committed += own.length;
    await producer.end(outcome);
  };
  for (const message of messages) {
    const producer = scene.producers[Math.floor(random() * 3)]!;
    const own = open.get(producer);
    if (own === undefined) {
      open.set(producer, []);
      await producer.begin();
    } else if (own.length > 0 && random() < 0.35) {
      await endOf(producer, random() < 0.5 ? "commit" : "abort");
    } else {
      const next = random() < 0.5 ? again.shift() ?? message : message;
      await scene.send(producer, next, random() < 0.2 ? MARKER_KEY : undefined);
      own.push(next);
    }
  }
  for (const [producer, own] of open) await endOf(producer, own.length > 0 ? "commit" : "abort");
  await pass(MARKER_MS);
  assert.equal(await scene.assertStored(), committed, `seed ${seed}`);
});
