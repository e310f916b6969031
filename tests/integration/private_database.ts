/**
 * A database of a test's own on the PostgreSQL of the private stack.
 *
 * @module
 */
// @ts-types="@types/pg"
import pg from "pg";
import type { PostgresSettings } from "../../lib/postgres/pool.ts";
import { testSettings } from "./test_stack.ts";

/** Sessions that play other programs: they hold transactions open where the store would not. */
export type Session = pg.Client;

/** An empty database. */
export interface PrivateDatabase {
  readonly settings: PostgresSettings;
  /** Another session; it is closed with the database. */
  connect(): Promise<Session>;
}

/** Sorts texts as English people do, so that whoever relies on byte order has to say so. */
const FOREIGN_LOCALE = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' " +
  "LOCALE_PROVIDER icu ICU_LOCALE 'en'";

/** Makes an empty database, and drops it when `use` has returned. */
export async function withPrivateDatabase(
  use: (database: PrivateDatabase) => Promise<void>,
): Promise<void> {
  const server = testSettings().postgres;
  const database = `test_${crypto.randomUUID().replaceAll("-", "")}`;
  const settings = { ...server, database, poolMax: 4, statementTimeoutMs: 10_000 };
  const sessions: Session[] = [];
  const connect = async (name: string): Promise<Session> => {
    const session = new pg.Client({ ...server, database: name });
    session.on("error", () => {});
    await session.connect();
    sessions.push(session);
    return session;
  };
  try {
    const owner = await connect(server.database);
    await owner.query(`CREATE DATABASE ${database} ${FOREIGN_LOCALE}`);
    try {
      await use({ settings, connect: () => connect(database) });
    } finally {
      await owner.query(`DROP DATABASE ${database} WITH (FORCE)`);
    }
  } finally {
    await Promise.all(sessions.map((session) => session.end().catch(() => {})));
  }
}
