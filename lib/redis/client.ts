/**
 * The accelerator in Redis: the only file that imports a Redis library.
 *
 * The connection is kept by a loop of ours; the library connects once and never again. So a dropped
 * connection takes everything that waited for it along, nothing queues up while Redis is away, and
 * closing leaves no timer behind.
 *
 * Redis needs `maxmemory-policy noeviction` or a `volatile-…` one: marks expire and may be evicted,
 * the last values may not. A user of limited rights needs `+mget +get +set +setex +unlink +pttl
 * +zadd +zscore +zcard +zrange +zrem +eval +evalsha +info +time`, and `+select` for `REDIS_DATABASE`,
 * on `~reading:* ~last:* ~ledger:*`, each behind `REDIS_PREFIX`.
 *
 * @module
 */
import { createClient, ErrorReply } from "@redis/client";
import type { Clock } from "../clock.ts";
import { ConfigurationError, describeError, TransientError } from "../errors.ts";
import type { Log } from "../log.ts";
import { backoffMs } from "../retry.ts";
import { type AddressSettings, redisPlace } from "../settings/server_place.ts";
import { tlsOptions, type TlsSettings } from "../tls.ts";
import { tlsRefusal } from "../tls_sockets.ts";
import { unreachable } from "../unreachable.ts";
import { withTimeLimit } from "../time_limit.ts";
import { askServerTime } from "../server_time.ts";
import {
  type Cache,
  type Claim,
  type Claimant,
  type IndexRange,
  type LastValue,
  type LastValueReader,
  LEASE_MS,
  type OwnLastValues,
  PROBE_ID,
  type Remembered,
} from "./cache.ts";
import { ID_BYTES, type Marks, markTexts, NO_MARKS } from "./marks.ts";
import { parseRedisInfo, type RedisFacts } from "./redis_facts.ts";
import { redisFault, REFUSED_CURE, requireOneServer, type ServerKind } from "./redis_fault.ts";
import {
  CLAIM_SCRIPT,
  COMPLETE_SCRIPT,
  INDEX_KEY,
  LAST_COMPLETE_KEY,
  LAST_PREFIX,
  LEASE_KEY,
  MARK_PREFIX,
  OWNER_KEY,
  REFUSED_KEY,
  REMEMBER_SCRIPT,
  scriptName,
} from "./scripts.ts";
import { uuidText } from "../reading/uuid.ts";
import { counted } from "../quantities.ts";

/** Where Redis is. */
export interface RedisSettings extends TlsSettings, AddressSettings {
  /** ACL user to log in as; undefined: the default one. */
  readonly user?: string | undefined;
  /** Undefined: log in without one. */
  readonly password: string | undefined;
  /** Number of the database. @default 0 */
  readonly database?: number;
  /** Stands before every key. @default "" */
  readonly prefix?: string | undefined;
  /** How long a mark lives, seconds. */
  readonly ttlSeconds: number;
}

