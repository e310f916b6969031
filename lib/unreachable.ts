/**
 * Servers that say nothing: what stopped us on the way, and the one sentence in which each client says
 * it: who, where, by which settings, and why.
 *
 * @module
 */
import { describeError, type ServerName, UnreachableError } from "./errors.ts";

/** What stopped us on the way. */
export type Obstacle =
  | "refused"
  | "no name"
  | "no name server"
  | "no way"
  | "silent"
  | "no socket"
  | "dropped"
  | "dropped before TLS";

/** By the code of the operating system, which also stands in the text where a library kept it alone. */
const OBSTACLES: readonly (readonly [pattern: RegExp, obstacle: Obstacle])[] = [
  // Node gives it a code of a lost connection.
  [/before secure TLS connection was established/i, "dropped before TLS"],
  // Before the others: their codes stand together in one text.
  [/\b(EACCES|EPERM|ENOENT)\b/, "no socket"],
  [/\bECONNREFUSED\b/, "refused"],
  [/\b(ENOTFOUND|ENODATA)\b/, "no name"],
  [/\b(EAI_AGAIN|EAI_FAIL|ESERVFAIL)\b/, "no name server"],
  [/\b(EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|EADDRNOTAVAIL)\b/, "no way"],
  [/\bETIMEDOUT\b/, "silent"],
  [/\b(ECONNRESET|EPIPE|ECONNABORTED)\b/, "dropped"],
  // Of our own limits, pg, kafkajs and the Redis client, which give no code.
  [
    /no answer within|timeout expired|timeout exceeded|connection timeout|request .* timed out/i,
    "silent",
  ],
  [/query read timeout|timed out|due to timeout/i, "silent"],
  [
    /terminated unexpectedly|closed unexpectedly|closed connection|connection closed|not connected|socket hang up/i,
    "dropped",
  ],
];

const CAUSES: Readonly<Record<Obstacle, string>> = {
  refused: "connection refused",
  "no name": "no such host",
  "no name server": "its host name could not be resolved",
  "no way": "no route to it",
  silent: "no answer in time",
  "no socket": "there is no socket that this program may use",
  dropped: "it closed the connection",
  "dropped before TLS": "it closed the connection before a secure TLS connection was established",
};

/** The same of a server that was there a moment ago, behind its name. */
const CAUSES_MIDWAY: Readonly<Partial<Record<Obstacle, string>>> = {
  refused: " refuses the connection",
  silent: " did not answer in time",
  dropped: " closed the connection",
};

/** What stopped us, if an error, or what caused it, says so. */
export function obstacleOf(error: unknown): Obstacle | undefined {
  const text = chainOf(error).map((one) =>
    `${"code" in one ? String(one.code) : ""} ${one.message}`
  )
    .join(" ");
  return OBSTACLES.find(([pattern]) => pattern.test(text))?.[1];
}

/** Why nobody answers, in a few words; undefined: nothing that is known here. */
export function connectionCause(error: unknown): string | undefined {
  const obstacle = obstacleOf(error);
  if (obstacle !== "silent") return obstacle && CAUSES[obstacle];
  // Of a limit of ours it is known how long it was.
  const [limit] = /no answer within \d+ ms/.exec(describeError(error)) ?? [];
  return limit ?? CAUSES.silent;
}

/** An error with all that caused it. */
export function chainOf(error: unknown): readonly Error[] {
  const chain: Error[] = [];
  let current = error;
  // Bound: a chain of causes longer than this is a loop.
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    chain.push(current);
    if (current instanceof AggregateError) chain.push(...current.errors.filter(isError));
    current = current.cause;
  }
  return chain;
}

function isError(value: unknown): value is Error {
  return value instanceof Error;
}

/** Who did not answer, and what was wanted. */
export interface Silence {
  /** What people call it: `PostgreSQL`. */
  readonly name: string;
  /**
   * Where it is looked for, with the settings that say so: `localhost:5432 (POSTGRES_HOST, …)`;
   * undefined: inside this process.
   */
  readonly place: string | undefined;
  /** Which of the flow's servers it is; undefined: none of them. */
  readonly server?: ServerName;
  /** What was tried: `store a batch`; undefined: nothing yet but to connect. */
  readonly action?: string | undefined;
}

/**
 * The error of a server that said nothing: `Cannot reach PostgreSQL at localhost:5432 (POSTGRES_HOST,
 * POSTGRES_PORT): connection refused`, or `Cannot store a batch: PostgreSQL at … closed the
 * connection`.
 */
export function unreachable(
  { name, place, server, action }: Silence,
  error: unknown,
): UnreachableError {
  const obstacle = obstacleOf(error);
  const who = place === undefined ? name : `${name} at ${place}`;
  const cause = connectionCause(error) ?? describeError(error);
  const midway = (obstacle && CAUSES_MIDWAY[obstacle]) ?? `: ${cause}`;
  const text = action === undefined
    ? `Cannot reach ${who}: ${cause}`
    : `Cannot ${action}: ${who}${midway}`;
  return new UnreachableError(text, { cause: error, ...(server !== undefined && { server }) });
}
