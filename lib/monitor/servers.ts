/**
 * Whether the three servers answer, and since when.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { describeError, NoAnswerError, type ServerName } from "../errors.ts";

/**
 * `never_reached`: since the start of this process it has not said a word. `degraded`: it answers, but
 * not to everything that is asked of it. `refuses`: it answers with a refusal, for want of a table or of
 * a right. `away`: it does not answer any more.
 */
export type ServerState = "never_reached" | "ok" | "degraded" | "refuses" | "away";

/** What is known of one server. */
export interface ServerStatus {
  /** How it is. */
  readonly state: ServerState;
  /** Since when it has been like that, ms since 1970. */
  readonly sinceMs: number;
  /** When it answered last, ms since 1970, a refusal included; null: never. */
  readonly answeredAtMs: number | null;
  /** Why it is not ok; "" if it is. */
  readonly detail: string;
}

/** Whether it answers at least to a part of what it is asked. */
export function isThere({ state }: Pick<ServerStatus, "state">): boolean {
  return state === "ok" || state === "degraded";
}

/** Keeps the states. Only the monitor writes. */
export class Servers {
  readonly #clock: Clock;
  readonly #states: Record<ServerName, ServerStatus>;

  /** Nothing is known yet. */
  constructor(clock: Clock) {
    this.#clock = clock;
    const unknown: ServerStatus = {
      state: "never_reached",
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

  /** It did not answer, or refused. */
  failed(name: ServerName, error: unknown): void {
    const detail = describeError(error);
    const { answeredAtMs } = this.#states[name];
    if (!(error instanceof NoAnswerError)) {
      this.#set(name, "refuses", { detail, answeredAtMs: this.#clock.now() });
      return;
    }
    const state = answeredAtMs === null ? "never_reached" : "away";
    this.#set(name, state, { detail, answeredAtMs });
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
