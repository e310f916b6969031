/**
 * Asks the leaders of a topic's partitions for offsets, each on its own. kafkajs's own question fails
 * for all partitions when one of them has no leader, or one broker is silent.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { ConfigurationError, describeError } from "../errors.ts";
import { classifyKafkaError } from "./connection.ts";
import type { HeldBack, OfflinePartition, PartitionRange } from "./message.ts";
import type { RawCluster } from "./raw_cluster.ts";

/** Which topic, and who limits the wait for a silent leader. */
export interface OffsetsOf {
  /** Its name. */
  readonly topic: string;
  /** Measures. */
  readonly clock: Clock;
}

/** The whole log, or what a reader of committed messages can read. */
const ISOLATION = { uncommitted: 0, committed: 1 } as const;

/** How the protocol asks for the two ends of a log. */
const END = -1;
const BEGINNING = -2;

/** Once another leader has answered, one that has not after this long must not hold it up, ms. */
const LEADER_MS_MAX = 1_000;

/**
 * The readable range of each partition of the topic, by rising number.
 *
 * @throws {Error} kafkajs's, if no leader answers at all, or one of them refuses this user.
 */
export async function readWatermarks(
  cluster: RawCluster,
  of: OffsetsOf,
): Promise<ReadonlyMap<number, PartitionRange>> {
  const ranges = new Map<number, PartitionRange>();
  const answers = await askAll(cluster, { ...of, timestamps: [BEGINNING, END] });
  for (const [partition, answer] of answers) {
    if ("offline" in answer) ranges.set(partition, answer);
    else ranges.set(partition, { low: answer[0]!, high: answer[1]! });
  }
  return ranges;
}

/**
 * Per partition that answers the first offset whose message is not older, else its end.
 *
 * @throws {Error} see {@linkcode readWatermarks}
 */
export async function readOffsetsAtTime(
  cluster: RawCluster,
  { timestampMs, ...of }: OffsetsOf & { readonly timestampMs: number },
): Promise<ReadonlyMap<number, number>> {
  const found = new Map<number, number>();
  const answers = await askAll(cluster, { ...of, timestamps: [timestampMs, END] });
  for (const [partition, answer] of answers) {
    if ("offline" in answer) continue;
    const [first, end] = answer;
    // -1: all messages are older.
    found.set(partition, first! >= 0 ? first! : end!);
  }
  return found;
}

/**
 * See `GroupMember.heldBack`; partitions without a leader are absent.
 *
 * @throws {Error} see {@linkcode readWatermarks}
 */
export async function readHeldBack(
  cluster: RawCluster,
  of: OffsetsOf,
): Promise<ReadonlyMap<number, HeldBack>> {
  const ask = (isolation: keyof typeof ISOLATION): Promise<ReadonlyMap<number, Answer>> =>
    askAll(cluster, { ...of, timestamps: [END], isolation });
  // In this order: what comes in between must not look as if it were held back.
  const ends = await ask("uncommitted");
  const readable = await ask("committed");
  const heldBack = new Map<number, HeldBack>();
  for (const [partition, answer] of ends) {
    const committed = readable.get(partition) ?? answer;
    if ("offline" in answer || "offline" in committed) continue;
    const [end, offset] = [answer[0]!, committed[0]!];
    if (offset < end) heldBack.set(partition, { offset, messages: end - offset });
  }
  return heldBack;
}

/** An offset for each question, in their order. */
type Answer = readonly number[] | OfflinePartition;

/** What is asked. */
interface Question extends OffsetsOf {
  readonly timestamps: readonly number[];
  /** @default "committed" */
  readonly isolation?: keyof typeof ISOLATION;
}

/** A round of questions to the leaders of some partitions. */
interface Round extends Question {
  /** Is filled in. */
  readonly answers: Map<number, Answer>;
}

