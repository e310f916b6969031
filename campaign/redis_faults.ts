/**
 * What can happen to Redis.
 *
 * @module
 */
import { exchange } from "../tools/stack/exchange.ts";
import { signalServer, startServer, stopServer } from "../tools/stack/server.ts";
import type { Bed } from "./bed.ts";
import { EVENT, nothingToHeal, type ServerFault } from "./fault.ts";

const HOLD_MS = { short: 10_000, long: 30_000 };
const OK = "+OK\r\n";

/** Faults of Redis that are not faults of a link. */
export const REDIS_FAULTS: readonly ServerFault[] = [
  {
    name: "Redis stopped",
    party: "Redis",
    holdMs: HOLD_MS,
    inject: async ({ bed }) => {
      await stopServer(bed.redis);
      return { heal: () => start(bed) };
    },
  },
  {
    name: "Redis killed: it comes back with what it saved long ago",
    party: "Redis",
    holdMs: EVENT,
    inject: async ({ bed }) => {
      await stopServer(bed.redis, "SIGKILL");
      return { heal: () => start(bed) };
    },
  },
  {
    name: "Redis flushed",
    party: "Redis",
    holdMs: EVENT,
    inject: async ({ bed }) => {
      await command(bed, "FLUSHALL");
      return { heal: nothingToHeal };
    },
  },
  {
    name: "Redis out of memory",
    party: "Redis",
    holdMs: HOLD_MS,
    inject: async ({ bed }) => {
      await command(bed, "CONFIG SET maxmemory 1");
      return { heal: () => command(bed, "CONFIG SET maxmemory 0") };
    },
  },
  {
    name: "Redis becomes a replica: it answers and refuses to write",
    party: "Redis",
    holdMs: HOLD_MS,
    inject: async ({ bed }) => {
      // Of a primary that nobody has ever seen, so that it keeps what it has.
      await command(bed, "REPLICAOF 127.0.0.1 1");
      return { heal: () => command(bed, "REPLICAOF NO ONE") };
    },
  },
  {
    name: "Redis paused",
    party: "Redis",
    holdMs: HOLD_MS,
    inject: async ({ bed }) => {
      await signalServer(bed.redis, "SIGSTOP");
      return {
        heal: async () => {
          await signalServer(bed.redis, "SIGCONT");
          await start(bed);
        },
      };
    },
  },
];

/** Starts it if it does not run, and waits until it answers. */
async function start({ redis }: Bed): Promise<void> {
  await startServer(redis);
}

async function command({ direct }: Bed, text: string): Promise<void> {
  const question = new TextEncoder().encode(`${text}\r\n`);
  const answer = new TextDecoder().decode(await exchange(direct.redis.port, question, OK.length));
  if (answer !== OK) throw new Error(`Cannot run ${text} on Redis: it says ${answer}`);
}
