/**
 * The accelerator in memory, for tests and simulations: keeps the laws of the port, and fails when
 * told to.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { TransientError } from "../errors.ts";
import type { Cache, LastValue, LastValueReader, Mark } from "./cache.ts";
import { INDEX_NAME } from "./scripts.ts";

/** What {@linkcode MemoryCache} needs. */
export interface MemoryCacheOptions {
  /** Lets marks expire. */
  readonly clock: Clock;
  /** How long a mark lives, seconds. */
  readonly ttlSeconds: number;
}

/** The methods that can be told to fail. */
export type CacheMethod = keyof Cache | keyof LastValueReader;

/** A {@linkcode Cache} in memory. Its state can be looked at, and taken away. */
export class MemoryCache implements Cache, LastValueReader {
  /** While true, every call rejects, as if the server were away. */
  isAway = false;
  /** For which data set the last values are said to be complete. */
  lastComplete: string | null = null;
  /** Last values by sensor. Only {@linkcode MemoryCache.remember} and the clearing write it. */
  readonly lastValues: Map<string, LastValue> = new Map();
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #marks = new Map<string, { readonly value: string; readonly expiresAtMs: number }>();
  readonly #failures: { readonly method: CacheMethod; readonly error: Error }[] = [];
  readonly #silences: CacheMethod[] = [];

  /** Starts empty. */
  constructor(options: MemoryCacheOptions) {
    this.#clock = options.clock;
    this.#ttlMs = options.ttlSeconds * 1_000;
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
    this.lastComplete = null;
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
  async marks(ids: readonly string[]): Promise<readonly (string | null)[]> {
    await this.#enter("marks");
    const nowMs = this.#clock.elapsedMs();
    return ids.map((id) => {
      const mark = this.#marks.get(id);
      return mark !== undefined && mark.expiresAtMs > nowMs ? mark.value : null;
    });
  }

  /** See {@linkcode Cache.remember}. */
  async remember(marks: readonly Mark[], lastValues: readonly LastValue[]): Promise<string | null> {
    await this.#enter("remember");
    if (lastValues.some(({ sensorId }) => sensorId === INDEX_NAME)) {
      throw new TransientError(`Cannot remember a sensor called ${INDEX_NAME}`);
    }
    this.#rememberMarks(marks);
    for (const candidate of lastValues) {
      const known = this.lastValues.get(candidate.sensorId);
      if (known === undefined || isNewer(candidate, known)) {
        this.lastValues.set(candidate.sensorId, candidate);
      }
    }
    return this.lastComplete;
  }

  /** See {@linkcode Cache.setLastComplete}. */
  async setLastComplete(dataSetId: string): Promise<void> {
    await this.#enter("setLastComplete");
    this.lastComplete = dataSetId;
  }

  /** See {@linkcode Cache.clearLastValues}. */
  async clearLastValues(): Promise<void> {
    await this.#enter("clearLastValues");
    this.lastValues.clear();
    this.lastComplete = null;
  }

  /** See {@linkcode Cache.lastValue}. */
  async lastValue(sensorId: string): Promise<string | null> {
    await this.#enter("lastValue");
    return this.lastValues.get(sensorId)?.text ?? null;
  }

  /** See {@linkcode LastValueReader.lastTimes}. */
  async lastTimes(limit: number): Promise<ReadonlyMap<string, number>> {
    await this.#enter("lastTimes");
    const times = Array.from(this.lastValues, ([id, last]) => [id, last.eventTimeUs] as const);
    // As Redis orders a sorted set: by score, then by member.
    times.sort(([a, aUs], [b, bUs]) => aUs - bUs || (a < b ? -1 : 1));
    return new Map(times.slice(0, limit));
  }

  /** See {@linkcode LastValueReader.lastTexts}. */
  async lastTexts(sensorIds: readonly string[]): Promise<readonly (string | null)[]> {
    await this.#enter("lastTexts");
    return sensorIds.map((id) => this.lastValues.get(id)?.text ?? null);
  }

  /** The map is in the order of expiry, so that what has expired goes at no cost. */
  #rememberMarks(marks: readonly Mark[]): void {
    const nowMs = this.#clock.elapsedMs();
    const expiresAtMs = nowMs + this.#ttlMs;
    for (const { id, value } of marks) {
      this.#marks.delete(id);
      this.#marks.set(id, { value, expiresAtMs });
    }
    for (const [id, mark] of this.#marks) {
      if (mark.expiresAtMs > nowMs) break;
      this.#marks.delete(id);
    }
  }

  async #enter(method: CacheMethod): Promise<void> {
    if (this.isAway) throw new TransientError("Redis is away");
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
