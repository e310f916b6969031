/**
 * The whole pipeline on real servers: a topic, a group, a database and a Redis of the test's own,
 * and the two programs that work on them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type Admin, Kafka, logLevel, Partitioners, type Producer } from "kafkajs";
// @ts-types="@types/pg"
import pg from "pg";
// Spares the tests the warnings of kafkajs's timers; it changes no answer.
import "../../lib/kafka/kafkajs_patches.ts";
import {
  findLastValueProblems,
  readStored,
  type Stored,
  type StoredRow,
} from "../../campaign/stored.ts";
import { findProblems, type SentMessage } from "./checker.ts";
import type { GeneratedMessage } from "../../campaign/generated_messages.ts";
import { readTopic } from "../../campaign/topic_reader.ts";
import { PrivateRedis } from "./private_redis.ts";
import { type Ended, type Environment, pass, Program } from "./processes.ts";
import { testSettings } from "./test_stack.ts";

/** Longest time that a program may take which has a bounded amount of work, ms. */
export const DONE_MS = 60_000;

/** Messages to a send: kafkajs copies the list for each message. */
const SEND_MESSAGES_MAX = 1_000;

/** Bytes to a send: the topic takes a little more. */
const SEND_BYTES_MAX = 800_000;

const POLL_MS = 50;

/** A message as a consumer of the topic sees it. */
export type TopicMessage = Omit<SentMessage, "truth">;

/** The report of `verify --json`. */
export interface VerifyReport {
  readonly ok: boolean;
  readonly rows: number;
  readonly partitions: readonly {
    readonly partition: number;
    readonly first: string;
    readonly next: string;
    readonly inserted: number;
    readonly duplicates: number;
    readonly deadLetters: number;
    readonly skipped: number;
    readonly gaps: number;
  }[];
  readonly problems: readonly string[];
}

/** What a test makes of its pipeline. */
export interface PipelineOptions {
  /** @default 3 */
  readonly partitions?: number;
  /** Further settings of the programs. */
  readonly env?: Environment;
}

/** A topic, a group, a database and a Redis that nobody else uses. */
export class RealPipeline implements AsyncDisposable {
  readonly topic: string;
  readonly group: string;
  readonly partitions: number;
  readonly redis: PrivateRedis;
  readonly admin: Admin;
  /** The settings of the programs. */
  readonly env: Environment;
  readonly #kafka: Kafka;
  readonly #database: string;

  private constructor(
    options: PipelineOptions,
    parts: { name: string; kafka: Kafka; admin: Admin; redis: PrivateRedis },
  ) {
    const { kafka, postgres } = testSettings();
    this.topic = parts.name;
    this.group = `${parts.name}-group`;
    this.#database = parts.name.replaceAll("-", "_");
    this.partitions = options.partitions ?? 3;
    this.redis = parts.redis;
    this.admin = parts.admin;
    this.#kafka = parts.kafka;
    this.env = {
      KAFKA_BROKER: kafka.brokers.join(","),
      TOPIC_NAME: this.topic,
      KAFKA_GROUP_ID: this.group,
      // The shortest that the brokers allow: a killed member's partitions move after this long.
      KAFKA_SESSION_TIMEOUT_MS: "6000",
      POSTGRES_HOST: postgres.host,
      POSTGRES_PORT: String(postgres.port),
      POSTGRES_DB: this.#database,
      POSTGRES_USER: postgres.user,
      POSTGRES_PASSWORD: postgres.password,
      REDIS_HOST: "127.0.0.1",
      REDIS_PORT: String(parts.redis.port),
      // Several run at the same time.
      HTTP_PORT: "0",
      ...options.env,
    };
  }

  /** Makes everything, and the tables by `migrate`. */
  static async open(options: PipelineOptions = {}): Promise<RealPipeline> {
    const name = `pipeline-${crypto.randomUUID()}`;
    const { brokers } = testSettings().kafka;
    const kafka = new Kafka({
      brokers: [...brokers],
      clientId: "test",
      logLevel: logLevel.NOTHING,
    });
    const admin = kafka.admin();
    await admin.connect();
    const pipeline = new RealPipeline(options, {
      name,
      kafka,
      admin,
      redis: await PrivateRedis.start(),
    });
    await pipeline.createTopic();
    await pipeline.#asOwner(`CREATE DATABASE ${pipeline.#database}`);
    await pipeline.run("migrate");
    return pipeline;
  }

