/**
 * A {@linkcode GroupMember} on real brokers: translates kafkajs's events and calls, and decides
 * nothing. The options that kafkajs gets wrong by default stand here, each with its reason.
 *
 * @module
 */
import type * as kafkajs from "kafkajs";
import { systemClock } from "../clock.ts";
import { ConfigurationError } from "../errors.ts";
import type { Log } from "../log.ts";
import {
  classifyKafkaError,
  isAnswer,
  type KafkaClient,
  type KafkaConnectionSettings,
  KAFKAJS_RETRY,
  openKafka,
} from "./connection.ts";
import { messagesFrom, type Parcel } from "./fetch_answer.ts";
import type {
  FetchedBatch,
  GroupAdmin,
  GroupHandlers,
  GroupMember,
  GroupSight,
} from "./group_member.ts";
import type { EpochEnd, HeldBack, PartitionRange, TopicIdentity } from "./message.ts";
import { readHeldBack, readOffsetsAtTime, readWatermarks } from "./offsets_reader.ts";
import { readGroupSight } from "./group_sight.ts";
import { isGroupComing, patiently } from "./patiently.ts";
import { ask, ASK_RETRIES, closeAll, COMMIT_METADATA, readTopicSettings } from "./questions.ts";
import { openRawCluster, type RawCluster } from "./raw_cluster.ts";
import { readEpochEnds, readTopicIdentity } from "./topic_identity.ts";

/** How one member joins and fetches. */
export interface GroupMemberSettings {
  /** The topic to read. */
  readonly topic: string;
  /** The group to join. */
  readonly groupId: string;
  /** A member that is silent for this long loses its partitions, ms. */
  readonly sessionTimeoutMs: number;
  /** How long a broker may hold a fetch when there is nothing to read, ms. */
  readonly fetchWaitMs: number;
  /** Largest answer for one partition, bytes. */
  readonly fetchPartitionBytes: number;
}

/**
 * Handlers at the same time. They hand over and wait, and must not wait for each other; how much is
 * worked on at the same time is bounded by the loop.
 */
const HANDLERS_MAX = 64;

/** Pause between two tries to join a group again that refuses us, ms. */
const REFUSED_PAUSE_MS = 5_000;

/** How long closing the connections may take, ms. */
const CLOSE_MS = 1_000;

/** A member whose connections are open. */
export type OpenGroupMember = GroupMember & GroupAdmin & AsyncDisposable;

/** A member that can be asked at once, and joins the group only once it has connected. */
export interface GroupMemberClient extends OpenGroupMember {
  /**
   * Connects, and looks whether the topic is there. After a failure it can be tried again.
   *
   * @throws {TransientError} if no broker answers now.
   * @throws {MissingError} if the topic does not exist.
   * @throws {ConfigurationError} if the brokers refuse this user.
   */
  connect(): Promise<void>;
}

/**
 * Connects a member. It joins the group with `start`.
 *
 * @throws As {@linkcode GroupMemberClient.connect} does.
 */
export async function openGroupMember(
  connection: KafkaConnectionSettings,
  settings: GroupMemberSettings,
  log: Log,
): Promise<OpenGroupMember> {
  const member = createGroupMember(connection, settings, log);
  try {
    await member.connect();
  } catch (error) {
    await member[Symbol.asyncDispose]();
    throw error;
  }
  return member;
}

/** Makes a member. Nothing connects yet. */
export function createGroupMember(
  connection: KafkaConnectionSettings,
  settings: GroupMemberSettings,
  log: Log,
): GroupMemberClient {
  // Two clients: the one that reads rides out an outage on its own; the one that asks gives up soon,
  // because whoever asked tries again and says what it waits for.
  const reading = openKafka(connection, log);
  const asking = openKafka({ ...connection, retries: ASK_RETRIES }, log);
  return new KafkajsGroupMember({
    consumer: consumerOf(reading, settings),
    admin: asking.admin(),
    cluster: openRawCluster(asking),
    clientId: connection.clientId,
    settings,
    log,
  });
}

