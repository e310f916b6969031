/**
 * Says loudly when many of the messages are not readings: a producer that was deployed with a fault, a
 * schema that has moved on. It stops nothing and drops nothing, because each of them is kept as a dead
 * letter; but a flow that only fills that table looks healthy by every other measure.
 *
 * It is over when most messages are readings again, or when a person has resolved every dead letter:
 * after a burst there may come no messages that could end it.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Store } from "../postgres/store.ts";
import type { RejectionReason } from "../reading/rejection.ts";
import type { BatchReport, FlowObserver } from "./observer.ts";

/** When it is too many. */
export interface FloodSettings {
  /** More than this share of the messages, from 0 to 1; 0: never. */
  readonly deadLetterAlarmShare: number;
  /** Share of the last messages, this many. */
  readonly deadLetterAlarmMessages: number;
}

/** Many of the last messages are dead letters. */
export interface Flood {
  /** How many of them. */
  readonly deadLetters: number;
  /** How many messages that is a part of. */
  readonly messages: number;
  /** The most frequent reasons, at most {@linkcode FLOOD_REASONS_MAX}, the first one first. */
  readonly reasons: readonly (readonly [reason: RejectionReason, count: number])[];
}

/** Reasons that are named. */
export const FLOOD_REASONS_MAX = 3;

/** While it lasts, it is said again this often, ms. */
const REMIND_MS = 60_000;

/** It is over when the share has fallen to this part of the limit, so that it does not flutter. */
const OVER = 0.5;

/** What the guard needs beside its settings. */
export interface FloodGuardParts {
  /** Knows how many dead letters are open. */
  readonly store: Pick<Store, "openDeadLetters">;
  /** Measures from one reminder to the next. */
  readonly clock: Clock;
  /** Hears of a flood. */
  readonly log: Log;
  /** Is notified as well. */
  readonly observer?: Pick<FlowObserver, "flooded"> | undefined;
}

/** Watches the share of dead letters among the last messages. */
export class FloodGuard {
  readonly #settings: FloodSettings;
  readonly #parts: FloodGuardParts;
  #window: FloodWindow;
  #isFlooded = false;
  #saidMs = 0;

  /** No message yet. */
  constructor(settings: FloodSettings, parts: FloodGuardParts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#window = new FloodWindow(settings.deadLetterAlarmMessages);
  }

  /** Counts a stored batch, and says what there is to say. */
  stored(report: Pick<BatchReport, "messages" | "rejections">): void {
    const { deadLetterAlarmShare: shareMax } = this.#settings;
    if (shareMax === 0 || report.messages === 0) return;
    this.#window.add(report.messages, report.rejections);
    const { share } = this.#window;
    if (share > shareMax) this.#flooded();
    else if (this.#isFlooded && share <= shareMax * OVER) this.#over();
    else if (this.#isFlooded) this.#flooded();
  }

  /**
   * Looks whether a person has resolved every dead letter. Without a flood nobody is asked.
   *
   * @param givenUp aborts when nobody waits for the answer any more
   */
  async look(givenUp: AbortSignal): Promise<void> {
    if (!this.#isFlooded) return;
    const window = this.#window;
    const { deadLettersEver } = window;
    const open = await this.#parts.store.openDeadLetters();
    // A count that was begun before a batch does not know its dead letters.
    const isOld = window !== this.#window || deadLettersEver !== window.deadLettersEver;
    if (givenUp.aborted || isOld || !this.#isFlooded || open.count > 0) return;
    this.#window = new FloodWindow(this.#settings.deadLetterAlarmMessages);
    this.#isFlooded = false;
    this.#parts.observer?.flooded(undefined);
    this.#parts.log.info("every dead letter has been resolved: the alarm is over");
  }

  #flooded(): void {
    const { clock, log, observer } = this.#parts;
    const flood = this.#window.describe();
    observer?.flooded(flood);
    const nowMs = clock.elapsedMs();
    if (this.#isFlooded && nowMs - this.#saidMs < REMIND_MS) return;
    this.#isFlooded = true;
    this.#saidMs = nowMs;
    const { deadLetters, messages, reasons } = flood;
    log.error(
      "many messages are not valid readings; they are kept as dead letters, and the flow continues",
      {
        deadLetters,
        ofTheLast: messages,
        reasons: reasons.map(([reason, count]) => `${reason} ${count}`).join(", "),
        see: "deno task dead-letters list",
      },
    );
  }

  #over(): void {
    const { deadLetters, messages } = this.#window.describe();
    this.#isFlooded = false;
    this.#parts.observer?.flooded(undefined);
    this.#parts.log.info("most messages are valid readings again", {
      deadLetters,
      ofTheLast: messages,
    });
  }
}

interface Piece {
  readonly messages: number;
  readonly rejections: BatchReport["rejections"];
}

/** The last batches that have a number of messages together. */
class FloodWindow {
  readonly #messagesMin: number;
  readonly #pieces: Piece[] = [];
  readonly #counts = new Map<RejectionReason, number>();
  #messages = 0;
  #deadLetters = 0;
  /** Dead letters that ever came. */
  deadLettersEver = 0;

  constructor(messagesMin: number) {
    this.#messagesMin = messagesMin;
  }

  /** Dead letters among the messages; what has not come yet counts as good. */
  get share(): number {
    return this.#deadLetters / Math.max(this.#messages, this.#messagesMin);
  }

  add(messages: number, rejections: Piece["rejections"]): void {
    this.#pieces.push({ messages, rejections });
    this.#messages += messages;
    for (const count of rejections.values()) this.deadLettersEver += count;
    this.#count(rejections, 1);
    // A piece goes when the later ones are enough. Each has a message, so there are never many.
    while (this.#messages - this.#pieces[0]!.messages >= this.#messagesMin) {
      const oldest = this.#pieces.shift()!;
      this.#messages -= oldest.messages;
      this.#count(oldest.rejections, -1);
    }
  }

  describe(): Flood {
    const reasons = [...this.#counts].filter(([, count]) => count > 0)
      .sort(([, a], [, b]) => b - a).slice(0, FLOOD_REASONS_MAX);
    return { deadLetters: this.#deadLetters, messages: this.#messages, reasons };
  }

  #count(rejections: Piece["rejections"], sign: 1 | -1): void {
    for (const [reason, count] of rejections) {
      this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + sign * count);
      this.#deadLetters += sign * count;
    }
  }
}
