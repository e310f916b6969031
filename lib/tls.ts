/**
 * Encrypted connections: what each client's TLS needs.
 *
 * @module
 */

/**
 * `verify-full`: the certificate must be signed by an authority that we trust and name the host.
 * `require`: encrypted, but to whoever answers; it keeps out listeners and not impostors.
 */
export type TlsMode = "disable" | "require" | "verify-full";

/** Options of `node:tls`, as all three clients hand them on. */
export interface TlsOptions {
  /** False only for `require`. */
  readonly rejectUnauthorized: boolean;
  /** Certificates to trust, PEM; absent: those of the system. */
  readonly ca?: string;
}

/**
 * What a client's connections need for a mode; undefined: no TLS.
 *
 * @param ca certificates to trust, PEM; undefined: those of the system
 */
export function tlsOptions(mode: TlsMode, ca: string | undefined): TlsOptions | undefined {
  if (mode === "disable") return undefined;
  return { rejectUnauthorized: mode === "verify-full", ...(ca !== undefined && { ca }) };
}
