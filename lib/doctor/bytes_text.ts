/**
 * Amounts of memory and disk for people.
 *
 * @module
 */

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** In the largest unit of which there is at least one, with at most one digit behind the point. */
export function bytesText(bytes: number): string {
  let [amount, unit] = [bytes, 0];
  while (amount >= 1_024 && unit < UNITS.length - 1) {
    amount /= 1_024;
    unit++;
  }
  return `${Number(amount.toFixed(1))} ${UNITS[unit]}`;
}
