/**
 * Every setting of the two programs: one table, from which the parsing, `.env.example` and the
 * README's list are made.
 *
 * All faults are reported at once. The value of a secret is never part of any text made here.
 *
 * @module
 */
import { ConfigurationError, describeError } from "./errors.ts";
import { LOG_LEVELS, type LogLevel } from "./log.ts";
import {
  POSTGRES_URL_FORM,
  postgresUrlParts,
  REDIS_URL_FORM,
  redisUrlParts,
  type SettingParts,
  UrlFault,
} from "./server_url.ts";
import { keyPairFault, type TlsMode, type TlsSettings } from "./tls.ts";
import { isLoopback } from "./loopback.ts";

/** How a client proves to the brokers who it is. */
export type SaslMechanism = "none" | "plain" | "scram-sha-256" | "scram-sha-512" | "oauthbearer";

/** All settings, grouped by who uses them. */
export interface Settings {
  /** The way to the topic. */
  readonly kafka: {
    /** `host:port` of one broker or more. */
    readonly brokers: readonly string[];
    /** Whether the connections are encrypted, and how the brokers prove who they are. */
    readonly tls: Exclude<TlsMode, "require">;
    /** Certificates to trust, PEM; undefined: those of the system. */
    readonly ca: string | undefined;
    /** Our own certificate, and those between it and its authority, PEM; undefined: none. */
    readonly certificate: string | undefined;
    /** Its key, PEM; undefined only without a certificate. */
    readonly key: string | undefined;
    /** How we prove who we are. */
    readonly saslMechanism: SaslMechanism;
    /** Undefined only without a mechanism, or with `oauthbearer`. */
    readonly user: string | undefined;
    /** Undefined only without a mechanism, or with `oauthbearer`. */
    readonly password: string | undefined;
    /** Where `oauthbearer` gets its tokens; undefined only with another mechanism. */
    readonly oauthTokenUrl: string | undefined;
    /** Who we are there; undefined only with another mechanism. */
    readonly oauthClientId: string | undefined;
    /** How we prove that; undefined only with another mechanism. */
    readonly oauthClientSecret: string | undefined;
    /** What the token is for; undefined: the token server decides. */
    readonly oauthScope: string | undefined;
    /** The topic that carries the readings. */
    readonly topic: string;
    /** The consumers that share the topic's partitions. */
    readonly groupId: string;
    /** A consumer that is silent for this long loses its partitions, ms. */
    readonly sessionTimeoutMs: number;
    /** How long a broker may hold a fetch when there is nothing to read, ms. */
    readonly fetchWaitMs: number;
    /** Largest answer to one fetch for one partition, bytes. */
    readonly fetchPartitionBytes: number;
  };
  /** The database that holds the readings. */
  readonly postgres: {
    /** As it was given; its parts are in the fields below. */
    readonly url: string | undefined;
    /** Name or address. */
    readonly host: string;
    /** TCP port. */
    readonly port: number;
    /** Name of the database. */
    readonly database: string;
    /** Role to log in as. */
    readonly user: string;
    /** Its password. */
    readonly password: string;
    /** Role of the dashboard and the read API; undefined: the same as all others. */
    readonly readUser: string | undefined;
    /** Undefined only without that role. */
    readonly readPassword: string | undefined;
    /** Whether the connections are encrypted, and how the server proves who it is. */
    readonly tls: TlsMode;
    /** Certificates to trust, PEM; undefined: those of the system. */
    readonly ca: string | undefined;
    /** Our own certificate, and those between it and its authority, PEM; undefined: none. */
    readonly certificate: string | undefined;
    /** Its key, PEM; undefined only without a certificate. */
    readonly key: string | undefined;
    /** Whether the log-in must be bound to the encrypted connection. */
    readonly channelBinding: "disable" | "require";
    /** The schema of the tables, as `search_path` is written; undefined: the role's search path. */
    readonly schema: string | undefined;
    /** How the server's views call us. */
    readonly applicationName: string;
    /** Most connections at the same time. */
    readonly poolMax: number;
    /** The server ends a statement that runs longer, ms. */
    readonly statementTimeoutMs: number;
    /** Longest wait for a connection, ms. */
    readonly connectTimeoutMs: number;
  };
  /** The accelerator. */
  readonly redis: {
    /** As it was given; its parts are in the fields below. */
    readonly url: string | undefined;
    /** Name or address. */
    readonly host: string;
    /** TCP port. */
    readonly port: number;
    /** Undefined: the default user. */
    readonly user: string | undefined;
    /** Undefined: log in without one. */
    readonly password: string | undefined;
    /** Whether the connection is encrypted, and how the server proves who it is. */
    readonly tls: Exclude<TlsMode, "require">;
    /** Certificates to trust, PEM; undefined: those of the system. */
    readonly ca: string | undefined;
    /** Our own certificate, and those between it and its authority, PEM; undefined: none. */
    readonly certificate: string | undefined;
    /** Its key, PEM; undefined only without a certificate. */
    readonly key: string | undefined;
    /** Number of the database. */
    readonly database: number;
    /** Stands before every key; undefined: nothing does. */
    readonly prefix: string | undefined;
    /** How long a mark lives, seconds. */
    readonly ttlSeconds: number;
    /** Longest that the flow waits for one call, ms. */
    readonly budgetMs: number;
  };
  /** What a reading may be. */
  readonly limits: {
    /** How far ahead of now a reading's time may be, seconds. */
    readonly futureSkewSecondsMax: number;
    /** How old a reading's time may be, days; 0: no bound. */
    readonly pastDaysMax: number;
  };
  /** How the consumer works. */
  readonly consumer: {
    /** Most transactions at the same time, each of another partition. */
    readonly batchesConcurrent: number;
    /** Most messages in one transaction. */
    readonly batchMessagesMax: number;
    /** Longest that a stop may take, ms. */
    readonly shutdownDeadlineMs: number;
    /** No progress for this long although messages wait ends the consumer, seconds; 0: never. */
    readonly watchdogSeconds: number;
    /** More dead letters than this share of the last messages are an alarm, 0 to 1; 0: never. */
    readonly deadLetterAlarmShare: number;
    /** How many the last messages are. */
    readonly deadLetterAlarmMessages: number;
  };
  /** How the producer works. */
  readonly producer: {
    /** Whether the simulator repeats itself unless its command line says how much. */
    readonly enableDuplicates: boolean;
    /** How long a batch waits to fill, ms. */
    readonly lingerMs: number;
    /** Largest batch, bytes before compression. */
    readonly batchBytesMax: number;
    /** Most that waits for the brokers; then the source waits, bytes. */
    readonly bufferBytesMax: number;
  };
  /** The dashboard, the read API, metrics and health. */
  readonly http: {
    /** Name or address to listen on. */
    readonly host: string;
    /** Names under which the pages are asked for; undefined: no further ones. */
    readonly allowedHosts: readonly string[] | undefined;
    /** TCP port of the consumer; 0: off. */
    readonly port: number;
    /** TCP port of the producer; 0: off. */
    readonly producerPort: number;
    /** Must be shown for everything but health; undefined: everybody may look. */
    readonly token: string | undefined;
  };
  /** What the log shows. */
  readonly log: {
    /** Events below this level are dropped. */
    readonly level: LogLevel;
    /** `auto`: text on a terminal, else JSON lines. */
    readonly format: "auto" | "json" | "text";
  };
}

