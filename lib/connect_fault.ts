/**
 * Which failures to connect only a person can mend: they come again however long one waits.
 *
 * @module
 */

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

/** Deno's class of error for what it was not started with the permission to do. */
const NO_PERMISSION = "NotCapable";

/** The same where a library kept the text alone; the second one is for names of hosts. */
const NO_PERMISSION_TEXTS = /Requires \w+ access to |getaddrinfo EPERM /;

/** A failure to connect that comes again. */
export interface ConnectFault {
  /** Which settings to look at: those of TLS, or the permissions that Deno was started with. */
  readonly kind: "tls" | "permission";
  /** What is wrong, as the end of a sentence: `Cannot connect: …`. */
  readonly text: string;
}

/**
 * Says what is wrong if an error, or what caused it, is a failure to connect that stays until
 * somebody changes a setting, a certificate or a permission.
 */
export function connectFault(error: unknown): ConnectFault | undefined {
  let current = error;
  // Bound: a chain of causes longer than this is a loop.
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    const code = "code" in current ? String(current.code) : "";
    if (CERTIFICATE_CODES.includes(code) || CERTIFICATE_TEXTS.test(current.message)) {
      return { kind: "tls", text: `the server's certificate is not trusted (${current.message})` };
    }
    if (NO_TLS_TEXTS.test(current.message)) {
      return { kind: "tls", text: "the server does not speak TLS on this port" };
    }
    if (isPermissionFault(current)) {
      const hint = /EPERM/.test(current.message) ? " (Deno's --allow-net does not name it)" : "";
      return { kind: "permission", text: `${current.message}${hint}` };
    }
    current = current.cause;
  }
  return undefined;
}

/** Whether this process was started without the permission for what it tried. */
export function isPermissionFault(error: unknown): boolean {
  return error instanceof Error &&
    (error.name === NO_PERMISSION || NO_PERMISSION_TEXTS.test(error.message));
}
