/**
 * The way to the brokers: one configured kafkajs instance, and the one place where its errors are
 * classified. kafkajs is imported by this folder only.
 *
 * @module
 */
import * as kafkajs from "kafkajs";
import { systemClock } from "../clock.ts";
import {
  ConfigurationError,
  MissingError,
  NoAnswerError,
  TransientError,
  UnreachableError,
} from "../errors.ts";
import type { Log } from "../log.ts";
import type { Settings } from "../settings/table.ts";
import { connectFault, settingsOf } from "../connect_fault.ts";
import { tlsOptions, type TlsSettings } from "../tls.ts";
import { tlsRefusal } from "../tls_sockets.ts";
import { connectionCause, unreachable } from "../unreachable.ts";
import "./kafkajs_group_patches.ts";
import "./kafkajs_patches.ts";
import { oauthMechanism } from "./oauth_login.ts";
import { type OAuthSettings, TOKEN_MS_MAX, TokenSource } from "./oauth_token.ts";
import { openSocket, socketHost, splittableBroker } from "./socket_factory.ts";

/**
 * The configured client of the library, which only this folder knows.
 *
 * @internal
 */
export type KafkaClient = import("kafkajs").Kafka;

/** What `oauthbearer` needs, and no other mechanism. */
export type LoginByToken = {
  readonly [Key in keyof OAuthSettings]?: OAuthSettings[Key] | undefined;
};

/**
 * Its client for questions, which only this folder knows.
 *
 * @internal
 */
export type KafkaAdmin = import("kafkajs").Admin;

/** Where the brokers are and how to introduce ourselves. */
export interface KafkaConnectionSettings extends TlsSettings, LoginByToken {
  /** `host:port` of one broker or more. */
  readonly brokers: readonly string[];
  /** Names this program in the brokers' logs and quotas. */
  readonly clientId: string;
  /**
   * How to log in.
   *
   * @default "none"
   */
  readonly saslMechanism?: Settings["kafka"]["saslMechanism"];
  /** User to log in as; required with a mechanism that has passwords. */
  readonly user?: string | undefined;
  /** Its password; required with a mechanism that has them. */
  readonly password?: string | undefined;
  /**
   * Tries inside kafkajs before connecting fails. Few where the caller tries again on its own and
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

/** Longest that a broker may take to answer a login, ms. */
const LOGIN_MS_MAX = 3_000;

/** Makes the kafkajs instance. Nothing connects yet. */
export function openKafka(settings: KafkaConnectionSettings, log: Log): KafkaClient {
  return new kafkajs.Kafka({
    brokers: settings.brokers.map(splittableBroker),
    socketFactory: openSocket,
    clientId: settings.clientId,
    ...securityOf(settings),
    connectionTimeout: 3_000,
    // Must be longer than any fetch may wait at the broker, and is what finds a half-open link.
    requestTimeout: 10_000,
    // Without it a request on a dead connection waits forever.
    enforceRequestTimeout: true,
    retry: { ...KAFKAJS_RETRY, retries: settings.retries ?? KAFKAJS_RETRY.retries },
    logLevel: kafkajs.logLevel.WARN,
    // kafkajs calls everything that it will retry an error. We say what matters ourselves.
    logCreator: () => ({ namespace, log: entry }) => {
      log.debug(`kafkajs ${namespace}: ${entry.message}`);
    },
  });
}

function securityOf(settings: KafkaConnectionSettings): Partial<kafkajs.KafkaConfig> {
  const ssl = tlsOptions(settings);
  const sasl = saslOf(settings);
  return {
    ...(ssl !== undefined && { ssl }),
    // A broker that is slow to answer a login is treated like one that is slow to connect.
    ...(sasl !== undefined && { sasl, authenticationTimeout: LOGIN_MS_MAX + TOKEN_MS_MAX }),
  };
}

function saslOf(
  settings: KafkaConnectionSettings,
): kafkajs.SASLOptions | kafkajs.Mechanism | undefined {
  const { saslMechanism = "none", user = "", password = "" } = settings;
  if (saslMechanism === "none") return undefined;
  if (saslMechanism !== "oauthbearer") {
    // All three take the same fields; the library's type wants them told apart.
    return { mechanism: saslMechanism, username: user, password } as kafkajs.SASLOptions;
  }
  const { oauthTokenUrl = "", oauthClientId = "", oauthClientSecret = "" } = settings;
  const login = { ...settings, oauthTokenUrl, oauthClientId, oauthClientSecret };
  const source = new TokenSource(login, { clock: systemClock });
  return oauthMechanism(() => source.token());
}

/** What kafkajs's errors carry beside the message. */
interface KafkaJsFault {
  readonly name: string;
  readonly message: string;
  readonly type?: string;
  /** `host:port`, of an error of a connection. */
  readonly broker?: string;
  /** The same of one that was closed. */
  readonly host?: string;
  /** See `host`. */
  readonly port?: number;
  readonly cause?: unknown;
  /** What became of each topic, where several were asked for. */
  readonly errors?: readonly unknown[];
}

const NO_MECHANISM =
  "the brokers do not offer this login mechanism; check KAFKA_SASL_MECHANISM and the port in KAFKA_BROKER";

const NO_TOPIC = "UNKNOWN_TOPIC_OR_PARTITION";

/** Error types of the protocol that stay until a person fixes them, and how. */
const CURES = new Map<string, string>([
  [
    NO_TOPIC,
    "the topic does not exist; create it, for example with: deno task produce --ensure-topic 6 --count 0",
  ],
  ["TOPIC_AUTHORIZATION_FAILED", "this user has no right to the topic; grant it on the brokers"],
  ["GROUP_AUTHORIZATION_FAILED", "this user has no right to the group; grant READ on it"],
  ["CLUSTER_AUTHORIZATION_FAILED", "this user lacks a right on the cluster; grant it"],
  [
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    "this user has no right to the transactional id; grant it on the brokers",
  ],
  [
    "MESSAGE_TOO_LARGE",
    "the topic refuses messages of this size; raise its max.message.bytes to 1048576 or lower PRODUCER_BATCH_BYTES_MAX",
  ],
  ["INVALID_TOPIC_EXCEPTION", "TOPIC_NAME is not a valid topic name"],
  ["INVALID_GROUP_ID", "KAFKA_GROUP_ID is not a valid group name"],
  [
    "INCONSISTENT_GROUP_PROTOCOL",
    "another program is in this group and assigns the partitions in its own way; " +
    "stop it, or choose another KAFKA_GROUP_ID",
  ],
  ["INVALID_SESSION_TIMEOUT", "KAFKA_SESSION_TIMEOUT_MS is outside what the brokers allow"],
  ["SASL_AUTHENTICATION_FAILED", "the brokers refuse this user and password"],
  ["UNSUPPORTED_SASL_MECHANISM", NO_MECHANISM],
]);

/** The same for errors that kafkajs raises on its own. */
const CURES_BY_NAME = new Map<string, string>([
  ["KafkaJSSASLAuthenticationError", "the brokers refuse this user and password"],
  [
    "KafkaJSServerDoesNotSupportApiKey",
    "KAFKA_BROKER names a port that does not serve clients, such as a controller's, or a broker older than 2.3",
  ],
]);

/** What kafkajs raises where no broker said a word. */
const NO_ANSWERS: ReadonlySet<string> = new Set([
  "KafkaJSBrokerNotFound",
  "KafkaJSConnectionClosedError",
  "KafkaJSConnectionError",
  "KafkaJSRequestTimeoutError",
]);

/** What stays until a person fixes it; undefined: the error does not say so. */
function cureOf(fault: KafkaJsFault): string | undefined {
  if (/mechanism is not supported/.test(fault.message)) return NO_MECHANISM;
  const cure = CURES.get(fault.type ?? "") ?? CURES_BY_NAME.get(fault.name);
  if (cure !== undefined) return cure;
  // A connection that is said to be away can be one that was refused a moment before.
  const connect = connectFault(fault) ?? connectFault(tlsRefusal(addressOf(fault)));
  return connect && `${connect.text}; check ${settingsOf(connect, "KAFKA")}`;
}

/** A broker that others have named is looked for where they say, and not where `KAFKA_BROKER` does. */
const PLACE_SETTINGS = "KAFKA_BROKER, or advertised.listeners of the brokers";

/** Where the broker is looked for, of an error of a connection; undefined: the error does not say. */
function brokerPlace({ broker, host, port }: KafkaJsFault): string | undefined {
  const named = broker ?? (host === undefined ? undefined : `${host}:${port}`);
  const shown = named?.replace(
    /^(.*):(\d+)$/,
    (_, given: string, port: string) => hostAndPort(socketHost(given), port),
  );
  return shown && `${shown} (${PLACE_SETTINGS})`;
}

function hostAndPort(host: string, port: string): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What to say of brokers that did not say a word. */
function noAnswer(action: string, fault: KafkaJsFault, error: unknown): UnreachableError {
  const isConnecting = fault.name === "KafkaJSConnectionError";
  return unreachable({
    name: "Kafka",
    server: "kafka",
    place: brokerPlace(fault) ?? "its brokers (KAFKA_BROKER)",
    action: isConnecting ? undefined : action,
  }, error);
}

function addressOf({ broker = "" }: KafkaJsFault): string {
  const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(broker) ?? [];
  return `${socketHost(host)}:${port}`;
}

/** Whether an error, or what caused it, is an answer of this type of the protocol. */
export function isAnswer(error: unknown, type: string): boolean {
  let current = error;
  // Bound: a chain of causes longer than this is a loop.
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    if ("type" in current && current.type === type) return true;
    current = current.cause;
  }
  return false;
}

