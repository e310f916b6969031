/**
 * Ports for a private stack, so that several can run beside each other and beside the usual one.
 *
 * @module
 */
import { BROKERS_MAX, type Ports } from "./stack.ts";

/** Ports of a private stack. */
export interface PrivatePorts extends Ports {
  /** One for each broker, for a second listener. */
  readonly detours: readonly number[];
}

/** Below the ports that systems give to outgoing connections, which could take one at any time. */
const PORTS_FROM = 20_000;
const PORT_BLOCKS = 1_000;
/** A block holds the brokers, up to three ports each, then PostgreSQL and Redis. */
const PORTS_IN_BLOCK = 3 * BROKERS_MAX + 2;
const BLOCKS_TRIED_MAX = 100;

/**
 * Ports of a block that nothing listens on now.
 *
 * @throws {Error} If no free block is found.
 */
export function freePorts(): PrivatePorts {
  for (let tries = 0; tries < BLOCKS_TRIED_MAX; tries++) {
    const first = PORTS_FROM + Math.floor(Math.random() * PORT_BLOCKS) * PORTS_IN_BLOCK;
    const block = Array.from({ length: PORTS_IN_BLOCK }, (_, index) => first + index);
    if (!block.every(isFree)) continue;
    const [postgres, redis, ...brokers] = block;
    return {
      kafka: brokers[0]!,
      detours: brokers.slice(2 * BROKERS_MAX),
      postgres: postgres!,
      redis: redis!,
    };
  }
  throw new Error("Cannot find free ports");
}

/** One port that nobody listens on now, for a server that is started once and at once. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch {
    return false;
  }
}
