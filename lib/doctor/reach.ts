/**
 * What to do about a server that was asked and gave no answer that can be judged. Only where nobody
 * answered is there something to start; a server that said something has said what is wrong.
 *
 * @module
 */
import { ConfigurationError, describeError } from "../errors.ts";
import { chainOf, type Obstacle, obstacleOf } from "../unreachable.ts";
import { type Finding, findingsOf } from "./finding.ts";

/** Whom to reach. */
export type ServerSubject = "kafka" | "postgres" | "redis";

/** Where it is looked for stands in the error, with the settings that say so. */
function cureOf(obstacle: Obstacle): string {
  switch (obstacle) {
    case "refused":
      return "Nothing is listening there: start it, or correct the address.";
    case "no name":
      return "Correct the address.";
    case "no name server":
      return "Check the network and its DNS server, or correct the address.";
    case "no way":
    case "silent":
      return "Check the address, the firewall, and whether it hangs.";
    case "no socket":
      return "Start the server, or correct the address.";
    case "dropped":
    case "dropped before TLS":
      return "Look at its log, and check the address, and whether it expects TLS.";
  }
}

/** The finding about a server whose answers could not be had. */
export function unreached(subject: ServerSubject, error: Error): Finding {
  return findingsOf(subject).failure("reach", describeError(error), reachCure(error));
}

/** What to do; "" if the error says it, or if the server's words are all that is known. */
export function reachCure(error: Error): string {
  if (error instanceof ConfigurationError || hasServerWords(error)) return "";
  const obstacle = obstacleOf(error);
  return obstacle === undefined ? "" : cureOf(obstacle);
}

/** Whether an error, or what caused it, is an answer of the server: each library marks those. */
function hasServerWords(error: unknown): boolean {
  return chainOf(error).some((one) =>
    "severity" in one || one.name === "KafkaJSProtocolError" ||
    one.constructor.name === "SimpleError"
  );
}
