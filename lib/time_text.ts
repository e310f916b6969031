/**
 * Times and durations for people.
 *
 * @module
 */

const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1_000]] as const;

/** A duration in its two largest units: `1 min 40 s`. What is shorter than ten seconds has a decimal. */
export function durationText(ms: number): string {
  if (ms < 9_950) return `${Number((ms / 1_000).toFixed(1))} s`;
  let restMs = Math.round(ms / 1_000) * 1_000;
  const parts = UNITS.map(([unit, unitMs]) => {
    const count = Math.floor(restMs / unitMs);
    restMs -= count * unitMs;
    return { count, unit };
  });
  const first = parts.findIndex(({ count }) => count > 0);
  return parts.slice(first, first + 2)
    .filter(({ count }) => count > 0)
    .map(({ count, unit }) => `${count} ${unit}`)
    .join(" ");
}

/** The time of day of an instant, ms since 1970, as the log has it: `12:03:04`, in UTC. */
export function clockText(ms: number): string {
  return new Date(ms).toISOString().slice(11, 19);
}
