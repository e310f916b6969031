/**
 * Redis as a server of the stack.
 *
 * @module
 */
import { exchange } from "./exchange.ts";
import { findProgram } from "./program.ts";
import type { Server } from "./server.ts";

/** A Redis server on `port` with its data under `dir`. */
export function redisServer(dir: string, port: number): Server {
  return {
    name: "redis",
    dir,
    ports: [port],
    marker: dir,
    stopSignal: "SIGTERM",
    prepare: async () => {
      await Deno.mkdir(dir, { recursive: true });
      const path = await findProgram({
        name: "redis-server",
        install: "apt-get install -y redis-server",
      });
      return [path, ...redisArguments(dir, port)];
    },
    ask: async () => {
      const answer = new TextDecoder().decode(await exchange(port, PING, PONG.length));
      if (answer !== PONG) throw new Error(`Cannot ping redis: it says ${JSON.stringify(answer)}`);
    },
  };
}

const PING = new TextEncoder().encode("PING\r\n");
const PONG = "+PONG\r\n";

function redisArguments(dir: string, port: number): readonly string[] {
  const settings: Record<string, string> = {
    bind: "127.0.0.1",
    port: String(port),
    dir,
    // Keeps our command line, by which the process is known again.
    "set-proc-title": "no",
    // Saved when it ends and once an hour: what it forgets is rebuilt from PostgreSQL.
    save: "3600 1",
    appendonly: "no",
    "stop-writes-on-bgsave-error": "no",
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
}
