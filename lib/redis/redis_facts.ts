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
  /** Which keys it gives up when it is full, `noeviction` for none. */
  readonly evictionPolicy: string;
  /** Bytes in use. */
  readonly memoryBytes: number;
  /** Bytes that it may use; 0: no bound. */
  readonly memoryBytesMax: number;
  /** Keys that it has given up since it started. */
  readonly evictedKeys: number;
  /** Whose the last values are. */
  readonly lastValues: {
    /** The data set that they are of; null: there are none. */
    readonly owner: string | null;
    /** The data set one of whose consumers was there a moment ago; null: none was. */
    readonly lease: string | null;
    /** A key that was met within the last hour and is another program's; null: there was none. */
    readonly refusedKey: string | null;
  };
  /** Its clock. */
  readonly time: ServerTime;
}

/** Reads the answer to `INFO`. What is missing becomes "" or 0. */
export function parseRedisInfo(text: string): Omit<RedisFacts, "time" | "lastValues"> {
  const fields = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon > 0 && !line.startsWith("#")) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  const number = (name: string): number => Number(fields.get(name) ?? 0);
  return {
    version: fields.get("redis_version") ?? "",
    role: fields.get("role") ?? "",
    evictionPolicy: fields.get("maxmemory_policy") ?? "",
    memoryBytes: number("used_memory"),
    memoryBytesMax: number("maxmemory"),
    evictedKeys: number("evicted_keys"),
  };
}
