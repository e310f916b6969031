/**
 * Asks the leaders of partitions where leader epochs end in their logs.
 *
 * kafkajs does not know this question, OffsetForLeaderEpoch. Version 3 of it is written here by hand,
 * which all brokers since Kafka 2.3 speak:
 * https://kafka.apache.org/protocol#The_Messages_OffsetForLeaderEpoch
 *
 * It names the epoch in which the broker leads as far as we know. A broker that slept and leads no more
 * does not know that epoch and refuses to answer; its watermarks are believed by everybody who asks.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import Decoder from "kafkajs/src/protocol/decoder.js";
import Encoder from "kafkajs/src/protocol/encoder.js";
import { type EpochEnd, UNKNOWN_EPOCH } from "./message.ts";

const API_KEY = 23;
const API_VERSION = 3;
/** Who asks: no replica but a consumer. */
const CONSUMER = -1;

/** Who leads a partition. */
export interface PartitionLeader {
  /** Node id of the broker; -1: nobody leads. */
  readonly leaderId: number;
  /** Since when: rises with each leader. */
  readonly leaderEpoch: number;
}

/** What is asked of one broker. */
export interface EpochEndsQuestion {
  /** Name of the topic. */
  readonly topic: string;
  /** The epoch in question by partition; `UNKNOWN_EPOCH`: the one of the present leader. */
  readonly epochs: ReadonlyMap<number, number>;
  /** Who leads which partition. */
  readonly leaders: ReadonlyMap<number, PartitionLeader>;
}

type KafkajsDecoder = InstanceType<typeof Decoder>;

/** The request as kafkajs's connections send it. */
export function epochEndsRequest({ topic, epochs, leaders }: EpochEndsQuestion): object {
  const partitions = Array.from(epochs, ([partition, epoch]) => {
    const leading = leaders.get(partition)?.leaderEpoch ?? UNKNOWN_EPOCH;
    return new Encoder()
      .writeInt32(partition)
      // Who told us of the leader can be behind the ledger.
      .writeInt32(Math.max(leading, epoch))
      .writeInt32(epoch === UNKNOWN_EPOCH ? leading : epoch);
  });
  const topics = [new Encoder().writeString(topic).writeArray(partitions)];
  return {
    apiKey: API_KEY,
    apiVersion: API_VERSION,
    apiName: "OffsetForLeaderEpoch",
    encode: (): Promise<unknown> =>
      Promise.resolve(new Encoder().writeInt32(CONSUMER).writeArray(topics)),
  };
}

/**
 * Reads the answer. A partition is absent if the broker refuses to answer for it, mostly because it
 * does not lead it (any more); undefined if it does not know.
 */
export function parseEpochEnds(raw: Buffer): ReadonlyMap<number, EpochEnd | undefined> {
  const decoder = new Decoder(raw);
  decoder.readInt32(); // throttle_time_ms
  const ends = new Map<number, EpochEnd | undefined>();
  decoder.readArray((topic: KafkajsDecoder) => {
    topic.readString();
    topic.readArray((answer: KafkajsDecoder) => {
      const errorCode = answer.readInt16();
      const partition = answer.readInt32();
      const leaderEpoch = answer.readInt32();
      const endOffset = Number(answer.readInt64().toString());
      if (errorCode !== 0) return;
      ends.set(partition, endOffset < 0 ? undefined : { leaderEpoch, endOffset });
    });
  });
  return ends;
}