function consumerOf(kafka: KafkaClient, settings: GroupMemberSettings): kafkajs.Consumer {
  return kafka.consumer({
    groupId: settings.groupId,
    // A killed member's partitions move after this long; kafkajs's default is 30 s.
    sessionTimeout: settings.sessionTimeoutMs,
    // So long a group waits for a silent member to ask for partitions, and so long again for one that
    // has asked to come for them. Who dies in the first wait is waited for in the second, and nothing
    // is read meanwhile: together they are one session.
    rebalanceTimeout: Math.floor(settings.sessionTimeoutMs / 2),
    heartbeatInterval: Math.floor(settings.sessionTimeoutMs / 10),
    // New partitions are noticed this soon. kafkajs's default is five minutes.
    metadataMaxAge: 30_000,
    // One byte is enough for an answer: a reading waits for the next one nowhere.
    minBytes: 1,
    maxWaitTimeInMs: settings.fetchWaitMs,
    maxBytesPerPartition: settings.fetchPartitionBytes,
    allowAutoTopicCreation: false,
    // Nothing behind an open transaction, and with each answer the aborted ones that it crosses.
    readUncommitted: false,
    retry: KAFKAJS_RETRY,
  });
}

interface MemberParts {
  readonly consumer: kafkajs.Consumer;
  readonly admin: kafkajs.Admin;
  readonly cluster: RawCluster;
  readonly clientId: string;
  readonly settings: GroupMemberSettings;
  readonly log: Log;
}

class KafkajsGroupMember implements GroupMemberClient {
  readonly #consumer: kafkajs.Consumer;
  readonly #admin: kafkajs.Admin;
  readonly #cluster: RawCluster;
  readonly #clientId: string;
  readonly #settings: GroupMemberSettings;
  readonly #topic: string;
  readonly #log: Log;
  readonly #closing = new AbortController();
  /** What the brokers call this member; undefined before the group has let it in. */
  #memberId: string | undefined;

  constructor(parts: MemberParts) {
    this.#consumer = parts.consumer;
    this.#admin = parts.admin;
    this.#cluster = parts.cluster;
    this.#clientId = parts.clientId;
    this.#settings = parts.settings;
    this.#topic = parts.settings.topic;
    this.#log = parts.log;
  }

