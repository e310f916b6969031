/**
 * Producers with transactions, of kafkajs and of confluent-kafka, which a test leads step by step
 * through one partition, and what a reader of committed messages sees of it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { Kafka, logLevel } from "kafkajs";
import type { RealPipeline, TopicMessage } from "./real_pipeline.ts";
import { TRANSACTIONS, transactionsPython } from "./python.ts";

/** How a transaction ends. */
export type Outcome = "commit" | "abort";

/** One producer, whose transactions come one after the other. */
export interface TransactionalProducer {
  /** Begins a transaction. */
  begin(): Promise<void>;
  /** Sends a message to partition 0; it is in the log then. */
  send(key: Uint8Array, value: Uint8Array): Promise<void>;
  /** Ends the transaction. */
  end(outcome: Outcome): Promise<void>;
}

/** The brokers abort a transaction that is open for longer, ms. */
const TIMEOUT_MS = 60_000;

/** A producer of kafkajs; `close` comes last. */
export async function openKafkajsProducer(
  { env, topic }: RealPipeline,
  name: string,
): Promise<TransactionalProducer & { close(): Promise<void> }> {
  const brokers = env.KAFKA_BROKER!.split(",");
  const producer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).producer({
    transactionalId: `${topic}-${name}`,
    transactionTimeout: TIMEOUT_MS,
    idempotent: true,
    maxInFlightRequests: 1,
  });
  await producer.connect();
  let transaction = await producer.transaction();
  await transaction.abort();
  return {
    begin: async () => {
      transaction = await producer.transaction();
    },
    send: async (key, value) => {
      const messages = [{ key: Buffer.from(key), value: Buffer.from(value), partition: 0 }];
      await transaction.send({ topic, messages });
    },
    end: (outcome) => outcome === "commit" ? transaction.commit() : transaction.abort(),
    close: () => producer.disconnect(),
  };
}

/** A Python process with producers and a reader of confluent-kafka. */
export class ConfluentKafka implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** Starts the process for a pipeline's topic. */
  static async start({ env, topic }: RealPipeline): Promise<ConfluentKafka> {
    const script = join(TRANSACTIONS, "transactions.py");
    return new ConfluentKafka(
      spawn(await transactionsPython(), [script, env.KAFKA_BROKER!, topic], {
        stdio: ["pipe", "pipe", "inherit"],
      }),
    );
  }

  /** Opens a producer, which dies with the process. */
  async producer(name: string, timeoutMs: number = TIMEOUT_MS): Promise<TransactionalProducer> {
    const ask = async (...words: readonly string[]): Promise<void> => {
      await this.#ask(words.join(" "));
    };
    await ask("open", name, String(timeoutMs));
    return {
      begin: () => ask("begin", name),
      send: (key, value) => ask("send", name, ...[key, value].map((each) => each.toHex())),
      end: (outcome) => ask(outcome, name),
    };
  }

  /** All messages that are committed, and lie before every open transaction. */
  async read(): Promise<readonly TopicMessage[]> {
    const rows = await this.#ask("read") as readonly [number, string, string][];
    return rows.map(([offset, key, value]) => ({
      partition: 0,
      offset,
      key: Uint8Array.fromHex(key),
      value: Uint8Array.fromHex(value),
    }));
  }

  async #ask(command: string): Promise<unknown> {
    this.#child.stdin.write(`${command}\n`);
    const { value, done } = await this.#lines.next();
    assert.ok(!done, `the Python process ended at: ${command.slice(0, 80)}`);
    return JSON.parse(value);
  }

  /** Kills the process: what is open stays open. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}
