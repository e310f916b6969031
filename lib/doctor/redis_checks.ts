/**
 * Judges what Redis has said. Pure: facts in, findings out.
 *
 * @module
 */
import type { RedisFacts } from "../redis/redis_facts.ts";
import type { Settings } from "../settings.ts";
import { bytesText } from "./bytes_text.ts";
import { type Finding, findingsOf } from "./finding.ts";

const redis = findingsOf("redis");

/** A server that is fuller than this is worth a look. */
const MEMORY_SHARE_MAX = 0.9;

/** Judges all of it, in the order in which a person would ask. */
export function redisFindings(
  facts: RedisFacts,
  settings: Pick<Settings, "redis">,
): readonly Finding[] {
  return [
    redis.ok("server", `Redis ${facts.version} answers, and runs our script`),
    kind(facts),
    eviction(facts),
    memory(facts),
    redis.ok("marks", `live for REDIS_TTL_SECONDS=${settings.redis.ttlSeconds}`),
  ];
}

function kind({ role, isCluster }: RedisFacts): Finding {
  if (isCluster) {
    return redis.failure(
      "kind",
      "a node of Redis Cluster: our script names keys that may lie on other nodes",
      "Use one server, with replicas if you like.",
    );
  }
  if (role !== "master") {
    return redis.failure("kind", "a replica, which refuses to write", "Name the primary server.");
  }
  return redis.ok("kind", "one primary server");
}

function eviction({ evictionPolicy: policy, memoryBytesMax, evictedKeys }: RedisFacts): Finding {
  const drops = "it drops last values, which come back only with a newer reading, and marks";
  const cure = "Set maxmemory-policy noeviction or volatile-ttl.";
  if (!policy.startsWith("allkeys")) {
    return redis.ok("eviction", `maxmemory-policy ${policy}`);
  }
  if (memoryBytesMax === 0) {
    return redis.warning(
      "eviction",
      `maxmemory-policy ${policy}: once there is a maxmemory, ${drops}`,
      cure,
    );
  }
  return redis.failure(
    "eviction",
    `maxmemory-policy ${policy}: when full, ${drops}; ${evictedKeys} keys so far`,
    `${cure} Then run: deno task rebuild-last`,
  );
}

function memory({ memoryBytes, memoryBytesMax, evictionPolicy }: RedisFacts): Finding {
  const used = bytesText(memoryBytes);
  if (memoryBytesMax === 0) {
    return redis.ok("memory", `${used}, without a maxmemory: the computer is the bound`);
  }
  const text = `${used} of ${bytesText(memoryBytesMax)}`;
  if (memoryBytes <= memoryBytesMax * MEMORY_SHARE_MAX) return redis.ok("memory", text);
  const then = evictionPolicy === "noeviction"
    ? "soon it refuses to write, and PostgreSQL does all the work"
    : "soon it drops keys before their time";
  return redis.warning(
    "memory",
    `${text}: ${then}`,
    "Raise maxmemory, or lower REDIS_TTL_SECONDS.",
  );
}
