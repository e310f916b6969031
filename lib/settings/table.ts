/**
 * The table of all settings. The type of the settings, their reading, `.env.example`, the README's
 * list and the names in the permission sets all come from it.
 *
 * A setting stands in the group of who reads it: a command asks for the groups that it needs, and is
 * not stopped by a fault in the others.
 *
 * @module
 */
import { COMPRESSIONS } from "../kafka/compression.ts";
import { LOG_LEVELS } from "../log.ts";
import {
  brokers,
  certificates,
  choice,
  flag,
  host,
  hostNames,
  identifier,
  optional,
  ownPort,
  port,
  privateKey,
  secret,
  type Setting,
  share,
  text,
  tokenUrl,
  whole,
  withDefault,
} from "./kinds.ts";
import {
  POSTGRES_URL_FORM,
  postgresUrlParts,
  REDIS_URL_FORM,
  redisUrlParts,
  type SettingParts,
  UrlFault,
} from "./server_url.ts";

const KIB = 1_024;
const MIB = 1_024 * KIB;
/** The files that TLS takes, in the same words for each server. */
function tlsFiles(server: "KAFKA" | "POSTGRES" | "REDIS"): {
  readonly ca: ReturnType<typeof certificates>;
  readonly certificate: ReturnType<typeof certificates>;
  readonly key: ReturnType<typeof privateKey>;
} {
  return {
    ca: certificates(`${server}_TLS_CA`, "CA certificates to trust instead of the system's"),
    certificate: certificates(
      `${server}_TLS_CERT`,
      "Client certificate for mutual TLS, followed by any intermediate certificates",
    ),
    key: privateKey(`${server}_TLS_KEY`, "Private key of the client certificate"),
  };
}

/** Names as SQL writes them, quoted or not. */
const SCHEMAS =
  /^(?:[A-Za-z_$][\w$]{0,62}|"[^"'\\\p{C}]{1,63}")(?:, ?(?:[A-Za-z_$][\w$]{0,62}|"[^"'\\\p{C}]{1,63}")){0,9}$/u;

