/**
 * `DATABASE_URL` and `REDIS_URL`: one text that names a server, taken apart into the settings that
 * it stands for. The parts then go through the same checks as if each had been set alone.
 *
 * A URL holds a password, so a fault here never says what it found, but for the names of parameters
 * that are known. For the same reason nothing doubtful is guessed at: a password with an unescaped
 * `/`, `?` or `#` would put its rest into the name of the database, which errors show.
 *
 * @module
 */

/** Values by the name of the setting that they are for. */
export type SettingParts = ReadonlyMap<string, string>;

/** What is wrong with a URL. */
export class UrlFault {
  /** A sentence without its full stop; it holds nothing secret. */
  readonly text: string;

  /** Made here alone. */
  constructor(text: string) {
    this.text = text;
  }
}

/** What {@linkcode postgresUrlParts} takes, for people. */
export const POSTGRES_URL_FORM: string =
  "postgres://user:password@host:port/database?sslmode=verify-full, " +
  "special characters percent-encoded";

/** What {@linkcode redisUrlParts} takes, for people. */
export const REDIS_URL_FORM: string =
  "redis://user:password@host:port/database or rediss://… for TLS, " +
  "special characters percent-encoded";

/** Splits a PostgreSQL URL. */
export function postgresUrlParts(text: string): SettingParts | UrlFault {
  const url = parse(withHost(text), ["postgres:", "postgresql:"]);
  if (url instanceof UrlFault) return url;
  const parameters = parametersOf(url);
  if (parameters instanceof UrlFault) return parameters;
  const host = url.hostname === NO_HOST ? "" : hostOf(url);
  if (host === "" && !parameters.has("POSTGRES_HOST")) return new UrlFault("it names no host");
  const database = decode(url.pathname.slice(1));
  if (/[/@]/.test(database)) return new UrlFault(`its database has a / or @. ${ESCAPE}`);
  return new Map([
    ...present([
      ["POSTGRES_HOST", host],
      ["POSTGRES_PORT", url.port],
      ["POSTGRES_DB", database],
      ["POSTGRES_USER", decode(url.username)],
      ["POSTGRES_PASSWORD", decode(url.password)],
    ]),
    ...parameters,
  ]);
}

/** Splits a Redis URL. */
export function redisUrlParts(text: string): SettingParts | UrlFault {
  const url = parse(text, ["redis:", "rediss:"]);
  if (url instanceof UrlFault) return url;
  if (url.search !== "") return new UrlFault(`it has parameters. ${ESCAPE}`);
  const database = /^\/?([0-9]{0,6})$/.exec(url.pathname)?.[1];
  if (database === undefined) return new UrlFault("its database is not a number");
  return present([
    ["REDIS_HOST", hostOf(url)],
    ["REDIS_PORT", url.port],
    ["REDIS_USER", decode(url.username)],
    ["REDIS_PASSWORD", decode(url.password)],
    ["REDIS_DATABASE", database],
    ["REDIS_TLS", url.protocol === "rediss:" ? "verify-full" : "disable"],
  ]);
}

const ESCAPE = "Write / ? # & % and @ in a password as %2F %3F %23 %26 %25 and %40";

/** Stands for a host that is left out, for a parameter names it; a URL with a user needs one. */
const NO_HOST = "left.out.invalid";

