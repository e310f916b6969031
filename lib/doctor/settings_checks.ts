/**
 * Finds settings that contradict each other and can be worked with all the same. Those that cannot
 * be meant are refused when they are read, see `settings/contradictions.ts`.
 *
 * @module
 */
import { isLoopback } from "../loopback.ts";
import type { Misspelt } from "../settings/misspelt.ts";
import type { Settings } from "../settings/table.ts";
import { type Finding, findingsOf } from "./finding.ts";

/** Settings that are compared with each other. */
export type SettingsCheckSettings = Settings<"kafka" | "postgres" | "redis" | "consumer" | "http">;

const settingsFinding = findingsOf("settings");

/**
 * Messages whose marks Redis can write in a millisecond, the way there included. Measured: 12 ms in
 * Redis for 5,000 marks; half of that speed is left to a busy server.
 */
const MARKS_PER_MS = 200;

/** One finding for each contradiction, or one that says that there is none. */
export function settingsFindings(settings: SettingsCheckSettings): readonly Finding[] {
  const found = [...pace(settings), ...security(settings)];
  return found.length > 0 ? found : [settingsFinding.ok("contradictions", "none")];
}

/** One finding for each variable that has no effect, for want of a letter. */
export function misspeltFindings(misspelt: readonly Misspelt[]): readonly Finding[] {
  return misspelt.map(({ name, meant }) =>
    settingsFinding.warning(
      "names",
      `${name} is not a setting, and has no effect`,
      `If ${meant} is meant, correct the name.`,
    )
  );
}

function pace({ kafka, postgres, redis, consumer }: SettingsCheckSettings): readonly Finding[] {
  const found: Finding[] = [];
  if (postgres.poolMax < consumer.batchesConcurrent) {
    found.push(settingsFinding.warning(
      "connections",
      `POSTGRES_POOL_MAX=${postgres.poolMax} is less than ` +
        `BATCHES_CONCURRENT=${consumer.batchesConcurrent}: batches wait for connections`,
      "Raise POSTGRES_POOL_MAX, or lower BATCHES_CONCURRENT.",
    ));
  }
  const neededMs = Math.ceil(consumer.batchMessagesMax / MARKS_PER_MS);
  if (redis.budgetMs < neededMs) {
    found.push(settingsFinding.warning(
      "Redis budget",
      `REDIS_BUDGET_MS=${redis.budgetMs} is too short for a batch of ` +
        `BATCH_MESSAGES_MAX=${consumer.batchMessagesMax}: Redis will be left out`,
      `Allow ${neededMs} ms or more, or lower BATCH_MESSAGES_MAX.`,
    ));
  }
  if (redis.ttlSeconds * 1_000 < kafka.sessionTimeoutMs) {
    found.push(settingsFinding.warning(
      "marks",
      `REDIS_TTL_SECONDS=${redis.ttlSeconds} is shorter than ` +
        `KAFKA_SESSION_TIMEOUT_MS=${kafka.sessionTimeoutMs}: when the brokers notice a dead ` +
        "consumer and send its messages again, the marks are gone",
      "Raise REDIS_TTL_SECONDS.",
    ));
  }
  return found;
}

function security({ kafka, http, consumer }: SettingsCheckSettings): readonly Finding[] {
  const found: Finding[] = [];
  const { saslMechanism } = kafka;
  if (["plain", "oauthbearer"].includes(saslMechanism) && kafka.tls === "disable") {
    const sent = saslMechanism === "plain" ? "the password" : "the token";
    found.push(settingsFinding.warning(
      "Kafka login",
      `KAFKA_SASL_MECHANISM=${saslMechanism} sends ${sent}, and KAFKA_TLS=disable leaves it unencrypted`,
      "Set KAFKA_TLS=verify-full, or use scram-sha-512.",
    ));
  }
  if (consumer.httpPort !== 0 && http.token === undefined && !isLoopback(http.host)) {
    found.push(settingsFinding.warning(
      "pages",
      `HTTP_HOST=${http.host} is reachable from the network, and there is no HTTP_TOKEN: anybody who reaches it can read`,
      "Set HTTP_TOKEN, or set HTTP_HOST to 127.0.0.1.",
    ));
  }
  return found;
}
