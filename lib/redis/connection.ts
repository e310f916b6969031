/**
 * One connection to Redis for as long as it lasts: opened and logged in once, and never again.
 *
 * Commands leave as bytes, any number in one piece with one promise. A promise each would cost more
 * than all else: for 450,000 marks 5.2 s of CPU in the client, as a library's pipeline 1.7 s, and as
 * bytes 0.4 s, with what it takes to read them (one shared core).
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import net from "node:net";
import tls from "node:tls";
import { asError } from "../errors.ts";
import type { AddressSettings } from "../settings/server_place.ts";
import { tlsOptions, type TlsSettings } from "../tls.ts";
import { requireOneServer } from "./redis_fault.ts";
import { command, ErrorReply, type Reply, ReplyReader } from "./resp.ts";

/** Where to connect, and as whom. */
export interface ConnectionSettings extends TlsSettings, AddressSettings {
  /** ACL user to log in as; undefined: the default one. */
  readonly user?: string | undefined;
  /** Undefined: log in without one. */
  readonly password: string | undefined;
  /** Number of the database. @default 0 */
  readonly database?: number;
}

/** The system looks after this long without a packet whether the other side is still there, ms. */
const KEEP_ALIVE_MS = 60_000;

/**
 * Most calls that wait for their replies at the same time. Each is one call of one batch, and a batch
 * makes one at a time, so that only a silent server gets near it.
 */
const CALLS_WAITING_MAX = 64;

/** How `CLIENT LIST` names us. */
const CLIENT_NAME = "sensor-ledger";

/** Commands that were sent together. */
interface Call {
  /** Replies that are yet to come. */
  left: number;
  /** The first reply that said no. */
  refusal: ErrorReply | undefined;
  readonly resolve: (last: Reply) => void;
  readonly reject: (cause: Error) => void;
}

/** A connection that is open, or was. */
export class RedisConnection {
  readonly #socket: net.Socket;
  readonly #reader = new ReplyReader();
  /** The oldest first: replies come in the order of the commands. */
  readonly #calls: Call[] = [];
  readonly #lost = Promise.withResolvers<Error>();
  #cause: Error | undefined;

  /** Takes a socket, which may still be about to connect. */
  constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.on("error", (error) => this.end(error));
    for (const event of ["end", "close"]) {
      socket.on(event, () => this.end(new Error("connection closed")));
    }
  }

  /** Resolves with the cause when the connection is gone. */
  get lost(): Promise<Error> {
    return this.#lost.promise;
  }

  /**
   * Sends so many commands. All of them take effect that Redis gets whole, whatever it replies to the
   * others.
   *
   * @returns the reply to the last of them
   * @throws {ErrorReply} If one or more were refused: the first refusal, once all replies have come.
   * @throws {Error} If the connection is gone, now or before all replies have come.
   */
  send(bytes: Uint8Array, commands = 1): Promise<Reply> {
    if (this.#cause !== undefined) return Promise.reject(this.#cause);
    if (this.#calls.length >= CALLS_WAITING_MAX) {
      return Promise.reject(new Error(`${CALLS_WAITING_MAX} calls wait for an answer`));
    }
    return new Promise((resolve, reject) => {
      this.#calls.push({ left: commands, refusal: undefined, resolve, reject });
      this.#socket.write(bytes);
    });
  }

  /** Ends the connection: the first cause that is given is that of all that waits for replies. */
  end(cause: Error): void {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    this.#socket.destroy();
    // With an error of their own: they were tried, while who comes later finds nobody.
    for (const call of this.#calls.splice(0)) call.reject(new Error(cause.message, { cause }));
    this.#lost.resolve(cause);
  }

  #receive(bytes: Buffer): void {
    try {
      this.#reader.push(bytes);
      for (let reply = this.#reader.next(); reply !== undefined; reply = this.#reader.next()) {
        this.#take(reply);
      }
    } catch (error) {
      // From here on nobody knows which reply is whose.
      this.end(asError(error));
    }
  }

  #take(reply: Reply): void {
    const call = this.#calls[0];
    if (call === undefined) throw new Error("a reply to nothing");
    if (reply instanceof ErrorReply) call.refusal ??= reply;
    if (--call.left > 0) return;
    this.#calls.shift();
    if (call.refusal === undefined) call.resolve(reply);
    else call.reject(call.refusal);
  }
}

/**
 * Connects, logs in and selects the database.
 *
 * @param signal Ends the connection, whatever it has come to: nobody has it yet.
 * @throws {ErrorReply} If Redis refuses us.
 * @throws {NotOneServerError} If it is a cluster or a Sentinel.
 */
export async function openConnection(
  settings: ConnectionSettings,
  signal: AbortSignal,
): Promise<RedisConnection> {
  const connection = new RedisConnection(openSocket(settings));
  const giveUp = (): void => connection.end(new Error("connection closed"));
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    const { user, password, database = 0 } = settings;
    const login = user === undefined && password === undefined
      ? []
      : ["AUTH", user ?? "default", password ?? ""];
    const hello = await connection.send(command(["HELLO", "2", ...login, "SETNAME", CLIENT_NAME]));
    requireOneServer(fieldOf(hello, "mode"));
    if (database !== 0) await connection.send(command(["SELECT", String(database)]));
    return connection;
  } catch (error) {
    giveUp();
    throw error;
  }
}

function openSocket({ host, port, ...settings }: ConnectionSettings): net.Socket {
  const encryption = tlsOptions(settings);
  const socket = encryption === undefined
    ? net.connect({ host, port })
    : tls.connect({ host, port, ...encryption });
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  return socket;
}

/** The value after a name in a reply that lists both in turn. */
function fieldOf(reply: Reply, name: string): Reply | undefined {
  if (!Array.isArray(reply)) return undefined;
  const at = reply.indexOf(name);
  return at === -1 ? undefined : reply[at + 1];
}
