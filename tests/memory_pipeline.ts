/**
 * The whole pipeline in memory, on a clock that the test moves: the real processor and the real
 * loop, with Kafka, PostgreSQL and Redis that keep state and fail when told to.
 *
 * @module
 */
import assert from "node:assert/strict";
import { MemoryCache } from "../fakes/cache.ts";
import type { MemoryMember } from "../fakes/group_member.ts";
import { MemoryKafka } from "../fakes/kafka_cluster.ts";
import type { RecordToAppend } from "../fakes/kafka_topic.ts";
import { createMemoryStore, type MemoryStore } from "../fakes/store.ts";
import {
  consume,
  type ConsumerOptions,
  type ConsumerParts,
  type ConsumeSummary,
} from "../lib/consumer/consumer.ts";
import { createLog } from "../lib/log.ts";
import { Breaker } from "../lib/redis/breaker.ts";
import { FakeClock } from "./fake_clock.ts";
import { sampleText, utf8 } from "./sample_message.ts";

/** The group that the consumers of a test share. */
export const GROUP = "g";

/** Options of a loop that reads on and on; what a test does not name is not its subject. */
export function consumerOptions(changes: Partial<ConsumerOptions> = {}): ConsumerOptions {
  return {
    batchMessagesMax: 100,
    batchesConcurrent: 2,
    limits: { futureSkewSecondsMax: 3_600, pastDaysMax: 0 },
    startFrom: { kind: "committed" },
    until: "never",
    shutdownDeadlineMs: 5_000,
    watchdogSeconds: 45,
    deadLetterAlarmShare: 0.5,
    deadLetterAlarmMessages: 1_000,
    signal: new AbortController().signal,
    ...changes,
  };
}

/** A consumer that runs. */
export interface RunningConsumer {
  readonly member: MemoryMember;
  readonly stop: AbortController;
  /** Settles when the loop has ended. */
  readonly done: Promise<ConsumeSummary>;
}

/** Everything that a test of the flow needs. */
export class MemoryPipeline {
  readonly clock = new FakeClock();
  readonly kafka: MemoryKafka;
  readonly store: MemoryStore = createMemoryStore({ clock: this.clock });
  readonly cache = new MemoryCache({ clock: this.clock, ttlSeconds: 3_600 });
  /** Messages of level warn and above. */
  readonly logged: string[] = [];

  constructor(partitions = 2) {
    this.kafka = new MemoryKafka({ topic: "readings", partitions, clock: this.clock });
  }

  /** The ports of one consumer, with breakers of its own. */
  parts(): Omit<ConsumerParts, "member"> {
    const breaker = (): Breaker => new Breaker({ clock: this.clock, budgetMs: 250 });
    return {
      store: this.store,
      cache: this.cache,
      breakers: { read: breaker(), write: breaker() },
      clock: this.clock,
      log: createLog({
        level: "warn",
        format: "text",
        write: (line) => this.logged.push(line),
        clock: this.clock,
      }),
    };
  }

  /**
   * Starts a consumer; {@linkcode MemoryPipeline.stop} ends it.
   *
   * @param wrap takes the ports and gives those that the loop uses
   */
  start(
    options: Partial<ConsumerOptions> = {},
    wrap: (parts: ConsumerParts & { readonly member: MemoryMember }) => ConsumerParts = (parts) =>
      parts,
  ): RunningConsumer {
    const member = this.kafka.member(GROUP);
    const stop = new AbortController();
    const done = consume(
      wrap({ ...this.parts(), member }),
      consumerOptions({ signal: stop.signal, ...options }),
    );
    return { member, stop, done };
  }

  /** Ends a consumer and returns what it did. */
  async stop(consumer: RunningConsumer): Promise<ConsumeSummary> {
    consumer.stop.abort();
    const settled = consumer.done;
    // It can reject while time passes here, before anybody waits for it.
    settled.catch(() => {});
    for (let steps = 0; steps < 20; steps++) await this.clock.advance(1_000);
    return await settled;
  }

  /** Lets time pass in small steps until `met`, or fails. */
  async until(what: string, met: () => boolean): Promise<void> {
    for (let steps = 0; steps < 2_000; steps++) {
      if (met()) return;
      await this.clock.advance(20);
    }
    assert.fail(`never happened: ${what}; logged: ${this.logged.join("")}`);
  }

  /** Appends messages to a partition. */
  append(partition: number, values: readonly (string | RecordToAppend)[]): void {
    this.kafka.append(
      partition,
      values.map((value) => typeof value === "string" ? { key: null, value: utf8(value) } : value),
    );
  }

  /** What the ledger says of a partition of the topic's present life. */
  line(partition: number): Promise<Record<string, number> | undefined> {
    return this.store.readLedger().then((lines) => {
      const { topicId } = this.kafka.identity();
      const line = lines.find((one) =>
        one.partition === partition && one.topic.topicId === topicId
      );
      if (line === undefined) return undefined;
      const { topic: _, updatedAtMs: __, partition: ___, ...counts } = line;
      return counts;
    });
  }
}

/** A valid message whose id and fields follow from a number. */
export function messageText(number: number, changes: Record<string, unknown> = {}): string {
  return sampleText({ unique_reading_id: idOf(number), value: number, ...changes });
}

/** The id that {@linkcode messageText} gives to a number. */
export function idOf(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

/** `messageText` of the numbers from `first` on. */
export function messageTexts(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => messageText(first + index));
}
