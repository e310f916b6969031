/**
 * Compares the clocks of this computer, PostgreSQL and Redis.
 *
 * Kafka has no question for its clock: the time of a message is that of its arrival, or of its
 * producer, and says nothing about now.
 *
 * @module
 */
import type { ServerTime } from "../server_time.ts";
import type { Settings } from "../settings/table.ts";
import { type Finding, findingsOf } from "./finding.ts";

const clocks = findingsOf("clocks");

/** Clocks that are kept in step differ by much less. */
const DIFFERENCE_MS_MAX = 2_000;

/** From here on it is not a drift but a wrong clock, whatever the settings allow. */
const WRONG_MS_MIN = 60_000;

/** Judges the clocks that are known; one finding for each pair that differs. */
export function clockFindings(
  times: { readonly postgres?: ServerTime; readonly redis?: ServerTime },
  { limits }: Settings<"limits">,
): readonly Finding[] {
  const { postgres, redis } = times;
  const known = [
    ...(postgres === undefined ? [] : [["PostgreSQL", postgres] as const]),
    ...(redis === undefined ? [] : [["Redis", redis] as const]),
  ];
  if (known.length === 0) return [];
  const wrongMs = Math.max(WRONG_MS_MIN, limits.futureSkewSecondsMax * 1_000);
  const found = known.flatMap(([name, time]) => judge(`${name} and this computer`, time, wrongMs));
  if (postgres !== undefined && redis !== undefined) {
    const between = {
      aheadMs: postgres.aheadMs - redis.aheadMs,
      toleranceMs: postgres.toleranceMs + redis.toleranceMs,
    };
    // If one of them differs from this computer, that has been said.
    if (found.length === 0) found.push(...judge("PostgreSQL and Redis", between, wrongMs));
  }
  if (found.length > 0) return found;
  const parts = known.map(([name, { aheadMs, toleranceMs }]) =>
    `${name} ${signed(aheadMs)} ms (within ${Math.ceil(toleranceMs)})`
  );
  return [clocks.ok(
    "difference",
    `${parts.join(", ")} from this computer; Kafka does not tell its time`,
  )];
}

function judge(pair: string, { aheadMs, toleranceMs }: ServerTime, wrongMs: number): Finding[] {
  const certainMs = Math.abs(aheadMs) - toleranceMs;
  const text = `${pair} differ by ${(Math.abs(aheadMs) / 1_000).toFixed(1)} s`;
  const cure = "Synchronize all clocks by NTP.";
  if (certainMs > wrongMs) {
    return [clocks.failure("difference", `${text}: valid readings can become dead letters`, cure)];
  }
  if (certainMs > DIFFERENCE_MS_MAX) {
    return [clocks.warning("difference", `${text}: ages and delays are off by as much`, cure)];
  }
  return [];
}

function signed(ms: number): string {
  return `${ms < 0 ? "-" : "+"}${Math.abs(ms).toFixed(0)}`;
}
