/**
 * The way to send requests that kafkajs does not know, over connections of kafkajs, which keeps login
 * and TLS as they are.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import Encoder from "kafkajs/src/protocol/encoder.js";
import type { KafkaClient } from "./connection.ts";

/** One broker. */
export interface RawBroker {
  /** Versions of requests that it knows, by their number. */
  readonly versions: Readonly<Record<number, unknown>>;
  /** Sends a request and reads its answer. */
  readonly connectionPool: { send(request: unknown): Promise<unknown> };
  /** Asks for offsets; a timestamp of -1 means the end and -2 the beginning. */
  listOffsets(question: OffsetsQuestion): Promise<{
    readonly responses: readonly {
      readonly partitions: readonly { readonly partition: number; readonly offset: string }[];
    }[];
  }>;
}

/** What offsets a broker is asked for. */
export interface OffsetsQuestion {
  /** 0: of the whole log, 1: of what a reader of committed messages can read. */
  readonly isolationLevel: number;
  /** Names, with partitions that it leads. */
  readonly topics: readonly {
    readonly topic: string;
    readonly partitions: readonly { readonly partition: number; readonly timestamp: number }[];
  }[];
}

/** What is used of kafkajs's cluster, which has no public type. */
export interface RawCluster {
  /** Connects to any broker. */
  connect(): Promise<void>;
  /** Closes all connections. */
  disconnect(): Promise<void>;
  /** Learns which brokers there are; without any topic they are not known. */
  addTargetTopic(topic: string): Promise<void>;
  /** Asks again who leads which partition. */
  refreshMetadata(): Promise<void>;
  /** The same, if what is known is old. */
  refreshMetadataIfNecessary(): Promise<void>;
  /** Who leads what, as known now; a leader below 0: nobody. */
  findTopicPartitionMetadata(topic: string): readonly {
    readonly partitionId: number;
    readonly leader: number;
  }[];
  /** One broker by its number. */
  findBroker(question: { readonly nodeId: number }): Promise<RawBroker>;
  /** The broker that decides. */
  findControllerBroker(): Promise<RawBroker>;
  /** The broker that looks after a group. */
  findGroupCoordinator(question: { readonly groupId: string }): Promise<RawBroker>;
}

/** Makes a cluster with connections of its own. Nothing connects yet. */
export function openRawCluster(kafka: KafkaClient): RawCluster {
  const createCluster = Object.getOwnPropertySymbols(kafka)
    .find((symbol) => symbol.description === "private:Kafka:createCluster");
  if (createCluster === undefined) {
    throw new Error("Cannot reach kafkajs's connections: this needs kafkajs 2.2.4");
  }
  const factory = kafka as unknown as Record<symbol, (options: object) => RawCluster>;
  return factory[createCluster]!({ allowAutoTopicCreation: false, metadataMaxAge: 30_000 });
}

/** Sends one request, in kafkajs's form, and reads its answer, header included. */
export async function askRaw<Answer>(
  broker: RawBroker,
  request: object,
  parse: (raw: Buffer) => Answer,
): Promise<Answer> {
  const answer = await broker.connectionPool.send({
    request,
    response: {
      decode: (raw: Buffer) => Promise.resolve(raw),
      parse: (raw: Buffer) => Promise.resolve(parse(raw)),
    },
  });
  return answer as Answer;
}

/** Which request of the protocol, in a version with flexible fields. */
export interface RequestKind {
  /** Its number. */
  readonly apiKey: number;
  /** Its version. */
  readonly apiVersion: number;
  /** For kafkajs's log. */
  readonly apiName: string;
}

/** A request for {@linkcode askRaw}; `body` is what comes after the header. */
export function flexibleRequest(kind: RequestKind, body: readonly Buffer[]): object {
  return {
    ...kind,
    encode: (): Promise<unknown> => {
      const encoder = new Encoder();
      // This version of the header ends in tagged fields, of which there are none.
      encoder.writeBufferInternal(Buffer.concat([Buffer.from([0]), ...body]));
      return Promise.resolve(encoder);
    },
  };
}

/** A text of the protocol's compact form. */
export function compactText(text: string): Buffer {
  return new Encoder().writeUVarIntString(text).buffer;
}