  async connect(): Promise<void> {
    await ask(`read topic ${this.#topic}`, async () => {
      // The asking client goes first: it fails soon.
      await this.#admin.connect();
      await this.#admin.fetchTopicMetadata({ topics: [this.#topic] });
      await patiently(() => this.#admin.describeGroups([this.#settings.groupId]), {
        passes: isGroupComing,
        signal: this.#closing.signal,
      });
      await this.#consumer.connect();
      // Earliest, never latest: a group without a position must not skip what is already there.
      await this.#consumer.subscribe({ topics: [this.#topic], fromBeginning: true });
    });
  }

  async start(handlers: GroupHandlers): Promise<void> {
    const { GROUP_JOIN, CRASH } = this.#consumer.events;
    // kafkajs calls this listener inline, before the first fetch of the new assignment.
    this.#consumer.on(GROUP_JOIN, ({ payload }) => {
      this.#memberId = payload.memberId;
      handlers.assigned(payload.memberAssignment[this.#topic] ?? []);
    });
    this.#consumer.on(CRASH, ({ payload }) => {
      this.#log.debug("kafkajs crashed", { error: payload.error, restart: payload.restart });
      // With restart it joins again on its own; without, the process would live on and do nothing.
      // Stopped while it joins, it ends the join this way.
      const isOver = payload.restart || this.#closing.signal.aborted;
      if (!isOver) void this.#onCrash(payload.error, handlers);
    });
    await this.#run(handlers).catch((error) => {
      throw classifyKafkaError("join the consumer group", error);
    });
  }

  async #run(handlers: GroupHandlers): Promise<void> {
    await this.#consumer.run({
      // The ledger moves with the rows; a commit by timer would run ahead of them.
      autoCommit: false,
      // Only what is stored may be resolved, or a failed batch would be stepped over.
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: HANDLERS_MAX,
      eachBatch: (payload) => handlers.batch(this.#fetchedBatch(payload)),
    });
  }

  /**
   * What the brokers refuse at the start ends the member: somebody is there to see it. What they
   * refuse later, a right that was taken away or a login that has ended, can be given back.
   */
  async #onCrash(error: Error, handlers: GroupHandlers): Promise<void> {
    let fault = await this.#explained(classifyKafkaError("read from Kafka", error));
    // After a login that failed kafkajs begins another one on the same connection, which the brokers
    // do not take. Why the first one failed is asked below.
    const isLoggedOut = isAnswer(fault, "ILLEGAL_SASL_STATE");
    const canComeBack = this.#memberId !== undefined;
    if (!canComeBack || !(isLoggedOut || fault instanceof ConfigurationError)) {
      handlers.crashed(fault);
      return;
    }
    const { signal } = this.#closing;
    for (let pauseMs = isLoggedOut ? 0 : REFUSED_PAUSE_MS;; pauseMs = REFUSED_PAUSE_MS) {
      if (pauseMs > 0) handlers.refused(fault);
      await systemClock.sleep(pauseMs, signal);
      if (signal.aborted) return;
      try {
        await this.#admin.fetchTopicMetadata({ topics: [this.#topic] });
        await this.#admin.describeGroups([this.#settings.groupId]);
        // If it is refused again, there is another crash to hear of.
        await this.#run(handlers);
        return;
      } catch (again) {
        fault = classifyKafkaError("read from Kafka", again);
      }
    }
  }

  /** Names the neighbours with whom the group cannot be shared. */
  async #explained(fault: Error): Promise<Error> {
    if (!isAnswer(fault, "INCONSISTENT_GROUP_PROTOCOL")) return fault;
    const group = await this.group().catch(() => undefined);
    const strangers = group?.members.filter(({ kind }) => kind === "stranger") ?? [];
    if (strangers.length === 0) return fault;
    const names = strangers.map(({ name }) => name).join(", ");
    return new ConfigurationError(
      `Cannot join group ${this.#settings.groupId}: another program is in it and shares out the ` +
        `partitions by "${group?.protocol}" (${names}); stop it, or choose another KAFKA_GROUP_ID`,
      { cause: fault },
    );
  }

  #fetchedBatch(payload: kafkajs.EachBatchPayload): FetchedBatch {
    // Not in kafkajs's types: the offset that this fetch asked for.
    const batch = payload.batch as unknown as { fetchedOffset: string; messages: [Parcel] };
    const [parcel] = batch.messages;
    const fetchedOffset = offsetOf(batch.fetchedOffset);
    return {
      partition: payload.batch.partition,
      fetchedOffset,
      nextOffset: offsetOf(payload.batch.lastOffset()) + 1,
      firstEpoch: parcel.firstEpoch,
      lastEpoch: parcel.lastEpoch,
      messages: messagesFrom(parcel, fetchedOffset),
      isCurrent: () => payload.isRunning() && !payload.isStale(),
      // kafkajs wants the last offset done and adds one itself.
      resolve: (nextOffset) => payload.resolveOffset(String(nextOffset - 1)),
      heartbeat: () => payload.heartbeat(),
    };
  }

  pause(partitions: readonly number[]): void {
    this.#steer(() => {
      this.#consumer.pause([{ topic: this.#topic, partitions: [...partitions] }]);
    });
  }

  resume(partitions: readonly number[]): void {
    this.#steer(() => {
      this.#consumer.resume([{ topic: this.#topic, partitions: [...partitions] }]);
    });
  }

  seek(partition: number, offset: number): void {
    this.#steer(() => {
      this.#consumer.seek({ topic: this.#topic, partition, offset: String(offset) });
    });
  }

  /**
   * Between a crash and its own restart kafkajs has no group and refuses to be steered. Nothing is
   * lost by that: the restart brings a new assignment, which is placed from the beginning.
   */
  #steer(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#log.debug("not a member of the group now", { error });
    }
  }

  identity(): Promise<TopicIdentity> {
    return ask(
      "read the topic's identity",
      () => readTopicIdentity(this.#cluster, this.#topic),
    );
  }

  watermarks(): Promise<ReadonlyMap<number, PartitionRange>> {
    const question = { topic: this.#topic, clock: systemClock };
    return ask("read the topic's offsets", () => readWatermarks(this.#cluster, question));
  }

  epochEnds(
    epochs: ReadonlyMap<number, number>,
  ): Promise<ReadonlyMap<number, EpochEnd | undefined>> {
    return ask(
      "read where the logs end",
      () => readEpochEnds(this.#cluster, this.#topic, epochs),
    );
  }

  heldBack(): Promise<ReadonlyMap<number, HeldBack>> {
    const question = { topic: this.#topic, clock: systemClock };
    return ask("look for open transactions", () => readHeldBack(this.#cluster, question));
  }

  async committedByOthers(): Promise<ReadonlyMap<number, number>> {
    const topics = await ask(
      "read the group's offsets",
      () => this.#admin.fetchOffsets({ groupId: this.#settings.groupId, topics: [this.#topic] }),
    );
    const rows = topics.flatMap((topic) => topic.partitions);
    // -1 and -2 mean "none": kafkajs itself writes them when an offset is out of range.
    return new Map(
      rows.filter((row) => row.metadata !== COMMIT_METADATA)
        .map((row) => [row.partition, offsetOf(row.offset)] as const)
        .filter(([_, offset]) => offset >= 0),
    );
  }

  offsetsAtTime(timestampMs: number): Promise<ReadonlyMap<number, number>> {
    const question = { topic: this.#topic, clock: systemClock, timestampMs };
    return ask("find offsets by time", () => readOffsetsAtTime(this.#cluster, question));
  }

  async group(): Promise<GroupSight> {
    return await ask(
      "look at the group's members",
      () =>
        readGroupSight(this.#admin, this.#cluster, {
          groupId: this.#settings.groupId,
          topic: this.#topic,
          ownClientId: this.#clientId,
          ownMemberId: this.#memberId,
        }),
    );
  }

  async liveMembers(): Promise<readonly string[]> {
    return (await this.group()).members.map(({ name }) => name);
  }

  async retentionMs(): Promise<number> {
    const names = ["cleanup.policy", "retention.ms"];
    const entries = await readTopicSettings(this.#admin, this.#topic, names);
    const retentionMs = Number(entries.get("retention.ms") ?? NaN);
    if (Number.isNaN(retentionMs)) {
      throw new ConfigurationError(
        `Cannot read retention.ms of topic ${this.#topic}: the brokers do not reveal it; ` +
          "grant DESCRIBE_CONFIGS on the topic",
      );
    }
    const isDeleted = (entries.get("cleanup.policy") ?? "delete").includes("delete");
    return isDeleted && retentionMs >= 0 ? retentionMs : Infinity;
  }

  async commit(nextOffsets: ReadonlyMap<number, number>): Promise<void> {
    const rows = [...nextOffsets].map(([partition, offset]) => ({
      topic: this.#topic,
      partition,
      offset: String(offset),
      metadata: COMMIT_METADATA,
    }));
    await ask("commit offsets", () => this.#consumer.commitOffsets(rows));
  }

  async stop(): Promise<void> {
    this.#closing.abort();
    await this.#consumer.stop();
  }

  /** Closes the connections, or gives up on brokers that do not answer. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    const clients = [this.#consumer, this.#admin, this.#cluster];
    await closeAll(clients, { log: this.#log, limitMs: CLOSE_MS });
  }
}

/**
 * @throws {ConfigurationError} if the offset cannot be told apart from its neighbours as a number,
 * which no real partition reaches.
 */
function offsetOf(text: string): number {
  const offset = Number(text);
  if (!Number.isSafeInteger(offset)) {
    throw new ConfigurationError(`Cannot work with offset ${text}: it is larger than 2^53`);
  }
  return offset;
}
