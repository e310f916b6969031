/** What a pool gives up ends at the server, too. */
import assert from "node:assert/strict";
import { CLOSE_MS_MAX } from "../../lib/postgres/connections.ts";
import { APPLICATION_NAME, openPool, type SqlQuery } from "../../lib/postgres/pool.ts";
import { type Session, withPrivateDatabase } from "./private_database.ts";
import { until } from "./private_redis.ts";

/** Ends on its own only after the longest that these tests may take. */
const LONG: SqlQuery = { action: "wait", text: "SELECT pg_sleep(60)", timeoutMs: 120_000 };

async function runningAt(session: Session): Promise<number> {
  const { rows } = await session.query(
    `SELECT count(*)::int AS n FROM pg_stat_activity
     WHERE application_name = $1 AND datname = current_database() AND state <> 'idle'`,
    [APPLICATION_NAME],
  );
  return rows[0].n;
}

Deno.test("openPool(): a statement that this side gives up is ended at the server", () =>
  withPrivateDatabase(async ({ settings, connect }) => {
    const session = await connect();
    const pool = openPool(settings);
    // Outside of a transaction nobody has told the server of a limit.
    await assert.rejects(pool.query({ ...LONG, timeoutMs: 200, transaction: "none" }), {
      name: "TooMuchError",
      message: /^Cannot wait: .*timeout/,
    });
    await until("nothing runs", async () => await runningAt(session) === 0);
    await pool.close();
  }));

Deno.test("openPool(): close() ends what is under way, alone and in a transaction", async (t) => {
  for (const how of ["alone", "in a transaction"] as const) {
    await t.step(how, () =>
      withPrivateDatabase(async ({ settings, connect }) => {
        const session = await connect();
        const pool = openPool(settings);
        const work = how === "alone"
          ? pool.query(LONG)
          : pool.transaction("read_committed", (inside) => inside.query(LONG));
        const stopped = assert.rejects(work, {
          name: "TransientError",
          message: "Cannot wait: stopped before its end",
        });
        await until("it runs", async () => await runningAt(session) === 1);
        const startMs = performance.now();
        await pool.close();
        await stopped;
        assert(performance.now() - startMs < CLOSE_MS_MAX);
        await until("nothing runs", async () => await runningAt(session) === 0);
        await pool.close();
        await assert.rejects(pool.query(LONG), { message: /^Cannot wait: stopped/ });
      }));
  }
});

Deno.test("openPool(): a stop closes the pool, also one that came before", () =>
  withPrivateDatabase(async ({ settings, connect }) => {
    const session = await connect();
    const stop = new AbortController();
    const pool = openPool(settings, stop.signal);
    const stopped = assert.rejects(pool.query(LONG), { message: /^Cannot wait: stopped/ });
    await until("it runs", async () => await runningAt(session) === 1);
    stop.abort();
    await stopped;
    await pool.close();
    const late = openPool(settings, stop.signal);
    await assert.rejects(late.query(LONG), { message: /^Cannot wait: stopped/ });
    await late.close();
  }));

Deno.test("openPool(): close() does not wait for a server that is silent", async () => {
  // Lets in and answers as a server does until it is asked something.
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted: Deno.Conn[] = [];
  const serving = (async () => {
    for await (const connection of listener) {
      accepted.push(connection);
      await connection.read(new Uint8Array(1_024));
      const authenticated = [0x52, 0, 0, 0, 8, 0, 0, 0, 0];
      const key = [0x4b, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2];
      const ready = [0x5a, 0, 0, 0, 5, 0x49];
      await connection.write(Uint8Array.from([...authenticated, ...key, ...ready]));
    }
  })().catch(() => {});
  const { port } = listener.addr as Deno.NetAddr;
  const pool = openPool({
    host: "127.0.0.1",
    port,
    database: "d",
    user: "u",
    password: "p",
    poolMax: 1,
    connectTimeoutMs: 1_000,
    statementTimeoutMs: 600_000,
  });
  const stopped = assert.rejects(pool.query(LONG), { message: /^Cannot wait: stopped/ });
  await until("it is connected", () => Promise.resolve(accepted.length === 1));
  const startMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 100));
  await pool.close();
  await stopped;
  assert(performance.now() - startMs < CLOSE_MS_MAX + 1_000);
  listener.close();
  for (const connection of accepted) connection.close();
  await serving;
});
