import assert from "node:assert/strict";
import { ConfigurationError, TransientError } from "../lib/errors.ts";
import type { MessageToSend } from "../lib/kafka/message.ts";
import { partitionOf } from "../lib/kafka/partitioner.ts";
import type { TopicWriter } from "../lib/kafka/topic_writer.ts";
import { produce, type ProduceOptions, type ProduceResult } from "../lib/producer/producer.ts";
import { FakeClock } from "./fake_clock.ts";

/** A topic in memory that can be slow, be away, or stop answering. */
class TestWriter implements TopicWriter {
  /** What the topic holds, by partition. */
  readonly stored: MessageToSend[][];
  /** Every batch that was handed over, the failed ones too. */
  readonly attempts: { partition: number; messages: readonly MessageToSend[]; atMs: number }[] = [];
  readonly #underway = new Set<number>();
  /** Asked before each send; an error fails it before it takes effect. */
  fault: (partition: number) => Error | undefined = () => undefined;
  latencyMs = 0;

  constructor(readonly partitions: number, readonly clock: FakeClock) {
    this.stored = Array.from({ length: partitions }, () => []);
  }

  async send(partition: number, messages: readonly MessageToSend[]): Promise<void> {
    assert(!this.#underway.has(partition), "two sends under way in one partition");
    this.#underway.add(partition);
    this.attempts.push({ partition, messages: [...messages], atMs: this.clock.elapsedMs() });
    try {
      if (this.latencyMs > 0) await this.clock.sleep(this.latencyMs);
      const fault = this.fault(partition);
      if (fault !== undefined) throw fault;
      this.stored[partition]!.push(...messages);
    } finally {
      this.#underway.delete(partition);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

const away = (): Error => new TransientError("broker away");

interface Bench {
  readonly clock: FakeClock;
  readonly writer: TestWriter;
  readonly stop: AbortController;
  readonly options: ProduceOptions;
}

function bench(partitions = 1, options: Partial<ProduceOptions> = {}): Bench {
  const clock = new FakeClock();
  const stop = new AbortController();
  return {
    clock,
    stop,
    writer: new TestWriter(partitions, clock),
    options: {
      clock,
      signal: stop.signal,
      drainMs: 10_000,
      lingerMs: 5,
      batchMessagesMax: 100,
      batchBytesMax: 100_000,
      bufferBytesMax: 1_000_000,
      ratePerSecond: 0,
      ...options,
    },
  };
}

/** Lets time pass until the run ends. */
async function finish(run: Promise<ProduceResult>, clock: FakeClock): Promise<ProduceResult> {
  let result: ProduceResult | undefined;
  run.then((value) => result = value);
  for (let step = 0; result === undefined && step < 10_000; step++) await clock.advance(10);
  assert(result !== undefined, "the run never ends");
  assert.equal(clock.sleeping, 0, "a timer is left behind");
  return result;
}

function message(text: string, key: string | null = null): MessageToSend {
  return { key, value: new TextEncoder().encode(text) };
}

function textsOf(messages: readonly MessageToSend[]): string[] {
  return messages.map(({ value }) => new TextDecoder().decode(value!));
}

function* numbered(count: number, keys = 1): Generator<MessageToSend> {
  for (let at = 0; at < count; at++) yield message(String(at), `key-${at % keys}`);
}

/** A source that hands out what is pushed, and waits when there is nothing. */
class Pipe implements AsyncIterable<Iterable<MessageToSend>> {
  readonly #results: IteratorResult<MessageToSend[], undefined>[] = [];
  #wake = (): void => {};

  push(...messages: MessageToSend[]): void {
    this.#results.push({ done: false, value: messages });
    this.#wake();
  }

  end(): void {
    this.#results.push({ done: true, value: undefined });
    this.#wake();
  }

  [Symbol.asyncIterator](): AsyncIterator<MessageToSend[], undefined> {
    const next = async (): Promise<IteratorResult<MessageToSend[], undefined>> => {
      while (this.#results.length === 0) await new Promise<void>((wake) => this.#wake = wake);
      return this.#results.shift()!;
    };
    return { next };
  }
}

Deno.test("produce() keeps the order of every key in its partition", async () => {
  const { clock, writer, options } = bench(4);
  writer.latencyMs = 3;
  const source = [...numbered(1_000, 17)];
  const result = await finish(produce(source, writer, options), clock);
  assert.deepEqual(result, { sent: 1_000, acknowledged: 1_000, failed: 0 });
  writer.stored.forEach((stored, partition) => {
    const want = source.filter(({ key }) => partitionOf(key!, 4) === partition);
    assert.deepEqual(stored, want);
  });
});

Deno.test("produce() sends messages without a key round the partitions", async () => {
  const { clock, writer, options } = bench(3);
  const source = ["a", "b", "c", "d"].map((text) => message(text));
  await finish(produce(source, writer, options), clock);
  assert.deepEqual(writer.stored.map(textsOf), [["a", "d"], ["b"], ["c"]]);
});

Deno.test("produce() takes from an asynchronous source, too", async () => {
  const { clock, writer, options } = bench();
  async function* source(): AsyncGenerator<Iterable<MessageToSend>> {
    const all = [...numbered(250)];
    for (const some of [all.slice(0, 1), [], all.slice(1, 200), all.slice(200)]) {
      yield await Promise.resolve(some);
    }
  }
  const result = await finish(produce(source(), writer, options), clock);
  assert.equal(result.acknowledged, 250);
  assert.deepEqual(writer.stored[0], [...numbered(250)]);
});

Deno.test("produce() sends the same messages again until they are acknowledged", async () => {
  const { clock, writer, options } = bench(1, { batchMessagesMax: 4 });
  let failuresLeft = 3;
  const retried: string[] = [];
  writer.fault = () => failuresLeft-- > 0 ? away() : undefined;
  const run = produce(numbered(10), writer, {
    ...options,
    observer: { retrying: (partition, error) => retried.push(`${partition} ${error}`) },
  });
  assert.equal((await finish(run, clock)).acknowledged, 10);
  const [first, ...again] = writer.attempts.slice(0, 4).map(({ messages }) => messages);
  for (const messages of again) assert.deepEqual(messages, first);
  assert.deepEqual(writer.stored[0], [...numbered(10)]);
  assert.deepEqual(retried, Array(3).fill("0 TransientError: broker away"));
});

Deno.test("produce() does not give up while the brokers are away", async () => {
  const { clock, writer, options } = bench();
  const backAtMs = 24 * 3_600_000;
  writer.fault = () => clock.elapsedMs() < backAtMs ? away() : undefined;
  const run = produce(numbered(3), writer, options);
  await clock.advance(backAtMs);
  assert.deepEqual(await finish(run, clock), { sent: 3, acknowledged: 3, failed: 0 });
});

Deno.test("produce() stops taking when the buffer is full, and only then", async () => {
  const bufferBytesMax = 20_000;
  const { clock, writer, stop, options } = bench(2, { bufferBytesMax });
  // Every partition of key-0 is stuck; the others go on until it has filled the buffer.
  const stuck = partitionOf("key-0", 2);
  writer.fault = (partition) => partition === stuck ? away() : undefined;
  let bufferedBytes = 0;
  let bufferedBytesMax = 0;
  const sizeOf = (one: MessageToSend): number => one.key!.length + one.value!.length;
  const observer = {
    taken: (one: MessageToSend): void => {
      bufferedBytesMax = Math.max(bufferedBytesMax, bufferedBytes);
      bufferedBytes += sizeOf(one);
    },
    acknowledged: (_: number, messages: readonly MessageToSend[]): void => {
      for (const one of messages) bufferedBytes -= sizeOf(one);
    },
  };
  const source = Array.from({ length: 10_000 }, (_, at) => message("x".repeat(300), `key-${at}`));
  const run = produce(source, writer, { ...options, observer });
  await clock.advance(60_000);
  const storedBytes = bufferedBytes;
  assert(bufferedBytesMax <= bufferBytesMax, `${bufferedBytesMax} bytes were held`);
  assert(bufferedBytesMax > bufferBytesMax / 2, `only ${bufferedBytesMax} bytes were held`);
  await clock.advance(60_000);
  assert.equal(bufferedBytes, storedBytes, "it went on taking");
  writer.fault = () => undefined;
  assert.equal((await finish(run, clock)).acknowledged, 10_000);
  stop.abort();
});

/** A key for each partition. */
function keysOf(partitions: number): string[] {
  const keys: string[] = [];
  for (let at = 0; keys.filter(() => true).length < partitions; at++) {
    const key = `key-${at}`;
    keys[partitionOf(key, partitions)] ??= key;
  }
  return keys;
}

Deno.test("produce() leaves the others room, however many partitions are not acknowledged", async (t) => {
  for (const stuck of [1, 2, 3]) {
    await t.step(`${stuck} of 4`, async () => {
      const bufferBytesMax = 100_000;
      const { clock, writer, options } = bench(4, { bufferBytesMax });
      writer.fault = (partition) => partition < stuck ? away() : undefined;
      const keys = keysOf(4);
      const held: number[] = [];
      const pipe = new Pipe();
      const observer = { held: (partition: number): void => void held.push(partition) };
      const run = produce(pipe, writer, { ...options, observer });
      // Each stuck one gets what fills less than its share: one part of so many and one.
      const size = 1_000;
      const share = Math.floor(bufferBytesMax / (stuck + 1) / (size + 100));
      let sent = 0;
      for (let partition = 0; partition < stuck; partition++) {
        for (let at = 0; at < share - 2; at++, sent++) {
          pipe.push(message("x".repeat(size), keys[partition]));
        }
      }
      await clock.advance(100);
      for (let at = 0; at < 1_000; at++, sent++) {
        pipe.push(message("x".repeat(size), keys[3]));
        await clock.advance(10);
      }
      assert.equal(writer.stored[3]!.length, 1_000);
      assert.deepEqual(held, []);
      // One more than fits: nothing is dropped, so the source waits, also for the others.
      for (let at = 0; at < share; at++, sent++) pipe.push(message("x".repeat(size), keys[0]));
      pipe.push(message("behind", keys[3]));
      await clock.advance(60_000);
      assert.equal(writer.stored[3]!.length, 1_000);
      assert(held.length > 0 && held.every((partition) => partition === 0), held.join());
      writer.fault = () => undefined;
      pipe.end();
      const { acknowledged, failed } = await finish(run, clock);
      assert.deepEqual([acknowledged, failed], [sent + 1, 0]);
    });
  }
});

Deno.test("produce() lets the senders have their turn beside a source that never waits", async () => {
  const { clock, writer, options } = bench();
  // As soon as anything else has a turn.
  writer.send = () => clock.sleep(0);
  let taken = 0;
  const takenAtAcknowledgement: number[] = [];
  const observer = {
    taken: (): void => void taken++,
    acknowledged: (): void => void takenAtAcknowledgement.push(taken),
  };
  await finish(produce(numbered(5_000), writer, { ...options, observer }), clock);
  assert(takenAtAcknowledgement[0]! < 1_000, `${takenAtAcknowledgement[0]} were taken first`);
});

Deno.test("produce() lets a message larger than the buffer through alone", async () => {
  const { clock, writer, options } = bench(1, { bufferBytesMax: 1_000, batchBytesMax: 1_000 });
  const source = [message("a"), message("b".repeat(5_000)), message("c")];
  assert.equal((await finish(produce(source, writer, options), clock)).acknowledged, 3);
  assert.deepEqual(writer.attempts.map(({ messages }) => messages.length), [1, 1, 1]);
});

Deno.test("produce() bounds a batch by messages and by bytes", async () => {
  const byCount = bench(1, { batchMessagesMax: 30 });
  byCount.writer.latencyMs = 1;
  await finish(produce(numbered(100), byCount.writer, byCount.options), byCount.clock);
  assert.deepEqual(byCount.writer.attempts.map(({ messages }) => messages.length), [
    30,
    30,
    30,
    10,
  ]);

  const byBytes = bench(1, { batchBytesMax: 2_500 });
  const source = Array.from({ length: 5 }, () => message("x".repeat(1_000)));
  await finish(produce(source, byBytes.writer, byBytes.options), byBytes.clock);
  assert.deepEqual(byBytes.writer.attempts.map(({ messages }) => messages.length), [2, 2, 1]);
});

Deno.test("produce() lets a lone message wait for company, for lingerMs and no longer", async () => {
  const { clock, writer, options } = bench(1, { lingerMs: 20, batchMessagesMax: 3 });
  const pipe = new Pipe();
  const run = produce(pipe, writer, options);
  const push = async (text: string): Promise<void> => {
    await clock.advance(0);
    pipe.push(message(text));
    await clock.advance(0);
  };
  await push("a");
  await clock.advance(19);
  assert.equal(writer.attempts.length, 0);
  await push("b");
  await clock.advance(1);
  assert.deepEqual(writer.attempts.map(({ messages }) => textsOf(messages)), [["a", "b"]]);
  // A full batch has nothing to wait for.
  for (const text of ["c", "d", "e"]) await push(text);
  assert.deepEqual(textsOf(writer.attempts[1]!.messages), ["c", "d", "e"]);
  // Neither has the last one.
  await push("f");
  pipe.end();
  await clock.advance(0);
  assert.deepEqual(textsOf(writer.attempts[2]!.messages), ["f"]);
  await finish(run, clock);
});

Deno.test("produce() keeps its rate without drift", async (t) => {
  for (const ratePerSecond of [1, 7, 200, 3_000]) {
    await t.step(`${ratePerSecond} a second`, async () => {
      const { clock, writer, stop, options } = bench(2, { ratePerSecond });
      const takenAtMs: number[] = [];
      const observer = { taken: (): void => void takenAtMs.push(clock.elapsedMs()) };
      const run = produce(numbered(Infinity, 10), writer, { ...options, observer });
      await clock.advance(20_000);
      stop.abort();
      await finish(run, clock);
      takenAtMs.forEach((atMs, index) => {
        assert(Math.abs(atMs - index * 1_000 / ratePerSecond) < 0.001, `message ${index}: ${atMs}`);
      });
      assert(Math.abs(takenAtMs.length - (20 * ratePerSecond + 1)) <= 1, `${takenAtMs.length}`);
    });
  }
});

Deno.test("produce() does not make up for a long delay at once", async () => {
  const { clock, writer, stop, options } = bench(1, { ratePerSecond: 1_000 });
  const takenAtMs: number[] = [];
  const pipe = new Pipe();
  const observer = { taken: (): void => void takenAtMs.push(clock.elapsedMs()) };
  const run = produce(pipe, writer, { ...options, observer });
  await clock.advance(5_000); // The source had nothing for five seconds.
  pipe.push(...numbered(1_000));
  await clock.advance(100);
  // 50 ms of the delay, and the 100 ms that have passed since.
  assert(takenAtMs.length >= 150 && takenAtMs.length <= 153, `${takenAtMs.length} were taken`);
  stop.abort();
  await finish(run, clock);
});

Deno.test("produce() stops taking and sends the rest when it is asked to stop", async () => {
  const { clock, writer, stop, options } = bench(3, { bufferBytesMax: 10_000 });
  writer.latencyMs = 40;
  const run = produce(numbered(Infinity, 10), writer, options);
  await clock.advance(500);
  stop.abort();
  const result = await finish(run, clock);
  assert(result.sent > 100);
  assert.deepEqual(result, { sent: result.sent, acknowledged: result.sent, failed: 0 });
  assert.equal(writer.stored.flat().length, result.sent);
});

Deno.test("produce() counts what is not acknowledged when time is up", async (t) => {
  const hang = (): Promise<void> => new Promise(() => {});
  const cases: readonly [name: string, breakIt: (writer: TestWriter) => void][] = [
    ["the brokers are away", (writer) => writer.fault = away],
    ["a send never answers", (writer) => writer.send = hang],
  ];
  for (const [name, breakIt] of cases) {
    for (const bufferBytesMax of [400, 1_000_000]) {
      await t.step(`${name}, buffer of ${bufferBytesMax} bytes`, async () => {
        const { clock, writer, stop, options } = bench(1, { bufferBytesMax, ratePerSecond: 100 });
        breakIt(writer);
        const run = produce(numbered(Infinity), writer, options);
        await clock.advance(1_000);
        stop.abort();
        let ended = false;
        run.then(() => ended = true);
        await clock.advance(9_999);
        assert(!ended, "it gave up early");
        const result = await finish(run, clock);
        assert(clock.elapsedMs() < 11_100, `it ended after ${clock.elapsedMs()} ms`);
        assert(result.sent > 0);
        assert.deepEqual(result, { sent: result.sent, acknowledged: 0, failed: result.sent });
      });
    }
  }
});

Deno.test("produce() ends when it is stopped while the source has nothing to give", async () => {
  const { clock, writer, stop, options } = bench();
  const pipe = new Pipe();
  const run = produce(pipe, writer, options);
  await clock.advance(0);
  pipe.push(message("a"));
  await clock.advance(100);
  stop.abort();
  assert.deepEqual(await finish(run, clock), { sent: 1, acknowledged: 1, failed: 0 });
});

Deno.test("produce() takes no more than messagesMax, and ends without another turn", async (t) => {
  for (const messagesMax of [0, 1, 3]) {
    await t.step(String(messagesMax), async () => {
      const { clock, writer, options } = bench(1, { messagesMax, ratePerSecond: 1 });
      const result = await finish(produce(numbered(Infinity), writer, options), clock);
      assert.deepEqual(result, { sent: messagesMax, acknowledged: messagesMax, failed: 0 });
      assert(clock.elapsedMs() <= Math.max(0, messagesMax - 1) * 1_000 + 100);
    });
  }
});

Deno.test("produce() takes nothing when it was stopped before it started", async () => {
  const { clock, writer, stop, options } = bench();
  stop.abort();
  const run = produce(numbered(10), writer, options);
  assert.deepEqual(await finish(run, clock), { sent: 0, acknowledged: 0, failed: 0 });
});

Deno.test("produce() ends when no retry can help, and still delivers the other partitions", async () => {
  const { clock, writer, options } = bench(2, { batchMessagesMax: 10, ratePerSecond: 1_000 });
  const error = new ConfigurationError("no right to write");
  const broken = partitionOf("key-0", 2);
  writer.fault = (partition) => partition === broken ? error : undefined;
  writer.latencyMs = 50;
  const result = await finish(produce(numbered(Infinity, 9), writer, options), clock);
  assert.equal(result.error, error);
  assert.equal(writer.stored[broken]!.length, 0);
  assert.equal(writer.stored[1 - broken]!.length, result.acknowledged);
  assert(result.acknowledged > 0 && result.failed > 0);
  assert.equal(result.sent, result.acknowledged + result.failed);
});

Deno.test("produce() sees no retry that helps while the buffer is full", async () => {
  const { clock, writer, options } = bench(1, { bufferBytesMax: 500 });
  writer.fault = () => new ConfigurationError("no such topic");
  const result = await finish(produce(numbered(100), writer, options), clock);
  assert(clock.elapsedMs() < 1_000, `it ended after ${clock.elapsedMs()} ms`);
  assert.equal(result.failed, result.sent);
  assert.match(String(result.error), /no such topic/);
});

Deno.test("produce() sends what it took from a source that breaks", async () => {
  const { clock, writer, options } = bench();
  function* source(): Generator<MessageToSend> {
    yield* numbered(3);
    throw new Error("Cannot read: disk gone");
  }
  const result = await finish(produce(source(), writer, options), clock);
  assert.match(String(result.error), /disk gone/);
  assert.deepEqual({ ...result, error: 0 }, { sent: 3, acknowledged: 3, failed: 0, error: 0 });
});
