/**
 * Which values must not appear in any output.
 *
 * @module
 */
import { type Group, GROUPS, rowsOf, type Settings } from "./table.ts";

/** The values of all secrets among the settings that were read. */
export function secretsOf<Name extends Group>(settings: Settings<Name>): readonly string[] {
  const groups: Readonly<Record<string, Readonly<Record<string, unknown>>>> = settings;
  return rowsOf(GROUPS)
    .filter(({ setting }) => setting.source === "secret")
    .map(({ group, key }) => groups[group]?.[key])
    .filter((value) => typeof value === "string");
}
