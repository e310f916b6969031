/**
 * Judges what the brokers have said. Pure: facts in, findings out.
 *
 * @module
 */
import { findIntrusion, foreignOffsetsText } from "../consumer/neighbour_checks.ts";
import { decidePlacement } from "../consumer/placement.ts";
import { describeError } from "../errors.ts";
import type { Answer, GroupFacts, KafkaFacts, TopicFacts } from "../kafka/kafka_facts.ts";
import {
  heldBackCure,
  heldBackText,
  isSameTopic,
  offlineOf,
  onlineOf,
  type Watermarks,
} from "../kafka/message.ts";
import { ageText } from "../operations/retain.ts";
import { type LedgerLine, linesOf } from "../postgres/store.ts";
import type { Settings } from "../settings/table.ts";
import { type Finding, findingsOf } from "./finding.ts";
import { counted } from "../quantities.ts";

/** Settings that the topic is compared with. */
export type KafkaCheckSettings =
  & Settings<"kafka" | "redis" | "limits">
  & Partial<Settings<"producer">>;

/** What the brokers' facts are compared with. */
export interface KafkaContext {
  /** Those in force. */
  readonly settings: KafkaCheckSettings;
  /** All lines of the ledger; an error: PostgreSQL does not tell. */
  readonly ledger: Answer<readonly LedgerLine[]>;
}

const kafka = findingsOf("kafka");

const DAY_MS = 86_400_000;

/** Judges all of it, in the order in which a person would ask. */
export function kafkaFindings(
  facts: KafkaFacts,
  context: KafkaContext,
): readonly Finding[] {
  const { brokers, topic, group } = facts;
  return [
    kafka.ok("brokers", `${brokers} in the cluster`),
    ...(topic instanceof Error
      ? [kafka.failure("topic", describeError(topic), "")]
      : topicFindings(topic, brokers, context)),
    ...(group instanceof Error
      ? [kafka.failure("group", describeError(group), "")]
      : groupFindings(group, topic, context)),
  ];
}

function topicFindings(
  topic: TopicFacts,
  brokers: number,
  context: KafkaContext,
): readonly Finding[] {
  return [
    partitions(topic),
    reach(topic),
    ...topic.heldBack instanceof Error
      ? []
      : [openTransactions(topic.heldBack, context.settings.kafka)],
    identity(topic),
    replication(topic, brokers),
    ...(topic.settings instanceof Error
      ? [kafka.warning(
        "topic settings",
        describeError(topic.settings),
        "Grant DESCRIBE_CONFIGS on the topic: retain needs retention.ms, too.",
      )]
      : settingsFindings(topic.settings, context.settings)),
  ];
}

function partitions({ partitions }: TopicFacts): Finding {
  const dead = partitions.filter(({ hasLeader }) => !hasLeader);
  if (dead.length > 0) {
    const names = dead.map(({ partition }) => partition).join(", ");
    return kafka.failure(
      "partitions",
      `partitions ${names} cannot be read or written: they have no leader. The others work`,
      "Start the brokers that host them.",
    );
  }
  const count = partitions.length;
  return kafka.ok(
    "partitions",
    `${count}, so at most ${counted(count, "consumer shares", "consumers share")} the work`,
  );
}

/** Offsets come from the leaders, over the addresses that the brokers advertise. */
function reach({ watermarks, partitions }: TopicFacts): Finding {
  const isAnswered = !(watermarks instanceof Error);
  const led = new Set(partitions.filter((one) => one.hasLeader).map((one) => one.partition));
  const silent = isAnswered
    ? [...offlineOf(watermarks)].filter(([partition]) => led.has(partition))
    : [];
  if (isAnswered && silent.length === 0) return kafka.ok("leaders", "all leaders answer");
  return kafka.failure(
    "leaders",
    isAnswered
      ? silent.map(([partition, reason]) => `partition ${partition}: ${reason}`).join("; ")
      : describeError(watermarks),
    "Check that advertised.listeners names the brokers by addresses that this computer can reach.",
  );
}

