/**
 * The table of all settings. The type of the settings, their reading, `.env.example`, the README's
 * list and the names in the permission sets all come from it.
 *
 * A setting stands in the group of who reads it: a command asks for the groups that it needs, and is
 * not stopped by a fault in the others.
 *
 * @module
 */
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
const CA_ABOUT = "Certificates to trust instead of the system's";
const CERTIFICATE_ABOUT =
  "Our own certificate, for a server that wants one (mutual TLS), and those between it and its authority";
const KEY_ABOUT = "Its key";

/** Names as SQL writes them, quoted or not. */
const SCHEMAS =
  /^(?:[A-Za-z_$][\w$]{0,62}|"[^"'\\\p{C}]{1,63}")(?:, ?(?:[A-Za-z_$][\w$]{0,62}|"[^"'\\\p{C}]{1,63}")){0,9}$/u;

const KAFKA = {
  brokers: brokers(
    "KAFKA_BROKER",
    "Brokers to ask first, separated by commas. Without a port: 9092",
    "localhost:9092",
  ),
  tls: choice(
    "KAFKA_TLS",
    "Encrypts the way to the brokers. verify-full: their certificate must be trusted and name them",
    { values: ["disable", "verify-full"], fallback: "disable" },
  ),
  ca: certificates("KAFKA_TLS_CA", CA_ABOUT),
  certificate: certificates("KAFKA_TLS_CERT", CERTIFICATE_ABOUT),
  key: privateKey("KAFKA_TLS_KEY", KEY_ABOUT),
  saslMechanism: choice(
    "KAFKA_SASL_MECHANISM",
    "How to log in to the brokers. plain and oauthbearer show a secret: use them with TLS only",
    {
      values: ["none", "plain", "scram-sha-256", "scram-sha-512", "oauthbearer"],
      fallback: "none",
    },
  ),
  user: optional(identifier("KAFKA_USER", "User to log in as, with a mechanism", "")),
  password: secret("KAFKA_PASSWORD", "Its password"),
  oauthTokenUrl: tokenUrl(
    "KAFKA_OAUTH_TOKEN_URL",
    "Where oauthbearer gets its tokens, by client credentials. KAFKA_TLS_CA counts there, too",
  ),
  oauthClientId: optional(text("KAFKA_OAUTH_CLIENT_ID", "Who we are there", {
    fallback: "",
    allowed: "1 to 255 printable characters",
    pattern: /^[^\p{C}\p{Z}]{1,255}$/u,
  })),
  oauthClientSecret: secret("KAFKA_OAUTH_CLIENT_SECRET", "Its secret"),
  oauthScope: optional(
    text("KAFKA_OAUTH_SCOPE", "What the token is for, if the token server wants to know", {
      fallback: "",
      allowed: "scopes separated by single spaces",
      // Those of RFC 6749, 3.3.
      pattern: /^(?=.{1,1024}$)[!#-[\]-~]+( [!#-[\]-~]+)*$/,
    }),
  ),
  topic: text("TOPIC_NAME", "The topic that carries the readings", {
    fallback: "iot-sensor-data",
    allowed: "1 to 249 of A-Z a-z 0-9 . _ -",
    pattern: /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/,
  }),
  groupId: text("KAFKA_GROUP_ID", "The consumers that share the topic's partitions", {
    fallback: "iot-consumer-group",
    allowed: "1 to 249 printable characters",
    pattern: /^[^\p{C}\p{Z}]{1,249}$/u,
  }),
  sessionTimeoutMs: whole(
    "KAFKA_SESSION_TIMEOUT_MS",
    "A consumer that is silent for this long loses its partitions to the others",
    { fallback: 10_000, min: 6_000, max: 300_000, unit: "ms" },
  ),
  fetchWaitMs: whole(
    "KAFKA_FETCH_WAIT_MS",
    "How long a broker may hold a fetch when there is nothing to read",
    { fallback: 100, min: 1, max: 5_000, unit: "ms" },
  ),
  fetchPartitionBytes: whole(
    "KAFKA_FETCH_PARTITION_BYTES",
    "Largest answer to one fetch for one partition. More costs memory",
    { fallback: MIB, min: 64 * KIB, max: 16 * MIB, unit: "bytes" },
  ),
};

const POSTGRES = {
  url: secret("DATABASE_URL", "All of the database in one. What it names wins over POSTGRES_…", {
    form: POSTGRES_URL_FORM,
    fault: (url) => urlFault(postgresUrlParts(url)),
  }),
  host: text("POSTGRES_HOST", "Where PostgreSQL is", {
    fallback: "localhost",
    allowed: "a host name or address, or the directory of a Unix socket",
    pattern: /^(?:[A-Za-z0-9._:-]{1,253}|\/[^\p{C},]{0,90})$/u,
  }),
  port: port("POSTGRES_PORT", "Its TCP port, also part of a socket's name", 5_432),
  database: identifier("POSTGRES_DB", "Name of the database", "iotdb"),
  user: identifier("POSTGRES_USER", "Role to log in as", "iotuser"),
  password: withDefault(
    secret("POSTGRES_PASSWORD", "Its password. Choose your own"),
    "iotpassword",
  ),
  readUser: optional(
    identifier("POSTGRES_READ_USER", "Role of the dashboard and its API, if another one", ""),
  ),
  readPassword: secret("POSTGRES_READ_PASSWORD", "Its password"),
  tls: choice(
    "POSTGRES_TLS",
    "Encrypts. verify-full: the certificate must be trusted and name the host; require: any will do",
    { values: ["disable", "require", "verify-full"], fallback: "disable" },
  ),
  ca: certificates("POSTGRES_TLS_CA", CA_ABOUT),
  certificate: certificates("POSTGRES_TLS_CERT", CERTIFICATE_ABOUT),
  key: privateKey("POSTGRES_TLS_KEY", KEY_ABOUT),
  channelBinding: choice(
    "POSTGRES_CHANNEL_BINDING",
    "require: the server must prove by the password, too, that this encrypted connection is its own",
    { values: ["disable", "require"], fallback: "disable" },
  ),
  schema: optional(
    text("POSTGRES_SCHEMA", "Where the tables are, if the role's search_path does not say so", {
      fallback: "",
      allowed: "a schema, or several separated by commas, as in search_path",
      pattern: SCHEMAS,
    }),
  ),
  applicationName: text("POSTGRES_APPLICATION_NAME", "How pg_stat_activity calls us", {
    fallback: "sensor-ledger",
    allowed: "1 to 63 printable ASCII characters",
    pattern: /^[ -~]{1,63}$/,
  }),
  poolMax: whole("POSTGRES_POOL_MAX", "Most connections of one program at the same time", {
    fallback: 4,
    min: 1,
    max: 50,
    unit: "connections",
  }),
  statementTimeoutMs: whole(
    "POSTGRES_STATEMENT_TIMEOUT_MS",
    "The server ends a statement that runs longer; a batch is tried again in smaller ones",
    { fallback: 8_000, min: 1_000, max: 600_000, unit: "ms" },
  ),
  connectTimeoutMs: whole("POSTGRES_CONNECT_TIMEOUT_MS", "Longest wait for a connection", {
    fallback: 5_000,
    min: 100,
    max: 60_000,
    unit: "ms",
  }),
};

const REDIS = {
  url: secret("REDIS_URL", "All of Redis in one. What it names wins over REDIS_…", {
    form: REDIS_URL_FORM,
    fault: (url) => urlFault(redisUrlParts(url)),
  }),
  host: host("REDIS_HOST", "Where Redis is", "localhost"),
  port: port("REDIS_PORT", "Its TCP port", 6_379),
  user: optional(identifier("REDIS_USER", "ACL user to log in as, if not the default one", "")),
  password: secret("REDIS_PASSWORD", "Its password, if it asks for one"),
  tls: choice(
    "REDIS_TLS",
    "Encrypts the way to Redis. verify-full: its certificate must be trusted and name the host",
    { values: ["disable", "verify-full"], fallback: "disable" },
  ),
  ca: certificates("REDIS_TLS_CA", CA_ABOUT),
  certificate: certificates("REDIS_TLS_CERT", CERTIFICATE_ABOUT),
  key: privateKey("REDIS_TLS_KEY", KEY_ABOUT),
  database: whole(
    "REDIS_DATABASE",
    "Number of the database in Redis. Each data set needs one, or a prefix, of its own",
    { fallback: 0, min: 0, max: 999_999, unit: "" },
  ),
  prefix: optional(text(
    "REDIS_PREFIX",
    "Stands before every key in Redis: production: makes production:last:index of last:index",
    {
      fallback: "",
      allowed: "1 to 64 of A-Z a-z 0-9 . _ : / -",
      pattern: /^[A-Za-z0-9._:/-]{1,64}$/,
    },
  )),
  ttlSeconds: whole(
    "REDIS_TTL_SECONDS",
    "How long a stored reading is remembered as seen. It saves work; the database decides",
    { fallback: 3_600, min: 1, max: 2_592_000, unit: "s" },
  ),
  budgetMs: whole(
    "REDIS_BUDGET_MS",
    "Longest that the flow waits for one call to Redis before it goes on without",
    { fallback: 250, min: 10, max: 5_000, unit: "ms" },
  ),
};

const LIMITS = {
  futureSkewSecondsMax: whole(
    "MAX_FUTURE_SKEW_SECONDS",
    "A reading whose time is further ahead of now becomes a dead letter",
    { fallback: 3_600, min: 0, max: 31_536_000, unit: "s" },
  ),
  pastDaysMax: whole(
    "MAX_PAST_DAYS",
    "A reading whose time is older becomes a dead letter. 0: no bound",
    { fallback: 3_650, min: 0, max: 36_500, unit: "days" },
  ),
};

const CONSUMER = {
  batchesConcurrent: whole(
    "BATCHES_CONCURRENT",
    "Most transactions of one consumer at the same time, each of another partition",
    { fallback: 3, min: 1, max: 8, unit: "batches" },
  ),
  batchMessagesMax: whole("BATCH_MESSAGES_MAX", "Most messages in one transaction", {
    fallback: 5_000,
    min: 1,
    max: 10_000,
    unit: "messages",
  }),
  watchdogSeconds: whole(
    "WATCHDOG_SECONDS",
    "A consumer that makes no progress for this long although messages wait and the servers are " +
      "there ends with exit code 1, so that its supervisor starts it anew. 0: never",
    { fallback: 45, min: 0, max: 3_600, unit: "s" },
  ),
  deadLetterAlarmShare: share(
    "DEAD_LETTER_ALARM_SHARE",
    "More dead letters than this share of the last messages are an alarm in log, metrics and " +
      "dashboard. 0: never",
    "0.2",
  ),
  deadLetterAlarmMessages: whole("DEAD_LETTER_ALARM_MESSAGES", "How many the last messages are", {
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
    "Whether simulated messages repeat earlier ids, as a faulty sensor does",
    true,
  ),
  lingerMs: whole("PRODUCER_LINGER_MS", "How long a batch waits to fill. 0: not at all", {
    fallback: 5,
    min: 0,
    max: 1_000,
    unit: "ms",
  }),
  batchBytesMax: whole(
    "PRODUCER_BATCH_BYTES_MAX",
    "Largest batch. The topic's max.message.bytes must allow it",
    { fallback: 512 * KIB, min: 64 * KIB, max: 1_000_000, unit: "bytes" },
  ),
  bufferBytesMax: whole(
    "PRODUCER_BUFFER_BYTES_MAX",
    "Most that waits for the brokers. When it is full the source waits",
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
    "Where the pages are served. Without HTTP_TOKEN keep it local",
    "127.0.0.1",
  ),
  allowedHosts: hostNames(
    "HTTP_ALLOWED_HOSTS",
    "Names under which the pages are asked for, a proxy's above all. Addresses, localhost and " +
      "HTTP_HOST need not be named",
  ),
  token: secret("HTTP_TOKEN", "Whoever looks must show it, except at health", {
    form: "16 to 200 of A-Z a-z 0-9 . _ ~ + / = -",
    fault: (token) => /^[A-Za-z0-9._~+/=-]{16,200}$/.test(token) ? undefined : "",
  }),
};

const STOP = {
  deadlineMs: whole(
    "SHUTDOWN_DEADLINE_MS",
    "How long a stop may wait for what is under way before it ends it, at the server, too, and " +
      "leaves it to the next owner. The process ends within 3 s more",
    { fallback: 5_000, min: 1_000, max: 300_000, unit: "ms" },
  ),
};

const LOG = {
  level: choice("LOG_LEVEL", "Events below this level are dropped", {
    values: LOG_LEVELS,
    fallback: "info",
  }),
  format: choice("LOG_FORMAT", "auto: text on a terminal, else one JSON object a line", {
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
  limits: { title: "What a reading may be", rows: LIMITS },
  consumer: { title: "Consumer", rows: CONSUMER },
  producer: { title: "Producer", rows: PRODUCER },
  http: { title: "Pages, metrics and health", rows: HTTP },
  stop: { title: "Stop", rows: STOP },
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
