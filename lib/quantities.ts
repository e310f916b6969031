/**
 * Counts and times for people.
 *
 * @module
 */

/** 1234567 as 1,234,567. */
export function grouped(count: number): string {
  return count.toLocaleString("en-US");
}

/**
 * A count and its noun: `1 sensor`, `1,200 sensors`.
 *
 * @param many The plural, where it has more than an s.
 */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

/** A time in its two largest units: `42 s`, `3 min 20 s`, `5 h 7 min`, `2 d 3 h`. */
export function durationText(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const units = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]] as const;
  const at = units.findIndex(([, size]) => whole >= size);
  const [[large, largeSize], [small, smallSize]] = [units[at]!, units[at + 1]!];
  const rest = Math.floor(whole % largeSize / smallSize);
  return `${Math.floor(whole / largeSize)} ${large}${rest === 0 ? "" : ` ${rest} ${small}`}`;
}

/** The time of day of an instant, ms since 1970, as the log has it: `12:03:04`, in UTC. */
export function clockText(ms: number): string {
  return new Date(ms).toISOString().slice(11, 19);
}
