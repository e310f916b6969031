/**
 * The accelerator in memory, for tests and simulations: keeps the laws of the port, and fails when
 * told to.
 *
 * @module
 */
import type { Clock } from "../lib/clock.ts";
import { NoAnswerError, TransientError } from "../lib/errors.ts";
import {
  type Cache,
  type Claim,
  type Claimant,
  type IndexRange,
  type LastValue,
  type LastValueReader,
  LEASE_MS,
  type OwnLastValues,
  type Remembered,
} from "../lib/redis/cache.ts";
import type { Marks } from "../lib/redis/marks.ts";
import { idTexts, type MarkText, markTexts } from "./mark_texts.ts";
import {
  INDEX_KEY,
  INDEX_NAME,
  LAST_COMPLETE_KEY,
  LAST_PREFIX,
  LEASE_KEY,
  MARK_PREFIX,
  OWNER_KEY,
} from "../lib/redis/scripts.ts";

/** Sensors that one step of clearing deletes at most, as many as in Redis. */
const CLEAR_SENSORS_MAX = 1_000;

/** Keys of another program that one answer names at most. */
const REFUSED_NAMED_MAX = 10;

/** Without these nobody knows whose the last values are. */
const STATE_KEYS = [OWNER_KEY, LAST_COMPLETE_KEY, LEASE_KEY, INDEX_KEY];

/** What {@linkcode MemoryCache} needs. */
export interface MemoryCacheOptions {
  /** Lets marks expire. */
  readonly clock: Clock;
  /** How long a mark lives, seconds. */
  readonly ttlSeconds: number;
  /** How long a lease lasts, ms. @default LEASE_MS */
  readonly leaseMs?: number;
}

/** The methods that can be told to fail. */
export type CacheMethod = keyof Cache | keyof LastValueReader;

/** A {@linkcode Cache} in memory. Its state can be looked at, and taken away. */
export class MemoryCache implements Cache, LastValueReader {
  /** While true, every call rejects, as if the server were away. */
  isAway = false;
  /** For which data set the last values are said to be complete. */
  lastComplete: string | null = null;
  /** The data set that the last values are of; null: nobody's. */
  lastOwner: string | null = null;
  /** Last values by sensor. Only {@linkcode MemoryCache.remember} and claims write it. */
  readonly lastValues: Map<string, LastValue> = new Map();
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #leaseMs: number;
  readonly #marks = new Map<string, { readonly value: string; readonly expiresAtMs: number }>();
  readonly #failures: { readonly method: CacheMethod; readonly error: Error }[] = [];
  readonly #silences: CacheMethod[] = [];
  /** Keys at which another program keeps something else than a text. */
  readonly #occupied = new Set<string>();
  #lease: { readonly dataSetId: string; readonly expiresAtMs: number } | undefined;

  /** Starts empty. */
  constructor(options: MemoryCacheOptions) {
    this.#clock = options.clock;
    this.#ttlMs = options.ttlSeconds * 1_000;
    this.#leaseMs = options.leaseMs ?? LEASE_MS;
  }

  /** The next call of `method` that is not told otherwise rejects and changes nothing. */
  failNext(method: CacheMethod, error: Error = new TransientError("told to fail")): void {
    this.#failures.push({ method, error });
  }

  /** The next call of `method` changes nothing and is never answered. */
  hangNext(method: CacheMethod): void {
    this.#silences.push(method);
  }

  /** Forgets everything, as `FLUSHALL` does. */
  flush(): void {
    this.#marks.clear();
    this.lastValues.clear();
    this.#occupied.clear();
    this.lastComplete = null;
    this.lastOwner = null;
    this.#lease = undefined;
  }

  /** Another program puts something at a key that is no text: a list. */
  occupy(key: string): void {
    this.#occupied.add(key);
    this.lastValues.delete(key.slice(LAST_PREFIX.length));
    this.#marks.delete(key.slice(MARK_PREFIX.length));
  }

