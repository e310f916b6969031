/**
 * The producer: takes messages from a source and sees every one acknowledged by Kafka.
 *
 * One queue and one sender per partition. A sender has one batch under way and sends that same
 * batch until it is acknowledged, so the order inside a partition stays and nothing is left out.
 * A batch whose acknowledgement was lost is in the topic twice; the consumer removes repeats by id.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { TransientError } from "../errors.ts";
import type { MessageToSend } from "../kafka/message.ts";
import { partitionOf } from "../kafka/partitioner.ts";
import type { TopicWriter } from "../kafka/topic_writer.ts";
import { retryForever } from "../retry.ts";

/** What is counted for a message beside its key and value: framing here and on the wire. */
const MESSAGE_OVERHEAD_BYTES = 64;

/** Most bytes of UTF-8 that one UTF-16 unit of a key becomes. */
const KEY_UNIT_BYTES_MAX = 3;

/** Time that a rate makes up for at once when the producer was held up; the rest is let go. */
const BURST_MS_MAX = 50;

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 2_000;

/** How the producer works, and who is told. */
export interface ProduceOptions {
  /** Paces, lingers and waits. */
  readonly clock: Clock;
  /** When it aborts, nothing more is taken; what was taken is sent for at most `drainMs`. */
  readonly signal: AbortSignal;
  /** Longest time to send the rest once `signal` aborts, ms. */
  readonly drainMs: number;
  /** How long an idle partition's first message waits for company, ms. */
  readonly lingerMs: number;
  /** Most messages in one send. */
  readonly batchMessagesMax: number;
  /** Most bytes in one send. A larger message travels alone. */
  readonly batchBytesMax: number;
  /**
   * Bound of all messages taken and not acknowledged. One larger message may be alone in it. Those of
   * one partition take at most as much as they leave free, so that one that is not acknowledged, or
   * some of them, never have all of it.
   */
  readonly bufferBytesMax: number;
  /** Messages per second taken from the source; 0: as fast as they are acknowledged. */
  readonly ratePerSecond: number;
  /** Messages taken before it ends on its own. @default Infinity */
  readonly messagesMax?: number;
  /** Is notified of what happens. */
  readonly observer?: ProduceObserver;
  /**
   * Spreads the waits before a send is tried again; from 0 up to but not including 1.
   *
   * @default Math.random
   */
  readonly random?: () => number;
}

/** Is notified of what happens, as it happens. */
export interface ProduceObserver {
  /** A message was taken from the source. */
  taken?(message: MessageToSend): void;
  /** Every in-sync replica of `partition` has these messages. */
  acknowledged?(partition: number, messages: readonly MessageToSend[]): void;
  /** A send failed that was begun for the first time at `sinceMs`, in `elapsedMs`. It is tried again. */
  retrying?(partition: number, error: unknown, sinceMs: number): void;
  /** The source waits for a partition whose sends fail: its share of the buffer is full. */
  held?(partition: number): void;
}

/** What became of the messages. */
export interface ProduceResult {
  /** Messages taken from the source: acknowledged and failed together. */
  readonly sent: number;
  /** Messages that every in-sync replica has. */
  readonly acknowledged: number;
  /** Messages without an acknowledgement. Some of them may be in the topic all the same. */
  readonly failed: number;
  /** What ended the run early: the source failed, or a send that no retry can help. */
  readonly error?: unknown;
}

/**
 * Where messages come from: a source that never waits, or one that does and then has several at once,
 * which are taken one by one.
 */
export type Source = Iterable<MessageToSend> | AsyncIterable<Iterable<MessageToSend>>;

/**
 * Sends what `source` yields until it ends, and waits until all of it is acknowledged: forever
 * while the brokers are away, for `drainMs` once `options.signal` aborts.
 */