const KAFKA = {
  brokers: brokers(
    "KAFKA_BROKER",
    "Brokers to connect to first, separated by commas. The default port is 9092",
    "localhost:9092",
  ),
  tls: choice(
    "KAFKA_TLS",
    "Encrypts connections to the brokers. verify-full also checks their certificates and host names",
    { values: ["disable", "verify-full"], fallback: "disable" },
  ),
  ...tlsFiles("KAFKA"),
  saslMechanism: choice(
    "KAFKA_SASL_MECHANISM",
    "How to authenticate to the brokers. plain and oauthbearer send a secret: use them only with TLS",
    {
      values: ["none", "plain", "scram-sha-256", "scram-sha-512", "oauthbearer"],
      fallback: "none",
    },
  ),
  user: optional(identifier("KAFKA_USER", "User name, for the mechanisms with a password", "")),
  password: secret("KAFKA_PASSWORD", "Password of KAFKA_USER"),
  oauthTokenUrl: tokenUrl(
    "KAFKA_OAUTH_TOKEN_URL",
    "Token endpoint for oauthbearer (client credentials grant). KAFKA_TLS_CA applies there, too",
  ),
  oauthClientId: optional(text("KAFKA_OAUTH_CLIENT_ID", "Client id at the token endpoint", {
    fallback: "",
    allowed: "1 to 255 printable characters",
    pattern: /^[^\p{C}\p{Z}]{1,255}$/u,
  })),
  oauthClientSecret: secret("KAFKA_OAUTH_CLIENT_SECRET", "Client secret at the token endpoint"),
  oauthScope: optional(
    text("KAFKA_OAUTH_SCOPE", "Scope to request, if the token endpoint requires one", {
      fallback: "",
      allowed: "scopes separated by single spaces",
      // Those of RFC 6749, 3.3.
      pattern: /^(?=.{1,1024}$)[!#-[\]-~]+( [!#-[\]-~]+)*$/,
    }),
  ),
  topic: text("TOPIC_NAME", "Topic of the readings", {
    fallback: "iot-sensor-data",
    allowed: "1 to 249 of A-Z a-z 0-9 . _ -",
    pattern: /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/,
  }),
  groupId: text("KAFKA_GROUP_ID", "Consumer group: its members share the topic's partitions", {
    fallback: "iot-consumer-group",
    allowed: "1 to 249 printable characters",
    pattern: /^[^\p{C}\p{Z}]{1,249}$/u,
  }),
  sessionTimeoutMs: whole(
    "KAFKA_SESSION_TIMEOUT_MS",
    "After this long without a heartbeat, a consumer's partitions go to the others",
    { fallback: 10_000, min: 6_000, max: 300_000, unit: "ms" },
  ),
  fetchWaitMs: whole(
    "KAFKA_FETCH_WAIT_MS",
    "How long a broker waits for new messages before it answers a fetch",
    { fallback: 100, min: 1, max: 5_000, unit: "ms" },
  ),
  fetchPartitionBytes: whole(
    "KAFKA_FETCH_PARTITION_BYTES",
    "Largest fetch from one partition. Larger values take more memory",
    { fallback: MIB, min: 64 * KIB, max: 16 * MIB, unit: "bytes" },
  ),
};

const POSTGRES = {
  url: secret(
    "DATABASE_URL",
    "Full connection URL; overrides the POSTGRES_… settings for everything that it names",
    {
      form: POSTGRES_URL_FORM,
      fault: (url) => urlFault(postgresUrlParts(url)),
    },
  ),
  host: text("POSTGRES_HOST", "Host of PostgreSQL", {
    fallback: "localhost",
    allowed: "a host name or address, or the directory of a Unix socket",
    pattern: /^(?:[A-Za-z0-9._:-]{1,253}|\/[^\p{C},]{0,90})$/u,
  }),
  port: port("POSTGRES_PORT", "Port of PostgreSQL, also used in the name of a Unix socket", 5_432),
  database: identifier("POSTGRES_DB", "Database name", "iotdb"),
  user: identifier("POSTGRES_USER", "Role to log in as", "iotuser"),
  password: withDefault(
    secret("POSTGRES_PASSWORD", "Password of POSTGRES_USER. Choose your own"),
    "iotpassword",
  ),
  readUser: optional(
    identifier("POSTGRES_READ_USER", "Separate role for the dashboard and the read API", ""),
  ),
  readPassword: secret("POSTGRES_READ_PASSWORD", "Password of POSTGRES_READ_USER"),
  tls: choice(
    "POSTGRES_TLS",
    "Encrypts connections. verify-full checks the server's certificate and host name, require does not",
    { values: ["disable", "require", "verify-full"], fallback: "disable" },
  ),
  ...tlsFiles("POSTGRES"),
  channelBinding: choice(
    "POSTGRES_CHANNEL_BINDING",
    "require: binds the login to the encrypted connection (SCRAM-SHA-256-PLUS)",
    { values: ["disable", "require"], fallback: "disable" },
  ),
  schema: optional(
    text("POSTGRES_SCHEMA", "Schema of the tables, if it is not the role's search_path", {
      fallback: "",
      allowed: "a schema, or several separated by commas, as in search_path",
      pattern: SCHEMAS,
    }),
  ),
  applicationName: text("POSTGRES_APPLICATION_NAME", "Name shown in pg_stat_activity", {
    fallback: "sensor-ledger",
    allowed: "1 to 63 printable ASCII characters",
    pattern: /^[ -~]{1,63}$/,
  }),
  poolMax: whole("POSTGRES_POOL_MAX", "Maximum number of connections per program", {
    fallback: 4,
    min: 1,
    max: 50,
    unit: "connections",
  }),
  statementTimeoutMs: whole(
    "POSTGRES_STATEMENT_TIMEOUT_MS",
    "Time limit of a statement; a batch that exceeds it is split and tried again",
    { fallback: 8_000, min: 1_000, max: 600_000, unit: "ms" },
  ),
  connectTimeoutMs: whole("POSTGRES_CONNECT_TIMEOUT_MS", "Time limit for connecting", {
    fallback: 5_000,
    min: 100,
    max: 60_000,
    unit: "ms",
  }),
};

const REDIS = {
  url: secret(
    "REDIS_URL",
    "Full connection URL; overrides the REDIS_… settings for everything that it names",
    {
      form: REDIS_URL_FORM,
      fault: (url) => urlFault(redisUrlParts(url)),
    },
  ),
  host: host("REDIS_HOST", "Host of Redis", "localhost"),
  port: port("REDIS_PORT", "Port of Redis", 6_379),
  user: optional(identifier("REDIS_USER", "ACL user, if not the default user", "")),
  password: secret("REDIS_PASSWORD", "Password, if Redis requires one"),
  tls: choice(
    "REDIS_TLS",
    "Encrypts connections. verify-full checks the server's certificate and host name",
    { values: ["disable", "verify-full"], fallback: "disable" },
  ),
  ...tlsFiles("REDIS"),
  database: whole(
    "REDIS_DATABASE",
    "Database number. Each data set needs its own number or its own prefix",
    { fallback: 0, min: 0, max: 999_999, unit: "" },
  ),
  prefix: optional(text(
    "REDIS_PREFIX",
    "Prefix of every key: with production: the key last:index becomes production:last:index",
    {
      fallback: "",
      allowed: "1 to 64 of A-Z a-z 0-9 . _ : / -",
      pattern: /^[A-Za-z0-9._:/-]{1,64}$/,
    },
  )),
  ttlSeconds: whole(
    "REDIS_TTL_SECONDS",
    "How long stored readings are remembered. This only saves work; the database decides",
    { fallback: 3_600, min: 1, max: 2_592_000, unit: "s" },
  ),
  budgetMs: whole(
    "REDIS_BUDGET_MS",
    "Longest wait for one call to Redis; after that, the flow continues without it",
    { fallback: 250, min: 10, max: 5_000, unit: "ms" },
  ),
};

const LIMITS = {
  futureSkewSecondsMax: whole(
    "MAX_FUTURE_SKEW_SECONDS",
    "A reading whose timestamp is further in the future becomes a dead letter",
    { fallback: 3_600, min: 0, max: 31_536_000, unit: "s" },
  ),
  pastDaysMax: whole(
    "MAX_PAST_DAYS",
    "A reading whose timestamp is older becomes a dead letter. 0: no limit",
    { fallback: 3_650, min: 0, max: 36_500, unit: "days" },
  ),
};

const CONSUMER = {
  batchesConcurrent: whole(
    "BATCHES_CONCURRENT",
    "Maximum number of concurrent transactions per consumer, each for another partition",
    { fallback: 3, min: 1, max: 8, unit: "batches" },
  ),
  batchMessagesMax: whole("BATCH_MESSAGES_MAX", "Maximum number of messages per transaction", {
    fallback: 5_000,
    min: 1,
    max: 10_000,
    unit: "messages",
  }),
  watchdogSeconds: whole(
    "WATCHDOG_SECONDS",
    "A consumer that makes no progress for this long, although messages are waiting and the servers " +
      "answer, exits with code 1, so that its supervisor restarts it. 0: off",
    { fallback: 45, min: 0, max: 3_600, unit: "s" },
  ),
  deadLetterAlarmShare: share(
    "DEAD_LETTER_ALARM_SHARE",
    "Share of dead letters among the last messages above which log, metrics and dashboard raise an " +
      "alarm. 0: off",
    "0.2",
  ),
  deadLetterAlarmMessages: whole("DEAD_LETTER_ALARM_MESSAGES", "Size of the alarm window", {
    fallback: 1_000,
    min: 1,
    max: 100_000,
    unit: "messages",
  }),
  httpPort: ownPort(
    "HTTP_PORT",
    "Port of the consumer's dashboard, API, metrics and health. 0: off",
    8_000,
  ),
};

const PRODUCER = {
  enableDuplicates: flag(
    "ENABLE_DUPLICATES",
    "Whether the simulator sends duplicates, as a faulty sensor does",
    true,
  ),
  lingerMs: whole("PRODUCER_LINGER_MS", "How long a batch waits for more messages. 0: not at all", {
    fallback: 5,
    min: 0,
    max: 1_000,
    unit: "ms",
  }),
  batchBytesMax: whole(
    "PRODUCER_BATCH_BYTES_MAX",
    "Largest batch. It must not exceed the topic's max.message.bytes",
    { fallback: 512 * KIB, min: 64 * KIB, max: 1_000_000, unit: "bytes" },
  ),
  compression: choice(
    "PRODUCER_COMPRESSION",
    "How batches are compressed, on the wire and on the brokers' disks. Every consumer of the topic " +
      "must know the codec",
    { values: COMPRESSIONS, fallback: "zstd" },
  ),
  bufferBytesMax: whole(
    "PRODUCER_BUFFER_BYTES_MAX",
    "Buffer for unacknowledged messages. When it is full, the source is paused",
    { fallback: 16 * MIB, min: 4 * MIB, max: 1_024 * MIB, unit: "bytes" },
  ),
  httpPort: ownPort(
    "PRODUCER_HTTP_PORT",
    "Port of the producer's metrics and health. 0: off",
    0,
  ),
};

const HTTP = {
  host: host(
    "HTTP_HOST",
    "Address to listen on. Keep it local unless HTTP_TOKEN is set",
    "127.0.0.1",
  ),
  allowedHosts: hostNames(
    "HTTP_ALLOWED_HOSTS",
    "Host names that requests may use, such as that of a proxy. IP addresses, localhost and " +
      "HTTP_HOST are always allowed",
  ),
  token: secret("HTTP_TOKEN", "Token required for every endpoint except health", {
    form: "16 to 200 of A-Z a-z 0-9 . _ ~ + / = -",
    fault: (token) => /^[A-Za-z0-9._~+/=-]{16,200}$/.test(token) ? undefined : "",
  }),
};

const STOP = {
  deadlineMs: whole(
    "SHUTDOWN_DEADLINE_MS",
    "How long a stop waits for work in progress before it is cancelled, also at the server. The " +
      "process exits at most 3 s later",
    { fallback: 5_000, min: 1_000, max: 300_000, unit: "ms" },
  ),
};

const LOG = {
  level: choice("LOG_LEVEL", "Log entries below this level are dropped", {
    values: LOG_LEVELS,
    fallback: "info",
  }),
  format: choice("LOG_FORMAT", "auto: text on a terminal, otherwise one JSON object per line", {
    values: ["auto", "json", "text"],
    fallback: "auto",
  }),
};

/** What is wrong with a URL, if anything is. */
function urlFault(parts: SettingParts | UrlFault): string | undefined {
  return parts instanceof UrlFault ? parts.text : undefined;
}

/**
 * All groups, in the order of the documents.
 *
 * @internal
 */
export const TABLE = {
  kafka: { title: "Kafka", rows: KAFKA },
  postgres: { title: "PostgreSQL", rows: POSTGRES },
  redis: { title: "Redis", rows: REDIS },
  limits: { title: "Limits for readings", rows: LIMITS },
  consumer: { title: "Consumer", rows: CONSUMER },
  producer: { title: "Producer", rows: PRODUCER },
  http: { title: "Dashboard, metrics and health", rows: HTTP },
  stop: { title: "Shutdown", rows: STOP },
  log: { title: "Log", rows: LOG },
};

/** A group of settings: those of one server, or of one part of the programs. */
export type Group = keyof typeof TABLE;

/** The values of all settings, or of some groups. */
export type Settings<Name extends Group = Group> = {
  readonly [Each in Name]: {
    readonly [Key in keyof (typeof TABLE)[Each]["rows"]]: (typeof TABLE)[Each]["rows"][Key] extends
      Setting<infer Value> ? Value : never;
  };
};

/** All groups, in the order of the documents. */
export const GROUPS: readonly Group[] = Object.keys(TABLE) as Group[];

/** What the producer reads. The commands of the consumer read all groups, each those that it needs. */
export const PRODUCER_GROUPS = [
  "kafka",
  "producer",
  "http",
  "stop",
  "log",
] as const satisfies Group[];

/** A group's name for people. */
export function titleOf(group: Group): string {
  return TABLE[group].title;
}

/** A row of the table, and where its value stands among the settings. */
export interface Row {
  /** The group. */
  readonly group: Group;
  /** The key in it. */
  readonly key: string;
  /** The row. */
  readonly setting: Setting<unknown>;
}

/** The rows of some groups, in the order of the table. */
export function rowsOf(groups: readonly Group[]): readonly Row[] {
  return GROUPS.filter((group) => groups.includes(group)).flatMap((group) =>
    Object.entries<Setting<unknown>>(TABLE[group].rows).map(([key, setting]) => ({
      group,
      key,
      setting,
    }))
  );
}
