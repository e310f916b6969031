/**
 * Encrypted connections: what each client's TLS needs.
 *
 * @module
 */
import { createPrivateKey, X509Certificate } from "node:crypto";

/**
 * `verify-full`: the certificate must be signed by an authority that we trust and name the host.
 * `require`: encrypted, but to whoever answers; it keeps out listeners and not impostors.
 */
export type TlsMode = "disable" | "require" | "verify-full";

/** How a client's connections are encrypted, and by what both sides prove who they are. */
export interface TlsSettings {
  /**
   * Whether they are.
   *
   * @default "disable"
   */
  readonly tls?: TlsMode;
  /** Certificates to trust, PEM; undefined: those of the system. */
  readonly ca?: string | undefined;
  /** Our own certificate, PEM, for a server that wants one; undefined: none. */
  readonly certificate?: string | undefined;
  /** Its key, PEM; undefined only without a certificate. */
  readonly key?: string | undefined;
}

/** Options of `node:tls`, as all three clients hand them on. */
export interface TlsOptions {
  /** False only for `require`. */
  readonly rejectUnauthorized: boolean;
  /** Certificates to trust, PEM; absent: those of the system. */
  readonly ca?: string;
  /** Our own certificate, PEM; absent: none. */
  readonly cert?: string;
  /** Its key, PEM. */
  readonly key?: string;
}

/** What a client's connections need; undefined: no TLS. */
export function tlsOptions(settings: TlsSettings): TlsOptions | undefined {
  const { tls = "disable", ca, certificate, key } = settings;
  if (tls === "disable") return undefined;
  return {
    rejectUnauthorized: tls === "verify-full",
    ...(ca !== undefined && { ca }),
    ...(certificate !== undefined && key !== undefined && { cert: certificate, key }),
  };
}

/**
 * What is wrong with a certificate and its key, as the end of a sentence; undefined: nothing. The
 * text shows nothing of either.
 */
export function keyPairFault(certificate: string, key: string): string | undefined {
  const parsed = parse(() => new X509Certificate(certificate));
  if (parsed === undefined) return "the certificate cannot be read";
  const parsedKey = parse(() => createPrivateKey(key));
  if (parsedKey === undefined) return "the key cannot be read";
  if (!parsed.checkPrivateKey(parsedKey)) return "the key is that of another certificate";
  return undefined;
}

function parse<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