/** Asks all leaders at once, and those that failed a second time, with fresh metadata. */
async function askAll(
  cluster: RawCluster,
  question: Question,
): Promise<ReadonlyMap<number, Answer>> {
  const { topic } = question;
  await cluster.connect();
  await cluster.addTargetTopic(topic);
  await cluster.refreshMetadataIfNecessary();
  const all = cluster.findTopicPartitionMetadata(topic)
    .map(({ partitionId }) => partitionId).sort((a, b) => a - b);
  const unknown: Answer = { offline: "not asked yet" };
  const round: Round = {
    ...question,
    answers: new Map(all.map((partition) => [partition, unknown])),
  };
  const failed = await askLeaders(cluster, all, round);
  if (failed.size === 0) return round.answers;
  await cluster.refreshMetadata();
  const failedAgain = await askLeaders(cluster, [...failed.keys()], round);
  // Not one leader answers: that is no matter of partitions.
  const isSilent = [...round.answers.values()].every((answer) => "offline" in answer);
  const [error] = failedAgain.values();
  if (error !== undefined && isSilent) throw error;
  return round.answers;
}

/** Returns the partitions whose leader failed, each with the failure. */
async function askLeaders(
  cluster: RawCluster,
  partitions: readonly number[],
  { topic, timestamps, clock, answers, isolation = "committed" }: Round,
): Promise<ReadonlyMap<number, Error>> {
  const leaderOf = new Map(
    cluster.findTopicPartitionMetadata(topic).map((one) => [one.partitionId, one.leader]),
  );
  const failed = new Map<number, Error>();
  const answered = Promise.withResolvers<void>();
  let isOver = false;
  const asking = Map.groupBy(partitions, (partition) => leaderOf.get(partition) ?? -1);
  for (const [nodeId, led] of asking) {
    const offline = nodeId < 0 ? "no broker leads it" : `broker ${nodeId} leads it and is silent`;
    for (const partition of led) answers.set(partition, { offline });
  }
  asking.delete(-1);
  const all = Promise.all(Array.from(asking, async ([nodeId, led]) => {
    try {
      const question = { topic, nodeId, partitions: led, timestamps, isolation };
      const offsets = await askLeader(cluster, question);
      if (!isOver) { for (const [partition, each] of offsets) answers.set(partition, each); }
      answered.resolve();
    } catch (error) {
      const fault = classifyKafkaError("read the topic's offsets", error);
      if (fault instanceof ConfigurationError) throw fault;
      const offline = `broker ${nodeId} leads it and does not answer: ${describeError(error)}`;
      for (const partition of isOver ? [] : led) {
        answers.set(partition, { offline });
        failed.set(partition, fault);
      }
    }
  }));
  const settled = new AbortController();
  const patience = answered.promise.then(() => clock.sleep(LEADER_MS_MAX, settled.signal));
  await Promise.race([all, patience]).finally(() => {
    isOver = true;
    settled.abort();
  });
  // What comes too late is nobody's business any more.
  all.catch(() => {});
  return failed;
}

/** A question to one leader. */
interface LeaderQuestion extends Required<Omit<Question, "clock">> {
  readonly nodeId: number;
  /** That it leads. */
  readonly partitions: readonly number[];
}

async function askLeader(
  cluster: RawCluster,
  { topic, nodeId, partitions, timestamps, isolation }: LeaderQuestion,
): Promise<ReadonlyMap<number, readonly number[]>> {
  const broker = await cluster.findBroker({ nodeId });
  const isolationLevel = ISOLATION[isolation];
  const answers = await Promise.all(timestamps.map(async (timestamp) => {
    const asked = partitions.map((partition) => ({ partition, timestamp }));
    const topics = [{ topic, partitions: asked }];
    const { responses } = await broker.listOffsets({ isolationLevel, topics });
    const found = responses.flatMap((response) => response.partitions);
    return new Map(found.map(({ partition, offset }) => [partition, Number(offset)]));
  }));
  return new Map(
    partitions.map((partition) => [partition, answers.map((answer) => answer.get(partition)!)]),
  );
}
