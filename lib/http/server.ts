/**
 * The edge to the network: sockets, bounds, headers. What is answered is the handlers' business.
 *
 * Whoever connects can ask little and keep nothing: no methods but GET and HEAD, no bodies, short
 * URLs and headers, few connections, and no connection that is silent.
 *
 * @module
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Clock } from "../clock.ts";
import { ConfigurationError, describeError, TransientError } from "../errors.ts";
import type { Log } from "../log.ts";
import { type HttpAnswer, HttpError, type HttpHandler, jsonAnswer } from "./exchange.ts";
import { RateLimit } from "./rate_limit.ts";
import { hostCheck, type HostNames } from "./served_host.ts";

/** Where to listen. */
export interface HttpSettings extends HostNames {
  /** TCP port; 0 picks a free one. */
  readonly port: number;
  /**
   * How long the headers of a request may take, and a connection may be idle, ms.
   *
   * @default IDLE_MS_MAX
   */
  readonly idleMs?: number;
}

/** What the server works with. */
export interface HttpParts {
  /** Asked in this order; the first that answers is taken. */
  readonly handlers: readonly HttpHandler[];
  /** Paces the rate limit. */
  readonly clock: Clock;
  /** Hears of faults of ours. */
  readonly log: Log;
}

/** A server that listens. */
export interface HttpServer extends AsyncDisposable {
  /** Where a person on this computer opens it: `http://localhost:8000`. */
  readonly url: string;
  /** Ends all connections. */
  close(): Promise<void>;
}

/** Longest path with its parameters, characters. */
export const URL_LENGTH_MAX = 2_048;
/** All headers together, bytes. */
export const HEADER_BYTES_MAX = 16_384;
/** See {@linkcode HttpSettings.idleMs}. */
export const IDLE_MS_MAX = 5_000;
/** A client that takes nothing of its answer for this many times as long is dropped. */
const STALL_FACTOR = 3;
/** Connections at the same time; further ones are closed at once. */
export const CONNECTIONS_MAX = 600;

/** Sent with every answer. No CORS header: other origins' pages get nothing. */
const SAFE_HEADERS: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY",
  "cross-origin-resource-policy": "same-origin",
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
};

/**
 * Starts to listen.
 *
 * @throws {ConfigurationError} if the address cannot be had: in use, forbidden, unknown.
 */
