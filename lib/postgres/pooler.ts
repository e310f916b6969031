/**
 * Whether a pooler stands between us and PostgreSQL, and how long it lends a connection, for
 * `doctor`. A pooler does not say that it is one; process numbers give it away.
 *
 * @module
 */
// @ts-types="@types/pg"
import pg from "pg";
import { postgresPlace } from "../settings/server_place.ts";
import { BoundClient } from "./bound_client.ts";
import { classifyPostgresError, driverOptions, type PostgresSettings } from "./pool.ts";

/** What lends connections: nobody, or a pooler, for so long. */
export type Pooler = "none" | "session" | "transaction" | "statement";

/** Another client may be lent the connection in question meanwhile. */
const TRIES_MAX = 5;

/**
 * Looks with two connections.
 *
 * @throws {TransientError} if PostgreSQL is away.
 * @throws {ConfigurationError} if it refuses this role.
 */
export async function findPooler(settings: PostgresSettings): Promise<Pooler> {
  const Client = settings.channelBinding === "require" ? BoundClient : pg.Client;
  const clients = [new Client(driverOptions(settings)), new Client(driverOptions(settings))];
  try {
    for (const client of clients) {
      client.on("error", () => {});
      await client.connect();
    }
    const [first, second] = clients as [pg.Client, pg.Client];
    return await lookFrom(first, second);
  } catch (error) {
    throw classifyPostgresError("look for a pooler", error, {
      purpose: "connect",
      place: postgresPlace(settings),
    });
  } finally {
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
  }
}

async function lookFrom(first: pg.Client, second: pg.Client): Promise<Pooler> {
  const own = await serverProcess(first);
  // A pooler gives its clients numbers of its own.
  if (Reflect.get(first, "processID") === own) return "none";
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const [other, again] = [await serverProcess(second), await serverProcess(first)];
    // The first one has been connected all the time.
    if (other === own || again !== own) return await canBegin(first) ? "transaction" : "statement";
  }
  return "session";
}

async function serverProcess(client: pg.Client): Promise<number> {
  return Number((await client.query("SELECT pg_backend_pid() AS number")).rows[0].number);
}

async function canBegin(client: pg.Client): Promise<boolean> {
  return await client.query("BEGIN").then(() => true, () => false);
}
