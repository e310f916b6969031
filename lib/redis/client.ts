/**
 * The accelerator in Redis: the only file that imports a Redis library.
 *
 * The connection is kept by a loop of ours; the library connects once and never again. So a dropped
 * connection takes everything that waited for it along, nothing queues up while Redis is away, and
 * closing leaves no timer behind.
 *
 * Redis needs `maxmemory-policy noeviction` or a `volatile-…` one: marks expire and may be evicted,
 * the last values may not. A user of limited rights needs `+mget +get +set +setex +del +unlink
 * +scan +zadd +zscore +zrange +eval +evalsha +info +time` on `~reading:* ~last:* ~ledger:*`.
 *
 * @module
 */
import { createClient } from "@redis/client";
import type { Clock } from "../clock.ts";
import { connectFault } from "../connect_fault.ts";
import { ConfigurationError, describeError, TransientError } from "../errors.ts";
import { type Log, sayOnChange } from "../log.ts";
import { backoffMs } from "../retry.ts";
import { type TlsMode, tlsOptions } from "../tls.ts";
import { withTimeLimit } from "../time_limit.ts";
import { askServerTime } from "../server_time.ts";
import type { Cache, LastValue, LastValueReader, Mark } from "./cache.ts";
import { parseRedisInfo, type RedisFacts } from "./redis_facts.ts";
import {
  INDEX_KEY,
  LAST_COMPLETE_KEY,
  LAST_PREFIX,
  MARK_PREFIX,
  REMEMBER_SCRIPT,
  REMEMBER_SCRIPT_SHA1,
} from "./scripts.ts";

/** Where Redis is. */
export interface RedisSettings {
  /** Name or address. */
  readonly host: string;
  /** TCP port. */
  readonly port: number;
  /** ACL user to log in as; undefined: the default one. */
  readonly user?: string | undefined;
  /** Undefined: log in without one. */
  readonly password: string | undefined;
  /**
   * Whether the connection is encrypted.
   *
   * @default "disable"
   */
  readonly tls?: TlsMode;
  /** Certificates to trust, PEM; undefined: those of the system. */
  readonly ca?: string | undefined;
  /** How long a mark lives, seconds. */
  readonly ttlSeconds: number;
}

/** What the connection needs of the program. */
export interface RedisContext {
  /** Measures the waits. */
  readonly clock: Clock;
  /** Hears of a refused password, and at level debug of every lost connection. */
  readonly log: Log;
}

/**
 * Longest wait for one answer, ms. It is above any budget that a caller sets: a connection that is
 * silent for this long is taken for dead, and dropped with all that waits on it.
 */
const ANSWER_MS_MAX = 5_000;

/** Longest that connecting and logging in may take, ms. */
const CONNECT_MS_MAX = 5_000;

/** Pause between two attempts to connect, ms. */
const RECONNECT = { minMs: 50, maxMs: 1_000 };

/**
 * Most calls that wait for an answer at the same time. Each is one call of one batch, and a batch
 * makes one at a time, so that only a silent server gets near it.
 */
const CALLS_WAITING_MAX = 64;

/** How many keys one step of {@linkcode RedisCache.clearLastValues} asks Redis to look at. */
const SCAN_KEYS = 1_000;

/** Names no reading. */
const PROBE_ID = "00000000-0000-0000-0000-000000000000";

type Client = ReturnType<typeof createClient>;

/**
 * Opens the cache. It connects in the background and keeps at it: a Redis that is away, or refuses
 * the password, makes every call reject and never stops the program.
 */
export function openCache(settings: RedisSettings, context: RedisContext): RedisCache {
  return new RedisCache(settings, context);
}

/** A {@linkcode Cache} on a Redis server. */
export class RedisCache implements Cache, LastValueReader {
  readonly #settings: RedisSettings;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #closing = new AbortController();
  readonly #firstAttempt = Promise.withResolvers<void>();
  readonly #connecting: Promise<void>;
  /** The client that is logged in; undefined while there is none. Written by the loop alone. */
  #client: Client | undefined;
  /** Why there is no client. */
  #absence: Error = new Error("not connected yet");
  /** Somebody waits for the first attempt, and hears of a refusal by an error. */
  #isAwaited = false;

  /** Begins to connect. */
  constructor(settings: RedisSettings, context: RedisContext) {
    this.#settings = settings;
    this.#clock = context.clock;
    this.#log = context.log;
    this.#connecting = this.#stayConnected();
  }