/** A fault of one value, as the end of a sentence that begins with the value: `is not …`. */
class Fault {
  constructor(readonly text: string) {}
}

/** One row of the table. */
interface Setting<Value> {
  /** Name of the environment variable. */
  readonly name: string;
  readonly about: string;
  /** The default as it would be written in the environment; "" if there is none. */
  readonly fallback: string;
  /** What is allowed, for people. */
  readonly allowed: string;
  /**
   * What the variable holds. `secret`: the value, or its file's path in `<name>_FILE`. `file`: the
   * path of a file that holds the value.
   */
  readonly source: "value" | "secret" | "file";
  /** Reads a text that is not empty. */
  readonly parse: (text: string) => Value | Fault;
}

type Table = {
  readonly [Group in keyof Settings]: {
    readonly [Key in keyof Settings[Group]]: Setting<Settings[Group][Key]>;
  };
};

/** Most names that a list may hold. */
const HOST_NAMES_MAX = 100;

const KIB = 1_024;
const MIB = 1_024 * KIB;
const PORT = { min: 1, max: 65_535 };
const CERTIFICATE_ABOUT =
  "Our own certificate, for a server that wants one (mutual TLS), and those between it and its authority";

/** Tokens that clouds give out as passwords have up to some 2,000 characters, encoded more. */
const SECRET_LENGTH_MAX = 8_192;

