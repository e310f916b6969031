/**
 * What an answer of Redis that is no success means for us, and what a person does about it.
 *
 * @module
 */
import { connectFault, settingsOf } from "../connect_fault.ts";

/** An error of Redis, or of the way to it, that somebody can do something about. */
export interface RedisFault {
  /**
   * `refusal`: it stays until somebody changes a setting, a right or the server. `replica`: the
   * connection leads to a server that does not write; another one may stand behind the same name by
   * now. `busy`: it passes, or the server lacks something.
   */
  readonly kind: "refusal" | "replica" | "busy";
  /** What to do, as a sentence without its full stop. */
  readonly cure: string;
}

/** What to do about a key at which another program keeps something. */
export const REFUSED_CURE =
  "Rename that key, or give this data set its own REDIS_PREFIX or REDIS_DATABASE";

const CLUSTER_CURE =
  "Redis Cluster is not supported: use a single server, with or without replicas";

/**
 * By the beginning of the answer, or by what it says where Redis gives all the same beginning. A
 * script's error is that of the command in it; before Redis 7 it stands somewhere inside.
 */
const FAULTS: readonly [answer: RegExp, kind: RedisFault["kind"], cure: string][] = [
  [/^(WRONGPASS|NOAUTH) |without any password/, "refusal", "Check REDIS_USER and REDIS_PASSWORD"],
  [
    // Inside of a script it is another sentence.
    /^NOPERM |user executing the script can't/,
    "refusal",
    "Give REDIS_USER the rights in security/redis.acl, with REDIS_PREFIX in front of the key names",
  ],
  [
    /unknown (redis )?command/i,
    "refusal",
    "Use Redis 6 or newer, with none of the needed commands renamed or disabled",
  ],
  [/^(MOVED|ASK|CLUSTERDOWN|CROSSSLOT|TRYAGAIN) |non local key/, "refusal", CLUSTER_CURE],
  [
    /DB index is out of range|SELECT is not allowed/,
    "refusal",
    "Lower REDIS_DATABASE, or raise the server's `databases`",
  ],
  [
    /\bREADONLY |^MASTERDOWN /,
    "replica",
    "Set REDIS_HOST to the primary server, or to a name that follows it",
  ],
  [/^LOADING /, "busy", "Redis has just started and is loading its data: wait"],
  [
    /^BUSY /,
    "busy",
    "Another program's script is blocking Redis: wait, or end it with SCRIPT KILL",
  ],
  [/\bOOM /, "busy", "Raise Redis's maxmemory, or lower REDIS_TTL_SECONDS"],
  [
    /\bMISCONF /,
    "busy",
    "Redis cannot save to its disk and therefore refuses to write: free some space, and see its log",
  ],
  [
    /\bNOREPLICAS /,
    "busy",
    "Start the missing replicas, or lower Redis's min-replicas-to-write",
  ],
  [
    /max number of clients/,
    "busy",
    "Raise Redis's maxclients, or close other clients' connections",
  ],
  [/WRONGTYPE /, "busy", REFUSED_CURE],
];

/** Says what an error means, or what caused it; undefined: nothing that is known here. */
export function redisFault(error: unknown): RedisFault | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof NotOneServerError) return { kind: "refusal", cure: CLUSTER_CURE };
  const found = FAULTS.find(([answer]) => answer.test(error.message));
  if (found !== undefined) return { kind: found[1], cure: found[2] };
  // The way there: `node:net` and `node:tls` say these.
  const fault = connectFault(error);
  if (fault === undefined) return redisFault(error.cause);
  return { kind: "refusal", cure: `Check ${settingsOf(fault, "REDIS")}` };
}

/** The server is of a kind that this program cannot work with. */
export class NotOneServerError extends Error {
  /** Tells the class in a log. */
  override name = "NotOneServerError";
}

/**
 * Refuses what is not one server. A cluster would answer some keys and send us elsewhere for others; a
 * Sentinel keeps no keys at all.
 *
 * @param mode what `HELLO` says: `standalone`, `cluster` or `sentinel`
 * @throws {NotOneServerError} if it is a node of Redis Cluster, or a Sentinel.
 */
export function requireOneServer(mode: unknown): void {
  if (mode === "cluster") throw new NotOneServerError("it is a node of Redis Cluster");
  if (mode === "sentinel") throw new NotOneServerError("it is a Redis Sentinel and keeps no keys");
}
