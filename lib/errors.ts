/**
 * The three ways in which a server can fail us, told apart once, at each client's edge.
 *
 * Everything above the clients decides by these classes alone and never by a message text.
 * Bad input is not here: it is a value, see `rejection.ts`.
 *
 * @module
 */

/**
 * The server is away, busy or in trouble, and the same call can succeed later.
 * Callers wait and try again forever; the offset stays where it is.
 */
export class TransientError extends Error {
  /** Tells the class in a log, and across realms. */
  override name = "TransientError";
}

/** The servers that the flow needs, in the order in which a message meets them. */
export const SERVER_NAMES = ["kafka", "redis", "postgres"] as const;

/** One of {@linkcode SERVER_NAMES}. */
export type ServerName = typeof SERVER_NAMES[number];

/**
 * The server did not say a word: it is away, or the way to it is, or it hangs. An outage, where every
 * other {@linkcode TransientError} is an answer.
 */
export class NoAnswerError extends TransientError {
  /** Which one; undefined: whoever asked knows. */
  readonly server: ServerName | undefined;

  /** Made where a client's errors get their class, and by time limits. */
  constructor(message: string, options: ErrorOptions & { readonly server?: ServerName } = {}) {
    super(message, options);
    this.server = options.server;
  }
}

/**
 * The same, in one sentence that says who, where and why: {@linkcode describeError} adds nothing of what
 * caused it. Made by `unreachable()`.
 */
export class UnreachableError extends NoAnswerError {}

/**
 * The server gave up for want of time or memory. The same call can succeed later, as with every
 * {@linkcode TransientError}, and one with less work in it sooner.
 */
export class TooMuchError extends TransientError {
  /** Tells the class in a log, and across realms. */
  override name = "TooMuchError";
}

/**
 * The server answered, and it will give the same answer until somebody changes a setting, a right
 * or a schema: a wrong password, a missing topic, a pending migration.
 * The message names the cause and the cure.
 */
export class ConfigurationError extends Error {
  /** Tells the class in a log, and across realms. */
  override name = "ConfigurationError";
}

/**
 * What another program has yet to make is not there: the tables, the topic. Who runs on can wait for it;
 * for a command it is a {@linkcode ConfigurationError} like others.
 */
export class MissingError extends ConfigurationError {}

/**
 * PostgreSQL refused the data of at least one row of a batch, or would: a value does not fit its
 * column. Which row is not known; the caller halves the batch until it is.
 */
export class RowDataError extends Error {
  /** Tells the class in a log, and across realms. */
  override name = "RowDataError";
}

/** Whatever was thrown, as an error. */
export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(describeError(error));
}

/** The text of any thrown value with its chain of causes, each once: `outer: inner`. */
export function describeError(error: unknown): string {
  const texts: string[] = [];
  let current: unknown = error;
  // Bound: a chain of causes longer than this is a loop.
  for (let depth = 0; depth < 8 && current !== undefined && current !== null; depth++) {
    const text = current instanceof AggregateError && current.message === ""
      ? current.errors.map((inner) => String(inner?.message ?? inner)).join(", ")
      : current instanceof Error
      ? current.message
      : String(current);
    if (text !== "" && !texts.some((seen) => seen.includes(text))) texts.push(text);
    if (current instanceof UnreachableError) break;
    current = current instanceof Error ? current.cause : undefined;
  }
  return texts.join(": ");
}
