/**
 * The consumer and its commands: reads the settings, opens what a command needs, and sets the exit
 * code. What the commands do is in `lib/`.
 *
 * @module
 */
import process from "node:process";
import { Command } from "commander";
import { systemClock } from "./lib/clock.ts";
import { runCommandLine } from "./lib/command_line.ts";
import { addDoctor } from "./lib/doctor/command.ts";
import { addOperations } from "./lib/operations/command_line.ts";
import { loadMigrations, migrate } from "./lib/postgres/migrate.ts";
import { readTakeOver, TAKE_OVER_MIGRATION, takeOverText } from "./lib/postgres/take_over.ts";
import { verifyLedger, verifyText } from "./lib/postgres/verify.ts";
import { EXIT, openProgram, type Program, VERSION } from "./lib/program.ts";
import { spacedJson } from "./lib/printable.ts";
import { outputColumns, print, printJson, printText, tell } from "./lib/standard_streams.ts";
import { openMemberOf, openStoreOf, runConsumer, type RunFlags } from "./lib/run_consumer.ts";
import type { Cache } from "./lib/redis/cache.ts";
import { openCache } from "./lib/redis/client.ts";
import { NO_MARKS } from "./lib/redis/marks.ts";
import { readStatus, statusText } from "./lib/status.ts";

const MIGRATIONS = `${import.meta.dirname}/migrations`;

const cli = new Command("consumer")
  .description("Stores sensor readings from Kafka in PostgreSQL, each exactly once.")
  .version(VERSION);
cli.command("run", { isDefault: true })
  .description("store what is in the topic, until stopped (the default)")
  .option("--until-end", "stop once everything that is in the topic now is stored")
  .option(
    "--from <start>",
    "where to start in a topic that is not in the ledger yet: beginning, a date or a time " +
      "(default: the group's committed offsets, else the beginning)",
  )
  .action((flags: RunFlags) => runConsumer(flags, { migrations: MIGRATIONS }));
cli.command("migrate").description("create or update the tables").action(runMigrate);
cli.command("verify")
  .description("check that every offset is accounted for; exit code 1 if not")
  .option("--json", "print JSON")
  .action(runVerify);
cli.command("status")
  .description("show the lag, the counts and the rate")
  .option("--json", "print JSON")
  .action(runStatus);
cli.command("last")
  .description("print the last reading of a sensor, from Redis")
  .argument("<sensor_id>")
  .action(runLast);
addDoctor(cli, MIGRATIONS);
addOperations(cli, { store: (program) => openStoreOf(program), member: openMemberOf });

await runCommandLine(cli);

async function runMigrate(): Promise<void> {
  const program = openProgram(["postgres"]);
  // Half a file is rolled back, so that a stop need not wait for it.
  await using store = openStoreOf(program, program.signal);
  const { applied, already } = await migrate(store.pool, await loadMigrations(MIGRATIONS));
  for (const name of applied) await printText(`applied ${name}`);
  const takeOver = applied.includes(TAKE_OVER_MIGRATION) && await readTakeOver(store.pool);
  if (takeOver) await printText(takeOverText(takeOver));
  await printText(`${applied.length} applied, ${already} already applied`);
}

async function runVerify(flags: { json?: true }): Promise<void> {
  const program = openProgram(["postgres"]);
  await using store = openStoreOf(program, program.signal);
  const report = await verifyLedger(store.pool);
  if (flags.json) await printJson(report);
  else await printText(verifyText(report, outputColumns()));
  if (!report.ok) process.exitCode = EXIT.failed;
}

async function runStatus(flags: { json?: true }): Promise<void> {
  const program = openProgram(["postgres", "kafka"]);
  await using store = openStoreOf(program, program.signal);
  await using member = await openMemberOf(program);
  const status = await readStatus({ member, store, clock: systemClock });
  if (flags.json) await printJson(status);
  else await printText(statusText(status, outputColumns()));
}

async function runLast(sensorId: string): Promise<void> {
  const program = openProgram(["postgres", "redis"]);
  const { settings, log } = program;
  await using cache = openCache(settings.redis, { clock: systemClock, log });
  await cache.connected();
  const text = await cache.lastValue(sensorId);
  if (text === null) {
    tell(`There is no last value for sensor ${sensorId}`);
    process.exitCode = EXIT.failed;
  } else if (await isNeighbours(program, cache)) {
    tell(
      "Cannot show a last value: Redis holds those of another data set. Give each data set its " +
        "own REDIS_PREFIX or REDIS_DATABASE",
    );
    process.exitCode = EXIT.failed;
  } else if (outputColumns() === undefined) await print(text);
  else await printText(spacedJson(text));
}

/** False also if PostgreSQL does not say which data set is ours, or Redis not whose it has. */
async function isNeighbours(program: Program<"postgres">, cache: Cache): Promise<boolean> {
  await using store = openStoreOf(program);
  try {
    const last = { dataSetId: await store.dataSetId(), values: [] };
    return (await cache.remember(NO_MARKS, last)).lastValues === "not ours";
  } catch (error) {
    program.log.debug("nobody says whose the last value is", { error });
    return false;
  }
}
