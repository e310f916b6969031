/**
 * The kinds of settings: how the text of a variable becomes a value, and what is allowed, for people.
 *
 * @module
 */
import { isLoopback } from "../loopback.ts";

/** A fault of one value, as the end of a sentence that begins with the value: `is not …`. */
export class Fault {
  /** The end of the sentence. */
  readonly text: string;

  /** Holds nothing of a secret's value. */
  constructor(text: string) {
    this.text = text;
  }
}

/** One row of the table. */
export interface Setting<Value> {
  /** Name of the environment variable. */
  readonly name: string;
  /** What it does, for people. */
  readonly about: string;
  /** The default as it would be written in the environment; "" if there is none. */
  readonly fallback: string;
  /** What is allowed, for people. */
  readonly allowed: string;
  /**
   * What the variable holds. `secret`: the value, or its file's path in `<name>_FILE`. `file`: the
   * path of a file that holds the value.
   */
  readonly source: "value" | "secret" | "file";
  /** Reads a text that is not empty. */
  readonly parse: (text: string) => Value | Fault;
}

/** What a whole number may be. */
export interface Bounds {
  /** The default. */
  readonly fallback: number;
  /** Smallest. */
  readonly min: number;
  /** Largest. */
  readonly max: number;
  /** Of what; "" for a mere number. */
  readonly unit: string;
}

/** A whole number. */
export function whole(name: string, about: string, bounds: Bounds): Setting<number> {
  const { fallback, min, max, unit } = bounds;
  const allowed = `${min} to ${max}${unit === "" ? "" : ` ${unit}`}`;
  const parse = (given: string): number | Fault => {
    const value = /^[0-9]{1,15}$/.test(given) ? Number(given) : NaN;
    return value >= min && value <= max ? value : new Fault(`a whole number from ${allowed}`);
  };
  return { name, about, fallback: String(fallback), allowed, source: "value", parse };
}

const PORT_MAX = 65_535;

/** The port of a server. */
export function port(name: string, about: string, fallback: number): Setting<number> {
  return withServiceLinkCure(
    whole(name, about, { fallback, min: 1, max: PORT_MAX, unit: "" }),
  );
}

/** A port to listen on; 0 switches it off. */
export function ownPort(name: string, about: string, fallback: number): Setting<number> {
  return withServiceLinkCure(
    whole(name, about, { fallback, min: 0, max: PORT_MAX, unit: "" }),
  );
}

