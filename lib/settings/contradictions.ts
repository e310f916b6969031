/**
 * Finds settings that cannot be meant together, though each alone is good.
 *
 * @module
 */
import { keyPairFault, type TlsSettings } from "../tls.ts";
import type { Settings } from "./table.ts";

type Check = readonly [isFault: boolean, text: string];

/** The faults of the groups that were read, a line each. */
export function contradictions(settings: Partial<Settings>): readonly string[] {
  const { kafka, postgres, redis, consumer } = settings;
  return [
    ...(kafka ? [...tlsContradictions("KAFKA", kafka), ...kafkaContradictions(kafka)] : []),
    ...(postgres
      ? [...tlsContradictions("POSTGRES", postgres), ...postgresContradictions(postgres)]
      : []),
    ...(redis ? [...tlsContradictions("REDIS", redis), ...redisContradictions(redis)] : []),
    ...(consumer ? watchdogContradictions(consumer, settings) : []),
  ];
}

function textsOf(checks: readonly Check[]): readonly string[] {
  return checks.filter(([isFault]) => isFault).map(([_, text]) => text);
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

function kafkaContradictions(kafka: Settings["kafka"]): readonly string[] {
  const { saslMechanism, user, password, oauthTokenUrl, oauthClientId, oauthClientSecret } = kafka;
  const byToken = saslMechanism === "oauthbearer";
  const byPassword = saslMechanism !== "none" && !byToken;
  const tokenParts = [oauthTokenUrl, oauthClientId, oauthClientSecret];
  const hasTokenPart = [...tokenParts, kafka.oauthScope].some((part) => part !== undefined);
  const hasPasswordPart = user !== undefined || password !== undefined;
  return textsOf([
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
      "KAFKA_USER and KAFKA_PASSWORD do not apply to KAFKA_SASL_MECHANISM=oauthbearer: remove them",
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
  ]);
}

function postgresContradictions(postgres: Settings["postgres"]): readonly string[] {
  return textsOf([
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
  ]);
}

function redisContradictions({ user, password }: Settings["redis"]): readonly string[] {
  return textsOf([
    [user !== undefined && password === undefined, "REDIS_USER is set: set REDIS_PASSWORD, too"],
  ]);
}

/** It would end a consumer that only waits. */
function watchdogContradictions(
  { watchdogSeconds }: Settings["consumer"],
  { kafka, postgres }: Partial<Settings>,
): readonly string[] {
  const watchdogMs = watchdogSeconds === 0 ? Infinity : watchdogSeconds * 1_000;
  const batchMs = postgres ? postgres.connectTimeoutMs + postgres.statementTimeoutMs : 0;
  return textsOf([
    [
      watchdogMs <= (kafka?.sessionTimeoutMs ?? 0),
      "WATCHDOG_SECONDS must be longer than KAFKA_SESSION_TIMEOUT_MS: the group may wait that long",
    ],
    [
      watchdogMs <= batchMs,
      "WATCHDOG_SECONDS must be longer than POSTGRES_CONNECT_TIMEOUT_MS and " +
      "POSTGRES_STATEMENT_TIMEOUT_MS together: a batch may take that long",
    ],
  ]);
}