export async function openHttpServer(
  settings: HttpSettings,
  parts: HttpParts,
): Promise<HttpServer> {
  const { idleMs = IDLE_MS_MAX } = settings;
  const context = {
    parts,
    rate: new RateLimit(parts.clock),
    checkHost: hostCheck(settings),
    idleMs,
  };
  const server = createServer({
    // The check of the host says what is wrong.
    requireHostHeader: false,
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: idleMs,
    requestTimeout: idleMs,
    keepAliveTimeout: idleMs,
    connectionsCheckingInterval: Math.min(1_000, idleMs),
  }, (request, response) => {
    void respond(request, response, context);
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.on("connection", (socket: Socket) => socket.on("error", () => {}));
  await listen(server, settings);
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => closing ??= closeServer(server);
  const url = urlOf(server.address() as AddressInfo);
  return { url, close, [Symbol.asyncDispose]: close };
}

/** An address that stands for all of them is none that a browser should open. */
function urlOf({ address, port, family }: AddressInfo): string {
  if (address === "0.0.0.0" || address === "::") return `http://localhost:${port}`;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}

function listen(server: Server, { host, port }: HttpSettings): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once(
      "error",
      (error) =>
        reject(new ConfigurationError(`Cannot listen on ${host}:${port}`, { cause: error })),
    );
    server.listen(port, host, () => {
      server.removeAllListeners("error");
      server.on("error", () => {});
      resolve();
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

interface Context {
  readonly parts: HttpParts;
  readonly rate: RateLimit;
  readonly checkHost: (headers: readonly string[]) => void;
  readonly idleMs: number;
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  context: Context,
): Promise<void> {
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  // The server's own bounds are for requests; this one is for who takes no answer.
  request.socket?.setTimeout(STALL_FACTOR * context.idleMs);
  try {
    const answer = await answerTo(request, { ...context, signal: gone.signal });
    await send(answer, { request, response, signal: gone.signal });
  } catch (error) {
    // Only sending can get here: half an answer is out, and cannot be taken back.
    context.parts.log.debug("a response was cut off", { error });
    response.destroy();
  } finally {
    request.socket?.setTimeout(context.idleMs);
  }
}

async function answerTo(
  request: IncomingMessage,
  { parts, signal, ...context }: Context & { readonly signal: AbortSignal },
): Promise<HttpAnswer> {
  try {
    refuse(request, context);
    // The host is never seen: it makes a whole URL of a path.
    const url = new URL(`http://localhost${request.url ?? "/"}`);
    const header = (name: string): string | undefined => {
      const value = request.headers[name];
      return Array.isArray(value) ? value[0] : value;
    };
    for (const handler of parts.handlers) {
      const answer = await handler({ path: url.pathname, query: url.searchParams, header, signal });
      if (answer !== undefined) return answer;
    }
    throw new HttpError(404, "not found");
  } catch (error) {
    if (error instanceof HttpError) return refusal(error.status, error.message);
    // Texts of servers can name hosts and users: they go to the log and not to the client.
    if (error instanceof TransientError) {
      parts.log.debug("a request failed", { error });
      return refusal(
        503,
        "a server that is needed for this does not answer in time; try again in a second",
      );
    }
    parts.log.error("a request failed", { error: describeError(error) });
    return refusal(500, "the server failed to answer this; see its log");
  }
}

function refuse(
  request: IncomingMessage,
  { rate, checkHost }: Pick<Context, "rate" | "checkHost">,
): void {
  const { method, url = "/", headers } = request;
  if (!rate.admits(request.socket?.remoteAddress ?? "")) {
    throw new HttpError(429, "too many requests; try again in a second");
  }
  if (method !== "GET" && method !== "HEAD") throw new HttpError(405, "GET and HEAD only");
  if (url.length > URL_LENGTH_MAX) {
    throw new HttpError(414, `a URL must have at most ${URL_LENGTH_MAX} characters`);
  }
  const hasBody = headers["transfer-encoding"] !== undefined ||
    (headers["content-length"] ?? "0") !== "0";
  if (hasBody) throw new HttpError(413, "a request must have no body");
  if (!url.startsWith("/")) throw new HttpError(400, "the request target must begin with a slash");
  checkHost(request.headersDistinct.host ?? []);
}

function refusal(status: number, message: string): HttpAnswer {
  const answer = jsonAnswer({ error: message }, status);
  const more: Record<string, string> = status === 401
    // A second scheme in the same line, and Chromium asks nobody.
    ? { "www-authenticate": `Basic realm="sensor-ledger", charset="UTF-8"` }
    : status === 405
    ? { allow: "GET, HEAD" }
    : status === 429 || status === 503
    ? { "retry-after": "1" }
    : {};
  return { ...answer, headers: { ...answer.headers, ...more } };
}

async function send(
  { status, headers, body }: HttpAnswer,
  to: {
    readonly request: IncomingMessage;
    readonly response: ServerResponse;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { request, response, signal } = to;
  // A body that was announced is not read, so the connection cannot be used again.
  const ends = status === 413 || status === 405 ? { connection: "close" } : {};
  if (typeof body === "string") {
    const bytes = new TextEncoder().encode(body);
    const length = { "content-length": String(bytes.length) };
    response.writeHead(status, { ...SAFE_HEADERS, ...headers, ...length, ...ends });
    // To HEAD, node sends none of it.
    response.end(bytes);
    return;
  }
  response.writeHead(status, { ...SAFE_HEADERS, ...headers, ...ends });
  if (request.method !== "HEAD") {
    for await (const piece of body) {
      if (signal.aborted) return;
      if (!response.write(piece)) await drained(response, signal);
    }
  }
  response.end();
}

/** Waits until the client has taken what was written, or is gone. */
function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      response.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    response.on("drain", done);
    signal.addEventListener("abort", done);
  });
}