export async function produce(
  source: Source,
  writer: TopicWriter,
  options: ProduceOptions,
): Promise<ProduceResult> {
  const flow = openFlow(writer, options);
  const stop = (): void => flow.stopping.abort();
  if (options.signal.aborted) stop();
  options.signal.addEventListener("abort", stop);
  const lanes = Promise.all(flow.lanes.map((lane) => runLane(flow, lane)));
  try {
    await takeAll(flow, source);
  } catch (error) {
    fail(flow, error);
  }
  flow.sourceEnded = true;
  for (const lane of flow.lanes) {
    lane.work.ring();
    lane.lingering?.abort();
  }
  // A send that hangs must not hold up the end: the lanes are left alone when time is up.
  await Promise.race([lanes, aborted(flow.giveUp.signal)]);
  flow.finished.abort();
  options.signal.removeEventListener("abort", stop);
  const { sent, acknowledged, error } = flow;
  return { sent, acknowledged, failed: sent - acknowledged, ...(error !== undefined && { error }) };
}

/** One partition: what waits for it, in order. */
interface Lane {
  readonly partition: number;
  queue: MessageToSend[];
  queuedBytes: number;
  /** Of all that is not acknowledged, under way or queued. */
  bufferedBytes: number;
  /** Whether the last send failed. */
  isFailing: boolean;
  /** Rings when an idle lane gets its first message, or when the source has ended. */
  readonly work: Bell;
  /** Ends the wait for company. */
  lingering: AbortController | undefined;
}

interface Flow {
  readonly writer: TopicWriter;
  readonly options: ProduceOptions;
  readonly lanes: readonly Lane[];
  /** Rings when messages were acknowledged. */
  readonly room: Bell;
  /** Rings when nothing more shall be taken. */
  readonly stopped: Bell;
  /** Aborted: nothing more is taken. */
  readonly stopping: AbortController;
  /** Aborted: nothing more is sent. */
  readonly giveUp: AbortController;
  /** Aborted: all is over. Ends the timer of the deadline. */
  readonly finished: AbortController;
  sourceEnded: boolean;
  sent: number;
  acknowledged: number;
  bufferedBytes: number;
  keylessCount: number;
  error: unknown;
}

function openFlow(writer: TopicWriter, options: ProduceOptions): Flow {
  const stopping = new AbortController();
  const giveUp = new AbortController();
  const finished = new AbortController();
  const room = createBell();
  const stopped = createBell();
  stopping.signal.addEventListener("abort", () => {
    stopped.ring();
    options.clock.sleep(options.drainMs, finished.signal).then(() => {
      giveUp.abort();
      room.ring();
    });
  }, { once: true });
  const lanes = Array.from({ length: writer.partitions }, (_, partition): Lane => ({
    partition,
    queue: [],
    queuedBytes: 0,
    bufferedBytes: 0,
    isFailing: false,
    work: createBell(),
    lingering: undefined,
  }));
  return {
    writer,
    options,
    lanes,
    room,
    stopped,
    stopping,
    giveUp,
    finished,
    sourceEnded: false,
    sent: 0,
    acknowledged: 0,
    bufferedBytes: 0,
    keylessCount: 0,
    error: undefined,
  };
}

/** The first failure is the one to report; the other lanes still deliver what they hold. */
function fail(flow: Flow, error: unknown): void {
  flow.error ??= error;
  flow.stopping.abort();
  flow.room.ring();
}

const SOURCE_END: IteratorResult<Iterable<MessageToSend>, undefined> = {
  done: true,
  value: undefined,
};

