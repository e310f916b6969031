/**
 * Which failures to connect need manual correction: waiting does not help.
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

/** What a server says of our own certificate, by the name of the TLS alert, in lower case. */
const CERTIFICATE_ALERTS = new Map<string, string>([
  ["accessdenied", "the server denies access to the owner of our client certificate"],
  ["badcertificate", "the server requires a client certificate, or does not accept ours"],
  ["certificateexpired", "the server says that our client certificate has expired"],
  ["certificaterequired", "the server requires a client certificate"],
  ["certificaterevoked", "the server says that our client certificate has been revoked"],
  ["certificateunknown", "the server does not accept our client certificate"],
  ["unknownca", "the server does not know the authority that signed our client certificate"],
  ["unsupportedcertificate", "the server does not accept certificates of this kind"],
]);

/** How this Deno and OpenSSL name an alert. */
const ALERT = /received fatal alert: (\w+)|alert ((?:\w+ )*\w+)/i;

/** A failure to connect that comes again. */
export interface ConnectFault {
  /**
   * What to look at: the settings of TLS, those of our own certificate, or the permissions that Deno
   * was started with.
   */
  readonly kind: "tls" | "certificate" | "permission";
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
    const alert = CERTIFICATE_ALERTS.get(alertIn(current.message));
    if (alert !== undefined) {
      return { kind: "certificate", text: `${alert} (${current.message})` };
    }
    if (NO_TLS_TEXTS.test(current.message)) {
      return { kind: "tls", text: "the server does not speak TLS on this port" };
    }
    if (isPermissionFault(current)) {
      return { kind: "permission", text: permissionText(current.message) };
    }
    current = current.cause;
  }
  return undefined;
}

function alertIn(message: string): string {
  const [, name = "", words = ""] = ALERT.exec(message) ?? [];
  return (name || words).replaceAll(" ", "").toLowerCase();
}

/** What a person should look at, as `check …` says it. */
export function settingsOf(fault: ConnectFault, server: "KAFKA" | "POSTGRES" | "REDIS"): string {
  switch (fault.kind) {
    case "tls":
      return `${server}_TLS and ${server}_TLS_CA`;
    case "certificate":
      return `${server}_TLS_CERT and ${server}_TLS_KEY`;
    case "permission":
      return "Deno's permissions";
  }
}

/** The words of Deno, and what they leave open. */
function permissionText(message: string): string {
  if (/EPERM/.test(message)) return `${message} (Deno's --allow-net does not name it)`;
  if (!/\.s\.PGSQL\./.test(message)) return message;
  return `${message}. Connecting to a Unix socket takes that, and the programs have it for ` +
    '/run/postgresql. For another directory start them with the flags that "deno task permissions ' +
    'consume" prints, or connect by TCP';
}

/** Whether this process was started without the permission for what it tried. */
export function isPermissionFault(error: unknown): boolean {
  return error instanceof Error &&
    (error.name === NO_PERMISSION || NO_PERMISSION_TEXTS.test(error.message));
}