/** Nobody can read what lies behind one, and the lag does not count it. */
function openTransactions(
  heldBack: Exclude<TopicFacts["heldBack"], Error>,
  { topic }: KafkaCheckSettings["kafka"],
): Finding {
  const [first] = heldBack;
  if (first === undefined) {
    return kafka.ok("transactions", "no open transaction holds messages back");
  }
  return kafka.warning(
    "transactions",
    Array.from(heldBack, ([partition, held]) => heldBackText(partition, held)).join("; "),
    heldBackCure(topic, ...first),
  );
}

function identity({ identity }: TopicFacts): Finding {
  if (identity instanceof Error) {
    return kafka.failure("topic id", describeError(identity), "Kafka 2.8 or later is needed.");
  }
  return kafka.ok("topic id", identity.topicId);
}

function replication({ partitions, settings }: TopicFacts, brokers: number): Finding {
  const copies = Math.min(...partitions.map(({ replicas }) => replicas));
  const inSync = Math.min(...partitions.map((one) => one.inSync));
  // Untold, it is NaN, and no comparison holds.
  const minInSync = settings instanceof Error
    ? NaN
    : Number(settings.get("min.insync.replicas") ?? NaN);
  const told = Number.isNaN(minInSync) ? "unknown" : minInSync;
  const text = `${
    counted(copies, "copy", "copies")
  }, ${inSync} in sync, min.insync.replicas ${told}`;
  // A topic with fewer copies than that is written to when all of them are in sync.
  if (inSync < Math.min(minInSync, copies)) {
    return kafka.failure(
      "replication",
      `${text}: the brokers refuse to write`,
      "Bring the missing brokers back, or lower min.insync.replicas.",
    );
  }
  if (copies === 1) {
    return kafka.warning(
      "replication",
      "one copy: if the broker's disk fails, messages that are not stored yet are lost",
      brokers === 1
        ? "Run three brokers, with replication factor 3 and min.insync.replicas=2."
        : "Give the topic replication factor 3 and min.insync.replicas=2.",
    );
  }
  if (inSync < copies) {
    return kafka.warning("replication", `${text}: a copy is behind`, "Check the brokers.");
  }
  if (minInSync === 1) {
    return kafka.warning(
      "replication",
      `${text}: a single copy may acknowledge a message, and be the one that is lost`,
      "Set min.insync.replicas=2.",
    );
  }
  if (minInSync === copies) {
    return kafka.warning(
      "replication",
      `${text}: if any broker is down, nothing can be written`,
      "Set min.insync.replicas one below the number of copies.",
    );
  }
  return kafka.ok("replication", text);
}

function settingsFindings(
  given: ReadonlyMap<string, string>,
  settings: KafkaCheckSettings,
): readonly Finding[] {
  if (!given.has("retention.ms")) {
    return [kafka.warning(
      "topic settings",
      "the brokers do not reveal them",
      "Grant DESCRIBE_CONFIGS on the topic: retain needs retention.ms, too.",
    )];
  }
  return [
    cleanup(given),
    retention(given, settings),
    retentionSize(given),
    ageLimit(given, settings),
    timestamps(given),
    // A consumer that starts does not know the producer's settings.
    ...(settings.producer ? [messageSize(given, settings.producer)] : []),
    leaderElection(given),
  ];
}

function cleanup(given: ReadonlyMap<string, string>): Finding {
  const policy = given.get("cleanup.policy") ?? "delete";
  if (!policy.includes("compact")) return kafka.ok("cleanup policy", policy);
  return kafka.failure(
    "cleanup policy",
    `${policy}: the topic keeps only the newest message of each sensor, and drops readings that ` +
      "are not stored yet",
    "Set cleanup.policy=delete.",
  );
}

/** How long the topic keeps a message, ms; Infinity: forever. */
function retentionMsOf(given: ReadonlyMap<string, string>): number {
  const retentionMs = Number(given.get("retention.ms"));
  return retentionMs < 0 ? Infinity : retentionMs;
}

