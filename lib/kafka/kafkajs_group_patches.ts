/**
 * Corrections to how kafkajs 2.2.4 joins a group and leaves it. Importing this module applies them,
 * once. A member that the brokers take for alive and that is gone makes all others wait: none of them
 * reads before it is given up.
 *
 * @module
 */
import Broker from "kafkajs/src/broker/index.js";
import ConsumerGroup from "kafkajs/src/consumer/consumerGroup.js";
import Runner from "kafkajs/src/consumer/runner.js";
import ConnectionPool from "kafkajs/src/network/connectionPool.js";
import { KafkaJSNonRetriableError } from "kafkajs/src/errors.js";

/** A question to a broker, as kafkajs hands it to a connection. */
interface Question {
  readonly request: { readonly apiName: string };
  readonly requestTimeout?: number;
}

/** The part of kafkajs's connections to one broker that is touched. */
interface PatchedConnectionPool {
  getConnection(index: number): Promise<unknown>;
}

/** The part of kafkajs's broker that is touched. */
interface PatchedBroker {
  readonly connectionPool: object;
  leaveGroup(member: { readonly groupId: string; readonly memberId: string }): Promise<unknown>;
}

/** What a member says when it asks to join, in part. */
interface Joining {
  readonly sessionTimeout: number;
  readonly rebalanceTimeout: number;
}

/** Tries until it succeeds, or until `bail` is called. */
type Retrier = (attempt: (bail: (error: Error) => void) => Promise<unknown>) => Promise<unknown>;

/** The part of kafkajs's consumer group that is touched. */
interface PatchedConsumerGroup {
  readonly groupId: string;
  readonly memberId: string | null;
  readonly coordinator: PatchedBroker | null;
  retrier: Retrier;
}

/** The part of kafkajs's runner that is touched. */
interface PatchedRunner {
  readonly consumerGroup: PatchedConsumerGroup;
}

/** Questions that a broker answers only once all members have asked them, or are given up. */
const GROUP_WAITS: readonly string[] = ["JoinGroup", "SyncGroup"];

/** An answer to them is overdue so long after the last member was given up, ms. */
const GROUP_ANSWER_MS = 5_000;

/** Which of its two connections to a broker kafkajs has for fetches. Who joins does not fetch. */
const FETCH_CONNECTION = 1;

/** What is known of a coordinator's connections. */
interface Waits {
  /** How long the broker may wait for members before it answers, ms. */
  readonly waitMs: number;
  /** Such questions under way. */
  open: number;
  /** What the broker calls the member that joins, if it is new. */
  memberId?: string;
}

const waitsOf = new WeakMap<object, Waits>();

/** Groups that are being joined, and those among them that were left. */
const joining = new WeakSet<object>();
const left = new WeakSet<object>();

const originalJoinGroup = Broker.prototype.joinGroup;
Broker.prototype.joinGroup = function (this: PatchedBroker, asked: Joining): Promise<unknown> {
  const waitMs = Math.max(asked.sessionTimeout, asked.rebalanceTimeout);
  waitsOf.set(this.connectionPool, { waitMs, open: 0 });
  return originalJoinGroup.call(this, asked);
};

/**
 * The original gives a SyncGroup up after the usual time for a request, and a dead leader's session can
 * be longer. It then joins as somebody new, and its former self is waited for as well.
 */
const originalSend = ConnectionPool.prototype.send;
ConnectionPool.prototype.send = async function (
  this: PatchedConnectionPool,
  question: Question,
): Promise<unknown> {
  const waits = waitsOf.get(this);
  if (waits === undefined || !GROUP_WAITS.includes(question.request.apiName)) {
    return await originalSend.call(this, question);
  }
  waits.open++;
  try {
    const requestTimeout = waits.waitMs + GROUP_ANSWER_MS;
    return await originalSend.call(this, { ...question, requestTimeout });
  } catch (error) {
    const { name, memberId } = error as { readonly name?: string; readonly memberId?: string };
    if (name === "KafkaJSMemberIdRequired" && memberId !== undefined) waits.memberId = memberId;
    throw error;
  } finally {
    waits.open--;
  }
};

/** A broker answers one question of a connection after the other: a commit must not wait for a group. */
const originalConnectionFor = ConnectionPool.prototype.getConnectionByRequest;
ConnectionPool.prototype.getConnectionByRequest = function (
  this: PatchedConnectionPool,
  question: Question,
): Promise<unknown> {
  const isWaiting = (waitsOf.get(this)?.open ?? 0) > 0;
  return isWaiting && !GROUP_WAITS.includes(question.request.apiName)
    ? this.getConnection(FETCH_CONNECTION)
    : originalConnectionFor.call(this, question);
};

/** The original cannot be told to end what it tries again and again. */
const originalJoinAndSync = ConsumerGroup.prototype.joinAndSync;
ConsumerGroup.prototype.joinAndSync = async function (this: PatchedConsumerGroup): Promise<void> {
  const { retrier } = this;
  this.retrier = (attempt) =>
    retrier(async (bail) => {
      if (left.has(this)) throw new KafkaJSNonRetriableError("The group was left while joining it");
      return await attempt(bail);
    });
  joining.add(this);
  try {
    await originalJoinAndSync.call(this);
  } finally {
    joining.delete(this);
    this.retrier = retrier;
  }
};

/**
 * The original leaves only a group that it has joined. Stopped while the group shares out its
 * partitions, it goes without a word, or not before that has ended.
 */
const originalStop = Runner.prototype.stop;
Runner.prototype.stop = async function (this: PatchedRunner): Promise<void> {
  const { consumerGroup: group } = this;
  if (joining.has(group)) {
    left.add(group);
    await leaveWhileJoining(group);
  }
  await originalStop.call(this);
};

async function leaveWhileJoining(group: PatchedConsumerGroup): Promise<void> {
  const { groupId, coordinator } = group;
  if (coordinator === null) return;
  const memberId = group.memberId ?? waitsOf.get(coordinator.connectionPool)?.memberId;
  if (memberId === undefined) return;
  try {
    await coordinator.leaveGroup({ groupId, memberId });
  } catch {
    // Then the brokers give it up, as they do with one that was killed.
  }
}
