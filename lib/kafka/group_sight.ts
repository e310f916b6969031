/**
 * Asks the brokers who is in the group, and which partitions of the topic each member has.
 *
 * There are two kinds of groups, and a group changes its kind when a member of the new protocol
 * (KIP-848) joins. The request that kafkajs knows calls a group of the new kind dead. So another one
 * is written here by hand, https://kafka.apache.org/protocol#The_Messages_ConsumerGroupDescribe
 *
 * @module
 */
import { Buffer } from "node:buffer";
import * as kafkajs from "kafkajs";
import Decoder from "kafkajs/src/protocol/decoder.js";
import { createErrorFromCode } from "kafkajs/src/protocol/error.js";
import type { KafkaAdmin } from "./connection.ts";
import type { GroupShare, GroupSight } from "./group_member.ts";
import { askRaw, compactText, flexibleRequest, type RawCluster } from "./raw_cluster.ts";

/** Who asks, and about what. */
export interface GroupQuestion {
  /** The group. */
  readonly groupId: string;
  /** Whose partitions. */
  readonly topic: string;
  /** What members of this program call themselves. */
  readonly ownClientId: string;
  /** The member that asks; undefined: it is none. */
  readonly ownMemberId?: string | undefined;
}

/** What both kinds of groups tell of a member. */
interface SeenMember {
  readonly memberId: string;
  readonly clientId: string;
  readonly clientHost: string;
  /** Topics that it wants to read. */
  readonly topics: readonly string[];
  readonly partitions: readonly number[];
}

interface SeenGroup {
  readonly state: string;
  readonly protocolType: string;
  readonly protocol: string;
  readonly members: readonly SeenMember[];
}

/** The states of a group of the old kind in which its shares are not known. */
const UNSETTLED = ["PreparingRebalance", "CompletingRebalance"];

/** Number of the request in the protocol. */
const CONSUMER_GROUP_DESCRIBE = 69;

/** Error of the protocol: there is no such group, or it is of the other kind. */
const GROUP_ID_NOT_FOUND = 69;

/** Asks once, or twice if the group is not of the old kind. */
export async function readGroupSight(
  admin: KafkaAdmin,
  cluster: RawCluster,
  question: GroupQuestion,
): Promise<GroupSight> {
  const { groupId, topic } = question;
  const { groups } = await admin.describeGroups([groupId]);
  const [described] = groups;
  const isUnknown = described === undefined || described.state === "Dead";
  const group = isUnknown
    ? await newKindOfGroup(cluster, question) ?? oldKindOfGroup(described, topic)
    : oldKindOfGroup(described, topic);
  const { state, protocolType, protocol } = group;
  return {
    isSettled: !UNSETTLED.includes(state),
    state,
    protocolType,
    protocol,
    members: group.members.toSorted((a, b) => a.memberId < b.memberId ? -1 : 1)
      .map((member) => shareOf(member, question)),
  };
}

function shareOf(member: SeenMember, question: GroupQuestion): GroupShare {
  const { memberId, clientId, clientHost, topics, partitions } = member;
  const isOurs = clientId === question.ownClientId && topics.includes(question.topic);
  return {
    name: `${clientId} at ${clientHost.replace(/^\//, "")}`,
    kind: memberId === question.ownMemberId ? "self" : isOurs ? "ours" : "stranger",
    partitions: partitions.toSorted((a, b) => a - b),
  };
}

function oldKindOfGroup(
  group: kafkajs.GroupDescription | undefined,
  topic: string,
): SeenGroup {
  const { state = "", protocolType = "", protocol = "", members = [] } = group ?? {};
  return {
    ...{ state, protocolType, protocol },
    members: members.map((
      { memberId, clientId, clientHost, memberMetadata, memberAssignment },
    ) => ({
      ...{ memberId, clientId, clientHost },
      topics: decoded(() => kafkajs.AssignerProtocol.MemberMetadata.decode(memberMetadata))
        ?.topics ?? [],
      partitions: decoded(() => kafkajs.AssignerProtocol.MemberAssignment.decode(memberAssignment))
        ?.assignment[topic] ?? [],
    })),
  };
}

