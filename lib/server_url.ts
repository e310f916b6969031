/**
 * `DATABASE_URL` and `REDIS_URL`: one text that names a server, taken apart into the settings that
 * it stands for. The parts then go through the same checks as if each had been set alone.
 *
 * A URL holds a password, so a fault here never says what it found. For the same reason nothing
 * doubtful is guessed at: a password with an unescaped `/`, `?` or `#` would put its rest into the
 * name of the database, which errors show.
 *
 * @module
 */

/** Values by the name of the setting that they are for. */
export type SettingParts = ReadonlyMap<string, string>;

/** What {@linkcode postgresUrlParts} takes, for people. */
export const POSTGRES_URL_FORM: string =
  "postgres://user:password@host:port/database?sslmode=verify-full, " +
  "special characters percent-encoded";

/** What {@linkcode redisUrlParts} takes, for people. */
export const REDIS_URL_FORM: string =
  "redis://user:password@host:port/database or rediss://… for TLS, " +
  "special characters percent-encoded";

/** Splits a PostgreSQL URL; undefined if it is not of {@linkcode POSTGRES_URL_FORM}. */
export function postgresUrlParts(text: string): SettingParts | undefined {
  const url = parse(text, ["postgres:", "postgresql:"]);
  if (url === undefined) return undefined;
  const { sslmode, ...unknown } = Object.fromEntries(url.searchParams);
  const database = decode(url.pathname.slice(1));
  if (Object.keys(unknown).length > 0 || /[/@]/.test(database)) return undefined;
  return present([
    ["POSTGRES_HOST", hostOf(url)],
    ["POSTGRES_PORT", url.port],
    ["POSTGRES_DB", database],
    ["POSTGRES_USER", decode(url.username)],
    ["POSTGRES_PASSWORD", decode(url.password)],
    ["POSTGRES_TLS", sslmode ?? ""],
  ]);
}

/** Splits a Redis URL; undefined if it is not of {@linkcode REDIS_URL_FORM}. */
export function redisUrlParts(text: string): SettingParts | undefined {
  const url = parse(text, ["redis:", "rediss:"]);
  if (url === undefined || url.search !== "") return undefined;
  const database = /^\/?([0-9]{0,6})$/.exec(url.pathname)?.[1];
  if (database === undefined) return undefined;
  return present([
    ["REDIS_HOST", hostOf(url)],
    ["REDIS_PORT", url.port],
    ["REDIS_USER", decode(url.username)],
    ["REDIS_PASSWORD", decode(url.password)],
    ["REDIS_DATABASE", database],
    ["REDIS_TLS", url.protocol === "rediss:" ? "verify-full" : "disable"],
  ]);
}

function parse(text: string, protocols: readonly string[]): URL | undefined {
  const url = URL.parse(text);
  if (url === null || !protocols.includes(url.protocol)) return undefined;
  const isWhole = url.hostname !== "" && url.hash === "" && isEncoded(text);
  return isWhole ? url : undefined;
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

/** An IPv6 address loses its brackets. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

/** What a URL leaves out, the settings of its own name decide. */
function present(parts: readonly (readonly [string, string])[]): SettingParts {
  return new Map(parts.filter(([_, value]) => value !== ""));
}
