/**
 * One seed, one world: the real producer, consumer loop and processor on servers in memory, in
 * virtual time, through a storm of faults. Then everything heals, must come to rest within a bound
 * of time, and the oracle judges.
 *
 * @module
 */
import type { MemoryMember } from "../fakes/group_member.ts";
import { consume } from "../lib/consumer/consumer.ts";
import { TransientError } from "../lib/errors.ts";
import type { GroupMember } from "../lib/kafka/group_member.ts";
import type { MessageToSend } from "../lib/kafka/message.ts";
import type { TopicWriter } from "../lib/kafka/topic_writer.ts";
import type { Log } from "../lib/log.ts";
import { FlowStatistics } from "../lib/monitor/statistics.ts";
import type { Store } from "../lib/postgres/store.ts";
import { produce } from "../lib/producer/producer.ts";
import { partitionOf } from "../lib/kafka/partitioner.ts";
import { createRandom, type Random } from "../lib/producer/random.ts";
import { Breaker } from "../lib/redis/breaker.ts";
import type { Cache } from "../lib/redis/cache.ts";
import { Network, wiredCache, wiredMember, wiredStore, wiredWriter } from "./faults.ts";
import type { Excuse } from "./journal.ts";
import { NEIGHBOUR_MS } from "./neighbour.ts";
import { GROUP, Servers } from "./servers.ts";
import { planFarewell, type PlannedMessage, planRegrowth, planTraffic } from "./traffic.ts";
import { planTransactions, playTransactions } from "./transactions.ts";
import { VirtualProcess, VirtualTime } from "./virtual_time.ts";
import { type DisasterKind, drawWeather, STORM_MS, type Weather } from "./weather.ts";

/** How long everything may take to come to rest after the storm, ms. */
const REST_MS_MAX = 45_000;
/** How often it is asked whether it has. */
const REST_CHECK_MS = 250;
/** A member that was killed loses its partitions after this long. */
const SESSION_MS = 3_000;
/** A consumer that does nothing for this long although messages wait ends. */
const WATCHDOG_SECONDS = 15;
/** Consumers that can run at the same time. */
const CONSUMERS_MAX = 4;
/** Events that a trace shows. */
const TRACE_EVENTS_MAX = 120;

/** The ports of one consumer process, which a planted bug may replace. */
export interface ConsumerPorts {
  /** To Kafka. */
  readonly member: GroupMember;
  /** To PostgreSQL. */
  readonly store: Store;
  /** To Redis. */
  readonly cache: Cache;
}

/** What a planted bug may need to do its harm. */
export interface BugContext {
  /** What no program could look into, for bugs that are hard to put in otherwise. */
  readonly servers: Servers;
  /** Where the bug sits. */
  readonly process: VirtualProcess;
}

/** A fault of the program, put in from outside. */
export interface PlantedBug {
  /** What the program does wrong. */
  readonly name: string;
  /** Another limit of the watchdog; 0: there is none. */
  readonly watchdogSeconds?: number;
  /** Replaces ports of a consumer. */
  consumer?(ports: ConsumerPorts, context: BugContext): ConsumerPorts;
  /** Replaces the producer's port. */
  writer?(writer: TopicWriter, context: BugContext): TopicWriter;
}

/** How a world is run. */
export interface WorldOptions {
  /** A bug to find. */
  readonly bug?: PlantedBug;
  /** Keep the last events for a reader; the hash is made in any case. @default "hash" */
  readonly trace?: "hash" | "events";
}

/** What became of a world. */
export interface WorldReport {
  /** The seed that made it. */
  readonly seed: number;
  /** What was wrong; empty: nothing. */
  readonly violations: readonly string[];
  /** The same for the same seed. */
  readonly traceHash: string;
  /** The last events, if they were wanted. */
  readonly trace: readonly string[];
  /** Messages that reached the log. */
  readonly messages: number;
  /** Of these, messages that nobody can ask for, by cause. */
  readonly excuses: ReadonlyMap<Excuse, number>;
  /** What became of batches at the database, by way and what went wrong. */
  readonly batches: ReadonlyMap<string, number>;
  /** Virtual time from the end of the storm to rest, ms. */
  readonly restMs: number;
}

