/**
 * Where a server is looked for, and which settings say so: for errors, and for what to do about them.
 *
 * @module
 */
import { type Settings, TABLE } from "./table.ts";

/** Most brokers that an error names. */
const BROKERS_SHOWN_MAX = 3;

/** As much of a server's settings as says where it is. */
export interface AddressSettings {
  /** The URL, if one was given; it names the host then. */
  readonly url?: string | undefined;
  /** Name or address; for PostgreSQL also the directory of a Unix socket. */
  readonly host: string;
  /** TCP port. */
  readonly port: number;
}

/** The brokers: `localhost:9092 (KAFKA_BROKER)`. */
export function kafkaPlace({ brokers }: Pick<Settings["kafka"], "brokers">): string {
  const more = brokers.length - BROKERS_SHOWN_MAX;
  const shown = brokers.slice(0, BROKERS_SHOWN_MAX).join(", ");
  return `${shown}${more > 0 ? ` and ${more} more` : ""} (${TABLE.kafka.rows.brokers.name})`;
}

/** PostgreSQL: `localhost:5432 (POSTGRES_HOST, POSTGRES_PORT)`, or `… (DATABASE_URL)`. */
export function postgresPlace(settings: AddressSettings): string {
  return place(settings, TABLE.postgres.rows);
}

/** Redis: `localhost:6379 (REDIS_HOST, REDIS_PORT)`, or `… (REDIS_URL)`. */
export function redisPlace(settings: AddressSettings): string {
  return place(settings, TABLE.redis.rows);
}

type AddressRows = Readonly<Record<keyof AddressSettings, { readonly name: string }>>;

function place({ url, host, port }: AddressSettings, rows: AddressRows): string {
  const names = url === undefined ? `${rows.host.name}, ${rows.port.name}` : rows.url.name;
  return `${address(host, port)} (${names})`;
}

function address(host: string, port: number): string {
  if (host.startsWith("/")) return `${host}/.s.PGSQL.${port}`;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
