/**
 * Which hosts the server answers for. A page of another site cannot read an answer of ours, unless its
 * name is made to point here (DNS rebinding): then its browser takes us for that site, and sends its
 * name as `Host`. An address cannot be made to point elsewhere, so every address is served; of names,
 * those that were told, and `localhost`.
 *
 * @module
 */
import { isIP } from "node:net";
import { HttpError } from "./exchange.ts";

/** What the server is called. */
export interface HostNames {
  /** What it listens on. */
  readonly host: string;
  /**
   * Further names, as a proxy before it has them.
   *
   * @default none
   */
  readonly allowedHosts?: readonly string[] | undefined;
}

/**
 * Makes the check of a request's `Host` headers, all of them as they came. Ports are not looked at: a
 * container's are mapped, and a wrong one proves nothing. No other header is believed.
 *
 * @throws {HttpError} 400 from the check if there is not just one, 421 if its host is not served.
 */
export function hostCheck(
  { host, allowedHosts = [] }: HostNames,
): (headers: readonly string[]) => void {
  const names = new Set(["localhost", host, ...allowedHosts].map((name) => name.toLowerCase()));
  return (headers) => {
    if (headers.length !== 1) {
      throw new HttpError(400, "a request must have exactly one Host header");
    }
    const name = nameOf(headers[0]!);
    if (name === undefined) throw new HttpError(400, "the Host header is malformed");
    if (isIP(name) === 0 && !names.has(name)) {
      throw new HttpError(
        421,
        "this host name is not allowed; add it to HTTP_ALLOWED_HOSTS",
      );
    }
  };
}

/** The host without port, brackets and the dot of a complete name. */
function nameOf(header: string): string | undefined {
  const match = /^(?:\[([\d.:a-f]+)\]|([\w.-]+?)\.?)(?::\d{1,5})?$/i.exec(header);
  if (match === null) return undefined;
  const [, address, name] = match;
  if (address !== undefined) return isIP(address) === 6 ? address : undefined;
  return name?.toLowerCase();
}
