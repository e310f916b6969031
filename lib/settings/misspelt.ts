/**
 * Finds variables that are set and read by nobody, because a letter of their name is wrong.
 *
 * @module
 */
import { settingNames } from "./names.ts";
import type { Group } from "./table.ts";

/** A name that is set, and the setting that was probably meant. */
export interface Misspelt {
  /** As it is set. */
  readonly name: string;
  /** As it should be. */
  readonly meant: string;
}

/** Most slips in one name. With three, names that other programs read would be taken for ours. */
const SLIPS_MAX = 2;

/** Most names that are told; who sets more has another problem. */
const TOLD_MAX = 10;

/** The near misses of the settings of some groups among the names of variables that are set. */
export function misspeltNames(
  names: Iterable<string>,
  groups: readonly Group[],
): readonly Misspelt[] {
  const known = new Set(settingNames());
  const wanted = settingNames(groups);
  return [...names].sort().filter((name) => !known.has(name)).flatMap((name) => {
    const [nearest] = wanted
      .map((meant) => ({ name, meant, slips: slips(name.toUpperCase(), meant) }))
      .filter((each) => each.slips <= SLIPS_MAX)
      .sort((a, b) => a.slips - b.slips);
    return nearest === undefined ? [] : [{ name, meant: nearest.meant }];
  }).slice(0, TOLD_MAX);
}

/** What a person is told. */
export function misspeltText({ name, meant }: Misspelt): string {
  return `${name} is not a setting, and has no effect. Did you mean ${meant}?`;
}

/**
 * Letters left out, added, exchanged or swapped with their neighbour that lead from one text to the
 * other (optimal string alignment), as far as it is small: else something larger than
 * {@linkcode SLIPS_MAX}.
 */
function slips(from: string, to: string): number {
  if (Math.abs(from.length - to.length) > SLIPS_MAX) return SLIPS_MAX + 1;
  let before: readonly number[] = [];
  let last: readonly number[] = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const isSame = from[i - 1] === to[j - 1];
      const isSwapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      row.push(Math.min(
        last[j]! + 1,
        row[j - 1]! + 1,
        last[j - 1]! + (isSame ? 0 : 1),
        isSwapped ? before[j - 2]! + 1 : Infinity,
      ));
    }
    [before, last] = [last, row];
  }
  return last[to.length]!;
}
