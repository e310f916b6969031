/**
 * What does not work at the moment, told in the log: a line when it begins, one now and then while it
 * lasts, and one when it is over. A server that is away is away for all parts of a program, and each of
 * them meets it again and again; the log tells of it as of one thing.
 *
 * @module
 */
import type { Clock } from "./clock.ts";
import { describeError, NoAnswerError, type ServerName, UnreachableError } from "./errors.ts";
import type { Log, LogFields } from "./log.ts";
import { clockText, durationText } from "./quantities.ts";
import {
  type AddressSettings,
  kafkaPlace,
  postgresPlace,
  redisPlace,
} from "./settings/server_place.ts";
import { connectionCause } from "./unreachable.ts";

/** What the log of troubles works with. */
export interface TroubleLogParts {
  /** Measures how long a trouble lasts. */
  readonly clock: Clock;
  /** Takes the lines. */
  readonly log: Log;
  /** What the servers are called: `Kafka at localhost:9092 (KAFKA_BROKER)`. @default their names */
  readonly titles?: Readonly<Partial<Record<ServerName, string>>>;
}

/** What is known of a failure beside its error. */
export interface Met {
  /** The server that fails, where the error does not say it. */
  readonly server?: ServerName | undefined;
  /** When it began, in `elapsedMs`. @default now */
  readonly sinceMs?: number;
  /** For the line that tells the beginning of what is told by its text. */
  readonly fields?: LogFields;
}

/** A trouble that lasts this long is told again, ms; and then every time that the last one passes. */
const REMIND_AFTER_MS = [60_000, 300_000, 900_000, 3_600_000] as const;
const REMIND_EVERY_MS = 3_600_000;

/** Most troubles that are told in {@linkcode TOLD_WINDOW_MS}: flapping must not fill a disk. */
const TOLD_MAX = 10;
/** See {@linkcode TOLD_MAX}, ms. */
const TOLD_WINDOW_MS = 60_000;
/** Most troubles that are remembered as told: a partition can meet ever new ones for days. */
const TOLD_KEPT_MAX = 100;

const NAMES: Readonly<Record<ServerName, string>> = {
  kafka: "Kafka",
  postgres: "PostgreSQL",
  redis: "Redis",
};

/** Where servers are, as the settings say it. */
export interface ServerAddresses {
  /** Kafka's brokers. */
  readonly kafka?: Parameters<typeof kafkaPlace>[0];
  /** PostgreSQL. */
  readonly postgres?: AddressSettings;
  /** Redis. */
  readonly redis?: AddressSettings;
}

/** What servers are called, for {@linkcode TroubleLogParts.titles}. */
export function serverTitles(
  { kafka, postgres, redis }: ServerAddresses,
): NonNullable<TroubleLogParts["titles"]> {
  return {
    ...(kafka && { kafka: `Kafka at ${kafkaPlace(kafka)}` }),
    ...(postgres && { postgres: `PostgreSQL at ${postgresPlace(postgres)}` }),
    ...(redis && { redis: `Redis at ${redisPlace(redis)}` }),
  };
}

/** What a person may think is in danger, and is not. */
const MEANWHILE: Readonly<Partial<Record<ServerName, string>>> = {
  redis: ". PostgreSQL finds the duplicates alone",
};

/** A trouble that was told and is not over. */
interface Told {
  readonly server: ServerName | undefined;
  readonly sinceMs: number;
  /** Who has met it and not got over it. */
  readonly having: Set<string>;
  reminders: number;
}

/** Remembers what was told and is not over, and who has it. */
export class TroubleLog {
  readonly #parts: TroubleLogParts;
  /** By server if one fails as a whole, else by text. */
  readonly #told = new Map<string, Told>();
  #toldAtMs: number[] = [];

  /** Nothing has been told. */
  constructor(parts: TroubleLogParts) {
    this.#parts = parts;
  }