  /**
   * Resolves when Redis has let us in. For one-shot commands, which have no reason to go on without.
   *
   * @throws {ConfigurationError} If Redis refuses the password.
   * @throws {TransientError} If the first attempt to connect has failed otherwise.
   */
  async connected(): Promise<void> {
    this.#isAwaited = true;
    await this.#firstAttempt.promise;
    if (this.#client !== undefined) return;
    const cannot = `Cannot connect to Redis at ${this.#address}`;
    if (!isRefusal(this.#absence)) throw new TransientError(cannot, { cause: this.#absence });
    throw new ConfigurationError(`${cannot}, check ${cureOf(this.#absence)}`, {
      cause: this.#absence,
    });
  }

  /** The marks of these ids, see {@linkcode Cache.marks}. */
  async marks(ids: readonly string[]): Promise<readonly (string | null)[]> {
    if (ids.length === 0) return [];
    const command = ["MGET"];
    for (const id of ids) command.push(MARK_PREFIX + id);
    return await this.#call<(string | null)[]>(`look up ${ids.length} marks`, command);
  }

  /** Writes marks and newer last values, see {@linkcode Cache.remember}. */
  async remember(marks: readonly Mark[], lastValues: readonly LastValue[]): Promise<string | null> {
    const script = [
      String(this.#settings.ttlSeconds),
      JSON.stringify(markArguments(marks)),
      JSON.stringify(lastValueArguments(lastValues)),
    ];
    const action = `remember ${marks.length} marks and ${lastValues.length} last values`;
    try {
      return await this.#call(action, ["EVALSHA", REMEMBER_SCRIPT_SHA1, "0", ...script]);
    } catch (error) {
      // A server that was restarted or told to forget its scripts. EVAL brings the script along.
      if (!isReply(error, "NOSCRIPT")) throw error;
      return await this.#call(action, ["EVAL", REMEMBER_SCRIPT, "0", ...script]);
    }
  }

  /** See {@linkcode Cache.setLastComplete}. */
  async setLastComplete(dataSetId: string): Promise<void> {
    await this.#call("record that last values are complete", ["SET", LAST_COMPLETE_KEY, dataSetId]);
  }

  /** See {@linkcode Cache.clearLastValues}. Interrupted, it can be begun anew. */
  async clearLastValues(): Promise<void> {
    // First, so that whoever finds a part of the last values gone also finds that they are not
    // complete.
    await this.#call("clear last values", ["DEL", LAST_COMPLETE_KEY]);
    let cursor = "0";
    do {
      const [next, keys] = await this.#call<[string, string[]]>("clear last values", [
        "SCAN",
        cursor,
        "MATCH",
        `${LAST_PREFIX}*`,
        "COUNT",
        String(SCAN_KEYS),
      ]);
      if (keys.length > 0) await this.#call("clear last values", ["UNLINK", ...keys]);
      cursor = next;
    } while (cursor !== "0");
  }

  /** See {@linkcode Cache.lastValue}. */
  async lastValue(sensorId: string): Promise<string | null> {
    return await this.#call("read a last value", ["GET", LAST_PREFIX + sensorId]);
  }

  /** See {@linkcode LastValueReader.lastTimes}. */
  async lastTimes(limit: number): Promise<ReadonlyMap<string, number>> {
    const command = ["ZRANGE", INDEX_KEY, "0", String(limit - 1), "WITHSCORES"];
    const times = await this.#call<[string, number][]>("read the index of last values", command);
    return new Map(times);
  }

  /** See {@linkcode LastValueReader.lastTexts}. */
  async lastTexts(sensorIds: readonly string[]): Promise<readonly (string | null)[]> {
    if (sensorIds.length === 0) return [];
    const keys = sensorIds.map((id) => LAST_PREFIX + id);
    return await this.#call(`read ${keys.length} last values`, ["MGET", ...keys]);
  }

  /** What the server says about itself, after a look-up and a script that change nothing. */
  async facts(): Promise<RedisFacts> {
    await this.marks([PROBE_ID]);
    await this.remember([], []);
    const info = parseRedisInfo(await this.#call<string>("read the server's state", ["INFO"]));
    const time = await askServerTime(this.#clock, async () => {
      const [seconds, micros] = await this.#call<[string, string]>("read the clock", ["TIME"]);
      return Number(seconds) * 1_000 + Number(micros) / 1_000;
    });
    return { ...info, time };
  }

  /** Ends the connection. What waits for an answer rejects. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#client?.destroy();
    await this.#connecting;
  }

  /** Ends the connection, see {@linkcode RedisCache.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #call<Reply>(action: string, command: string[]): Promise<Reply> {
    const client = this.#client;
    if (client === undefined) {
      throw new TransientError(this.#cannot(action), { cause: this.#absence });
    }
    try {
      const limit = { clock: this.#clock, limitMs: ANSWER_MS_MAX };
      return await withTimeLimit(() => client.sendCommand<Reply>(command), limit);
    } catch (error) {
      // Only our own time limit throws one. A late answer is worth nothing any more.
      if (error instanceof TransientError) client.destroy();
      throw new TransientError(this.#cannot(action), { cause: error });
    }
  }

  #cannot(action: string): string {
    return `Cannot ${action} in Redis at ${this.#address}`;
  }

  get #address(): string {
    return `${this.#settings.host}:${this.#settings.port}`;
  }

  async #stayConnected(): Promise<void> {
    let isFirst = true;
    let isHeard = false;
    const tellRefusal = sayOnChange(false, (refused) => {
      if (refused && !isHeard) {
        this.#log.error(`Redis is not used, check ${cureOf(this.#absence)}`, {
          error: this.#absence,
        });
      }
    });
    for (let failures = 1; !this.#closing.signal.aborted; failures++) {
      const wasConnected = await this.#connectOnce();
      isHeard = isFirst && this.#isAwaited;
      isFirst = false;
      this.#firstAttempt.resolve();
      if (wasConnected) failures = 1;
      tellRefusal(isRefusal(this.#absence));
      this.#log.debug("Redis is not connected", { error: this.#absence });
      await this.#clock.sleep(backoffMs(failures, RECONNECT), this.#closing.signal);
    }
    this.#absence = new Error("the connection is closed");
  }

  /** Connects, and resolves when that has failed (false) or the connection is lost again (true). */
  async #connectOnce(): Promise<boolean> {
    const client = this.#createClient();
    const lost = Promise.withResolvers<Error>();
    // Without a listener an error event would end the process.
    client.on("error", lost.resolve);
    client.on("end", () => lost.resolve(new Error("connection closed")));
    const connecting = client.connect();
    try {
      await withTimeLimit(() => connecting, {
        clock: this.#clock,
        limitMs: CONNECT_MS_MAX,
        signal: this.#closing.signal,
      });
    } catch (error) {
      client.destroy();
      // The library cannot give up a socket that is about to connect; it can once it has.
      connecting.then(() => client.destroy(), () => {});
      this.#absence = asError(error);
      return false;
    }
    if (!this.#closing.signal.aborted) {
      this.#client = client;
      this.#log.debug("Redis is connected");
      this.#firstAttempt.resolve();
      this.#absence = await lost.promise;
      this.#client = undefined;
    }
    client.destroy();
    return true;
  }

  #createClient(): Client {
    const { host, port, user, password, tls = "disable", ca } = this.#settings;
    const encryption = tlsOptions(tls, ca);
    const socket = {
      host,
      port,
      connectTimeout: CONNECT_MS_MAX,
      reconnectStrategy: false as const,
    };
    return createClient({
      socket: encryption === undefined ? socket : { ...socket, tls: true, ...encryption },
      // A command must fail at once while there is no connection, and never run late.
      disableOfflineQueue: true,
      commandsQueueMaxLength: CALLS_WAITING_MAX,
      // How long a command may wait to be written; the whole call has the same limit.
      commandOptions: { timeout: ANSWER_MS_MAX },
      name: "sensor-ledger",
      // Asks of a commercial server what this one does not know.
      maintNotifications: "disabled",
      ...(user === undefined ? {} : { username: user }),
      ...(password === undefined ? {} : { password }),
    });
  }
}

