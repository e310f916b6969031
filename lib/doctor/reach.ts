/**
 * What to do about a server that was asked and gave no answer that can be judged. Only where nobody
 * answered is there something to start; a server that said something has said what is wrong.
 *
 * @module
 */
import { ConfigurationError, describeError } from "../errors.ts";
import { type Finding, findingsOf } from "./finding.ts";

/** Whom to reach. */
export type ServerSubject = "kafka" | "postgres" | "redis";

/** Where each server is looked for. */
const ADDRESS_SETTINGS: Readonly<Record<ServerSubject, string>> = {
  kafka: "KAFKA_BROKER, or the advertised.listeners of the brokers",
  postgres: "POSTGRES_HOST and POSTGRES_PORT",
  redis: "REDIS_HOST and REDIS_PORT",
};

/** What stopped us on the way. */
type Obstacle = "refused" | "no name" | "no name server" | "silent" | "no socket" | "dropped";

/** By the code of the operating system, which also stands in the text where a library kept it alone. */
const OBSTACLES: readonly (readonly [pattern: RegExp, obstacle: Obstacle])[] = [
  // Before the others: their codes stand together in one text.
  [/\b(EACCES|EPERM|ENOENT)\b/, "no socket"],
  [/\bECONNREFUSED\b/, "refused"],
  [/\b(ENOTFOUND|ENODATA)\b/, "no name"],
  [/\b(EAI_AGAIN|EAI_FAIL|ESERVFAIL)\b/, "no name server"],
  [/\b(ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN)\b/, "silent"],
  [/\b(ECONNRESET|EPIPE|ECONNABORTED)\b/, "dropped"],
  // Of our own limits, pg, kafkajs and the Redis client, which give no code.
  [
    /no answer within|timeout expired|timeout exceeded|connection timeout|request .* timed out/i,
    "silent",
  ],
  [/query read timeout|timed out/i, "silent"],
  [
    /terminated unexpectedly|closed unexpectedly|closed connection|connection closed|not connected/i,
    "dropped",
  ],
];

function cureOf(obstacle: Obstacle, subject: ServerSubject): string {
  const settings = ADDRESS_SETTINGS[subject];
  switch (obstacle) {
    case "refused":
      return `Nothing is listening there: start it, or correct ${settings}.`;
    case "no name":
      return `No such host: correct ${settings}.`;
    case "no name server":
      return `The host name could not be resolved: check the network and its DNS server, or ${settings}.`;
    case "silent":
      return `It does not answer in time: check ${settings}, the firewall, and whether it hangs.`;
    case "no socket":
      return `There is no socket that this program may use: start the server, or correct ${settings}.`;
    case "dropped":
      return `It closed the connection: look at its log, and check ${settings}, and whether it expects TLS.`;
  }
}

/** The finding about a server whose answers could not be had. */
export function unreached(subject: ServerSubject, error: Error): Finding {
  return findingsOf(subject).failure("reach", describeError(error), reachCure(subject, error));
}

/** What to do; "" if the error says it, or if the server's words are all that is known. */
export function reachCure(subject: ServerSubject, error: Error): string {
  if (error instanceof ConfigurationError || hasServerWords(error)) return "";
  const text = codesAndTexts(error);
  const obstacle = OBSTACLES.find(([pattern]) => pattern.test(text))?.[1];
  return obstacle === undefined ? "" : cureOf(obstacle, subject);
}

/** Whether an error, or what caused it, is an answer of the server: each library marks those. */
function hasServerWords(error: unknown): boolean {
  return chainOf(error).some((one) =>
    "severity" in one || one.name === "KafkaJSProtocolError" ||
    one.constructor.name === "SimpleError"
  );
}

function codesAndTexts(error: unknown): string {
  return chainOf(error).map((one) => `${"code" in one ? String(one.code) : ""} ${one.message}`)
    .join(" ");
}

function chainOf(error: unknown): readonly Error[] {
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
