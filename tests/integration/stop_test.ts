/** A stop ends in time, whatever the program waits for, and leaves nothing running at the server. */
import assert from "node:assert/strict";
// @ts-types="@types/pg"
import pg from "pg";
import { generate, PLAIN } from "../../campaign/generated_messages.ts";
import { APPLICATION_NAME } from "../../lib/postgres/pool.ts";
import { STOP_MARGIN_MS } from "../../lib/program.ts";
import { until } from "./private_redis.ts";
import { DONE_MS, RealPipeline } from "./real_pipeline.ts";

const DEADLINE_MS = 1_000;

/** Longer than all of this takes, so that no time limit but the stop's ends anything. */
const PATIENT = {
  SHUTDOWN_DEADLINE_MS: String(DEADLINE_MS),
  POSTGRES_STATEMENT_TIMEOUT_MS: "120000",
  WATCHDOG_SECONDS: "300",
};

const MESSAGES = 50;

/** Another session, which holds the tables. */
async function holdingTables(
  pipeline: RealPipeline,
  use: (session: pg.Client) => Promise<void>,
): Promise<void> {
  const { POSTGRES_HOST: host, POSTGRES_PORT: port, POSTGRES_DB: database } = pipeline.env;
  const { POSTGRES_USER: user, POSTGRES_PASSWORD: password } = pipeline.env;
  const session = new pg.Client({ host, port: Number(port), database, user, password });
  await session.connect();
  await session.query("BEGIN");
  await session.query("LOCK TABLE sensor_events, dead_letters IN ACCESS EXCLUSIVE MODE");
  try {
    await use(session);
  } finally {
    await session.end();
  }
}

/** What the programs run at the server now. */
async function statementsOf(session: pg.Client): Promise<readonly string[]> {
  // A transaction looks at what it saw first.
  await session.query("SELECT pg_stat_clear_snapshot()");
  const { rows } = await session.query(
    `SELECT query FROM pg_stat_activity
     WHERE application_name = $1 AND datname = current_database() AND state = 'active'`,
    [APPLICATION_NAME],
  );
  return rows.map(({ query }) => String(query));
}

const IN_TIME_MS = DEADLINE_MS + STOP_MARGIN_MS;

/** A command that waits for the tables, in which statement, and how soon it ends after a stop. */
const COMMANDS: readonly (readonly [args: string, waitsIn: RegExp, withinMs: number])[] = [
  ["run", /COPY sensor_events/, IN_TIME_MS],
  ["verify", /sensor_events/, DEADLINE_MS],
  ["dead-letters list", /dead_letters/, IN_TIME_MS],
  ["rebuild-last", /sensor_events/, IN_TIME_MS],
  ["retain --older-than 3650d", /sensor_events/, IN_TIME_MS],
];

Deno.test("a stop ends in time though the tables are locked", async (t) => {
  await using pipeline = await RealPipeline.open({ partitions: 1, env: PATIENT });
  await pipeline.send(generate(MESSAGES, PLAIN, 1));
  for (const [args, waitsIn, withinMs] of COMMANDS) {
    await t.step(args, () =>
      holdingTables(pipeline, async (session) => {
        await using program = pipeline.consumer(args.split(" "));
        const waits = async (): Promise<boolean> =>
          (await statementsOf(session)).some((text) => waitsIn.test(text));
        await until("it waits for the lock", waits);
        program.signal("SIGTERM");
        const startMs = performance.now();
        const { code, stderr } = await program.ended(DONE_MS);
        const tookMs = performance.now() - startMs;
        assert.equal(code, 1, stderr);
        assert(tookMs < withinMs + 500, `it took ${tookMs} ms`);
        assert.deepEqual(await statementsOf(session), []);
        assert.doesNotMatch(stderr, /did not stop in time/);
      }));
  }

  await t.step("the next owner stores what was left", async () => {
    await using consumer = pipeline.consumer(["run", "--until-end"]);
    await consumer.succeeded(DONE_MS);
    const { ok, rows } = await pipeline.verify();
    assert.deepEqual([ok, rows], [true, MESSAGES]);
  });
});
