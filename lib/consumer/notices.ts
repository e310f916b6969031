/**
 * What a consumer has noticed alongside the flow and a person should know of: that servers refuse what
 * they allowed before, and what neighbours do.
 *
 * @module
 */
import type { Log } from "../log.ts";
import type { FlowObserver } from "./observer.ts";

/**
 * `start`: what is not there that the flow needs. `membership`: the brokers do not let us into the group any more. `kafka`, `postgres`: the server
 * refuses to answer a check. `neighbours`: others have partitions that we should store. `offsets`:
 * another program has set the group's offsets. `still`: messages of a partition wait, and nothing happens to
 * it.
 */
export type NoticeKind =
  | "start"
  | "membership"
  | "kafka"
  | "postgres"
  | "neighbours"
  | "offsets"
  | "still";

/** Who hears of notices. */
export interface NoticesParts {
  /** Is notified once of each, and of its end. */
  readonly log: Log;
  /** Is notified of the same. */
  readonly observer?: Pick<FlowObserver, "noticed"> | undefined;
}

/** Keeps one notice of each kind. */
export class Notices {
  readonly #parts: NoticesParts;
  readonly #standing = new Map<NoticeKind, string>();

  /** Nothing is noticed. */
  constructor(parts: NoticesParts) {
    this.#parts = parts;
  }

  /**
   * Something is as the text says, which names the cure; undefined: not any more. What is known
   * already is not told again.
   */
  note(kind: NoticeKind, text: string | undefined): void {
    const { log, observer } = this.#parts;
    const before = this.#standing.get(kind);
    if (text === before) return;
    observer?.noticed(kind, text);
    if (text === undefined) {
      this.#standing.delete(kind);
      log.info("going on", { after: before });
      return;
    }
    this.#standing.set(kind, text);
    // Offsets that were set are told once and have no effect. All else stays until it is fixed.
    if (kind === "offsets") log.warn(text);
    else log.error(kind === "neighbours" || kind === "still" ? text : `waiting: ${text}`);
  }
}