/** Names as SQL writes them, quoted or not. */
const SCHEMAS =
  /^(?:[A-Za-z_$][\w$]{0,62}|"[^"'\\\p{C}]{1,63}")(?:, ?(?:[A-Za-z_$][\w$]{0,62}|"[^"'\\\p{C}]{1,63}")){0,9}$/u;

const TABLE: Table = {
  kafka: {
    brokers: {
      name: "KAFKA_BROKER",
      about: "Brokers to ask first, separated by commas. Without a port: 9092",
      fallback: "localhost:9092",
      allowed: "host:port,…",
      source: "value",
      parse: parseBrokers,
    },
    tls: choice(
      "KAFKA_TLS",
      "Encrypts the way to the brokers. verify-full: their certificate must be trusted and name them",
      ["disable", "verify-full"],
      "disable",
    ),
    ca: certificates("KAFKA_TLS_CA", "Certificates to trust instead of the system's"),
    certificate: certificates("KAFKA_TLS_CERT", CERTIFICATE_ABOUT),
    key: privateKey("KAFKA_TLS_KEY"),
    saslMechanism: choice(
      "KAFKA_SASL_MECHANISM",
      "How to log in to the brokers. plain and oauthbearer show a secret: use them with TLS only",
      ["none", "plain", "scram-sha-256", "scram-sha-512", "oauthbearer"],
      "none",
    ),
    user: optional(identifier("KAFKA_USER", "User to log in as, with a mechanism", "")),
    password: secret("KAFKA_PASSWORD", "Its password", ""),
    oauthTokenUrl: optional(tokenUrl()),
    oauthClientId: optional(
      text("KAFKA_OAUTH_CLIENT_ID", "Who we are there", {
        fallback: "",
        allowed: "1 to 255 printable characters",
        pattern: /^[^\p{C}\p{Z}]{1,255}$/u,
      }),
    ),
    oauthClientSecret: secret("KAFKA_OAUTH_CLIENT_SECRET", "Its secret", ""),
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
  },
  postgres: {
    url: secret(
      "DATABASE_URL",
      "All of the database in one. What it names wins over POSTGRES_…",
      "",
      {
        form: POSTGRES_URL_FORM,
        fault: (url) => faultOf(postgresUrlParts(url)),
      },
    ),
    host: text("POSTGRES_HOST", "Where PostgreSQL is", {
      fallback: "localhost",
      allowed: "a host name or address, or the directory of a Unix socket",
      pattern: /^(?:[A-Za-z0-9._:-]{1,253}|\/[^\p{C},]{0,90})$/u,
    }),
    port: whole("POSTGRES_PORT", "Its TCP port, also part of a socket's name", {
      fallback: 5_432,
      ...PORT,
      unit: "",
    }),
    database: identifier("POSTGRES_DB", "Name of the database", "iotdb"),
    user: identifier("POSTGRES_USER", "Role to log in as", "iotuser"),
    password: secret("POSTGRES_PASSWORD", "Its password. Choose your own", "iotpassword"),
    readUser: optional(
      identifier("POSTGRES_READ_USER", "Role of the dashboard and its API, if another one", ""),
    ),
    readPassword: secret("POSTGRES_READ_PASSWORD", "Its password", ""),
    tls: choice(
      "POSTGRES_TLS",
      "Encrypts. verify-full: the certificate must be trusted and name the host; require: any will do",
      ["disable", "require", "verify-full"],
      "disable",
    ),
    ca: certificates("POSTGRES_TLS_CA", "Certificates to trust instead of the system's"),
    certificate: certificates("POSTGRES_TLS_CERT", CERTIFICATE_ABOUT),
    key: privateKey("POSTGRES_TLS_KEY"),
    channelBinding: choice(
      "POSTGRES_CHANNEL_BINDING",
      "require: the server must prove by the password, too, that this encrypted connection is its own",
      ["disable", "require"],
      "disable",
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
  },
  redis: {
    url: secret("REDIS_URL", "All of Redis in one. What it names wins over REDIS_…", "", {
      form: REDIS_URL_FORM,
      fault: (url) => faultOf(redisUrlParts(url)),
    }),
    host: host("REDIS_HOST", "Where Redis is"),
    port: whole("REDIS_PORT", "Its TCP port", { fallback: 6_379, ...PORT, unit: "" }),
    user: optional(identifier("REDIS_USER", "ACL user to log in as, if not the default one", "")),
    password: secret("REDIS_PASSWORD", "Its password, if it asks for one", ""),
    tls: choice(
      "REDIS_TLS",
      "Encrypts the way to Redis. verify-full: its certificate must be trusted and name the host",
      ["disable", "verify-full"],
      "disable",
    ),
    ca: certificates("REDIS_TLS_CA", "Certificates to trust instead of the system's"),
    certificate: certificates("REDIS_TLS_CERT", CERTIFICATE_ABOUT),
    key: privateKey("REDIS_TLS_KEY"),
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
  },
  limits: {
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
  },
  consumer: {
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
    shutdownDeadlineMs: whole(
      "SHUTDOWN_DEADLINE_MS",
      "How long a stop may wait for what is under way before it ends it, at the server, too, and " +
        "leaves it to the next owner. The process ends within 3 s more",
      { fallback: 5_000, min: 1_000, max: 300_000, unit: "ms" },
    ),
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
  },
  producer: {
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
  },
  http: {
    host: text("HTTP_HOST", "Where the pages are served. Without HTTP_TOKEN keep it local", {
      fallback: "127.0.0.1",
      allowed: "a host name or address",
      pattern: /^[A-Za-z0-9._:-]{1,253}$/,
    }),
    allowedHosts: hostNames(
      "HTTP_ALLOWED_HOSTS",
      "Names under which the pages are asked for, a proxy's above all. Addresses, localhost and " +
        "HTTP_HOST need not be named",
    ),
    port: whole("HTTP_PORT", "The consumer's dashboard, API, metrics and health. 0: off", {
      fallback: 8_000,
      min: 0,
      max: PORT.max,
      unit: "",
    }),
    producerPort: whole("PRODUCER_HTTP_PORT", "The producer's metrics and health. 0: off", {
      fallback: 0,
      min: 0,
      max: PORT.max,
      unit: "",
    }),
    token: secret("HTTP_TOKEN", "Whoever looks must show it, except at health", "", {
      form: "16 to 200 of A-Z a-z 0-9 . _ ~ + / = -",
      fault: (token) => /^[A-Za-z0-9._~+/=-]{16,200}$/.test(token) ? undefined : "",
    }),
  },
  log: {
    level: choice("LOG_LEVEL", "Events below this level are dropped", LOG_LEVELS, "info"),
    format: choice(
      "LOG_FORMAT",
      "auto: text on a terminal, else one JSON object a line",
      ["auto", "json", "text"],
      "auto",
    ),
  },
};

const GROUP_TITLES: Readonly<Record<keyof Settings, string>> = {
  kafka: "Kafka",
  postgres: "PostgreSQL",
  redis: "Redis",
  limits: "What a reading may be",
  consumer: "Consumer",
  producer: "Producer",
  http: "Dashboard, metrics and health",
  log: "Log",
};

/** Every variable that {@linkcode readSettings} asks for, those of secret files included. */
export const SETTING_NAMES: readonly string[] = rows().flatMap(({ setting }) =>
  setting.source === "secret" ? [setting.name, fileName(setting)] : [setting.name]
);

/** The variables that hold the path of a file. */
export const FILE_SETTING_NAMES: readonly string[] = rows().flatMap(({ setting }) =>
  setting.source === "value" ? [] : [setting.source === "file" ? setting.name : fileName(setting)]
);

/**
 * Reads all settings. A variable that is empty counts as not set. White space around a value is
 * dropped, except around a secret; a secret's file loses the line end at its end.
 *
 * @param env Gives a variable's value, or undefined.
 * @param readFile Gives a file's text, for `POSTGRES_PASSWORD_FILE` and `REDIS_PASSWORD_FILE`.
 * @throws {ConfigurationError} If anything is wrong; its text names every fault, a line each.
 */
export function readSettings(
  env: (name: string) => string | undefined,
  readFile: (path: string) => string = noFiles,
): Settings {
  const faults: string[] = [];
  const values: Record<string, Record<string, unknown>> = {};
  const source: Source = { env, readFile, parts: new Map() };
  const complete: Source = { ...source, parts: partsOfUrls(source) };
  for (const { group, key, setting } of rows()) {
    const value = readSetting(setting, complete);
    if (value instanceof Fault) faults.push(value.text);
    else (values[group] ??= {})[key] = value;
  }
  // The table has a row for every key of Settings, and each row gives that key's type.
  const settings = values as unknown as Settings;
  if (faults.length === 0) faults.push(...contradictions(settings));
  if (faults.length > 0) {
    throw new ConfigurationError(`Cannot use these settings:\n${faults.join("\n")}`);
  }
  return settings;
}

/** What cannot be meant, though each value alone is good. */
function contradictions(settings: Settings): readonly string[] {
  const { kafka, postgres, redis, consumer } = settings;
  const watchdogMs = consumer.watchdogSeconds === 0 ? Infinity : consumer.watchdogSeconds * 1_000;
  const faults: [isFault: boolean, text: string][] = [
    [
      postgres.channelBinding === "require" && postgres.tls === "disable",
      "POSTGRES_CHANNEL_BINDING is require: set POSTGRES_TLS to require or verify-full, too",
    ],
    [
      postgres.host.startsWith("/") && postgres.tls !== "disable",
      "POSTGRES_HOST is a Unix socket, which is never encrypted: set POSTGRES_TLS to disable",
    ],
    [
      (postgres.readUser === undefined) !== (postgres.readPassword === undefined),
      "POSTGRES_READ_USER and POSTGRES_READ_PASSWORD go together: set both or none",
    ],
    [
      redis.user !== undefined && redis.password === undefined,
      "REDIS_USER is set: set REDIS_PASSWORD, too",
    ],
    [
      watchdogMs <= kafka.sessionTimeoutMs,
      "WATCHDOG_SECONDS must be longer than KAFKA_SESSION_TIMEOUT_MS: the group waits that long",
    ],
    [
      watchdogMs <= postgres.connectTimeoutMs + postgres.statementTimeoutMs,
      "WATCHDOG_SECONDS must be longer than POSTGRES_CONNECT_TIMEOUT_MS and " +
      "POSTGRES_STATEMENT_TIMEOUT_MS together: a batch may take that long",
    ],
  ];
  return [
    ...tlsContradictions("KAFKA", kafka),
    ...loginContradictions(kafka),
    ...tlsContradictions("POSTGRES", postgres),
    ...tlsContradictions("REDIS", redis),
    ...faults.filter(([isFault]) => isFault).map(([_, text]) => text),
  ];
}

function tlsContradictions(
  server: string,
  { tls, ca, certificate, key }: Required<TlsSettings>,
): readonly string[] {
  const [certName, keyName] = [`${server}_TLS_CERT`, `${server}_TLS_KEY`];
  const faults: string[] = [];
  if (ca !== undefined && tls !== "verify-full") {
    faults.push(`${server}_TLS_CA is set: set ${server}_TLS to verify-full, too`);
  }
  if ((certificate === undefined) !== (key === undefined)) {
    faults.push(`${certName} and ${keyName} go together: set both or none`);
  }
  if (certificate === undefined || key === undefined) return faults;
  if (tls === "disable") faults.push(`${certName} is set: set ${server}_TLS to verify-full, too`);
  const fault = keyPairFault(certificate, key);
  if (fault !== undefined) faults.push(`${certName} and ${keyName}: ${fault}`);
  return faults;
}

function loginContradictions(kafka: Settings["kafka"]): readonly string[] {
  const { saslMechanism, user, password, oauthTokenUrl, oauthClientId, oauthClientSecret } = kafka;
  const byToken = saslMechanism === "oauthbearer";
  const byPassword = saslMechanism !== "none" && !byToken;
  const tokenParts = [oauthTokenUrl, oauthClientId, oauthClientSecret];
  const hasTokenPart = [...tokenParts, kafka.oauthScope].some((part) => part !== undefined);
  const hasPasswordPart = user !== undefined || password !== undefined;
  const faults: [isFault: boolean, text: string][] = [
    [
      byPassword && (user === undefined || password === undefined),
      "KAFKA_SASL_MECHANISM is set: set KAFKA_USER and KAFKA_PASSWORD, too",
    ],
    [
      saslMechanism === "none" && hasPasswordPart,
      "KAFKA_USER or KAFKA_PASSWORD is set: set KAFKA_SASL_MECHANISM, too",
    ],
    [
      byToken && hasPasswordPart,
      "KAFKA_USER and KAFKA_PASSWORD are not for KAFKA_SASL_MECHANISM=oauthbearer: leave them out",
    ],
    [
      byToken && tokenParts.includes(undefined),
      "KAFKA_SASL_MECHANISM is oauthbearer: set KAFKA_OAUTH_TOKEN_URL, KAFKA_OAUTH_CLIENT_ID and " +
      "KAFKA_OAUTH_CLIENT_SECRET, too",
    ],
    [
      !byToken && hasTokenPart,
      "KAFKA_OAUTH_… is set: set KAFKA_SASL_MECHANISM to oauthbearer, too",
    ],
  ];
  return faults.filter(([isFault]) => isFault).map(([_, text]) => text);
}

/** The settings by the names of their variables, for the log; secrets say only whether they are set. */
export function describeSettings(settings: Settings): Readonly<Record<string, unknown>> {
  const shown: Record<string, unknown> = {};
  for (const { group, key, setting } of rows()) {
    const value = (settings[group] as Readonly<Record<string, unknown>>)[key];
    if (setting.source !== "value") shown[setting.name] = value === undefined ? "not set" : "set";
    else shown[setting.name] = Array.isArray(value) ? value.join(",") : value;
  }
  return shown;
}

/** The values that must not appear in any output. */
export function secretsOf(settings: Settings): readonly string[] {
  return rows()
    .filter(({ setting }) => setting.source === "secret")
    .map(({ group, key }) => (settings[group] as Readonly<Record<string, unknown>>)[key])
    .filter((value): value is string => typeof value === "string");
}

/** The text of `.env.example`: every setting with its default. */
export function envExample(): string {
  const lines = [
    "# Every setting with its default. Copy this file to .env and change what you need.",
    "# What the environment sets already wins over .env.",
  ];
  let titled = "";
  for (const { group, setting } of rows()) {
    if (group !== titled) lines.push("", `# --- ${GROUP_TITLES[group]} ---`);
    titled = group;
    lines.push(`# ${setting.about} (${allowedText(setting)}).`);
    lines.push(`${setting.name}=${setting.fallback}`);
  }
  return `${lines.join("\n")}\n`;
}

/** The settings as a Markdown table, for the README. */
export function settingsMarkdown(): string {
  const lines = ["| Variable | Default | Allowed | What it does |", "| --- | --- | --- | --- |"];
  for (const { setting } of rows()) {
    const fallback = setting.fallback === "" ? "none" : `\`${setting.fallback}\``;
    lines.push(
      `| \`${setting.name}\` | ${fallback} | ${allowedText(setting)} | ${setting.about}. |`,
    );
  }
  return `${lines.join("\n")}\n`;
}

interface Row {
  readonly group: keyof Settings;
  readonly key: string;
  readonly setting: Setting<unknown>;
}

function rows(): readonly Row[] {
  return Object.entries(TABLE).flatMap(([group, settings]) =>
    Object.entries(settings).map(([key, setting]) => ({
      group: group as keyof Settings,
      key,
      setting: setting as Setting<unknown>,
    }))
  );
}

/** Where values come from. */
interface Source {
  readonly env: (name: string) => string | undefined;
  readonly readFile: (path: string) => string;
  /** Values that the URLs name. They win. */
  readonly parts: SettingParts;
}

function partsOfUrls(source: Source): SettingParts {
  const partsOf = (
    setting: Setting<string | undefined>,
    split: (url: string) => SettingParts | UrlFault,
  ): SettingParts => {
    const url = readSetting(setting, source);
    // A fault is reported with all others, when the setting's own turn comes.
    const parts = typeof url === "string" ? split(url) : new Map<string, string>();
    return parts instanceof UrlFault ? new Map() : parts;
  };
  return new Map([
    ...partsOf(TABLE.postgres.url, postgresUrlParts),
    ...partsOf(TABLE.redis.url, redisUrlParts),
  ]);
}

function readSetting(setting: Setting<unknown>, source: Source): unknown {
  const given = source.parts.get(setting.name) ?? readGiven(setting, source);
  if (given instanceof Fault) return given;
  const used = given ?? presence(setting.fallback);
  if (used === undefined) return undefined;
  const value = setting.parse(used);
  if (!(value instanceof Fault)) return value;
  const shown = setting.source === "value" ? printable(used) : "its value";
  return new Fault(`${setting.name}: ${shown} is not ${value.text}`);
}

/** The text that was given for a setting, from wherever it may come. */
function readGiven(
  setting: Setting<unknown>,
  { env, readFile }: Source,
): string | undefined | Fault {
  const given = presence(env(setting.name));
  switch (setting.source) {
    case "value":
      return presence(given?.trim());
    case "file":
      return given && readFileOf(setting.name, given, readFile);
    case "secret": {
      const path = presence(env(fileName(setting)));
      if (path === undefined) return given;
      return given === undefined
        ? readFileOf(fileName(setting), path, readFile)
        : new Fault(`${setting.name} and ${fileName(setting)} are both set: set one of them`);
    }
  }
}

function readFileOf(
  name: string,
  path: string,
  readFile: (path: string) => string,
): string | Fault {
  try {
    const content = readFile(path).replace(/\r?\n$/, "");
    return content === "" ? new Fault(`${name}: ${printable(path)} is empty`) : content;
  } catch (error) {
    return new Fault(`${name}: cannot read ${printable(path)}: ${describeError(error)}`);
  }
}

/** An empty string counts as not set: that is how compose files and shells pass "nothing". */
function presence(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}

function fileName(setting: Setting<unknown>): string {
  return `${setting.name}_FILE`;
}

function allowedText(setting: Setting<unknown>): string {
  return setting.source === "secret"
    ? `${setting.allowed}; or its path in ${fileName(setting)}`
    : setting.allowed;
}

/** A value in quotes, escaped, and not longer than a line. */
function printable(value: string): string {
  const shortened = value.length > 80 ? `${value.slice(0, 80)}…` : value;
  return JSON.stringify(shortened).replace(
    /[\u007f-\u{10ffff}]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

function noFiles(): never {
  throw new Error("this program reads no files");
}

function whole(
  name: string,
  about: string,
  bounds: { fallback: number; min: number; max: number; unit: string },
): Setting<number> {
  const { fallback, min, max, unit } = bounds;
  const allowed = `${min} to ${max}${unit === "" ? "" : ` ${unit}`}`;
  const parse = (given: string): number | Fault => {
    const value = /^[0-9]{1,15}$/.test(given) ? Number(given) : NaN;
    return value >= min && value <= max ? value : new Fault(`a whole number from ${allowed}`);
  };
  return { name, about, fallback: String(fallback), allowed, source: "value", parse };
}

function share(name: string, about: string, fallback: string): Setting<number> {
  const allowed = "0 to 1";
  const parse = (given: string): number | Fault => {
    const value = /^[0-9]{0,2}(\.[0-9]{1,9})?$/.test(given) ? Number(given) : NaN;
    return value >= 0 && value <= 1 ? value : new Fault(`a number from ${allowed}`);
  };
  return { name, about, fallback, allowed, source: "value", parse };
}

function text(
  name: string,
  about: string,
  rule: { fallback: string; allowed: string; pattern: RegExp },
): Setting<string> {
  const { fallback, allowed, pattern } = rule;
  const parse = (given: string): string | Fault => pattern.test(given) ? given : new Fault(allowed);
  return { name, about, fallback, allowed, source: "value", parse };
}

function host(name: string, about: string): Setting<string> {
  return text(name, about, {
    fallback: "localhost",
    allowed: "a host name or address",
    pattern: /^[A-Za-z0-9._:-]{1,253}$/,
  });
}

function identifier(name: string, about: string, fallback: string): Setting<string> {
  return text(name, about, {
    fallback,
    allowed: "1 to 63 printable characters",
    pattern: /^[^\p{C}\p{Z}]{1,63}$/u,
  });
}

/** What is wrong with a URL, if anything is. */
function faultOf(parts: SettingParts | UrlFault): string | undefined {
  return parts instanceof UrlFault ? parts.text : undefined;
}

function secret<Value extends string | undefined>(
  name: string,
  about: string,
  fallback: string,
  rule?: { form: string; fault: (text: string) => string | undefined },
): Setting<Value> {
  const allowed = rule?.form ?? `1 to ${SECRET_LENGTH_MAX} characters`;
  const parse = (given: string): Value | Fault => {
    // A file read as text holds no NUL unless it is no text.
    const isText = given.length <= SECRET_LENGTH_MAX && !given.includes("\0");
    const fault = isText ? rule?.fault(given) : "";
    if (fault === undefined) return given as Value;
    return new Fault(fault === "" ? allowed : `${allowed}: ${fault}`);
  };
  return { name, about, fallback, allowed, source: "secret", parse };
}

/** Largest file of certificates, in characters; a system's whole list has about 200 KiB. */
const CERTIFICATES_LENGTH_MAX = MIB;

function certificates(name: string, about: string): Setting<string | undefined> {
  return pemFile(name, about, {
    allowed: "the path of a PEM file",
    label: /-----BEGIN CERTIFICATE-----/,
  });
}

function privateKey(name: string): Setting<string | undefined> {
  return pemFile(name, "Its key", {
    allowed: "the path of a PEM file with a key that is not encrypted",
    label: /-----BEGIN (EC |RSA )?PRIVATE KEY-----/,
  });
}

function pemFile(
  name: string,
  about: string,
  { allowed, label }: { readonly allowed: string; readonly label: RegExp },
): Setting<string | undefined> {
  const parse = (given: string): string | Fault =>
    label.test(given) && given.length <= CERTIFICATES_LENGTH_MAX ? given : new Fault(allowed);
  return { name, about, fallback: "", allowed, source: "file", parse };
}

/** A client secret goes there: in clear text to this computer alone. */
function tokenUrl(): Setting<string> {
  const allowed = "https://…, or http://… of this computer, without user and password";
  return {
    name: "KAFKA_OAUTH_TOKEN_URL",
    about:
      "Where oauthbearer gets its tokens, by client credentials. KAFKA_TLS_CA counts there, too",
    fallback: "",
    allowed,
    source: "value",
    parse: (given) => {
      const url = URL.parse(given);
      const isSafe = url?.protocol === "https:" ||
        (url?.protocol === "http:" && isLoopback(url.hostname));
      const isPlain = url?.username === "" && url.password === "" && url.hash === "";
      return isSafe && isPlain && given.length <= 2_048 ? given : new Fault(allowed);
    },
  };
}

function hostNames(name: string, about: string): Setting<readonly string[] | undefined> {
  const allowed = `host names without ports, separated by commas, at most ${HOST_NAMES_MAX}`;
  const parse = (given: string): readonly string[] | Fault => {
    const names = given.split(",").map((item) => item.trim().toLowerCase());
    const isGood = names.every((each) =>
      /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63}){0,126}$/.test(each)
    );
    return isGood && names.length <= HOST_NAMES_MAX ? [...new Set(names)] : new Fault(allowed);
  };
  return { name, about, fallback: "", allowed, source: "value", parse };
}

/** A setting that may be left out. Its fallback must be the empty text. */
function optional(setting: Setting<string>): Setting<string | undefined> {
  return setting;
}

function choice<Value extends string>(
  name: string,
  about: string,
  values: readonly Value[],
  fallback: Value,
): Setting<Value> {
  const parse = (given: string): Value | Fault =>
    values.find((value) => value === given.toLowerCase()) ??
      new Fault(`one of ${values.join(", ")}`);
  return { name, about, fallback, allowed: values.join(", "), source: "value", parse };
}

function flag(name: string, about: string, fallback: boolean): Setting<boolean> {
  const words = choice(name, about, ["true", "false"], fallback ? "true" : "false");
  const parse = (given: string): boolean | Fault => {
    const word = words.parse(given);
    return word instanceof Fault ? word : word === "true";
  };
  return { ...words, parse };
}

/** Most brokers that a list may name; a client needs a few of a cluster, not all. */
const BROKERS_MAX = 100;

function parseBrokers(given: string): readonly string[] | Fault {
  const wanted = new Fault(
    `a list of host:port separated by commas, at most ${BROKERS_MAX}, ports from 1 to 65535`,
  );
  const brokers: string[] = [];
  for (const item of given.split(",")) {
    const match = /^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?$/.exec(
      item.trim(),
    );
    const port = Number(match?.[2] ?? 9_092);
    if (match === null || port < PORT.min || port > PORT.max) return wanted;
    brokers.push(`${match[1]}:${port}`);
  }
  return brokers.length <= BROKERS_MAX ? [...new Set(brokers)] : wanted;
}