/** `[id, value, …]`. Built by a loop: a batch has thousands of marks. */
function markArguments(marks: readonly Mark[]): readonly string[] {
  const flat: string[] = [];
  for (const { id, value } of marks) flat.push(id, value);
  return flat;
}

/** `[sensor id, event time, reading id, message, …]`. */
function lastValueArguments(lastValues: readonly LastValue[]): readonly string[] {
  return lastValues.flatMap((last) => [
    last.sensorId,
    String(last.eventTimeUs),
    last.id,
    last.text,
  ]);
}

/** True for what stays the same until somebody changes a password, a right or a certificate. */
function isRefusal(error: unknown): boolean {
  return ["WRONGPASS", "NOAUTH", "NOPERM"].some((code) => isReply(error, code)) ||
    connectFault(error) !== undefined;
}

/** Which settings a refusal speaks of. */
function cureOf(refusal: unknown): string {
  const fault = connectFault(refusal);
  if (fault === undefined) return "REDIS_USER and REDIS_PASSWORD";
  return fault.kind === "tls" ? "REDIS_TLS and REDIS_TLS_CA" : "Deno's permissions";
}

/** Whether an error, or what caused it, is the server's answer with this code. */
function isReply(error: unknown, code: string): boolean {
  if (!(error instanceof Error)) return false;
  return error.message.startsWith(`${code} `) || isReply(error.cause, code);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(describeError(error));
}