/** Makes the world of a seed, lets it run, and judges it. */
export async function runWorld(seed: number, options: WorldOptions = {}): Promise<WorldReport> {
  return await new World(seed, options).run();
}

interface RunningConsumer {
  readonly process: VirtualProcess;
  readonly member: MemoryMember;
  readonly stop: AbortController;
}

class World {
  readonly #seed: number;
  readonly #bug: PlantedBug | undefined;
  readonly #weather: Weather;
  readonly #random: Random;
  readonly #time = new VirtualTime();
  readonly #network: Network;
  readonly #servers: Servers;
  readonly #trace: Trace;
  readonly #consumers = new Map<VirtualProcess, RunningConsumer>();
  readonly #zombies = new Set<RunningConsumer>();
  #producer: VirtualProcess | undefined;
  /** Messages that the producer has not been told to be safe. */
  #outbox: PlannedMessage[];
  /** Messages so far that took the place of lost ones at once. */
  #regrown = 0;
  /** Processes so far. */
  #started = 0;
  /** Consumers that shall run, now or as soon as they have started again. */
  #wanted: number;
  #isStorm = true;

  constructor(seed: number, { bug, trace = "hash" }: WorldOptions) {
    this.#seed = seed;
    this.#bug = bug;
    this.#weather = drawWeather(seed);
    this.#wanted = this.#weather.consumers;
    this.#random = createRandom(seed, 2);
    this.#trace = new Trace(this.#time, trace === "events");
    this.#network = new Network({
      time: this.#time,
      random: createRandom(seed, 3),
      note: (event, detail) => this.#trace.note(event, detail),
      died: (process) => this.#onDeath(process),
    });
    Object.assign(this.#network.rates, this.#weather.rates);
    this.#servers = new Servers(
      new VirtualProcess(this.#time, "servers"),
      this.#weather.partitions,
    );
    this.#outbox = [...planTraffic(this.#weather.traffic, createRandom(seed, 4))];
  }

  async run(): Promise<WorldReport> {
    const { oracle } = this.#servers;
    this.#startProducer();
    for (let count = 0; count < this.#wanted; count++) {
      this.#time.after(this.#between(0, 3_000), () => this.#startConsumer());
    }
    for (const { atMs, kind } of this.#weather.disasters) {
      this.#time.after(atMs, () => this.#strike(kind));
    }
    this.#playTransactions();
    const { lost } = this.#weather;
    if (lost !== undefined) {
      this.#time.after(lost.atMs, () => this.#servers.kafka.setLeader(lost.partition, "none"));
    }
    await this.#time.run(STORM_MS, STORM_MS, () => false);
    this.#heal();
    const unrest = lost === undefined ? [] : await this.#restWithout(lost.partition);
    const isResting = (): boolean => this.#outbox.length === 0 && oracle.findUnrest() === undefined;
    const rests = await this.#time.run(this.#time.nowMs + REST_MS_MAX, REST_CHECK_MS, isResting);
    if (!rests) unrest.push(oracle.findUnrest() ?? "I9 the producer has not ended");
    return {
      seed: this.#seed,
      violations: [...unrest, ...oracle.judge()],
      traceHash: this.#trace.hash,
      trace: this.#trace.events,
      messages: oracle.journal.entries.length,
      excuses: oracle.excuses(),
      batches: this.#network.batches,
      restMs: this.#time.nowMs - STORM_MS,
    };
  }

  #playTransactions(): void {
    playTransactions(planTransactions(this.#weather, createRandom(this.#seed, 7)), {
      time: this.#time,
      kafka: this.#servers.kafka,
      note: (event, detail) => this.#trace.note(event, detail),
    });
  }

  /** Lets the world come to rest while a partition has no leader; then it has one again. */
  async #restWithout(lost: number): Promise<string[]> {
    const { oracle, kafka } = this.#servers;
    const isOfOthers = ({ message: { key } }: PlannedMessage): boolean =>
      key !== null && partitionOf(key, this.#weather.partitions) !== lost;
    const isResting = (): boolean =>
      !this.#outbox.some(isOfOthers) && oracle.findUnrest(lost) === undefined;
    const rests = await this.#time.run(STORM_MS + REST_MS_MAX, REST_CHECK_MS, isResting);
    kafka.setLeader(lost, "there");
    this.#trace.note("has a leader again", `partition ${lost}`);
    if (rests) return [];
    const unrest = oracle.findUnrest(lost) ?? "I9 the producer has not ended";
    return [`${unrest}, while partition ${lost} has no leader`];
  }

  #heal(): void {
    this.#trace.note("the storm is over", "");
    this.#isStorm = false;
    this.#network.heal();
    this.#servers.kafka.setBrokersAway(false);
    for (const zombie of this.#zombies) if (zombie.process.isAlive) zombie.member.readmit();
    this.#zombies.clear();
    if (this.#weather.farewell === "messages") {
      this.#outbox.push(...planFarewell(this.#weather.traffic, STORM_MS + 1_000));
    }
    this.#wanted = Math.max(1, this.#wanted);
    this.#restartProducer(0);
    for (let count = this.#consumers.size; count < this.#wanted; count++) this.#startConsumer();
  }

  #between(min: number, max: number): number {
    return Math.floor(this.#random.between(min, max));
  }

  // The producer.

  #startProducer(): void {
    const process = new VirtualProcess(this.#time, `producer-${++this.#started}`);
    this.#producer = process;
    const context = { servers: this.#servers, process };
    const wired = wiredWriter(this.#network, process, () => this.#servers.kafka.writer());
    const writer = this.#bug?.writer?.(wired, context) ?? wired;
    const random = createRandom(this.#seed, 5, this.#time.planned);
    produce(this.#source(process), writer, {
      clock: process.clock,
      signal: new AbortController().signal,
      drainMs: 1_000,
      lingerMs: 20,
      batchMessagesMax: 6,
      batchBytesMax: 100_000,
      // What is sent to a lost partition must fit into half of it, or the source rightly waits.
      bufferBytesMax: this.#weather.lost === undefined ? 20_000 : 1_000_000,
      ratePerSecond: 0,
      random: () => random.unit(),
      observer: {
        acknowledged: (_, messages) => this.#onAcknowledged(process, messages),
      },
    });
  }

  /** What waits to be sent, at its time. A producer that starts again sends it again. */
  async *#source(process: VirtualProcess): AsyncGenerator<MessageToSend[]> {
    for (const { atMs, message } of [...this.#outbox]) {
      const waitMs = atMs - this.#time.nowMs;
      if (waitMs > 0) await process.clock.sleep(waitMs);
      yield [message];
    }
  }

  #onAcknowledged(process: VirtualProcess, messages: readonly MessageToSend[]): void {
    if (!process.isAlive) return;
    const sent = new Set(messages);
    this.#outbox = this.#outbox.filter(({ message }) => !sent.has(message));
    for (const message of messages) this.#servers.oracle.acknowledged(message);
  }

  #restartProducer(afterMs: number): void {
    this.#producer?.kill();
    this.#producer = undefined;
    this.#time.after(afterMs, () => {
      if (this.#producer === undefined) this.#startProducer();
    });
  }

  // The consumers.

  #startConsumer(): void {
    if (this.#consumers.size >= CONSUMERS_MAX) return;
    const process = new VirtualProcess(this.#time, `consumer-${++this.#started}`);
    const { clock } = process;
    const member = this.#servers.kafka.member(GROUP, {
      clock,
      fetchMessagesMax: this.#weather.fetchMessagesMax,
      fetchWaitMs: 150,
      fetchMs: this.#between(1, 10),
    });
    const stop = new AbortController();
    const consumer = { process, member, stop };
    this.#consumers.set(process, consumer);
    this.#trace.note("starts", process.name);
    const wired = {
      member: wiredMember(this.#network, process, member),
      store: wiredStore(this.#network, process, this.#servers.store),
      cache: wiredCache(this.#network, process, this.#servers.cache),
    };
    const context = { servers: this.#servers, process };
    const ports = this.#bug?.consumer?.(wired, context) ?? wired;
    const numbers = createRandom(this.#seed, 6, this.#time.planned);
    const random = (): number => numbers.unit();
    const breaker = (): Breaker => new Breaker({ clock, budgetMs: 250, random });
    consume({
      ...ports,
      breakers: { read: breaker(), write: breaker() },
      clock,
      log: this.#logOf(process),
      observer: new FlowStatistics({
        clock,
        onStored: ({ partition, nextOffset, inserted, duplicates, rejections }) => {
          const deadLetters = rejections.values().reduce((sum, count) => sum + count, 0);
          const counts = { inserted, duplicates, deadLetters };
          this.#servers.oracle.toldStored(partition, nextOffset, counts);
        },
      }),
      random,
    }, {
      batchMessagesMax: this.#weather.batchMessagesMax,
      batchesConcurrent: this.#weather.batchesConcurrent,
      limits: { futureSkewSecondsMax: 3_600, pastDaysMax: 0 },
      startFrom: { kind: "committed" },
      until: "never",
      shutdownDeadlineMs: 2_000,
      watchdogSeconds: this.#bug?.watchdogSeconds ?? WATCHDOG_SECONDS,
      deadLetterAlarmShare: 0,
      deadLetterAlarmMessages: 1_000,
      signal: stop.signal,
    }).then(
      ({ ended }) => {
        if (ended === "stuck" && !this.#network.hung.has(process)) {
          this.#servers.oracle.complain("I9 the watchdog ended a consumer that was not stuck");
        }
        this.#onEnd(consumer, ended);
      },
      (error) => this.#onEnd(consumer, `failed: ${error}`),
    );
  }

  #logOf(process: VirtualProcess): Log {
    const at = (level: string) => (message: string, fields = {}): void =>
      this.#trace.note(level, () => `${process.name} ${message} ${JSON.stringify(fields)}`);
    const log = {
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      child: () => log,
    };
    return log;
  }

  /** The loop has returned or thrown: its program ends, and closes its connections. */
  #onEnd(consumer: RunningConsumer, how: string): void {
    this.#trace.note("ends", () => `${consumer.process.name} ${how}`);
    consumer.process.kill();
    this.#onDeath(consumer.process);
  }

  /** A process is dead. The group finds out later; a supervisor starts another one. */
  #onDeath(process: VirtualProcess): void {
    this.#trace.note("dies", process.name);
    if (process === this.#producer) return this.#restartProducer(this.#between(100, 2_000));
    const consumer = this.#consumers.get(process);
    if (consumer === undefined) return;
    this.#consumers.delete(process);
    this.#time.after(SESSION_MS, () => consumer.member.evict());
    this.#time.after(this.#between(200, 4_000), () => {
      if (this.#consumers.size < this.#wanted) this.#startConsumer();
    });
  }

  #anyConsumer(): RunningConsumer | undefined {
    const all = [...this.#consumers.values()];
    return all.length === 0 ? undefined : this.#random.pick(all);
  }

  // The disasters.

  #strike(kind: DisasterKind): void {
    if (!this.#isStorm) return;
    this.#trace.note(`*** ${kind}`, "");
    const { kafka } = this.#servers;
    const partition = this.#random.uint32() % this.#weather.partitions;
    switch (kind) {
      case "group rebalances":
        return kafka.groups.rebalance(GROUP);
      case "producer is killed":
        return this.#restartProducer(this.#between(100, 2_000));
      case "brokers away":
        kafka.setBrokersAway(true);
        return this.#later(4_000, () => kafka.setBrokersAway(false));
      case "partition without leader":
        if (partition === this.#weather.lost?.partition) return;
        kafka.setLeader(partition, "none");
        return this.#later(3_000, () => kafka.setLeader(partition, "there"));
      case "control records":
        return kafka.appendControl(partition, this.#between(1, 4));
      case "commits refused":
        this.#network.commitRefusals = 0.8;
        return this.#later(5_000, () => this.#network.commitRefusals = 0);
      case "retention deletes": {
        const { low, next } = kafka.partition(partition);
        return this.#servers.deleteBelow(partition, this.#between(low, next + 1));
      }
      case "leader changes":
        return kafka.electLeader(partition);
      case "wrong end of a log": {
        const { low, next } = kafka.partition(partition);
        return kafka.answerWronglyNext(partition, Math.max(low, next - this.#between(1, 6)));
      }
      case "log truncated":
        return this.#truncate(partition);
      case "topic made again":
        return this.#recreateTopic();
      default:
        return this.#strikeOthers(kind);
    }
  }

  #strikeOthers(kind: DisasterKind): void {
    const { away } = this.#network;
    switch (kind) {
      case "database away":
        away.add("postgres");
        return this.#later(5_000, () => away.delete("postgres"));
      case "database slow for good":
        this.#network.storeMessageMs = this.#between(5, 60);
        return;
      case "database is backed up":
        return this.#servers.backUp();
      case "database loses commits":
        return this.#servers.loseCommits(this.#between(0, 3));
      case "table emptied":
        return this.#servers.emptyTable();
      case "redis away":
        away.add("redis");
        return this.#later(6_000, () => away.delete("redis"));
      case "redis flushed":
        return this.#servers.flushRedis();
      case "neighbour in redis":
        return this.#neighbourActs();
      case "consumer joins":
        this.#wanted = Math.min(this.#wanted + 1, CONSUMERS_MAX);
        return this.#startConsumer();
      default: {
        const consumer = this.#anyConsumer();
        if (consumer !== undefined) this.#strikeConsumer(kind, consumer);
      }
    }
  }

  /** It leaves with the storm; a lease of its own outlives it. */
  #neighbourActs(): void {
    if (!this.#isStorm) return;
    void this.#servers.neighbour.act();
    this.#time.after(NEIGHBOUR_MS, () => this.#neighbourActs());
  }

  #strikeConsumer(kind: DisasterKind, consumer: RunningConsumer): void {
    const { process, member, stop } = consumer;
    switch (kind) {
      case "consumer leaves":
        this.#wanted--;
        return stop.abort();
      case "consumer is killed":
        process.kill();
        return this.#onDeath(process);
      case "consumer's member dies":
        return member.crash(new TransientError("The member died"));
      case "consumer is frozen": {
        const frozenMs = this.#between(500, 6_000);
        process.freeze(frozenMs);
        if (frozenMs > SESSION_MS) this.#time.after(SESSION_MS, () => this.#expel(consumer));
        return;
      }
      case "consumer becomes a zombie":
        return this.#expel(consumer);
      case "wall clock jumps":
        return process.jump(this.#between(-1_500_000, 1_500_000));
    }
  }

  /** The group gives up a member that still works; it finds out later. */
  #expel(consumer: RunningConsumer): void {
    if (!this.#isStorm || !consumer.process.isAlive) return;
    consumer.member.evict();
    this.#zombies.add(consumer);
    this.#later(4_000, () => {
      if (this.#zombies.delete(consumer) && consumer.process.isAlive) consumer.member.readmit();
    });
  }

  /**
   * The log loses its end. Other messages take the lost offsets, in some worlds before anybody can
   * have looked.
   */
  #truncate(partition: number): void {
    const { kafka } = this.#servers;
    const lost = this.#between(1, 6);
    this.#servers.truncate(partition, kafka.partition(partition).next - lost);
    if (this.#random.unit() < 0.5 || !kafka.hasLeader(partition)) return;
    const numbers = Array.from({ length: this.#between(1, lost + 5) }, () => this.#regrown++);
    kafka.append(partition, planRegrowth(this.#weather.traffic, this.#time.nowMs, numbers));
  }

  #recreateTopic(): void {
    const notice = this.#random.unit() < 0.5 ? "members rejoin" : "nobody notices";
    this.#servers.recreateTopic(notice, this.#random.unit() < 0.5 ? "kept" : "gone");
  }

  #later(msMax: number, happen: () => void): void {
    this.#time.after(this.#between(100, msMax), happen);
  }
}

/** What happened, as a hash always and as text on demand. */
class Trace {
  readonly events: string[] = [];
  readonly #time: VirtualTime;
  readonly #isKept: boolean;
  #hash = 0x811c9dc5;

  constructor(time: VirtualTime, isKept: boolean) {
    this.#time = time;
    this.#isKept = isKept;
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }

  note(event: string, detail: string | (() => string)): void {
    this.#mix(this.#time.nowMs);
    this.#mix(this.#time.planned);
    for (let at = 0; at < event.length; at++) this.#mix(event.charCodeAt(at));
    if (!this.#isKept) return;
    const text = typeof detail === "string" ? detail : detail();
    this.events.push(`${String(this.#time.nowMs).padStart(6)} ms  ${event}  ${text}`.trimEnd());
    if (this.events.length > TRACE_EVENTS_MAX) this.events.shift();
  }

  #mix(number: number): void {
    this.#hash = Math.imul(this.#hash ^ number, 0x01000193);
  }
}