/** While partitions are shared out these are empty, and what another program writes can be anything. */
function decoded<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}

async function newKindOfGroup(
  cluster: RawCluster,
  { groupId, topic }: GroupQuestion,
): Promise<SeenGroup | undefined> {
  await cluster.connect();
  // Brokers are known with their topics only. A topic that is not there hides no group.
  await cluster.addTargetTopic(topic).catch((error) => {
    if (error.type !== "UNKNOWN_TOPIC_OR_PARTITION") throw error;
    return cluster.refreshMetadata();
  });
  const broker = await cluster.findGroupCoordinator({ groupId });
  if (broker.versions[CONSUMER_GROUP_DESCRIBE] === undefined) return undefined;
  const { errorCode, group } = await askRaw(
    broker,
    describeRequest(groupId),
    (raw) => parseDescription(raw, topic),
  );
  if (errorCode === GROUP_ID_NOT_FOUND) return undefined;
  if (errorCode !== 0) throw createErrorFromCode(errorCode);
  return group;
}

interface DescribeAnswer {
  readonly errorCode: number;
  readonly group: SeenGroup;
}

function describeRequest(groupId: string): object {
  const kind = {
    apiKey: CONSUMER_GROUP_DESCRIBE,
    apiVersion: 0,
    apiName: "ConsumerGroupDescribe",
  };
  return flexibleRequest(kind, [
    Buffer.from([2]), // group_ids: compact array of length 1, written as length + 1
    compactText(groupId),
    Buffer.from([0]), // include_authorized_operations: no
    Buffer.from([0]), // tagged fields
  ]);
}

/** Reads the answer as far as the first group's members. */
function parseDescription(raw: Buffer, topic: string): DescribeAnswer {
  const decoder = new Decoder(raw);
  decoder.readTaggedFields(); // of the header
  decoder.readInt32(); // throttle_time_ms
  decoder.readUVarInt(); // groups: we asked for one
  const errorCode = decoder.readInt16();
  decoder.readUVarIntString(); // error_message
  decoder.readUVarIntString(); // group_id
  const state = decoder.readUVarIntString() ?? "";
  decoder.readInt32(); // group_epoch
  decoder.readInt32(); // assignment_epoch
  const protocol = decoder.readUVarIntString() ?? ""; // assignor_name
  const members = errorCode === 0
    ? decoder.readUVarIntArray((member: Decoder) => parseMember(member, topic))
    : [];
  return { errorCode, group: { state, protocolType: "consumer", protocol, members } };
}

function parseMember(decoder: Decoder, topic: string): SeenMember {
  const memberId = decoder.readUVarIntString() ?? "";
  decoder.readUVarIntString(); // instance_id
  decoder.readUVarIntString(); // rack_id
  decoder.readInt32(); // member_epoch
  const clientId = decoder.readUVarIntString() ?? "";
  const clientHost = decoder.readUVarIntString() ?? "";
  const topics = decoder.readUVarIntArray((name: Decoder) => name.readUVarIntString() ?? "");
  decoder.readUVarIntString(); // subscribed_topic_regex
  const partitions = parseAssignment(decoder, topic);
  parseAssignment(decoder, topic); // target_assignment: what it will have
  decoder.readTaggedFields();
  return { memberId, clientId, clientHost, topics, partitions };
}

function parseAssignment(decoder: Decoder, wanted: string): readonly number[] {
  const found: number[] = [];
  decoder.readUVarIntArray((topic: Decoder) => {
    topic.readBytes(16); // topic_id
    const name = topic.readUVarIntString();
    const partitions = topic.readUVarIntArray((partition: Decoder) => partition.readInt32());
    topic.readTaggedFields();
    if (name === wanted) found.push(...partitions);
  });
  decoder.readTaggedFields();
  return found;
}
