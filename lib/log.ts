/**
 * The log: one line per event, JSON for machines or text for people, never a secret in it.
 *
 * @module
 */
import type { Clock } from "./clock.ts";
import { describeError } from "./errors.ts";
import { wrapped } from "./text_columns.ts";

/** Levels from the least to the most urgent. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;

/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** What an event carries beside its message. `undefined` is left out. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where events go. No method throws, whatever it is given. */
export interface Log {
  /** For whoever looks for a fault. */
  debug(message: string, fields?: LogFields): void;
  /** What the program does, seldom. */
  info(message: string, fields?: LogFields): void;
  /** Trouble that the program rides out. */
  warn(message: string, fields?: LogFields): void;
  /** Trouble that a person must look at. */
  error(message: string, fields?: LogFields): void;
  /** A log that adds these fields to every event. */
  child(fields: LogFields): Log;
}

/** How {@linkcode createLog} writes. */
export interface LogOptions {
  /** Events below this level are dropped. */
  readonly level: LogLevel;
  /** `auto`: text on a terminal, else JSON lines. */
  readonly format: "auto" | "json" | "text";
  /** Whether a person is looking; asked only by the format `auto`. */
  readonly isTerminal?: boolean;
  /** Takes one line, line feed included. It must not throw. */
  readonly write: (line: string) => void;
  /**
   * The width of the terminal, in which lines of text wrap; undefined: there is none.
   *
   * @default none
   */
  readonly columns?: () => number | undefined;
  /** Gives each event its time. */
  readonly clock: Clock;
  /** Texts that must not appear, passwords above all. Empty ones are ignored. */
  readonly secrets?: readonly (string | undefined)[];
}

/** Longest text that a field or a message may put into a line, in UTF-16 units. */
export const LOG_TEXT_LENGTH_MAX = 4_096;

/** What stands in the place of a secret. */
export const REDACTED = "[redacted]";

/** Makes the log of a program. */
export function createLog(options: LogOptions): Log {
  const { level, format, isTerminal = false, write, clock, columns, secrets = [] } = options;
  const asText = format === "text" || (format === "auto" && isTerminal);
  const lineOf = asText ? textLines(columns ?? (() => undefined)) : jsonLine;
  const clean = cleaner(secrets);
  const lowest = LOG_LEVELS.indexOf(level);

  const logWith = (inherited: readonly LogFields[]): Log => {
    const at = (eventLevel: LogLevel) => (message: string, fields: LogFields = {}): void => {
      if (LOG_LEVELS.indexOf(eventLevel) < lowest) return;
      const time = new Date(clock.now()).toISOString();
      write(lineOf(time, eventLevel, clean(message), plain([...inherited, fields], clean)));
    };
    return {
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      child: (fields) => logWith([...inherited, fields]),
    };
  };
  return logWith([]);
}

/**
 * Calls `say` when the state is another one than last time, so that a server that stays away is
 * spoken of once and not at each call.
 *
 * @param initial What the reader of the log takes for granted, and is not told.
 * @returns the function that takes each new state.
 */
export function sayOnChange<State>(
  initial: State,
  say: (state: State, previous: State) => void,
): (state: State) => void {
  let told = initial;
  return (state) => {
    if (state === told) return;
    const previous = told;
    told = state;
    say(state, previous);
  };
}

type Clean = (text: string) => string;
type PlainFields = Record<string, unknown>;

/** Redacts secrets, also as they look inside a URL, and bounds the length. */
function cleaner(secrets: readonly (string | undefined)[]): Clean {
  const hidden = new Set<string>();
  for (const secret of secrets) {
    if (secret === undefined || secret === "") continue;
    hidden.add(secret);
    hidden.add(encodeURIComponent(secret.toWellFormed()));
  }
  // The longest first: a secret that contains another one must not leave its rest behind.
  const longestFirst = [...hidden].sort((a, b) => b.length - a.length);
  return (text) => {
    let safe = text;
    for (const secret of longestFirst) safe = safe.replaceAll(secret, REDACTED);
    return safe.length > LOG_TEXT_LENGTH_MAX ? `${safe.slice(0, LOG_TEXT_LENGTH_MAX)}…` : safe;
  };
}

/** All fields, later ones over earlier ones, as values that JSON can hold, whatever they were. */
function plain(layers: readonly LogFields[], clean: Clean): PlainFields {
  const ancestors: unknown[] = [];
  const convert = (value: unknown): unknown => {
    if (typeof value === "string") return clean(value);
    if (typeof value === "bigint" || typeof value === "symbol") return clean(String(value));
    if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
    if (typeof value === "function") return undefined;
    if (typeof value !== "object" || value === null) return value;
    if (value instanceof Error) return clean(describeError(value));
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
    if (ancestors.includes(value)) return "[circular]";
    ancestors.push(value);
    const copy = Array.isArray(value) ? value.map(convert) : Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [clean(key), convert(inner)]),
    );
    ancestors.pop();
    return copy;
  };
  try {
    return convert(Object.assign({}, ...layers)) as PlainFields;
  } catch (error) {
    // A getter or a proxy threw. The event matters more than its fields.
    return { fieldsUnreadable: clean(describeError(error)) };
  }
}

function jsonLine(time: string, level: LogLevel, message: string, fields: PlainFields): string {
  const event: PlainFields = { time, level, message };
  for (const [key, value] of Object.entries(fields)) {
    event[Object.hasOwn(event, key) ? `${key}_` : key] = value;
  }
  // JSON escapes C0 controls only; everything else outside ASCII stands inside a string, where an
  // escape means the same.
  return `${escapeControls(JSON.stringify(event))}\n`;
}

/** Makes lines for people. What goes on in a next line is indented, so that events stand out. */
function textLines(columnsOfTerminal: () => number | undefined): typeof jsonLine {
  return (time, level, message, fields) => {
    const tail = Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => `  ${key}=${fieldText(value)}`)
      .join("");
    const line = escapeControls(`${time} ${level.toUpperCase().padEnd(5)} ${message}${tail}`);
    const columns = columnsOfTerminal();
    const lines = columns === undefined ? [line] : wrapped(line, columns, TEXT_INDENT);
    return `${lines.join("\n")}\n`;
  };
}

/** Of what goes on in a next line: the message's own column would leave a narrow terminal too little. */
const TEXT_INDENT = 4;

function fieldText(value: unknown): string {
  return typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}

/**
 * Escapes what could break a line, drive a terminal or turn its writing direction: C0, DEL, C1,
 * line and paragraph separators, bidirectional controls.
 */
function escapeControls(text: string): string {
  return text.replace(
    // deno-lint-ignore no-control-regex -- they are what is looked for
    /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
