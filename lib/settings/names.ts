/**
 * The names of settings, for permissions, for documents and for error texts.
 *
 * @module
 */
import type { Setting } from "./kinds.ts";
import { type Group, GROUPS, rowsOf } from "./table.ts";

/** The variable that holds the path of a secret's file. */
export function fileName({ name }: Setting<unknown>): string {
  return `${name}_FILE`;
}

/** Every variable that the reading of these groups asks for, those of secret files included. */
export function settingNames(groups: readonly Group[] = GROUPS): readonly string[] {
  return rowsOf(groups).flatMap(({ setting }) =>
    setting.source === "secret" ? [setting.name, fileName(setting)] : [setting.name]
  );
}

/**
 * What the permission sets let a program see of its environment: all that begins like a setting. The
 * first three letters are enough to see most names that are misspelt, too.
 */
export function visiblePrefixes(groups: readonly Group[]): readonly string[] {
  return [...new Set(settingNames(groups).map((name) => `${name.slice(0, 3)}*`))];
}

/** The variables among them that hold the path of a file. */
export function fileSettingNames(groups: readonly Group[] = GROUPS): readonly string[] {
  return rowsOf(groups).flatMap(({ setting }) => {
    if (setting.source === "value") return [];
    return [setting.source === "file" ? setting.name : fileName(setting)];
  });
}
