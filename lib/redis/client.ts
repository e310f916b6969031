/**
 * The accelerator in Redis.
 *
 * The connection is kept by a loop: a dropped one takes everything that waited for it along, nothing
 * queues up while Redis is away, and closing leaves no timer behind.
 *
 * Redis needs `maxmemory-policy noeviction` or a `volatile-…` one: marks expire and may be evicted,
 * the last values may not. A user of limited rights needs `+mget +get +set +setex +unlink +pttl
 * +zadd +zscore +zcard +zrange +zrem +eval +evalsha +info +time`, and `+select` for `REDIS_DATABASE`,
 * on `~reading:* ~last:* ~ledger:*`, each behind `REDIS_PREFIX`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../clock.ts";
import { asError, ConfigurationError, describeError, TransientError } from "../errors.ts";
import type { Log } from "../log.ts";
import { backoffMs } from "../retry.ts";
import { redisPlace } from "../settings/server_place.ts";
import { tlsRefusal } from "../tls_sockets.ts";
import { unreachable } from "../unreachable.ts";
import { withTimeLimit } from "../time_limit.ts";
import { askServerTime } from "../server_time.ts";
import { type ConnectionSettings, openConnection, type RedisConnection } from "./connection.ts";
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
import { ID_BYTES, type Marks, NO_MARKS } from "./marks.ts";
import { lookUpCommand, setCommands } from "./mark_commands.ts";
import { parseRedisInfo, type RedisFacts } from "./redis_facts.ts";
import { redisFault, REFUSED_CURE } from "./redis_fault.ts";
import { command, ErrorReply, type Reply } from "./resp.ts";
import {
  CLAIM_SCRIPT,
  COMPLETE_SCRIPT,
  INDEX_KEY,
  INDEX_NAME,
  LAST_COMPLETE_KEY,
  LAST_PREFIX,
  LAST_SCRIPT,
  LEASE_KEY,
  OWNER_KEY,
  REFUSED_KEY,
  scriptName,
} from "./scripts.ts";
import { counted } from "../quantities.ts";

/** Where Redis is, and how keys are kept there. */
export interface RedisSettings extends ConnectionSettings {
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

/** How many sensors one step of {@linkcode RedisCache.claimLastValues} deletes: about 2 ms. */
const CLEAR_SENSORS_MAX = 1_000;

/** Keys of other programs that are told of; a server with more of them has been told of often enough. */
const REFUSED_TOLD_MAX = 100;

/** Each script and its name, which is shorter to send. */
const SCRIPTS = new Map(
  [LAST_SCRIPT, CLAIM_SCRIPT, COMPLETE_SCRIPT].map((script) => [script, scriptName(script)]),
);

/** No commands. */
const NOTHING = { bytes: new Uint8Array(), count: 0 };

/** Names no data set: for whoever asks only whether Redis runs the script. */
const PROBE_DATA_SET = "probe";

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
  /** The connection that is logged in; undefined while there is none. Written by the loop alone. */
  #connection: RedisConnection | undefined;
  /** Why there is no connection. */
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
    if (this.#connection !== undefined) return;
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
    const bytes = lookUpCommand(ids, this.#prefix);
    return await this.#send(`look up ${counted(count, "mark")}`, bytes) as (string | null)[];
  }

  /** Writes marks and newer last values, see {@linkcode Cache.remember}. */
  async remember(marks: Marks, { dataSetId, values }: OwnLastValues): Promise<Remembered> {
    const action = `remember ${counted(marks.count, "mark")} and ${
      counted(values.length, "last value")
    }`;
    if (values.some(({ sensorId }) => sensorId === INDEX_NAME)) {
      throw new TransientError(`Cannot ${action}: no sensor can be called ${INDEX_NAME}`);
    }
    const { ttlSeconds } = this.#settings;
    const bytes = setCommands(marks, { prefix: this.#prefix, ttlSeconds });
    const args = [dataSetId, String(LEASE_MS), ...lastValueArguments(values)];
    const [lastValues, ...refusedKeys] = await this.#run<
      [Remembered["lastValues"], ...string[]]
    >(action, LAST_SCRIPT, { args, before: { bytes, count: marks.count } });
    for (const key of refusedKeys) this.#tellRefused(key);
    return { lastValues, refusedKeys };
  }

  /** See {@linkcode Cache.claimLastValues}. */
  async claimLastValues({ dataSetId, formerly = "" }: Claimant): Promise<Claim> {
    const [kind, owner, leaseMs] = await this.#run<[Claim["kind"], string, number]>(
      "take possession of last values",
      CLAIM_SCRIPT,
      { args: [dataSetId, String(LEASE_MS), formerly, String(CLEAR_SENSORS_MAX)] },
    );
    return kind === "foreign" ? { kind, dataSetId: owner, leaseMs } : { kind };
  }

  /** See {@linkcode Cache.setLastComplete}. */
  async setLastComplete(dataSetId: string): Promise<boolean> {
    const action = "record that last values are complete";
    const args = [dataSetId, String(LEASE_MS)];
    return await this.#run(action, COMPLETE_SCRIPT, { args }) === 1;
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
    const words = ["ZRANGE", this.#key(INDEX_KEY), from, "+inf", "BYSCORE"];
    words.push("LIMIT", String(skip), String(limit), "WITHSCORES");
    const flat = await this.#call<string[]>("read the index of last values", words);
    const times: [string, number][] = [];
    for (let at = 0; at < flat.length; at += 2) times.push([flat[at]!, Number(flat[at + 1])]);
    return times;
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
    this.#connection?.end(new Error("the connection is closed"));
    await this.#connecting;
  }

  /** Ends the connection, see {@linkcode RedisCache.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Runs a script, whose first argument is the prefix; so many commands go before it in the same
   * piece.
   */
  async #run<Result>(
    action: string,
    script: string,
    { args, before = NOTHING }: {
      readonly args: readonly string[];
      readonly before?: { readonly bytes: Uint8Array; readonly count: number };
    },
  ): Promise<Result> {
    const rest = ["0", this.#prefix, ...args];
    const run = command(["EVALSHA", SCRIPTS.get(script) ?? "", ...rest]);
    try {
      const bytes = Buffer.concat([before.bytes, run]);
      return await this.#send(action, bytes, before.count + 1) as Result;
    } catch (error) {
      // A server that was restarted or told to forget its scripts. EVAL brings the script along.
      if (!isReply(error, "NOSCRIPT")) throw error;
      return await this.#call<Result>(action, ["EVAL", script, ...rest]);
    }
  }

  async #call<Result>(action: string, words: readonly string[]): Promise<Result> {
    return await this.#send(action, command(words)) as Result;
  }

  get #prefix(): string {
    return this.#settings.prefix ?? "";
  }

  #key(name: string): string {
    return this.#prefix + name;
  }

