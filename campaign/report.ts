/**
 * What a campaign showed, as a table for people: fault by fault, and at the end the verdict.
 *
 * @module
 */
import { table } from "../lib/table.ts";
import { type Bounds, brokenBounds, PROMISED } from "./bounds.ts";
import type { CampaignReport, PlayedFault } from "./campaign.ts";
import type { OddEnd } from "./fleet.ts";
import type { Finding } from "./oracle.ts";

/** One line of the table: all times that one fault was played. */
export interface FaultSummary {
  /** The fault. */
  readonly name: string;
  /** How often it was played. */
  readonly times: number;
  /** Acknowledged messages that are nowhere. */
  readonly lost: number;
  /** Readings or dead letters that are there twice, or as they were never sent. */
  readonly storedTwice: number;
  /** Dead letters that should be none, or for another reason. */
  readonly wronglyDeadLettered: number;
  /** Longest time without a new row, ms. */
  readonly longestStallMs: number;
  /** Longest time until new rows came, ms, see {@linkcode PlayedFault}; Infinity: never. */
  readonly rowsAfterMs: number;
  /** How soon they had to come, ms. */
  readonly rowsWithinMs: number;
  /** Why it could not be played, each time that it could not. */
  readonly failures: readonly string[];
}

/** Sums the played faults up by name, in the order of their names. */
export function summarize({ played, ending }: CampaignReport): readonly FaultSummary[] {
  const findings = ending.oracle.findings;
  const named = played.flatMap((one, index) => {
    const own = findings.filter((finding) => isOf(finding, one, played[index + 1]));
    return one.countsFor.map((name) => ({ name, one, own }));
  });
  return [...Map.groupBy(named, ({ name }) => name)].sort(([a], [b]) => a < b ? -1 : 1)
    .map(([name, times]) => {
      const own = times.flatMap((time) => time.own);
      const count = (...kinds: Finding["kind"][]): number =>
        own.filter(({ kind }) => kinds.includes(kind)).length;
      const longest = (of: (one: PlayedFault) => number): number =>
        Math.max(...times.map(({ one }) => of(one)));
      return {
        name,
        times: times.length,
        lost: count("lost"),
        storedTwice: count("stored twice", "wrongly stored"),
        wronglyDeadLettered: count("wrongly dead-lettered"),
        longestStallMs: longest((one) => one.longestStallMs),
        rowsAfterMs: longest((one) => one.rowsAfterMs),
        rowsWithinMs: longest((one) => one.rowsWithinMs),
        failures: times.flatMap(({ one }) => one.failure ?? []),
      };
    });
}

/** What was sent between this fault and the next one is this fault's. */
function isOf(finding: Finding, one: PlayedFault, next: PlayedFault | undefined): boolean {
  return finding.sentAtMs >= one.injectedAtMs &&
    finding.sentAtMs < (next?.injectedAtMs ?? Infinity);
}

/** Everything that was promised and does not hold, a sentence for each; none: all holds. */
export function brokenPromises(report: CampaignReport): readonly string[] {
  const { ending, oddEnds, played } = report;
  const { oracle } = ending;
  return [
    ...oracle.findings.slice(0, FINDINGS_MAX).map(({ kind, text }) => `${kind}: ${text}`),
    ...atMost(oracle.findings.length),
    ...ending.verifyProblems.map((problem) => `verify: ${problem}`),
    ...ending.indexProblems.map((problem) => `index: ${problem}`),
    ...ending.lastValueProblems.map((problem) => `last value: ${problem}`),
    ...played.filter(({ failure }) => failure !== undefined)
      .map(({ name, failure }) => `not played: ${name}: ${failure}`),
    ...played.filter(({ allMovedAtMs, failure }) =>
      allMovedAtMs === undefined && failure === undefined
    )
      .map(({ name }) =>
        `never over: ${name}: a partition did not move; nothing was played after it`
      ),
    ...summarize(report).filter((fault) => fault.rowsAfterMs > fault.rowsWithinMs).map((fault) =>
      `too late: ${fault.name}: rows came after ${seconds(fault.rowsAfterMs)}, ` +
      `${seconds(fault.rowsWithinMs)} is promised`
    ),
    ...report.bounds === undefined ? [] : brokenBounds(report.bounds),
    ...oddEnds.filter((each) => !isWatchdog(each)).map(oddEndText),
  ];
}