  /** Makes the topic; if it was just deleted, as soon as its name is free again. */
  async createTopic(): Promise<void> {
    const topics = [{ topic: this.topic, numPartitions: this.partitions }];
    for (let tries = 0; tries < 100; tries++) {
      try {
        await this.admin.createTopics({ topics, waitForLeaders: true });
        return;
      } catch {
        await pass(POLL_MS);
      }
    }
    throw new Error(`Cannot make topic ${this.topic}`);
  }

  /** Starts a consumer; settings given here win. */
  consumer(args: readonly string[] = [], env: Environment = {}): Program {
    return Program.consumer(args, { ...this.env, ...env });
  }

  /** Runs a command of the consumer to its end, which must be exit code 0. */
  async run(...args: readonly string[]): Promise<Ended> {
    await using program = this.consumer(args);
    return await program.succeeded(DONE_MS);
  }

  /** Runs `verify --json`, whatever it finds. */
  async verify(): Promise<VerifyReport> {
    await using program = this.consumer(["verify", "--json"]);
    const { stdout, stderr } = await program.ended(DONE_MS);
    assert.match(stdout, /^\{/, `verify says: ${stderr}`);
    return JSON.parse(stdout);
  }

  /**
   * Sends messages in their order, each to the partition that `partitionOf` names.
   *
   * @param partitionOf by default the messages go round, so that repeats meet in other partitions
   * @returns the messages with their places
   */
  async send(
    messages: readonly GeneratedMessage[],
    partitionOf: (index: number) => number = (index) => index % this.partitions,
  ): Promise<SentMessage[]> {
    const producer = this.#kafka.producer({
      createPartitioner: Partitioners.DefaultPartitioner,
      allowAutoTopicCreation: false,
    });
    await producer.connect();
    try {
      const placed = messages.map((message, index) => ({ message, partition: partitionOf(index) }));
      const sent: SentMessage[] = [];
      for (const [partition, list] of Map.groupBy(placed, (one) => one.partition)) {
        for (const piece of pieces(list.map(({ message }) => message))) {
          sent.push(...await sendPiece(producer, { topic: this.topic, partition }, piece));
        }
      }
      return sent;
    } finally {
      await producer.disconnect();
    }
  }

  /** Reads every message that is in the topic now, as another program would. */
  async readTopic(): Promise<TopicMessage[]> {
    const ends = await this.endOffsets();
    const total = [...ends.values()].reduce((sum, end) => sum + end, 0);
    const messages: TopicMessage[] = [];
    const { topic } = this;
    const { brokers } = testSettings().kafka;
    await readTopic({ brokers, topic, limitMs: DONE_MS }, (message) => {
      messages.push(message);
      return messages.length === total;
    });
    return messages;
  }

  /** One past the last offset of each partition. */
  async endOffsets(): Promise<Map<number, number>> {
    const rows = await this.admin.fetchTopicOffsets(this.topic);
    return new Map(rows.map(({ partition, high }) => [partition, Number(high)]));
  }

  /** How many messages the group's commits leave unread, as a lag tool sees it. */
  async groupLag(): Promise<number> {
    const ends = await this.endOffsets();
    const [topic] = await this.admin.fetchOffsets({ groupId: this.group, topics: [this.topic] });
    const committed = new Map(
      topic!.partitions.map(({ partition, offset }) => [partition, Math.max(0, Number(offset))]),
    );
    return ends.entries().reduce(
      (lag, [partition, end]) => lag + end - (committed.get(partition) ?? 0),
      0,
    );
  }

  /** Runs a query on the database, on a connection of its own. */
  async query(text: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    return await query(this.#database, text);
  }

  /** How many offsets the ledger has passed. */
  async passed(): Promise<number> {
    const [row] = await this.query("SELECT coalesce(sum(next_offset), 0) AS passed FROM ledger");
    return Number(row!.passed);
  }

  /** Waits until the ledger has passed so many offsets; fails if the consumer ends before. */
  async reached(consumer: Program, passed: number): Promise<void> {
    const isThere = async (): Promise<boolean> => await this.passed() >= passed;
    await consumer.until(`the ledger has passed ${passed} offsets`, isThere, DONE_MS);
  }

  /** Rows of `sensor_events`. */
  async rowCount(): Promise<number> {
    const [row] = await this.query("SELECT count(*) AS rows FROM sensor_events");
    return Number(row!.rows);
  }

  /**
   * Makes every transaction that moves the ledger take this much longer, so that a test has the
   * time to do something in the middle of a drain however fast the machine is.
   */
  async slowDown(batchMs: number): Promise<void> {
    await this.query("DROP TRIGGER IF EXISTS slow ON ledger");
    if (batchMs === 0) return;
    await this.query(`
      CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(${batchMs / 1_000}); RETURN NULL; END $$;
      CREATE TRIGGER slow BEFORE UPDATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION slow()`);
  }

  /** Everything that is stored. */
  async stored(): Promise<Stored> {
    return await readStored((text) => this.query(text));
  }

  /** Fails unless exactly what follows from these messages is stored, and `verify` says so, too. */
  async assertStored(sent: readonly SentMessage[]): Promise<Stored> {
    const stored = await this.stored();
    assert.deepEqual(findProblems(sent, stored), []);
    const report = await this.verify();
    assert.deepEqual(report.problems, []);
    assert.equal(report.ok, true);
    assert.equal(report.rows, stored.rows.length);
    return stored;
  }

  /** What is wrong with the last values in Redis, given these rows. */
  async lastValueProblems(rows: readonly StoredRow[]): Promise<readonly string[]> {
    const sensors = [...new Set(rows.map((row) => row.sensor_id))];
    if (sensors.length === 0) return [];
    const texts = await this.redis.cli("--raw", "MGET", ...sensors.map((each) => `last:${each}`));
    const flat = await this.redis.cli("--raw", "ZRANGE", "last:index", "0", "-1", "WITHSCORES");
    const index = new Map<string, string>();
    for (let at = 0; at + 1 < flat.length; at += 2) index.set(flat[at]!, flat[at + 1]!);
    const last = new Map(
      sensors.map((sensor, at) => [sensor, texts[at] || "null"] as const),
    );
    return findLastValueProblems(rows, last, index);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.admin.deleteTopics({ topics: [this.topic] }).catch(() => {});
    await this.admin.disconnect();
    await this.redis[Symbol.asyncDispose]();
    await this.#asOwner(`DROP DATABASE IF EXISTS ${this.#database} WITH (FORCE)`);
  }

  async #asOwner(text: string): Promise<void> {
    await query(testSettings().postgres.database, text);
  }
}

