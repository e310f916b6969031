/**
 * A link that can be hurt: a TCP proxy on loopback in front of one server, whose behaviour changes
 * while connections are open.
 *
 * It always takes a connection first. So a server that is not there shows as a connection that is
 * reset at once, not as one that is refused.
 *
 * @module
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { type Clock, systemClock } from "../lib/clock.ts";

/** What a link does to its connections. */
export type LinkMode =
  /** Bytes go through, and so do ends and resets. */
  | { readonly kind: "pass" }
  /**
   * No byte, end or reset goes through, in either direction, and connections stay open. New ones
   * are taken and left alone. Afterwards all that was held goes on, as after a network's outage.
   */
  | { readonly kind: "half open" }
  /** Every connection is reset, and so is each new one. */
  | { readonly kind: "reset" }
  /** Bytes take their time, in both directions. */
  | {
    readonly kind: "slow";
    /** Wait before bytes that come after a pause; those right behind them do not wait again, ms. */
    readonly latencyMs: number;
    /** Largest rate of one direction of one connection. */
    readonly bytesPerSecondMax: number;
  }
  /**
   * Each connection that is open when the mode begins is reset at the server's next reply, which
   * the client never gets: what it asked for has happened. The server sees an orderly end. Later
   * connections pass.
   */
  | { readonly kind: "lose replies" };

/** What a proxy needs. */
export interface FaultProxyOptions {
  /** The server's port on loopback. */
  readonly targetPort: number;
  /**
   * Measures what is slow.
   * @default systemClock
   */
  readonly clock?: Clock;
}

/** One client's connection, and ours to the server once there is one. */
interface Connection {
  readonly client: Socket;
  server: Socket | undefined;
  /** The server's next reply is to be lost. */
  losesReply: boolean;
  /** It was. */
  replyLost: boolean;
  /** Aborted when the connection is cut from here. */
  readonly cut: AbortController;
}

/** A link, see {@linkcode openFaultProxy}. Disposing of it resets its connections. */
export class FaultProxy implements AsyncDisposable {
  /** The loopback port that clients connect to. */
  readonly port: number;
  readonly #listener: Server;
  readonly #targetPort: number;
  readonly #clock: Clock;
  readonly #connections = new Map<Connection, Promise<void>>();
  #mode: LinkMode = { kind: "pass" };
  /** Aborted when the mode changes. */
  #modeEnd = new AbortController();
  #repliesLost = 0;

  /** @internal */
  constructor(listener: Server, { targetPort, clock = systemClock }: FaultProxyOptions) {
    this.port = (listener.address() as AddressInfo).port;
    this.#listener = listener;
    this.#targetPort = targetPort;
    this.#clock = clock;
    listener.on("connection", (client: Socket) => this.#take(client));
  }

  /** How many clients are connected. */
  get connections(): number {
    return this.#connections.size;
  }

  /** How many replies were lost on purpose since the start. */
  get repliesLost(): number {
    return this.#repliesLost;
  }

  /** Changes what the link does, at once and for open connections too. */
  setMode(mode: LinkMode): void {
    this.#mode = mode;
    for (const connection of this.#connections.keys()) {
      connection.losesReply = mode.kind === "lose replies";
      if (mode.kind === "reset") cut(connection);
    }
    this.#modeEnd.abort("the mode changes");
    this.#modeEnd = new AbortController();
  }

  /** Resets every connection and takes no more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.setMode({ kind: "reset" });
    await Promise.all(this.#connections.values());
    await new Promise((resolve) => this.#listener.close(resolve));
  }

  #take(client: Socket): void {
    // Every failure is met where the socket is used; an error without a listener ends the program.
    client.on("error", () => {});
    if (this.#mode.kind === "reset") return void client.resetAndDestroy();
    const connection: Connection = {
      client,
      server: undefined,
      losesReply: false,
      replyLost: false,
      cut: new AbortController(),
    };
    this.#connections.set(connection, this.#serve(connection));
  }

  async #serve(connection: Connection): Promise<void> {
    try {
      await this.#mayPass(0);
      const server = await this.#connect(connection);
      await Promise.all([
        this.#passRequests(connection, server),
        this.#passReplies(connection, server),
      ]);
    } catch {
      // A reset on one side becomes one on the other, once news gets through.
      await this.#mayPass(0);
      cut(connection);
    } finally {
      connection.client.destroy();
      connection.server?.destroy();
      this.#connections.delete(connection);
    }
  }

  async #connect(connection: Connection): Promise<Socket> {
    connection.cut.signal.throwIfAborted();
    const options = { host: "127.0.0.1", port: this.#targetPort, allowHalfOpen: true };
    const server = connect(options);
    server.on("error", () => {});
    connection.server = server;
    await once(server, "connect", { signal: connection.cut.signal });
    return server;
  }

  async #passRequests(connection: Connection, server: Socket): Promise<void> {
    try {
      await this.#pump(connection, { from: connection.client, to: server });
    } catch (error) {
      // The client was cut off from its reply. The server is left to end on its own.
      if (!connection.replyLost) throw error;
    }
  }

  async #passReplies(connection: Connection, server: Socket): Promise<void> {
    const end = await this.#pump(connection, { from: server, to: connection.client });
    if (end === "done") return;
    this.#repliesLost++;
    connection.replyLost = true;
    connection.client.resetAndDestroy();
    // It reads the end after all that it was asked, so it finishes that first.
    server.end();
    server.resume();
    if (!server.readableEnded) await once(server, "end", { signal: connection.cut.signal });
    connection.cut.abort("the server is done");
  }

  /** Copies until the end, one piece at a time: whoever reads slowly slows the sender down. */
  async #pump(
    connection: Connection,
    { from, to }: { readonly from: Socket; readonly to: Socket },
  ): Promise<"done" | "reply lost"> {
    const { signal } = connection.cut;
    let passedAtMs = -Infinity;
    for await (const piece of from.iterator({ destroyOnReturn: false })) {
      if (connection.losesReply && from === connection.server) return "reply lost";
      await this.#mayPass(piece.length, passedAtMs);
      passedAtMs = this.#clock.elapsedMs();
      signal.throwIfAborted();
      if (!to.write(piece)) await once(to, "drain", { signal });
    }
    await this.#mayPass(0);
    await new Promise<void>((resolve) => to.end(() => resolve()));
    return "done";
  }

  /**
   * Waits as long as the mode wants it for so many bytes.
   *
   * @param passedAtMs when the bytes before them passed
   */
  async #mayPass(bytes: number, passedAtMs = 0): Promise<void> {
    if (this.#mode.kind === "slow" && bytes > 0) {
      const { latencyMs, bytesPerSecondMax } = this.#mode;
      const isBehind = this.#clock.elapsedMs() - passedAtMs < latencyMs;
      const waitMs = (isBehind ? 0 : latencyMs) + bytes * 1_000 / bytesPerSecondMax;
      await this.#clock.sleep(waitMs, this.#modeEnd.signal);
    }
    while (this.#mode.kind === "half open") await once(this.#modeEnd.signal, "abort");
  }
}

/** Opens a link to a server of this machine, on a port of the system's choice. It passes. */
export async function openFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const listener = createServer({ allowHalfOpen: true });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return new FaultProxy(listener, options);
}

function cut(connection: Connection): void {
  connection.cut.abort("the link was cut");
  connection.client.resetAndDestroy();
  connection.server?.resetAndDestroy();
}