/** Kubernetes sets `REDIS_PORT=tcp://…` in every pod beside a Service that is called `redis`. */
function withServiceLinkCure(setting: Setting<number>): Setting<number> {
  const service = setting.name.replace(/_PORT$/, "").toLowerCase().replaceAll("_", "-");
  const parse = (given: string): number | Fault => {
    const value = setting.parse(given);
    if (!(value instanceof Fault) || !/^(tcp|udp|sctp):\/\//.test(given)) return value;
    return new Fault(
      `${value.text}. Kubernetes set it for a Service named ${service}: set enableServiceLinks: ` +
        `false in the pod, or set ${setting.name} there`,
    );
  };
  return { ...setting, parse };
}

/** A part of all, 0 to 1. */
export function share(name: string, about: string, fallback: string): Setting<number> {
  const allowed = "0 to 1";
  const parse = (given: string): number | Fault => {
    const value = /^[0-9]{0,2}(\.[0-9]{1,9})?$/.test(given) ? Number(given) : NaN;
    return value >= 0 && value <= 1 ? value : new Fault(`a number from ${allowed}`);
  };
  return { name, about, fallback, allowed, source: "value", parse };
}

/** What a text may be. */
export interface TextRule {
  /** The default. */
  readonly fallback: string;
  /** For people. */
  readonly allowed: string;
  /** For the program. */
  readonly pattern: RegExp;
}

/** A text of a certain form. */
export function text(name: string, about: string, rule: TextRule): Setting<string> {
  const { fallback, allowed, pattern } = rule;
  const parse = (given: string): string | Fault => pattern.test(given) ? given : new Fault(allowed);
  return { name, about, fallback, allowed, source: "value", parse };
}

/** The name or address of a computer. */
export function host(name: string, about: string, fallback: string): Setting<string> {
  return text(name, about, {
    fallback,
    allowed: "a host name or address",
    pattern: /^[A-Za-z0-9._:-]{1,253}$/,
  });
}

/** A name as servers keep it: of a role, a user, a database. */
export function identifier(name: string, about: string, fallback: string): Setting<string> {
  return text(name, about, {
    fallback,
    allowed: "1 to 63 printable characters",
    pattern: /^[^\p{C}\p{Z}]{1,63}$/u,
  });
}

/** A setting that may be left out. Its fallback must be the empty text. */
export function optional<Value>(setting: Setting<Value>): Setting<Value | undefined> {
  return setting;
}

/** A setting that otherwise may be left out. */
export function withDefault<Value>(
  setting: Setting<Value | undefined>,
  fallback: string,
): Setting<Value> {
  // Of a text that is not empty, no kind makes undefined.
  return { ...setting, fallback } as Setting<Value>;
}

/** One of a few words, in any case. */
export function choice<const Value extends string>(
  name: string,
  about: string,
  { values, fallback }: { readonly values: readonly Value[]; readonly fallback: NoInfer<Value> },
): Setting<Value> {
  const parse = (given: string): Value | Fault =>
    values.find((value) => value === given.toLowerCase()) ??
      new Fault(`one of ${values.join(", ")}`);
  return { name, about, fallback, allowed: values.join(", "), source: "value", parse };
}

/** True or false. */
export function flag(name: string, about: string, fallback: boolean): Setting<boolean> {
  const words = choice(name, about, {
    values: ["true", "false"],
    fallback: fallback ? "true" : "false",
  });
  const parse = (given: string): boolean | Fault => {
    const word = words.parse(given);
    return word instanceof Fault ? word : word === "true";
  };
  return { ...words, parse };
}

/** Tokens that clouds give out as passwords have up to some 2,000 characters, encoded more. */
const SECRET_LENGTH_MAX = 8_192;

/** What a secret may be, if not any text. */
export interface SecretRule {
  /** For people. */
  readonly form: string;
  /** What is wrong, without a word of the secret; "": the form says all; undefined: nothing. */
  readonly fault: (text: string) => string | undefined;
}

/** A text that nobody may see; it may be left out. */
export function secret(
  name: string,
  about: string,
  rule?: SecretRule,
): Setting<string | undefined> {
  const allowed = rule?.form ?? `1 to ${SECRET_LENGTH_MAX} characters`;
  const parse = (given: string): string | Fault => {
    // A file read as text holds no NUL unless it is not a text.
    const isText = given.length <= SECRET_LENGTH_MAX && !given.includes("\0");
    const fault = isText ? rule?.fault(given) : "";
    if (fault === undefined) return given;
    return new Fault(fault === "" ? allowed : `${allowed}: ${fault}`);
  };
  return { name, about, fallback: "", allowed, source: "secret", parse };
}

/** A file of certificates; it may be left out. */
export function certificates(name: string, about: string): Setting<string | undefined> {
  return pemFile(name, about, {
    allowed: "the path of a PEM file",
    label: /-----BEGIN CERTIFICATE-----/,
  });
}

/** A file with a private key; it may be left out. */
export function privateKey(name: string, about: string): Setting<string | undefined> {
  return pemFile(name, about, {
    allowed: "the path of a PEM file with an unencrypted key",
    label: /-----BEGIN (EC |RSA )?PRIVATE KEY-----/,
  });
}

/** Largest file of certificates, in characters; a system's whole list has about 200 KiB. */
const CERTIFICATES_LENGTH_MAX = 1_048_576;

function pemFile(
  name: string,
  about: string,
  { allowed, label }: { readonly allowed: string; readonly label: RegExp },
): Setting<string | undefined> {
  const parse = (given: string): string | Fault =>
    label.test(given) && given.length <= CERTIFICATES_LENGTH_MAX ? given : new Fault(allowed);
  return { name, about, fallback: "", allowed, source: "file", parse };
}

/** The address of a token server. A client secret goes there: in clear text to this computer alone. */
export function tokenUrl(name: string, about: string): Setting<string | undefined> {
  const allowed = "https://…, or http://… on this computer, without user and password";
  const parse = (given: string): string | Fault => {
    const url = URL.parse(given);
    const isSafe = url?.protocol === "https:" ||
      (url?.protocol === "http:" && isLoopback(url.hostname));
    const isPlain = url?.username === "" && url.password === "" && url.hash === "";
    return isSafe && isPlain && given.length <= 2_048 ? given : new Fault(allowed);
  };
  return { name, about, fallback: "", allowed, source: "value", parse };
}

/** Most names that a list may hold. */
const HOST_NAMES_MAX = 100;

/** Names of hosts; they may be left out. */
export function hostNames(name: string, about: string): Setting<readonly string[] | undefined> {
  const allowed = `host names without ports, separated by commas, at most ${HOST_NAMES_MAX}`;
  const parse = (given: string): readonly string[] | Fault => {
    const names = given.split(",").map((item) => item.trim().toLowerCase());
    const isGood = names.every((each) =>
      /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63}){0,126}$/.test(each)
    );
    return isGood && names.length <= HOST_NAMES_MAX ? [...new Set(names)] : new Fault(allowed);
  };
  return { name, about, fallback: "", allowed, source: "value", parse };
}

/** Most brokers that a list may name; a client needs a few of a cluster, not all. */
const BROKERS_MAX = 100;

/** Addresses of brokers, each with its port. */
export function brokers(
  name: string,
  about: string,
  fallback: string,
): Setting<readonly string[]> {
  return { name, about, fallback, allowed: "host:port,…", source: "value", parse: parseBrokers };
}

function parseBrokers(given: string): readonly string[] | Fault {
  const wanted = new Fault(
    `a list of host:port separated by commas, at most ${BROKERS_MAX}, ports from 1 to ${PORT_MAX}`,
  );
  const found: string[] = [];
  for (const item of given.split(",")) {
    const match = /^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?$/.exec(
      item.trim(),
    );
    const number = Number(match?.[2] ?? 9_092);
    if (match === null || number < 1 || number > PORT_MAX) return wanted;
    found.push(`${match[1]}:${number}`);
  }
  return found.length <= BROKERS_MAX ? [...new Set(found)] : wanted;
}
