/**
 * A bound on how many requests one address may ask.
 *
 * @module
 */
import type { Clock } from "../clock.ts";

/** Requests per second in the long run. */
const PER_SECOND = 50;

/** Requests at once: a page with all its parts, reloaded by several people at one address. */
export const BURST_MAX = 300;

/** Addresses remembered; when there are more, all are forgotten. */
const CLIENTS_MAX = 10_000;

/** Each address has a bucket of tokens that fills up again with time. */
export class RateLimit {
  readonly #clock: Clock;
  readonly #clients = new Map<string, { tokens: number; atMs: number }>();

  /** Everybody starts with a full bucket. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether `client` may ask once more now. */
  admits(client: string): boolean {
    const nowMs = this.#clock.elapsedMs();
    if (this.#clients.size >= CLIENTS_MAX) this.#clients.clear();
    const known = this.#clients.get(client) ?? { tokens: BURST_MAX, atMs: nowMs };
    const filled = known.tokens + (nowMs - known.atMs) / 1_000 * PER_SECOND;
    const tokens = Math.min(BURST_MAX, filled);
    const isAdmitted = tokens >= 1;
    this.#clients.set(client, { tokens: isAdmitted ? tokens - 1 : tokens, atMs: nowMs });
    return isAdmitted;
  }
}