async function query(
  database: string,
  text: string,
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const { host, port, user, password } = testSettings().postgres;
  const client = new pg.Client({ host, port, user, password, database });
  // The server may be killed at any time; the query tells.
  client.on("error", () => {});
  try {
    await client.connect();
    return (await client.query(text)).rows;
  } finally {
    await client.end().catch(() => {});
  }
}

/** Cuts messages so that no send is too large for the topic. */
function pieces(messages: readonly GeneratedMessage[]): GeneratedMessage[][] {
  const all: GeneratedMessage[][] = [];
  let bytes = Infinity;
  for (const message of messages) {
    const size = message.value?.length ?? 0;
    if (bytes + size > SEND_BYTES_MAX || all.at(-1)!.length === SEND_MESSAGES_MAX) {
      all.push([]);
      bytes = 0;
    }
    all.at(-1)!.push(message);
    bytes += size;
  }
  return all;
}

async function sendPiece(
  producer: Producer,
  { topic, partition }: { readonly topic: string; readonly partition: number },
  piece: readonly GeneratedMessage[],
): Promise<SentMessage[]> {
  const messages = piece.map(({ key, value }) => ({
    key,
    value: value && Buffer.from(value.buffer, value.byteOffset, value.byteLength),
    partition,
  }));
  const [metadata] = await producer.send({ topic, acks: -1, messages });
  const base = Number(metadata!.baseOffset);
  return piece.map(({ key, value, truth }, index) => ({
    partition,
    offset: base + index,
    key: key === null ? null : new TextEncoder().encode(key),
    value,
    truth,
  }));
}
