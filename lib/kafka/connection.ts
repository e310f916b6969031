/**
 * The way to the brokers: one configured kafkajs instance, and the one place where its errors are
 * classified. kafkajs is imported by this folder only.
 *
 * @module
 */
import * as kafkajs from "kafkajs";
import { ConfigurationError, TransientError } from "../errors.ts";
import type { Log } from "../log.ts";
import { connectFault } from "../connect_fault.ts";
import { type TlsMode, tlsOptions } from "../tls.ts";
import "./kafkajs_patches.ts";

/**
 * The configured client of the library, which only this folder knows.
 *
 * @internal
 */
export type KafkaClient = import("kafkajs").Kafka;

/** Where the brokers are and how to introduce ourselves. */
export interface KafkaConnectionSettings {
  /** `host:port` of one broker or more. */
  readonly brokers: readonly string[];
  /** Names this program in the brokers' logs and quotas. */
  readonly clientId: string;
  /**
   * Whether the connections are encrypted.
   *
   * @default "disable"
   */
  readonly tls?: TlsMode;
  /** Certificates to trust, PEM; undefined: those of the system. */
  readonly ca?: string | undefined;
  /**
   * How to log in.
   *
   * @default "none"
   */
  readonly saslMechanism?: "none" | "plain" | "scram-sha-256" | "scram-sha-512";
  /** User to log in as; required with a mechanism. */
  readonly user?: string | undefined;
  /** Its password; required with a mechanism. */
  readonly password?: string | undefined;
  /**
   * Tries inside kafkajs before connecting fails. Few where the caller tries again by itself and
   * wants to say what it waits for.
   *
   * @default KAFKAJS_RETRY.retries
   */
  readonly retries?: number;
}

/**
 * Retries inside kafkajs. With its default of 5 a broker outage of a few seconds crashes the
 * consumer and costs 40 s; 100 tries at most 1 s apart ride out 20 s without a crash, and a longer
 * one ends in kafkajs's own restart.
 */
export const KAFKAJS_RETRY = {
  initialRetryTime: 100,
  maxRetryTime: 1_000,
  retries: 100,
} as const;

/** Makes the kafkajs instance. Nothing connects yet. */
export function openKafka(settings: KafkaConnectionSettings, log: Log): KafkaClient {
  return new kafkajs.Kafka({
    brokers: [...settings.brokers],
    clientId: settings.clientId,
    ...securityOf(settings),
    connectionTimeout: 3_000,
    // Must be longer than any fetch may wait at the broker, and is what finds a half-open link.
    requestTimeout: 10_000,
    // Without it a request on a dead connection waits for ever.
    enforceRequestTimeout: true,
    retry: { ...KAFKAJS_RETRY, retries: settings.retries ?? KAFKAJS_RETRY.retries },
    logLevel: kafkajs.logLevel.WARN,
    // kafkajs calls everything that it will retry an error. We say what matters ourselves.
    logCreator: () => ({ namespace, log: entry }) => {
      log.debug(`kafkajs ${namespace}: ${entry.message}`);
    },
  });
}

function securityOf(
  { tls = "disable", ca, saslMechanism = "none", user = "", password = "" }:
    KafkaConnectionSettings,
): Partial<kafkajs.KafkaConfig> {
  const ssl = tlsOptions(tls, ca);
  return {
    ...(ssl !== undefined && { ssl }),
    ...(saslMechanism !== "none" && {
      // All three take the same fields; the library's type wants them told apart.
      sasl: { mechanism: saslMechanism, username: user, password } as kafkajs.SASLOptions,
      // A broker that is slow to answer a log-in is treated like one that is slow to connect.
      authenticationTimeout: 3_000,
    }),
  };
}

/** What kafkajs's errors carry beside the message. */
interface KafkaJsFault {
  readonly name: string;
  readonly message: string;
  readonly type?: string;
  readonly cause?: unknown;
  /** What became of each topic, where several were asked for. */
  readonly errors?: readonly unknown[];
}

/** Error types of the protocol that stay until a person mends them, and how. */
const CURES = new Map<string, string>([
  [
    "UNKNOWN_TOPIC_OR_PARTITION",
    "the topic does not exist; create it, for example with: deno task produce --ensure-topic 6 --count 0",
  ],
  ["TOPIC_AUTHORIZATION_FAILED", "this user has no right to the topic; grant it on the brokers"],
  ["GROUP_AUTHORIZATION_FAILED", "this user has no right to the group; grant READ on it"],
  ["CLUSTER_AUTHORIZATION_FAILED", "this user lacks a right on the cluster; grant it"],
  [
    "MESSAGE_TOO_LARGE",
    "the topic refuses messages of this size; raise its max.message.bytes to 1048576 or lower PRODUCER_BATCH_BYTES_MAX",
  ],
  ["INVALID_TOPIC_EXCEPTION", "TOPIC_NAME is no valid topic name"],
  ["INVALID_GROUP_ID", "KAFKA_GROUP_ID is no valid group name"],
  ["INVALID_SESSION_TIMEOUT", "KAFKA_SESSION_TIMEOUT_MS is outside what the brokers allow"],
  ["SASL_AUTHENTICATION_FAILED", "the brokers refuse this user and password"],
  ["UNSUPPORTED_SASL_MECHANISM", "the brokers do not offer this SASL mechanism"],
]);

const CURES_BY_NAME = new Map<string, string>([
  ["KafkaJSSASLAuthenticationError", "the brokers refuse this user and password"],
  [
    "KafkaJSServerDoesNotSupportApiKey",
    "KAFKA_BROKER names a port that is not for clients, such as a controller's, or a broker older than 2.3",
  ],
  [
    "KafkaJSNotImplemented",
    "a message is compressed with a codec that cannot be read; " +
    "set the topic's compression.type to gzip, zstd, snappy, lz4 or uncompressed",
  ],
]);

/**
 * Turns whatever kafkajs threw into one of our errors, with the cause kept.
 *
 * kafkajs wraps: a retry that gave up is `KafkaJSNumberOfRetriesExceeded` with the real error as
 * its cause, so the whole chain is searched for something that a person must mend. Everything else
 * is transient, the unknown included: waiting loses nothing.
 *
 * @param action what was tried, as in "read the watermarks"
 */
export function classifyKafkaError(action: string, error: unknown): Error {
  if (error instanceof TransientError || error instanceof ConfigurationError) return error;
  let current = error;
  // Bound: a chain of causes longer than this is a loop.
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    const fault = current as KafkaJsFault;
    const cure = CURES.get(fault.type ?? "") ?? CURES_BY_NAME.get(fault.name) ??
      connectFault(fault)?.text;
    if (cure !== undefined) {
      return new ConfigurationError(`Cannot ${action}: ${cure}`, { cause: error });
    }
    current = fault.cause ?? fault.errors?.[0];
  }
  return new TransientError(`Cannot ${action}`, { cause: error });
}