/**
 * Turns whatever kafkajs threw into one of our errors, with the cause kept.
 *
 * kafkajs wraps: a retry that gave up is `KafkaJSNumberOfRetriesExceeded` with the real error as
 * its cause, so the whole chain is searched for something that a person must fix. Everything else
 * is transient, the unknown included: waiting loses nothing.
 *
 * @param action what was tried, as in "read the watermarks"
 */
export function classifyKafkaError(action: string, error: unknown): Error {
  if (error instanceof TransientError || error instanceof ConfigurationError) return error;
  let current = error;
  let silent: KafkaJsFault | undefined;
  // Bound: a chain of causes longer than this is a loop.
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    const fault = current as KafkaJsFault;
    // Of a login that kafkajs made for us: the token server is away, or says something.
    if (current instanceof UnreachableError) return current;
    if (current instanceof TransientError) break;
    if (NO_ANSWERS.has(fault.name)) {
      silent = brokerPlace(fault) === undefined ? silent ?? fault : fault;
    }
    // Ours, of a login that kafkajs made for us: its text names the cure.
    const cure = current instanceof ConfigurationError ? current.message : cureOf(fault);
    if (cure !== undefined) {
      const Class = fault.type === NO_TOPIC ? MissingError : ConfigurationError;
      return new Class(`Cannot ${action}: ${cure}`, { cause: error });
    }
    current = fault.cause ?? fault.errors?.[0];
  }
  if (silent === undefined || current instanceof TransientError) {
    return new TransientError(`Cannot ${action}`, { cause: error });
  }
  if (connectionCause(error) !== undefined) return noAnswer(action, silent, error);
  return new NoAnswerError(`Cannot ${action}`, { cause: error, server: "kafka" });
}
