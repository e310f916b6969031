/**
 * Whether the three servers answer, and since when.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { describeError } from "../errors.ts";

/** The servers that the flow needs, in the order in which a message meets them. */
export const SERVER_NAMES = ["kafka", "redis", "postgres"] as const;

/** One of {@linkcode SERVER_NAMES}. */
export type ServerName = typeof SERVER_NAMES[number];

/** `degraded`: it answers, but not to everything that is asked of it. */
export type ServerState = "unknown" | "ok" | "degraded" | "away";

/** What is known of one server. */
export interface ServerStatus {
  /** How it is. */
  readonly state: ServerState;
  /** Since when it has been like that, ms since 1970. */
  readonly sinceMs: number;
  /** When it answered last, ms since 1970; null: never. */
  readonly answeredAtMs: number | null;
  /** Why it is not ok; "" if it is. */
  readonly detail: string;
}

/** Keeps the states. Only the monitor writes. */
export class Servers {
  readonly #clock: Clock;
  readonly #states: Record<ServerName, ServerStatus>;

  /** Nothing is known yet. */
  constructor(clock: Clock) {
    this.#clock = clock;
    const unknown: ServerStatus = {
      state: "unknown",
      sinceMs: clock.now(),
      answeredAtMs: null,
      detail: "not asked yet",
    };
    this.#states = { kafka: unknown, redis: unknown, postgres: unknown };
  }

  /** The states now. */
  get states(): Readonly<Record<ServerName, ServerStatus>> {
    return this.#states;
  }

  /** It answered; `limitation` says what it refuses all the same. */
  answered(name: ServerName, limitation: string | undefined): void {
    const state = limitation === undefined ? "ok" : "degraded";
    this.#set(name, state, { detail: limitation ?? "", answeredAtMs: this.#clock.now() });
  }

  /** It did not answer. */
  failed(name: ServerName, error: unknown): void {
    const { answeredAtMs } = this.#states[name];
    this.#set(name, "away", { detail: describeError(error), answeredAtMs });
  }

  #set(
    name: ServerName,
    state: ServerState,
    rest: { readonly detail: string; readonly answeredAtMs: number | null },
  ): void {
    const before = this.#states[name];
    const sinceMs = before.state === state ? before.sinceMs : this.#clock.now();
    this.#states[name] = { state, sinceMs, ...rest };
  }
}
