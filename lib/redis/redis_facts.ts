/**
 * What Redis says about itself, for `doctor`.
 *
 * @module
 */
import type { ServerTime } from "../server_time.ts";

/** What is known of a Redis server. */
export interface RedisFacts {
  /** Its version. */
  readonly version: string;
  /** `master`, or `slave` for a replica. */
  readonly role: string;
  /** Whether it is a node of Redis Cluster. */
  readonly isCluster: boolean;
  /** Which keys it gives up when it is full, `noeviction` for none. */
  readonly evictionPolicy: string;
  /** Bytes in use. */
  readonly memoryBytes: number;
  /** Bytes that it may use; 0: no bound. */
  readonly memoryBytesMax: number;
  /** Keys that it has given up since it started. */
  readonly evictedKeys: number;
  /** Its clock. */
  readonly time: ServerTime;
}

/** Reads the answer to `INFO`. What is missing becomes "" or 0. */
export function parseRedisInfo(text: string): Omit<RedisFacts, "time"> {
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon > 0 && !line.startsWith("#")) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  const number = (name: string): number => Number(fields.get(name) ?? 0);
  return {
    version: fields.get("redis_version") ?? "",
    role: fields.get("role") ?? "",
    isCluster: fields.get("cluster_enabled") === "1",
    evictionPolicy: fields.get("maxmemory_policy") ?? "",
    memoryBytes: number("used_memory"),
    memoryBytesMax: number("maxmemory"),
    evictedKeys: number("evicted_keys"),
  };
}
