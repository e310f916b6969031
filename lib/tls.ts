/**
 * Encrypted connections: what each client's TLS needs, and which of its errors only a person can
 * mend.
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

/** Codes of `node:tls` for a certificate that is not accepted. */
const CERTIFICATE_CODES: readonly string[] = [
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
];

/** The same where a client kept the text alone. */
const CERTIFICATE_TEXTS =
  /self-signed certificate|unable to (verify|get)|certificate (has expired|is not yet)|altnames|invalid peer certificate/i;

/** What answers a TLS greeting and does not know TLS. */
const NO_TLS_TEXTS = /does not support SSL|wrong version number|InvalidContentType/i;

/**
 * Says what is wrong if an error, or what caused it, is a failure of TLS that stays until somebody
 * changes a setting or a certificate.
 */
export function tlsFault(error: unknown): string | undefined {
  let current = error;
  // Bound: a chain of causes longer than this is a loop.
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    const code = "code" in current ? String(current.code) : "";
    if (CERTIFICATE_CODES.includes(code) || CERTIFICATE_TEXTS.test(current.message)) {
      return `the server's certificate is not trusted (${current.message})`;
    }
    if (NO_TLS_TEXTS.test(current.message)) return "the server does not speak TLS on this port";
    current = current.cause;
  }
  return undefined;
}
