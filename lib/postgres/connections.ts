/**
 * The connections of a pool, as far as the pool's library does not look after them: what they run
 * can be ended at the server, and closing them has a bound.
 *
 * A client that hangs up ends nothing: the server goes on with the statement, and keeps its locks,
 * until it has something to say and finds nobody. So whoever gives a statement up asks for its end.
 *
 * @module
 */
// @ts-types="@types/pg"
import pg from "pg";
import type { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";
import { systemClock } from "../clock.ts";
import { withTimeLimit } from "../time_limit.ts";

/** Longest that asking for the end of a statement may take, ms. */
const CANCEL_MS_MAX = 1_500;

/** Longest that closing may take, ms: until then, what was under way has ended. */
export const CLOSE_MS_MAX = 2_000;

/** What the library's client knows and its types do not tell. */
interface ClientState {
  readonly host: string;
  readonly port: number;
  readonly ssl: unknown;
  /** Name of the session at the server; null before it has logged in. */
  readonly processID: number | null;
  /** Shows that it was us who opened it. */
  readonly secretKey: number | null;
  readonly connection: { readonly stream: Duplex };
}

/** The same of the library's connection: the protocol without a session. */
interface ProtocolConnection extends EventEmitter {
  readonly stream: Duplex;
  connect(portOrPath: number | string, host?: string): void;
  requestSsl(): void;
  cancel(processId: number, secretKey: number): void;
}

/**
 * All connections of one pool. It speaks of the library's types, which only this folder knows.
 *
 * @internal
 */
export class Connections {
  readonly #pool: pg.Pool;
  readonly #open = new Set<pg.PoolClient>();
  readonly #busy = new Set<pg.PoolClient>();
  readonly #cancelling = new Set<Promise<void>>();
  #closing: Promise<void> | undefined;

  /** Watches the pool. */
  constructor(pool: pg.Pool) {
    this.#pool = pool;
    pool.on("connect", (client) => this.#open.add(client));
    pool.on("remove", (client) => this.#open.delete(client as pg.PoolClient));
  }

  /** Whether {@linkcode Connections.close} has been called. */
  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** Runs `work`, which has the connection to itself. */
  async use<T>(client: pg.PoolClient, work: () => Promise<T>): Promise<T> {
    this.#busy.add(client);
    try {
      return await work();
    } finally {
      this.#busy.delete(client);
    }
  }

  /** Asks the server to end what this connection runs. It is not waited for, and cannot fail. */
  cancel(client: pg.PoolClient): void {
    const limit = { clock: systemClock, limitMs: CANCEL_MS_MAX };
    const asked = withTimeLimit((givenUp) => askToCancel(client, givenUp), limit).catch(() => {});
    this.#cancelling.add(asked);
    asked.finally(() => this.#cancelling.delete(asked));
  }

  /** Ends what is under way at the server, and closes all connections. Once more does nothing. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    const ended = this.#pool.end();
    for (const client of this.#busy) this.cancel(client);
    const all = async (): Promise<void> => {
      await Promise.all([ended, ...this.#cancelling]);
    };
    // A server that is frozen, or a network that swallows packets, does not even say good-bye.
    await withTimeLimit(all, { clock: systemClock, limitMs: CLOSE_MS_MAX }).catch(() => {
      for (const client of this.#open) stateOf(client).connection.stream.destroy();
    });
  }
}

function stateOf(client: pg.PoolClient): ClientState {
  return client as unknown as ClientState;
}

/**
 * Sends a cancel request on a connection of its own, as the protocol wants it. A pooler understands
 * it, too, where the number of the server's process would say nothing to it.
 *
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
async function askToCancel(client: pg.PoolClient, givenUp: AbortSignal): Promise<void> {
  const { host, port, ssl, processID, secretKey } = stateOf(client);
  if (processID === null || secretKey === null) return;
  const connection = new pg.Connection({
    ssl: ssl as pg.ConnectionConfig["ssl"],
  }) as unknown as ProtocolConnection;
  const done = Promise.withResolvers<void>();
  const ask = (): void => connection.cancel(processID, secretKey);
  connection.on("connect", () => ssl ? connection.requestSsl() : ask());
  connection.on("sslconnect", ask);
  // The server hangs up when it has passed it on.
  connection.on("end", () => done.resolve());
  connection.on("error", () => done.resolve());
  givenUp.addEventListener("abort", () => done.resolve(), { once: true });
  if (host.startsWith("/")) connection.connect(`${host}/.s.PGSQL.${port}`);
  else connection.connect(port, host);
  await done.promise;
  connection.stream.destroy();
}