  #tellRefused(key: string): void {
    if (this.#refusedKeys.has(key) || this.#refusedKeys.size >= REFUSED_TOLD_MAX) return;
    this.#refusedKeys.add(key);
    this.#log.error(`the key ${key} in Redis belongs to another program and is left alone`, {
      cure: REFUSED_CURE,
    });
  }

  /** Sends so many commands in one piece, and gives the reply to the last one. */
  async #send(action: string, bytes: Uint8Array, commands = 1): Promise<Reply> {
    // Before the first attempt has ended nobody knows whether there is anybody.
    await this.#firstAttempt.promise;
    const connection = this.#connection;
    if (connection === undefined) throw this.#cannot(action, this.#absence);
    try {
      const limit = { clock: this.#clock, limitMs: ANSWER_MS_MAX };
      return await withTimeLimit(() => connection.send(bytes, commands), limit);
    } catch (error) {
      // Only our own time limit throws a TransientError: a late answer is worth nothing any more. A
      // replica may have been the primary; what has the name now is found by connecting again.
      const isLost = error instanceof TransientError || redisFault(error)?.kind === "replica";
      if (isLost) connection.end(asError(error));
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
    let connection: RedisConnection;
    try {
      connection = await withTimeLimit((signal) => openConnection(this.#settings, signal), {
        clock: this.#clock,
        limitMs: CONNECT_MS_MAX,
        signal: this.#closing.signal,
      });
    } catch (error) {
      this.#absence = tlsRefusal(this.#address) ?? asError(error);
      return false;
    }
    if (this.#closing.signal.aborted) connection.end(new Error("the connection is closed"));
    else this.#log.debug("Redis is connected");
    this.#connection = connection;
    this.#firstAttempt.resolve();
    this.#absence = await connection.lost;
    this.#connection = undefined;
    return true;
  }
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