function retention(given: ReadonlyMap<string, string>, { redis }: KafkaCheckSettings): Finding {
  const keptMs = retentionMsOf(given);
  if (keptMs < DAY_MS) {
    return kafka.warning(
      "retention",
      `${ageText(keptMs)}: a consumer that is down for longer loses messages`,
      "Raise retention.ms to a few days.",
    );
  }
  const kept = keptMs === Infinity
    ? "forever, so retain deletes nothing"
    : `${ageText(keptMs)}, so retain accepts windows of that length or longer`;
  const remembered = redis.ttlSeconds * 1_000 < keptMs
    ? `duplicates older than REDIS_TTL_SECONDS=${redis.ttlSeconds} are found by PostgreSQL alone`
    : "Redis remembers readings as long as that";
  return kafka.ok("retention", `${kept}; ${remembered}`);
}

function retentionSize(given: ReadonlyMap<string, string>): Finding {
  const bytes = Number(given.get("retention.bytes") ?? -1);
  if (bytes < 0) return kafka.ok("retention size", "unlimited");
  return kafka.warning(
    "retention size",
    `retention.bytes=${bytes}: a burst can push out messages that are not stored yet`,
    "Set retention.bytes=-1, or watch the lag.",
  );
}

function ageLimit(given: ReadonlyMap<string, string>, { limits }: KafkaCheckSettings): Finding {
  const { pastDaysMax } = limits;
  const keptMs = retentionMsOf(given);
  if (pastDaysMax === 0 || pastDaysMax * DAY_MS >= keptMs) {
    return kafka.ok(
      "age limit",
      `MAX_PAST_DAYS=${pastDaysMax} allows everything that the topic keeps`,
    );
  }
  const kept = keptMs === Infinity ? "forever" : `for ${ageText(keptMs)}`;
  return kafka.warning(
    "age limit",
    `the topic keeps messages ${kept}, and MAX_PAST_DAYS=${pastDaysMax} refuses older readings: ` +
      "when they are read late, or again, they become dead letters",
    "Raise MAX_PAST_DAYS, or set it to 0 for no limit.",
  );
}

function timestamps(given: ReadonlyMap<string, string>): Finding {
  const type = given.get("message.timestamp.type") ?? "CreateTime";
  if (type === "LogAppendTime") return kafka.ok("message time", type);
  return kafka.warning(
    "message time",
    `${type}: producers' clocks decide when messages are deleted, and what a time means for --from, ` +
      "rewind and the lag in seconds",
    "Set message.timestamp.type=LogAppendTime.",
  );
}

function messageSize(
  given: ReadonlyMap<string, string>,
  { batchBytesMax: neededBytes }: Settings["producer"],
): Finding {
  const bytesMax = Number(given.get("max.message.bytes"));
  if (bytesMax >= neededBytes) return kafka.ok("message size", `max.message.bytes=${bytesMax}`);
  return kafka.warning(
    "message size",
    `max.message.bytes=${bytesMax} is less than PRODUCER_BATCH_BYTES_MAX=${neededBytes}: the ` +
      "topic refuses the producer's full batches",
    "Raise max.message.bytes to 1048576, or lower PRODUCER_BATCH_BYTES_MAX.",
  );
}

function leaderElection(given: ReadonlyMap<string, string>): Finding {
  if (given.get("unclean.leader.election.enable") !== "true") {
    return kafka.ok("leader election", "only in-sync replicas can become leaders");
  }
  return kafka.warning(
    "leader election",
    "unclean.leader.election.enable=true: acknowledged messages can be lost when brokers fail",
    "Set it to false.",
  );
}

function groupFindings(
  group: GroupFacts,
  topic: Answer<TopicFacts>,
  { ledger, settings }: KafkaContext,
): readonly Finding[] {
  const found = [members(group, topic, settings.kafka.groupId)];
  if (topic instanceof Error || ledger instanceof Error) return found;
  const { identity, watermarks } = topic;
  if (identity instanceof Error || watermarks instanceof Error) return found;
  return [
    ...found,
    ...groupOffsets(linesOf(ledger, identity), group),
    lag({ ...topic, identity, watermarks: onlineOf(watermarks) }, group, ledger),
  ];
}