  /** The data set that holds the lease, and how long it does, ms; undefined: none. */
  get lease(): { readonly dataSetId: string; readonly leaseMs: number } | undefined {
    const leaseMs = (this.#lease?.expiresAtMs ?? 0) - this.#clock.elapsedMs();
    return this.#lease && leaseMs > 0 ? { dataSetId: this.#lease.dataSetId, leaseMs } : undefined;
  }

  /** The marks that have not expired, by reading id. */
  liveMarks(): ReadonlyMap<string, string> {
    const nowMs = this.#clock.elapsedMs();
    const live = new Map<string, string>();
    for (const [id, { value, expiresAtMs }] of this.#marks) {
      if (expiresAtMs > nowMs) live.set(id, value);
    }
    return live;
  }

  /** See {@linkcode Cache.marks}. */
  async marks(ids: Uint8Array): Promise<readonly (string | null)[]> {
    const texts = idTexts(ids);
    await this.#enter("marks");
    const nowMs = this.#clock.elapsedMs();
    return texts.map((id) => {
      const mark = this.#marks.get(id);
      return mark !== undefined && mark.expiresAtMs > nowMs ? mark.value : null;
    });
  }

  /** See {@linkcode Cache.remember}. */
  async remember(marks: Marks, { dataSetId, values }: OwnLastValues): Promise<Remembered> {
    const texts = markTexts(marks);
    await this.#enter("remember");
    if (values.some(({ sensorId }) => sensorId === INDEX_NAME)) {
      throw new TransientError(`Cannot remember a sensor called ${INDEX_NAME}`);
    }
    this.#rememberMarks(texts);
    const refusedKeys = STATE_KEYS.filter((key) => this.#occupied.has(key));
    const isReadable = refusedKeys.length === 0;
    const isNobodys = this.#owner === null && this.lease === undefined;
    if (isReadable && isNobodys && values.length > 0 && this.lastValues.size === 0) {
      this.#hold(dataSetId);
      this.lastOwner = dataSetId;
    }
    const isOurs = isReadable && this.#owner === dataSetId;
    for (const candidate of isOurs ? values : []) {
      const { sensorId } = candidate;
      const key = LAST_PREFIX + sensorId;
      const known = this.lastValues.get(sensorId);
      if (this.#occupied.has(key)) refusedKeys.push(key);
      else if (known === undefined || isNewer(candidate, known)) {
        this.lastValues.set(sensorId, candidate);
      }
    }
    return {
      lastValues: isOurs ? this.#completeness(dataSetId) : "not ours",
      refusedKeys: refusedKeys.slice(0, REFUSED_NAMED_MAX),
    };
  }

  /** See {@linkcode Cache.claimLastValues}. */
  async claimLastValues({ dataSetId, formerly }: Claimant): Promise<Claim> {
    await this.#enter("claimLastValues");
    const refused = STATE_KEYS.find((key) => this.#occupied.has(key));
    if (refused !== undefined) throw new TransientError(`Cannot claim last values: ${refused}`);
    const { lease } = this;
    if (lease !== undefined && ![dataSetId, formerly].includes(lease.dataSetId)) {
      return { kind: "foreign", ...lease };
    }
    this.#hold(dataSetId);
    if (this.#owner !== dataSetId) {
      this.lastOwner = this.lastComplete = null;
      const sensors = [...this.lastValues.keys()].slice(0, CLEAR_SENSORS_MAX);
      for (const sensorId of sensors) this.lastValues.delete(sensorId);
      if (this.lastValues.size > 0) return { kind: "clearing" };
    }
    this.lastOwner = dataSetId;
    return { kind: this.#completeness(dataSetId) };
  }

  /** See {@linkcode Cache.setLastComplete}. */
  async setLastComplete(dataSetId: string): Promise<boolean> {
    await this.#enter("setLastComplete");
    if (this.#owner !== dataSetId) return false;
    this.lastComplete = dataSetId;
    return true;
  }

  /** See {@linkcode Cache.lastValue}. */
  async lastValue(sensorId: string): Promise<string | null> {
    await this.#enter("lastValue");
    return this.lastValues.get(sensorId)?.text ?? null;
  }

  /** See {@linkcode LastValueReader.lastTimes}. */
  async lastTimes(
    { fromUs, skip, limit }: IndexRange,
  ): Promise<readonly (readonly [string, number])[]> {
    await this.#enter("lastTimes");
    const times = Array.from(this.lastValues, ([id, last]) => [id, last.eventTimeUs] as const)
      .filter(([_, us]) => us >= fromUs);
    // As Redis orders a sorted set: by score, then by member.
    times.sort(([a, aUs], [b, bUs]) => aUs - bUs || (a < b ? -1 : 1));
    return times.slice(skip, skip + limit);
  }

  /** See {@linkcode LastValueReader.lastTexts}. */
  async lastTexts(sensorIds: readonly string[]): Promise<readonly (string | null)[]> {
    await this.#enter("lastTexts");
    return sensorIds.map((id) => this.lastValues.get(id)?.text ?? null);
  }

  /** Earlier versions kept no owner: it was whoever was complete. */
  get #owner(): string | null {
    return this.lastOwner ?? this.lastComplete;
  }

  #hold(dataSetId: string): void {
    this.#lease = { dataSetId, expiresAtMs: this.#clock.elapsedMs() + this.#leaseMs };
  }

  #completeness(dataSetId: string): "complete" | "incomplete" {
    return this.lastComplete === dataSetId ? "complete" : "incomplete";
  }

  /** The map is in the order of expiry, so that what has expired goes at no cost. */
  #rememberMarks(marks: readonly MarkText[]): void {
    const nowMs = this.#clock.elapsedMs();
    const expiresAtMs = nowMs + this.#ttlMs;
    for (const { id, value } of marks) {
      this.#occupied.delete(MARK_PREFIX + id);
      this.#marks.delete(id);
      this.#marks.set(id, { value, expiresAtMs });
    }
    for (const [id, mark] of this.#marks) {
      if (mark.expiresAtMs > nowMs) break;
      this.#marks.delete(id);
    }
  }

  async #enter(method: CacheMethod): Promise<void> {
    if (this.isAway) throw new NoAnswerError("Redis is away", { server: "redis" });
    const silence = this.#silences.indexOf(method);
    if (silence !== -1) {
      this.#silences.splice(silence, 1);
      await new Promise<never>(() => {});
    }
    const failure = this.#failures.findIndex((planned) => planned.method === method);
    if (failure !== -1) throw this.#failures.splice(failure, 1)[0]!.error;
  }
}

function isNewer(candidate: LastValue, known: LastValue): boolean {
  if (candidate.eventTimeUs !== known.eventTimeUs) return candidate.eventTimeUs > known.eventTimeUs;
  return candidate.id > known.id;
}