  /**
   * Somebody failed, and will try again. What the server says is told by its text; silence is told of
   * the server, whatever was asked of it.
   */
  met(who: readonly string[], error: unknown, met: Met = {}): void {
    const nowMs = this.#parts.clock.elapsedMs();
    const server = serverOf(error, met);
    const key = server ?? describeError(error);
    let told = this.#told.get(key);
    if (told === undefined) {
      this.#toldAtMs = this.#toldAtMs.filter((atMs) => nowMs - atMs < TOLD_WINDOW_MS);
      // Not forgotten: if it lasts, a later failure tells it.
      if (this.#toldAtMs.length >= TOLD_MAX) return;
      this.#toldAtMs.push(nowMs);
      told = { server, sinceMs: met.sinceMs ?? nowMs, having: new Set(), reminders: 0 };
      this.#told.set(key, told);
      this.#parts.log.warn(this.#beginning(told, error), server === undefined ? met.fields : {});
      const [oldest] = this.#told.keys();
      if (this.#told.size > TOLD_KEPT_MAX) this.#told.delete(oldest!);
    } else if (nowMs - told.sinceMs >= remindAfterMs(told.reminders)) {
      while (nowMs - told.sinceMs >= remindAfterMs(told.reminders)) told.reminders++;
      this.#parts.log.warn(this.#reminder(told, error));
    }
    for (const each of who) told.having.add(each);
    if (server !== undefined) this.#mergeInto(told);
  }

  /** What a server said just before it went is part of its going, and has no end of its own. */
  #mergeInto({ having }: Told): void {
    for (const [key, other] of this.#told) {
      if (other.server !== undefined) continue;
      for (const each of having) other.having.delete(each);
      if (other.having.size === 0) this.#told.delete(key);
    }
  }

  /** All is well with somebody. What nobody has any more is over. */
  left(who: string): void {
    for (const [key, told] of this.#told) {
      if (!told.having.delete(who) || told.having.size > 0) continue;
      this.#told.delete(key);
      const { log } = this.#parts;
      const lasted = this.#lasted(told);
      if (told.server === undefined) log.info("going on", { after: key, waited: lasted });
      else log.info(`${NAMES[told.server]} is back after ${lasted}`);
    }
  }

  /** Somebody is not there any more: what became of it is not known. */
  forget(who: string): void {
    for (const [key, { having }] of this.#told) {
      if (having.delete(who) && having.size === 0) this.#told.delete(key);
    }
  }

  #beginning({ server, sinceMs }: Told, error: unknown): string {
    if (server === undefined) return `waiting: ${describeError(error)}`;
    const { clock } = this.#parts;
    const since = clockText(clock.now() - (clock.elapsedMs() - sinceMs));
    return `${this.#fault(server, error)} since ${since}: ${causeOf(error)}` +
      (MEANWHILE[server] ?? "");
  }

  #reminder(told: Told, error: unknown): string {
    const lasted = this.#lasted(told);
    return told.server === undefined
      ? `still waiting, for ${lasted}: ${describeError(error)}`
      : `${this.#fault(told.server, error)} for ${lasted}: ${causeOf(error)}`;
  }

  #fault(server: ServerName, error: unknown): string {
    const title = this.#parts.titles?.[server] ?? NAMES[server];
    return `${title} ${error instanceof NoAnswerError ? "has not answered" : "has been left out"}`;
  }

  #lasted({ sinceMs }: Told): string {
    return durationText((this.#parts.clock.elapsedMs() - sinceMs) / 1_000);
  }
}

/** An error that says whose silence it is knows best: a server of others, such as that of tokens, is none. */
function serverOf(error: unknown, { server }: Met): ServerName | undefined {
  if (error instanceof UnreachableError) return error.server;
  return server ?? (error instanceof NoAnswerError ? error.server : undefined);
}

/** How long a trouble has lasted when it is told again, after so many reminders. */
function remindAfterMs(reminders: number): number {
  const last = REMIND_AFTER_MS.length - 1;
  return REMIND_AFTER_MS[reminders] ??
    REMIND_AFTER_MS[last]! + (reminders - last) * REMIND_EVERY_MS;
}

/** What was asked of a server that does not answer says nothing of it; of a refusal it does. */
function causeOf(error: unknown): string {
  const text = connectionCause(error);
  if (text !== undefined || !(error instanceof NoAnswerError)) return text ?? describeError(error);
  let deepest: Error = error;
  // Bound: a chain of causes longer than this is a loop.
  for (let depth = 0; depth < 8 && deepest.cause instanceof Error; depth++) deepest = deepest.cause;
  return deepest.message;
}
