/**
 * `doctor` on real connections: the command, and the same in short when a consumer starts.
 *
 * @module
 */
import process from "node:process";
import { systemClock } from "../clock.ts";
import type { CommandLine } from "../command_line.ts";
import { readKafkaFacts } from "../kafka/kafka_facts.ts";
import { createLog, type Log } from "../log.ts";
import { openStore } from "../postgres/client.ts";
import { loadMigrations, pendingMigrations } from "../postgres/migrate.ts";
import { openPool } from "../postgres/pool.ts";
import { findPooler } from "../postgres/pooler.ts";
import { readPostgresFacts } from "../postgres/postgres_facts.ts";
import { EXIT, openProgram, type Program } from "../program.ts";
import { outputForm, printJson, printText } from "../standard_streams.ts";
import { openCache } from "../redis/client.ts";
import { withTimeLimit } from "../time_limit.ts";
import { GROUPS, type Settings } from "../settings/table.ts";
import { doctorReport, doctorText, examine, type ExaminedSettings, isHealthy } from "./doctor.ts";
import type { Finding } from "./finding.ts";
import { misspeltFindings } from "./settings_checks.ts";

/** A program whose servers can be examined. */
export type ExaminedProgram = Omit<Program, "settings"> & { readonly settings: ExaminedSettings };

/** Adds the command; `migrations` is the directory of the numbered files. */
export function addDoctor(cli: CommandLine, migrations: string): void {
  cli.command("doctor")
    .description(
      "check settings, servers, topic and tables; exit code 1 if a consumer could not work",
    )
    .option("--json", "print JSON")
    .action(async (flags: { json?: true }) => {
      const program = openProgram(GROUPS);
      const findings = [
        ...misspeltFindings(program.misspelt),
        ...await examineServers(program, migrations),
      ];
      if (flags.json) await printJson(doctorReport(findings));
      else await printText(doctorText(findings, outputForm()));
      if (!isHealthy(findings)) process.exitCode = EXIT.failed;
    });
}

/** Longest that a stop waits for an examination to close its connections, ms. */
const CLOSE_MS = 500;

/**
 * Examines beside a consumer that starts, and logs what is not ok, a line each. The consumer does not
 * wait for it, and nothing that goes wrong here stops it. Disposing ends it.
 */
export function examineAtStart(program: ExaminedProgram, migrations: string): AsyncDisposable {
  const ending = new AbortController();
  const signal = AbortSignal.any([program.signal, ending.signal]);
  const done = examineServers({ ...program, signal }, migrations).then((findings) => {
    // The group is just about to take this consumer in, and the loop looks at it on its own. Of a
    // server that is down others tell, and of its return.
    const lasting = findings.filter(({ check }) => !check.startsWith("group") && check !== "reach");
    if (!signal.aborted) logFindings(lasting, program.log);
  }).catch((error) => program.log.debug("the servers were not examined", { error }));
  return {
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      await withTimeLimit(() => done, { clock: systemClock, limitMs: CLOSE_MS }).catch(() => {});
    },
  };
}

/** Logs what is not ok: a failure as an error. */
export function logFindings(findings: readonly Finding[], log: Log): void {
  for (const { subject, check, state, text, cure } of findings) {
    if (state === "ok") continue;
    const message = `doctor: ${subject}, ${check}: ${text}`;
    const fields = cure === "" ? {} : { cure };
    if (state === "failure") log.error(message, fields);
    else log.warn(message, fields);
  }
}

/** Asks on connections of its own, which are closed again: the flow's are left alone. */
async function examineServers(
  { settings, signal }: ExaminedProgram,
  migrations: string,
): Promise<readonly Finding[]> {
  // What the clients would say of a server that is away is a finding here.
  const log = createLog({ level: "error", format: "json", write: () => {}, clock: systemClock });
  await using store = openStore(settings.postgres);
  await using cache = openCache(settings.redis, { clock: systemClock, log });
  const connection = { ...settings.kafka, clientId: "sensor-ledger-doctor" };
  return await examine({
    kafka: () => readKafkaFacts(connection, settings.kafka, log),
    postgres: () => readPostgresFacts(store.pool, systemClock),
    pooler: () => findPooler(settings.postgres),
    pending: async () => pendingMigrations(store.pool, await loadMigrations(migrations)),
    readAsReader: () => readAsReader(settings.postgres),
    dataSetId: () => store.dataSetId(),
    ledger: () => store.readLedger(),
    redis: async () => {
      await cache.connected();
      return await cache.facts();
    },
    clock: systemClock,
    signal,
  }, settings);
}

/** Reads of every table that the dashboard shows, as the dashboard does. */
async function readAsReader(settings: Settings["postgres"]): Promise<void> {
  const { readUser: user, readPassword: password } = settings;
  if (user === undefined || password === undefined) return;
  const pool = openPool({ ...settings, user, password, access: "read_only", poolMax: 1 });
  try {
    await pool.query({
      action: "read as POSTGRES_READ_USER",
      text: "SELECT FROM ledger, sensor_events, dead_letters, row_corrections LIMIT 0",
    });
  } finally {
    await pool.close();
  }
}