function withHost(text: string): string {
  return text.replace(/^([a-z]+:\/\/(?:[^/?#]*@)?)(?=[/?]|$)/, `$1${NO_HOST}`);
}

/** Takes the text of a parameter to the value of its setting. */
type Reader = (text: string) => string | UrlFault;

const TLS_MODES = ["disable", "require", "verify-full"];

/** Other values of `sslmode`, which may be shown. */
const TLS_MODES_OTHER = ["allow", "prefer", "verify-ca"];

const asItIs: Reader = (text) => text;

/** Parameters of libpq and of other drivers, and their settings. */
const PARAMETERS: Readonly<Record<string, readonly [setting: string, read: Reader]>> = {
  host: ["POSTGRES_HOST", asItIs],
  port: ["POSTGRES_PORT", asItIs],
  dbname: ["POSTGRES_DB", asItIs],
  user: ["POSTGRES_USER", asItIs],
  password: ["POSTGRES_PASSWORD", asItIs],
  application_name: ["POSTGRES_APPLICATION_NAME", asItIs],
  schema: ["POSTGRES_SCHEMA", asItIs],
  sslmode: ["POSTGRES_TLS", (text) => {
    if (TLS_MODES.includes(text)) return text;
    const found = TLS_MODES_OTHER.includes(text) ? `sslmode=${text}` : "sslmode";
    return new UrlFault(`${found} is not one of ${TLS_MODES.join(", ")}`);
  }],
  channel_binding: ["POSTGRES_CHANNEL_BINDING", (text) => {
    // Whoever prefers it can do without.
    if (text === "prefer") return "disable";
    if (["disable", "require"].includes(text)) return text;
    return new UrlFault("channel_binding is not one of disable, prefer, require");
  }],
  connect_timeout: [
    "POSTGRES_CONNECT_TIMEOUT_MS",
    (text) =>
      /^([1-9]|[1-5][0-9]|60)$/.test(text)
        ? `${text}000`
        : new UrlFault("connect_timeout is not a number of seconds from 1 to 60"),
  ],
  options: ["POSTGRES_SCHEMA", (text) => {
    const found = /^\s*(?:-c\s*|--)search_path=(\S+)\s*$/.exec(text)?.[1];
    return found ?? new UrlFault("options: only -csearch_path=… is supported");
  }],
  // For poolers nothing has to be done.
  pgbouncer: [
    "",
    (text) =>
      /^(true|false)$/.test(text) ? "" : new UrlFault("pgbouncer is neither true nor false"),
  ],
};

/** Parameters that are known and not taken; "": there is nothing instead. */
const NOT_TAKEN: Readonly<Record<string, string>> = {
  ...{ sslrootcert: "POSTGRES_TLS_CA", sslcert: "POSTGRES_TLS_CERT", sslkey: "POSTGRES_TLS_KEY" },
  ...{ connection_limit: "POSTGRES_POOL_MAX", statement_timeout: "POSTGRES_STATEMENT_TIMEOUT_MS" },
  ...{ target_session_attrs: "", load_balance_hosts: "", hostaddr: "", service: "", passfile: "" },
  ...{ gssencmode: "", krbsrvname: "", require_auth: "", requirepeer: "", replication: "" },
  ...{ client_encoding: "", keepalives: "", keepalives_idle: "", tcp_user_timeout: "", ssl: "" },
  ...{ sslcrl: "", sslpassword: "", sslnegotiation: "", sslsni: "", uselibpqcompat: "" },
  ...{ pool_timeout: "", statement_cache_size: "", sslaccept: "", fallback_application_name: "" },
};

/** The settings that a URL's parameters stand for. */
function parametersOf(url: URL): SettingParts | UrlFault {
  // Then what is behind the ? began as a password.
  if (url.search.includes("@")) return new UrlFault(`it has an @ after the ?. ${ESCAPE}`);
  const parts: [setting: string, value: string][] = [];
  for (const parameter of url.search.slice(1).split("&")) {
    if (parameter === "") continue;
    const at = parameter.indexOf("=");
    const name = at === -1 ? parameter : parameter.slice(0, at);
    // Own names alone: others may be the rest of a password.
    const taken = Object.hasOwn(PARAMETERS, name) ? PARAMETERS[name] : undefined;
    if (taken === undefined) return notTaken(name);
    const [setting, read] = taken;
    const value = read(at === -1 ? "" : decode(parameter.slice(at + 1)));
    if (value instanceof UrlFault) return value;
    if (parts.some((part) => part[0] === setting)) {
      return new UrlFault(`${name} repeats what another parameter says`);
    }
    parts.push([setting, value]);
  }
  return present(parts);
}

function notTaken(name: string): UrlFault {
  if (!Object.hasOwn(NOT_TAKEN, name)) {
    return new UrlFault(`it has a parameter that this program does not know. ${ESCAPE}`);
  }
  const instead = NOT_TAKEN[name];
  return new UrlFault(
    `${name} is not supported${instead === "" ? "" : `: set ${instead} instead`}`,
  );
}

function parse(text: string, protocols: readonly string[]): URL | UrlFault {
  const protocol = /^[a-z]+:/.exec(text)?.[0] ?? "";
  if (!protocols.includes(protocol)) {
    return new UrlFault(
      `it does not begin with ${protocols.map((each) => `${each}//`).join(" or ")}`,
    );
  }
  if (!isEncoded(text)) {
    return new UrlFault(`it has a % that does not begin an encoded character. ${ESCAPE}`);
  }
  const url = URL.parse(text);
  if (url === null) return new UrlFault(`its host or port cannot be read. ${ESCAPE}`);
  if (url.hash !== "") return new UrlFault(`it has a #. ${ESCAPE}`);
  return url.hostname === "" ? new UrlFault("it names no host") : url;
}

/** Whether every `%` begins an encoded character, so that {@linkcode decode} cannot fail. */
function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function decode(text: string): string {
  return decodeURIComponent(text);
}

/** An IPv6 address loses its brackets; the path of a socket may stand here encoded. */
function hostOf(url: URL): string {
  return decode(url.hostname.replace(/^\[|\]$/g, ""));
}

/** What a URL leaves out, the settings of its own name decide. */
function present(parts: readonly (readonly [string, string])[]): SettingParts {
  return new Map(parts.filter(([_, value]) => value !== ""));
}
