/**
 * The preflight: asks Kafka, PostgreSQL and Redis all at once, and judges the answers together.
 *
 * It changes nothing, and asks with the rights of the consumer. What a server does not answer is a
 * failure of that server; the others are judged all the same.
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import { asError } from "../errors.ts";
import type { Answer, KafkaFacts } from "../kafka/kafka_facts.ts";
import type { LedgerLine } from "../postgres/store.ts";
import type { Pooler } from "../postgres/pooler.ts";
import type { PostgresFacts } from "../postgres/postgres_facts.ts";
import { printable } from "../printable.ts";
import type { RedisFacts } from "../redis/redis_facts.ts";
import type { Settings } from "../settings/table.ts";
import type { TextForm } from "../standard_streams.ts";
import { table } from "../table.ts";
import { withTimeLimit } from "../time_limit.ts";
import { clockFindings } from "./clock_checks.ts";
import type { Finding, FindingState } from "./finding.ts";
import { kafkaFindings } from "./kafka_checks.ts";
import { postgresFindings } from "./postgres_checks.ts";
import { unreached } from "./reach.ts";
import { redisFindings } from "./redis_checks.ts";
import { settingsFindings } from "./settings_checks.ts";

/** Whom to ask. Each question reaches its server on its own, and rejects if it cannot. */
export interface DoctorParts {
  /** The brokers. */
  readonly kafka: () => Promise<KafkaFacts>;
  /** The server and the tables. */
  readonly postgres: () => Promise<PostgresFacts>;
  /** Migrations that have not been applied. */
  readonly pending: () => Promise<readonly string[]>;
  /** What lends connections to PostgreSQL. */
  readonly pooler: () => Promise<Pooler>;
  /** A look at the tables as the role of the dashboard; at once if there is none. */
  readonly readAsReader: () => Promise<void>;
  /** Names the present data set. */
  readonly dataSetId: () => Promise<string>;
  /** All lines of the ledger. */
  readonly ledger: () => Promise<readonly LedgerLine[]>;
  /** Redis. */
  readonly redis: () => Promise<RedisFacts>;
  /** Bounds the waits. */
  readonly clock: Clock;
  /** Ends the waits. */
  readonly signal: AbortSignal;
}

/** The settings that are judged with the servers. Those of the producer may be unknown. */
export type ExaminedSettings =
  & Settings<"kafka" | "postgres" | "redis" | "limits" | "consumer" | "http">
  & Partial<Settings<"producer">>;

/** Longest wait for all answers of one server, ms. */
export const ANSWERS_MS_MAX = 20_000;

/** Asks and judges; the findings stand in the order in which a message meets the servers. */
export async function examine(
  parts: DoctorParts,
  settings: ExaminedSettings,
): Promise<readonly Finding[]> {
  const { clock, signal } = parts;
  const within = <T>(question: () => Promise<T>): Promise<Answer<T>> =>
    withTimeLimit(question, { clock, signal, limitMs: ANSWERS_MS_MAX }).catch(asError);
  const [kafka, postgres, pooler, pending, read, dataSetId, ledger, redis] = await Promise.all([
    within(parts.kafka),
    within(parts.postgres),
    within(parts.pooler),
    within(parts.pending),
    within(parts.readAsReader),
    within(parts.dataSetId),
    within(parts.ledger),
    within(parts.redis),
  ]);
  return [
    ...settingsFindings(settings),
    ...(kafka instanceof Error
      ? [unreached("kafka", kafka)]
      : kafkaFindings(kafka, { settings, ledger })),
    ...(postgres instanceof Error
      ? [unreached("postgres", postgres)]
      : postgresFindings(postgres, { settings, pooler, pending, readFault: read ?? null })),
    ...(redis instanceof Error
      ? [unreached("redis", redis)]
      : redisFindings(redis, { settings, dataSetId })),
    ...clockFindings({
      ...(!(postgres instanceof Error) && { postgres: postgres.time }),
      ...(!(redis instanceof Error) && { redis: redis.time }),
    }, settings),
  ];
}

/** Whether the consumer can do its work. */
export function isHealthy(findings: readonly Finding[]): boolean {
  return !findings.some(({ state }) => state === "failure");
}

/** What is well comes first, so that what matters is last on the screen. */
const ORDER: readonly FindingState[] = ["ok", "warning", "failure"];

/** The findings for people: what fails comes last, and then the sums. */
export function doctorText(
  findings: readonly Finding[],
  { columns, colours = "plain" }: TextForm = {},
): string {
  const paint = (state: FindingState, text: string): string =>
    colours === "plain" ? text : `${COLOURS[state]}${text}${COLOUR_END}`;
  const rows = ORDER.flatMap((state) => findings.filter((finding) => finding.state === state)).map(
    ({ state, subject, check, text, cure }) => [
      paint(state, state),
      subject,
      check,
      printable(cure === "" ? text : `${text}. ${cure}`),
    ],
  );
  const lines = table([], rows, { columns, alignment: "left", last: "wrap" });
  const sum = [
    `ok: ${countOf(findings, "ok")}`,
    sumOf(findings, "warning", paint),
    sumOf(findings, "failure", paint),
  ].join(", ");
  return [...lines, "", sum].join("\n");
}

function sumOf(
  findings: readonly Finding[],
  state: "warning" | "failure",
  paint: (state: FindingState, text: string) => string,
): string {
  const count = countOf(findings, state);
  return count === 0 ? `${state}s: 0` : paint(state, `${state}s: ${count}`);
}

/** As a terminal is told: of 16 colours, which each theme makes readable. */
const COLOURS: Readonly<Record<FindingState, string>> = {
  ok: "\x1b[32m",
  warning: "\x1b[33m",
  failure: "\x1b[1;31m",
};
const COLOUR_END = "\x1b[0m";

/** The findings for machines. */
export function doctorReport(findings: readonly Finding[]): DoctorReport {
  return {
    ok: isHealthy(findings),
    failures: countOf(findings, "failure"),
    warnings: countOf(findings, "warning"),
    findings,
  };
}

/** What `doctor --json` prints. */
export interface DoctorReport {
  /** Whether the consumer can do its work. */
  readonly ok: boolean;
  /** How many there are. */
  readonly failures: number;
  /** How many there are. */
  readonly warnings: number;
  /** In the order in which a message meets the servers. */
  readonly findings: readonly Finding[];
}

function countOf(findings: readonly Finding[], state: FindingState): number {
  return findings.filter((finding) => finding.state === state).length;
}
