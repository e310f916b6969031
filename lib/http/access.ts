/**
 * Who may look: whoever shows the token, if there is one.
 *
 * Programs send it as `Authorization: Bearer`. A browser asks its user for a name and a password;
 * the name is free and the password is the token. The browser then sends it with everything that the
 * page asks for, streams and downloads included, so the page itself never sees it.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import { HttpError, type HttpHandler } from "./exchange.ts";

/**
 * Lets a request through to `handler` only with the token. Without one everybody may ask.
 *
 * @throws {HttpError} 401 from the handler that it makes.
 */
export function guarded(handler: HttpHandler, token: string | undefined): HttpHandler {
  if (token === undefined) return handler;
  const wanted = digest(token);
  return (request) => {
    const shown = shownToken(request.header("authorization") ?? "");
    // Digests have one length, so that the time says nothing of the token.
    if (shown !== undefined && timingSafeEqual(digest(shown), wanted)) return handler(request);
    throw new HttpError(
      401,
      "send HTTP_TOKEN as a bearer token, or as the password of any user name",
    );
  };
}

/** The token out of the header's value; undefined if there is none. */
function shownToken(authorization: string): string | undefined {
  const [, scheme = "", credentials = ""] = /^(\w+) +(\S+) *$/.exec(authorization) ?? [];
  switch (scheme.toLowerCase()) {
    case "bearer":
      return credentials;
    case "basic": {
      const text = Buffer.from(credentials, "base64").toString();
      const colon = text.indexOf(":");
      return colon < 0 ? undefined : text.slice(colon + 1);
    }
    default:
      return undefined;
  }
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
