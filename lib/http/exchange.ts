/**
 * A request and an answer of HTTP, without the sockets: what the handlers see.
 *
 * @module
 */

/** A request. It has no body: the server reads none. */
export interface HttpRequest {
  /** `GET`; of a `HEAD` the edge drops the answer's body. */
  readonly path: string;
  /** What stands behind the `?`. */
  readonly query: URLSearchParams;
  /** A header's value by its name in lower case. */
  readonly header: (name: string) => string | undefined;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** An answer's body: a text, or pieces that are made while the client takes them. */
export type HttpBody = string | AsyncIterable<string>;

/** An answer. */
export interface HttpAnswer {
  /** HTTP status. */
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** What the client gets. */
  readonly body: HttpBody;
}

/** Answers a request; undefined: not mine. It throws {@linkcode HttpError} for a refusal. */
export type HttpHandler = (request: HttpRequest) => Promise<HttpAnswer | undefined>;

/** A refusal with its status and a sentence for the client; never anything of the inside. */
export class HttpError extends Error {
  /** Tells the class in a log. */
  override name = "HttpError";
  /** HTTP status. */
  readonly status: number;

  /** Refuses with a sentence that goes to the client. */
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** JSON, which nobody may keep. */
export function jsonAnswer(value: unknown, status = 200): HttpAnswer {
  return {
    status,
    headers: { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" },
    body: `${JSON.stringify(value)}\n`,
  };
}