function members(group: GroupFacts, topic: Answer<TopicFacts>, groupId: string): Finding {
  const { state, protocolType, isSettled } = group.sight;
  const members = group.sight.members.length;
  if (!["", "consumer"].includes(protocolType)) {
    return kafka.failure(
      "group",
      `${groupId} belongs to another kind of program, "${protocolType}"`,
      "Choose another KAFKA_GROUP_ID.",
    );
  }
  const numbers = topic instanceof Error ? [] : topic.partitions.map(({ partition }) => partition);
  const intrusion = isSettled ? findIntrusion(group.sight, numbers) : undefined;
  if (intrusion !== undefined) return kafka.failure("group", intrusion.text, "");
  if (!isSettled) {
    return kafka.warning(
      "group",
      `${counted(members, "member")}, rebalancing (${state})`,
      "Try again in a few seconds; if it stays like this, members keep joining and leaving: see their logs.",
    );
  }
  const partitions = topic instanceof Error ? Infinity : topic.partitions.length;
  if (members > partitions) {
    return kafka.warning(
      "group",
      `${counted(members, "member")} and ${counted(partitions, "partition")}: ` +
        `${members - partitions} without work`,
      "Run fewer consumers, or give the topic more partitions.",
    );
  }
  return kafka.ok(
    "group",
    members === 0 ? "no consumer is running" : `${counted(members, "member")}, ${state}`,
  );
}

function groupOffsets(
  lines: ReadonlyMap<number, LedgerLine>,
  { committedByOthers }: GroupFacts,
): readonly Finding[] {
  const text = foreignOffsetsText(committedByOthers, lines);
  return text === undefined ? [] : [kafka.warning("group offsets", text, "")];
}

/** The ledger's lag, from where a consumer that starts now would read. */
function lag(
  topic: Omit<TopicFacts, "watermarks"> & {
    readonly identity: Exclude<TopicFacts["identity"], Error>;
    readonly watermarks: ReadonlyMap<number, Watermarks>;
  },
  group: GroupFacts,
  ledger: readonly LedgerLine[],
): Finding {
  const lines = linesOf(ledger, topic.identity);
  const isMadeAgain = ledger.some((line) =>
    line.topic.topic === topic.identity.topic && !isSameTopic(line.topic, topic.identity)
  );
  const young = topic.youngOffsets instanceof Map ? topic.youngOffsets : new Map<number, number>();
  let [waiting, lost] = [0, 0];
  const [aging, shortened]: [number[], number[]] = [[], []];
  for (const [partition, watermarks] of topic.watermarks) {
    const start = isMadeAgain ? undefined : group.committedByOthers.get(partition);
    const placement = decidePlacement(lines.get(partition), { watermarks, end: undefined }, start);
    const { offset } = placement;
    if (placement.kind === "gap") lost += offset - placement.fromOffset;
    // With members at work the ledger can have moved on while the brokers answered.
    if (placement.kind === "rewind") {
      if (group.sight.members.length === 0) shortened.push(partition);
      continue;
    }
    waiting += watermarks.high - offset;
    if (offset < watermarks.high && offset < (young.get(partition) ?? 0)) aging.push(partition);
  }
  if (lost > 0) {
    return kafka.failure(
      "lag",
      `the topic has deleted ${
        counted(lost, "message that was", "messages that were")
      } not stored; the ledger will count a gap`,
      "Raise retention.ms, and run enough consumers.",
    );
  }
  if (shortened.length > 0) {
    return kafka.failure(
      "lag",
      `partitions ${shortened.join(", ")} end before the ledger: the brokers have lost their ` +
        "newest messages; what is left will be read again",
      "Check the brokers' disks and min.insync.replicas.",
    );
  }
  if (aging.length > 0) {
    return kafka.warning(
      "lag",
      `${counted(waiting, "message is", "messages are")} waiting, in partitions ${
        aging.join(", ")
      } for more than half of ` +
        "retention.ms: they will be deleted soon",
      "Start consumers, or raise retention.ms.",
    );
  }
  return kafka.ok(
    "lag",
    `${counted(waiting, "message is", "messages are")} waiting, by the ledger`,
  );
}