async function takeAll(flow: Flow, source: Source): Promise<void> {
  const pieces = Symbol.asyncIterator in source ? source : inTurns(source, flow.options);
  const iterator = pieces[Symbol.asyncIterator]();
  const pace = createPace(flow.options);
  try {
    while (takes(flow)) {
      // A source can wait forever, a terminal for one.
      const stopped = flow.stopped.wait().then(() => SOURCE_END);
      const next = await Promise.race([iterator.next(), stopped]);
      if (next.done) return;
      await takePiece(flow, next.value[Symbol.iterator](), pace);
    }
  } finally {
    // Not awaited: it queues behind a `next()` that may never settle.
    Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

/** Whether more is to be taken. */
function takes({ sent, stopping, options: { messagesMax = Infinity } }: Flow): boolean {
  return sent < messagesMax && !stopping.signal.aborted;
}

/** What is there is taken without a promise for each message: that would cost more than to send it. */
async function takePiece(
  flow: Flow,
  messages: Iterator<MessageToSend>,
  pace: Pace,
): Promise<void> {
  const { clock } = flow.options;
  while (takes(flow)) {
    // The turn comes before the message: a simulated reading must not be old when it leaves.
    const waitMs = pace.waitMs();
    if (waitMs > 0) await clock.sleep(waitMs, flow.stopping.signal);
    if (!takes(flow)) return;
    const next = messages.next();
    if (next.done) return;
    pace.taken();
    const room = put(flow, next.value);
    if (room !== undefined) await room;
  }
}

/** A source that never waits, in pieces between which the senders have their turn. */
async function* inTurns(
  source: Iterable<MessageToSend>,
  { clock, batchMessagesMax }: ProduceOptions,
): AsyncGenerator<Iterable<MessageToSend>, void, void> {
  const iterator = source[Symbol.iterator]();
  let isEnded = false;
  const piece = function* (): Generator<MessageToSend, void, void> {
    for (let count = 0; count < batchMessagesMax; count++) {
      const next = iterator.next();
      isEnded = next.done === true;
      if (next.done) return;
      yield next.value;
    }
  };
  try {
    while (!isEnded) {
      yield piece();
      await clock.sleep(0);
    }
  } finally {
    iterator.return?.();
  }
}

/** Keeps a rate. */
interface Pace {
  /** How long the next message must wait, ms. */
  waitMs(): number;
  /** The next message was taken. */
  taken(): void;
}

/**
 * Keeps `ratePerSecond`. Turns are counted from the turn before and not from now, so short delays do
 * not add up.
 */
function createPace({ clock, ratePerSecond }: ProduceOptions): Pace {
  if (ratePerSecond === 0) return { waitMs: () => 0, taken: () => {} };
  let turnMs = clock.elapsedMs();
  return {
    waitMs: () => {
      const nowMs = clock.elapsedMs();
      turnMs = Math.max(turnMs, nowMs - BURST_MS_MAX);
      return turnMs - nowMs;
    },
    taken: () => {
      turnMs += 1_000 / ratePerSecond;
    },
  };
}

/**
 * Queues a message for its partition.
 *
 * @returns a promise if there is no room for it yet.
 */
function put(flow: Flow, message: MessageToSend): Promise<void> | undefined {
  const { options, lanes } = flow;
  flow.sent++;
  options.observer?.taken?.(message);
  const bytes = bytesOf(message);
  const partition = message.key === null
    ? flow.keylessCount++ % lanes.length
    : partitionOf(message.key, lanes.length);
  const lane = lanes[partition]!;
  if (!hasRoom(flow, lane, bytes)) return putLater(flow, lane, { message, bytes });
  queue(flow, lane, { message, bytes });
  return undefined;
}

interface Sized {
  readonly message: MessageToSend;
  readonly bytes: number;
}

/** The source is one ordered stream, so a message that has to wait for room holds up all behind it. */
async function putLater(flow: Flow, lane: Lane, sized: Sized): Promise<void> {
  while (!hasRoom(flow, lane, sized.bytes)) {
    if (lane.isFailing) flow.options.observer?.held?.(lane.partition);
    await flow.room.wait();
    // Nothing will make room any more: this message is one of those that failed.
    if (flow.giveUp.signal.aborted || flow.error !== undefined) return;
  }
  queue(flow, lane, sized);
}

function queue(flow: Flow, lane: Lane, { message, bytes }: Sized): void {
  lane.queue.push(message);
  lane.queuedBytes += bytes;
  lane.bufferedBytes += bytes;
  flow.bufferedBytes += bytes;
  if (lane.queue.length === 1) lane.work.ring();
  if (isFull(lane, flow.options)) lane.lingering?.abort();
}

/**
 * Two bounds: that of all, and that of the partition, which has at most as much as is left free. One
 * partition alone gets half of the buffer, and each further one that is stuck leaves the others less,
 * but never nothing: with n of them, one part of n + 1.
 */
function hasRoom({ bufferedBytes, options }: Flow, lane: Lane, bytes: number): boolean {
  if (bufferedBytes === 0) return true;
  const freeBytes = options.bufferBytesMax - bufferedBytes - bytes;
  return freeBytes >= 0 && (lane.bufferedBytes === 0 || lane.bufferedBytes + bytes <= freeBytes);
}

function bytesOf({ key, value }: MessageToSend): number {
  const keyBytesMax = KEY_UNIT_BYTES_MAX * (key?.length ?? 0);
  return keyBytesMax + (value?.length ?? 0) + MESSAGE_OVERHEAD_BYTES;
}

function isFull(lane: Lane, options: ProduceOptions): boolean {
  return lane.queue.length >= options.batchMessagesMax ||
    lane.queuedBytes >= options.batchBytesMax;
}

/** Sends the messages of one partition, batch after batch, until the source has ended. */
async function runLane(flow: Flow, lane: Lane): Promise<void> {
  while (lane.queue.length > 0 || !flow.sourceEnded) {
    if (flow.giveUp.signal.aborted) return;
    if (lane.queue.length === 0) {
      await lane.work.wait();
      // Only the first message after a pause waits for company. What gathers during a send has
      // waited already.
      await linger(flow, lane);
      continue;
    }
    const batch = takeBatch(lane, flow.options);
    if (!await sendUntilAcknowledged(flow, lane, batch.messages)) return;
    flow.bufferedBytes -= batch.bytes;
    lane.bufferedBytes -= batch.bytes;
    flow.room.ring();
  }
}

async function linger(flow: Flow, lane: Lane): Promise<void> {
  const { clock, lingerMs } = flow.options;
  if (flow.sourceEnded || lingerMs === 0 || isFull(lane, flow.options)) return;
  lane.lingering = new AbortController();
  await clock.sleep(lingerMs, lane.lingering.signal);
  lane.lingering = undefined;
}

function takeBatch(
  lane: Lane,
  options: ProduceOptions,
): { readonly messages: readonly MessageToSend[]; readonly bytes: number } {
  let count = 0;
  let bytes = 0;
  for (const message of lane.queue) {
    const more = bytesOf(message);
    const fits = count < options.batchMessagesMax && bytes + more <= options.batchBytesMax;
    // A message larger than a batch may be travels alone.
    if (count > 0 && !fits) break;
    count++;
    bytes += more;
  }
  lane.queuedBytes -= bytes;
  return { messages: lane.queue.splice(0, count), bytes };
}

/**
 * Sends `messages`, the same ones in the same order, until they are acknowledged.
 * False: time is up, or no retry can help.
 */
async function sendUntilAcknowledged(
  flow: Flow,
  lane: Lane,
  messages: readonly MessageToSend[],
): Promise<boolean> {
  const { partition } = lane;
  const { writer, options: { clock, observer, random = Math.random }, giveUp } = flow;
  const sinceMs = clock.elapsedMs();
  try {
    await retryForever(() => writer.send(partition, messages), {
      clock,
      signal: giveUp.signal,
      minMs: RETRY_MS_MIN,
      maxMs: RETRY_MS_MAX,
      random,
      onWait: (error) => {
        lane.isFailing = true;
        observer?.retrying?.(partition, error, sinceMs);
        // Whoever waits for room learns why.
        flow.room.ring();
      },
    });
  } catch (error) {
    if (!(error instanceof TransientError)) fail(flow, error);
    return false;
  }
  if (giveUp.signal.aborted) return false; // Too late: these were reported as failed.
  lane.isFailing = false;
  flow.acknowledged += messages.length;
  observer?.acknowledged?.(partition, messages);
  return true;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
}

/** Lets one caller wait until another one rings. A ring that nobody waits for is not kept. */
interface Bell {
  wait(): Promise<void>;
  ring(): void;
}

function createBell(): Bell {
  let wake: (() => void) | undefined;
  return {
    wait: () => new Promise((resolve) => wake = resolve),
    ring: () => wake?.(),
  };
}