/** What the connection needs of the program. */
export interface RedisContext {
  /** Measures the waits. */
  readonly clock: Clock;
  /** Hears of keys of other programs, and at level debug of every lost connection. */
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

/** How many sensors one step of {@linkcode RedisCache.claimLastValues} deletes: about 2 ms. */
const CLEAR_SENSORS_MAX = 1_000;

/** Keys of other programs that are told of; a server with more of them has been told of often enough. */
const REFUSED_TOLD_MAX = 100;

/** Each script and its name, which is shorter to send. */
const SCRIPTS = new Map(
  [REMEMBER_SCRIPT, CLAIM_SCRIPT, COMPLETE_SCRIPT].map((script) => [script, scriptName(script)]),
);

/** Names no data set: for whoever asks only whether Redis runs the script. */
const PROBE_DATA_SET = "probe";

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
  /** Keys of other programs that the log has been told of. */
  readonly #refusedKeys = new Set<string>();

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
   * @throws {ConfigurationError} If Redis refuses us, or is a cluster: a person must fix that.
   * @throws {TransientError} If the first attempt to connect has failed otherwise.
   */
  async connected(): Promise<void> {
    await this.#firstAttempt.promise;
    if (this.#client !== undefined) return;
    const fault = redisFault(this.#absence);
    if (fault?.kind !== "refusal") throw this.#cannot(undefined, this.#absence);
    throw new ConfigurationError(`Cannot use Redis at ${redisPlace(this.#settings)}`, {
      cause: withCure(this.#absence),
    });
  }

  /** The marks of these ids, see {@linkcode Cache.marks}. */
  async marks(ids: Uint8Array): Promise<readonly (string | null)[]> {
    const count = ids.length / ID_BYTES;
    if (count === 0) return [];
    const command = ["MGET"];
    for (let index = 0; index < count; index++) {
      command.push(this.#key(MARK_PREFIX + uuidText(ids, index * ID_BYTES)));
    }
    return await this.#call<(string | null)[]>(`look up ${counted(count, "mark")}`, command);
  }

  /** Writes marks and newer last values, see {@linkcode Cache.remember}. */
  async remember(
    marks: Marks,
    { dataSetId, values }: OwnLastValues,
  ): Promise<Remembered> {
    const action = `remember ${counted(marks.count, "mark")} and ${
      counted(values.length, "last value")
    }`;
    const [lastValues, ...refusedKeys] = await this.#run<
      [Remembered["lastValues"], ...string[]]
    >(action, REMEMBER_SCRIPT, [
      dataSetId,
      String(LEASE_MS),
      String(this.#settings.ttlSeconds),
      JSON.stringify(markArguments(marks)),
      JSON.stringify(lastValueArguments(values)),
    ]);
    for (const key of refusedKeys) this.#tellRefused(key);
    return { lastValues, refusedKeys };
  }

  /** See {@linkcode Cache.claimLastValues}. */
  async claimLastValues({ dataSetId, formerly = "" }: Claimant): Promise<Claim> {
    const [kind, owner, leaseMs] = await this.#run<[Claim["kind"], string, number]>(
      "take possession of last values",
      CLAIM_SCRIPT,
      [dataSetId, String(LEASE_MS), formerly, String(CLEAR_SENSORS_MAX)],
    );
    return kind === "foreign" ? { kind, dataSetId: owner, leaseMs } : { kind };
  }

  /** See {@linkcode Cache.setLastComplete}. */
  async setLastComplete(dataSetId: string): Promise<boolean> {
    const action = "record that last values are complete";
    return await this.#run(action, COMPLETE_SCRIPT, [dataSetId, String(LEASE_MS)]) === 1;
  }

  /** See {@linkcode Cache.lastValue}. */
  async lastValue(sensorId: string): Promise<string | null> {
    // GET would refuse a key of another type.
    const [text = null] = await this.lastTexts([sensorId]);
    return text;
  }

  /** See {@linkcode LastValueReader.lastTimes}. */
  async lastTimes({ fromUs, skip, limit }: IndexRange): Promise<readonly [string, number][]> {
    const from = fromUs === -Infinity ? "-inf" : String(fromUs);
    const command = ["ZRANGE", this.#key(INDEX_KEY), from, "+inf", "BYSCORE"];
    command.push("LIMIT", String(skip), String(limit), "WITHSCORES");
    return await this.#call("read the index of last values", command);
  }

  /** See {@linkcode LastValueReader.lastTexts}. */
  async lastTexts(sensorIds: readonly string[]): Promise<readonly (string | null)[]> {
    if (sensorIds.length === 0) return [];
    const keys = sensorIds.map((id) => this.#key(LAST_PREFIX + id));
    return await this.#call(`read ${counted(keys.length, "last value")}`, ["MGET", ...keys]);
  }

  /** What the server says about itself, after a look-up and a script that change nothing. */
  async facts(): Promise<RedisFacts> {
    await this.marks(PROBE_ID);
    await this.remember(NO_MARKS, { dataSetId: PROBE_DATA_SET, values: [] });
    const info = parseRedisInfo(await this.#call<string>("read the server's state", ["INFO"]));
    const keys = [OWNER_KEY, LAST_COMPLETE_KEY, LEASE_KEY, REFUSED_KEY];
    const [owner = null, complete = null, lease = null, refusedKey = null] = await this.#call<
      (string | null)[]
    >("read whose the last values are", ["MGET", ...keys.map((key) => this.#key(key))]);
    const time = await askServerTime(this.#clock, async () => {
      const [seconds, micros] = await this.#call<[string, string]>("read the clock", ["TIME"]);
      return Number(seconds) * 1_000 + Number(micros) / 1_000;
    });
    return { ...info, lastValues: { owner: owner ?? complete, lease, refusedKey }, time };
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

  /** Runs a script; its first argument is the prefix. */
  async #run<Reply>(action: string, script: string, args: readonly string[]): Promise<Reply> {
    const rest = ["0", this.#settings.prefix ?? "", ...args];
    try {
      return await this.#call(action, ["EVALSHA", SCRIPTS.get(script) ?? "", ...rest]);
    } catch (error) {
      // A server that was restarted or told to forget its scripts. EVAL brings the script along.
      if (!isReply(error, "NOSCRIPT")) throw error;
      return await this.#call(action, ["EVAL", script, ...rest]);
    }
  }

  #key(name: string): string {
    return (this.#settings.prefix ?? "") + name;
  }

  #tellRefused(key: string): void {
    if (this.#refusedKeys.has(key) || this.#refusedKeys.size >= REFUSED_TOLD_MAX) return;
    this.#refusedKeys.add(key);
    this.#log.error(`the key ${key} in Redis belongs to another program and is left alone`, {
      cure: REFUSED_CURE,
    });
  }

  async #call<Reply>(action: string, command: string[]): Promise<Reply> {
    // Before the first attempt has ended nobody knows whether there is anybody.
    await this.#firstAttempt.promise;
    const client = this.#client;
    if (client === undefined) throw this.#cannot(action, this.#absence);
    try {
      const limit = { clock: this.#clock, limitMs: ANSWER_MS_MAX };
      return await withTimeLimit(() => client.sendCommand<Reply>(command), limit);
    } catch (error) {
      // Only our own time limit throws a TransientError: a late answer is worth nothing any more. A
      // replica may have been the primary; what has the name now is found by connecting again.
      const isLost = error instanceof TransientError || redisFault(error)?.kind === "replica";
      if (isLost) client.destroy();
      throw this.#cannot(action, error);
    }
  }

  /** What Redis says, about the call or to whoever connects, is an answer; all else is silence. */
  #cannot(action: string | undefined, error: unknown): TransientError {
    const place = redisPlace(this.#settings);
    const isAnswered = redisFault(error) !== undefined || error instanceof ErrorReply;
    if (!isAnswered) {
      // Without a connection nothing was tried but to connect.
      const wanted = error === this.#absence ? undefined : action;
      return unreachable({ name: "Redis", server: "redis", place, action: wanted }, error);
    }
    const text = action === undefined ? "Cannot use Redis" : `Cannot ${action} in Redis`;
    return new TransientError(`${text} at ${place}`, { cause: withCure(error) });
  }

  get #address(): string {
    return `${this.#settings.host}:${this.#settings.port}`;
  }

  async #stayConnected(): Promise<void> {
    for (let failures = 1; !this.#closing.signal.aborted; failures++) {
      const wasConnected = await this.#connectOnce();
      this.#firstAttempt.resolve();
      if (wasConnected) failures = 1;
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
    const connected = client.connect();
    const connecting = connected.then(() => requireUsable(client));
    try {
      await withTimeLimit(() => connecting, {
        clock: this.#clock,
        limitMs: CONNECT_MS_MAX,
        signal: this.#closing.signal,
      });
    } catch (error) {
      client.destroy();
      // The library cannot give up a socket that is about to connect; it can once it has.
      connected.then(() => client.destroy(), () => {});
      this.#absence = tlsRefusal(this.#address) ?? asError(error);
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
    const { host, port, user, password, database = 0 } = this.#settings;
    const encryption = tlsOptions(this.#settings);
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
      ...(database === 0 ? {} : { database }),
      // Asks of a commercial server what this one does not know.
      maintNotifications: "disabled",
      ...(user === undefined ? {} : { username: user }),
      ...(password === undefined ? {} : { password }),
    });
  }
}

/** `[id, value, …]`. Built by a loop: a batch has thousands of marks. */
function markArguments(marks: Marks): readonly string[] {
  const flat: string[] = [];
  for (const { id, value } of markTexts(marks)) flat.push(id, value);
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

/** @throws {NotOneServerError} if it is a cluster or a Sentinel. Who cannot be asked is taken. */
async function requireUsable(client: Client): Promise<void> {
  const kind = await client.sendCommand<ServerKind>(["HELLO"]).catch(() => ({}));
  requireOneServer(kind);
}

/** The same error, which also says what to do if that is known. */
function withCure(error: unknown): unknown {
  const fault = redisFault(error);
  if (fault === undefined) return error;
  return new Error(`${describeError(error).replace(/\.$/, "")}. ${fault.cure}`, { cause: error });
}

/** Whether an error, or what caused it, is the server's answer with this code. */
function isReply(error: unknown, code: string): boolean {
  if (!(error instanceof Error)) return false;
  return error.message.startsWith(`${code} `) || isReply(error.cause, code);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(describeError(error));
}
