/**
 * Judges what Redis has said. Pure: facts in, findings out.
 *
 * @module
 */
import type { Answer } from "../kafka/kafka_facts.ts";
import type { RedisFacts } from "../redis/redis_facts.ts";
import { REFUSED_CURE } from "../redis/redis_fault.ts";
import type { Settings } from "../settings/table.ts";
import { bytesText } from "./bytes_text.ts";
import { type Finding, findingsOf } from "./finding.ts";
import { counted } from "../quantities.ts";

const redis = findingsOf("redis");

/** A server that is fuller than this is worth a look. */
const MEMORY_SHARE_MAX = 0.9;

/** What Redis has to fit. */
export interface RedisContext {
  /** How Redis is to be used. */
  readonly settings: Settings<"redis">;
  /** The data set of the database, if it has told. */
  readonly dataSetId: Answer<string>;
}

/** Judges all of it, in the order in which a person would ask. */
export function redisFindings(
  facts: RedisFacts,
  { settings, dataSetId }: RedisContext,
): readonly Finding[] {
  return [
    redis.ok("server", `Redis ${facts.version} answers and runs our scripts`),
    kind(facts),
    lastValues(facts, dataSetId),
    ...foreignKey(facts),
    eviction(facts),
    memory(facts),
    redis.ok("marks", `live for REDIS_TTL_SECONDS=${settings.redis.ttlSeconds}`),
  ];
}

function kind({ role }: RedisFacts): Finding {
  if (role !== "master") {
    return redis.failure(
      "kind",
      "a replica, which refuses to write",
      "Set REDIS_HOST to the primary server.",
    );
  }
  return redis.ok("kind", "one primary server");
}

/** The lease tells a neighbour from a data set that is gone. */
function lastValues({ lastValues: { owner, lease } }: RedisFacts, own: Answer<string>): Finding {
  if (own instanceof Error || (owner ?? own) === own && (lease ?? own) === own) {
    return redis.ok("last values", owner === null ? "none yet" : `of data set ${owner}`);
  }
  if (lease !== null && lease !== own) {
    return redis.failure(
      "last values",
      `of another data set, ${lease}, which had a consumer a moment ago: ours, ${own}, ` +
        "are not written",
      "Give each data set its own REDIS_PREFIX or REDIS_DATABASE.",
    );
  }
  return redis.warning(
    "last values",
    `of another data set, ${owner}, which has no consumer: the next consumer replaces them`,
    "If you still need that data set, give each data set its own REDIS_PREFIX or REDIS_DATABASE.",
  );
}

function foreignKey({ lastValues: { refusedKey } }: RedisFacts): readonly Finding[] {
  if (refusedKey === null) return [];
  return [
    redis.warning(
      "keys",
      `${refusedKey} belongs to another program: its last value was left out within the ` +
        "last hour",
      `${REFUSED_CURE}.`,
    ),
  ];
}

function eviction({ evictionPolicy: policy, memoryBytesMax, evictedKeys }: RedisFacts): Finding {
  const drops = "it evicts marks and last values, which come back only with a newer reading";
  const cure = "Set maxmemory-policy to noeviction or volatile-ttl.";
  if (!policy.startsWith("allkeys")) {
    return redis.ok("eviction", `maxmemory-policy ${policy}`);
  }
  if (memoryBytesMax === 0) {
    return redis.warning(
      "eviction",
      `maxmemory-policy ${policy}: once maxmemory is set, ${drops}`,
      cure,
    );
  }
  return redis.failure(
    "eviction",
    `maxmemory-policy ${policy}: when full, ${drops}; ${counted(evictedKeys, "key")} so far`,
    `${cure} Then run: deno task rebuild-last`,
  );
}

function memory({ memoryBytes, memoryBytesMax, evictionPolicy }: RedisFacts): Finding {
  const used = bytesText(memoryBytes);
  if (memoryBytesMax === 0) {
    return redis.ok("memory", `${used}, and no maxmemory: only the computer's memory limits it`);
  }
  const text = `${used} of ${bytesText(memoryBytesMax)}`;
  if (memoryBytes <= memoryBytesMax * MEMORY_SHARE_MAX) return redis.ok("memory", text);
  const then = evictionPolicy === "noeviction"
    ? "soon it refuses to write, and PostgreSQL does all the work"
    : "soon it evicts keys before they expire";
  return redis.warning(
    "memory",
    `${text}: ${then}`,
    "Raise maxmemory, or lower REDIS_TTL_SECONDS.",
  );
}