/** A watchdog that ends what is stuck does what is promised. */
function isWatchdog({ said }: OddEnd): boolean {
  return said.startsWith("stuck: ");
}

function oddEndText({ name, atMs, end, said }: OddEnd): string {
  const at = new Date(atMs).toISOString();
  return `ended by itself: ${name} at ${at}, exit code ${end.code}: ${said}`;
}

/** Findings beyond this number say nothing new. */
const FINDINGS_MAX = 20;

function atMost(findings: number): readonly string[] {
  return findings > FINDINGS_MAX ? [`and ${findings - FINDINGS_MAX} more`] : [];
}

/** The whole report as text; `columns` are those of the terminal, if there is one. */
export function reportText(report: CampaignReport, columns?: number): string {
  const { ending, kills, seed, durationMs, bounds } = report;
  const { oracle } = ending;
  const faults = summarize(report);
  const nameWidth = Math.max(...faults.map(({ name }) => name.length));
  const rows = faults.map((fault) => [
    fault.name.padEnd(nameWidth),
    String(fault.times),
    String(fault.lost),
    String(fault.storedTwice),
    String(fault.wronglyDeadLettered),
    seconds(fault.longestStallMs),
    seconds(fault.rowsAfterMs),
    seconds(fault.rowsWithinMs),
  ]);
  const broken = brokenPromises(report);
  return [
    ...table(TABLE_HEAD, rows, { columns }),
    "",
    `seed ${seed}, ${Math.round(durationMs / 60_000)} min, ${kills} processes killed`,
    `${oracle.acknowledged} acknowledged messages checked, ${oracle.unacknowledged} without an ` +
    "acknowledgement",
    `${oracle.rows} rows and ${oracle.deadLetters} dead letters compared, ${ending.indexes} ` +
    "indexes checked",
    `${oracle.deletedByUs} readings deleted from the topic before they were read; the ledger has ` +
    `counted ${ending.gaps} such offsets`,
    ...report.oddEnds.filter(isWatchdog).map(oddEndText),
    ...bounds === undefined ? [] : boundsLines(bounds),
    "",
    ...broken.length === 0
      ? ["ok: nothing lost, nothing stored twice, nothing wrongly dead-lettered, all bounds kept"]
      : ["BROKEN:", ...broken.map((promise) => `  ${promise}`)],
  ].join("\n");
}

/** One fault that was just played, as a line. */
export function playedText(one: PlayedFault): string {
  const allAfterMs = (one.allMovedAtMs ?? Infinity) - one.healedAtMs;
  const text = `${one.name.padEnd(60)}  stall ${seconds(one.longestStallMs)}, ` +
    `rows after ${seconds(one.rowsAfterMs)}, all ${seconds(allAfterMs)}`;
  return one.failure === undefined ? text : `${text}  NOT PLAYED: ${one.failure}`;
}

/** What was measured at full speed, a line each. */
export function boundsLines(bounds: Bounds): readonly string[] {
  const { backlogMessages, outageMs, grownMb, ratePerSecond, redisWaits } = bounds;
  const { withRedis, withoutRedis } = ratePerSecond;
  return [
    `PostgreSQL away for ${
      seconds(outageMs)
    } with ${backlogMessages} messages waiting: memory grew ` +
    `by ${grownMb.toFixed(0)} MB, ${PROMISED.grownMbMax} MB is promised`,
    `Redis silent: ${Math.round(withoutRedis)} messages/s, with Redis ${Math.round(withRedis)}; ` +
    `that is ${(withoutRedis / withRedis).toFixed(2)}, ${PROMISED.rateShareMin} is promised`,
    `${redisWaits.all} questions of batches to Redis, ${redisWaits.overBudget} of them longer than ` +
    "their budget of 0.25 s and 0.05 s more",
  ];
}

/** Heads of the columns. */
export const TABLE_HEAD = [
  "fault",
  "times",
  "lost",
  "twice",
  "wrong letters",
  "longest stall",
  "rows after",
  "promised",
] as const;

/** A duration in seconds, for people. */
export function seconds(ms: number): string {
  return Number.isFinite(ms) ? `${(ms / 1_000).toFixed(1)} s` : "never";
}
