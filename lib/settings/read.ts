/**
 * Reads settings from the environment and from the files that it names.
 *
 * All faults are reported at once. The value of a secret is never part of any text made here.
 *
 * @module
 */
import { ConfigurationError } from "../errors.ts";
import { contradictions } from "./contradictions.ts";
import { fileFault } from "./file_fault.ts";
import { Fault, type Setting } from "./kinds.ts";
import { misspeltNames, misspeltText } from "./misspelt.ts";
import { fileName } from "./names.ts";
import { postgresUrlParts, redisUrlParts, type SettingParts, UrlFault } from "./server_url.ts";
import { type Group, rowsOf, type Settings } from "./table.ts";

/** Where values come from. */
export interface Source {
  /** Gives a variable's value, or undefined. */
  readonly env: (name: string) => string | undefined;
  /**
   * Gives a file's text, for `POSTGRES_PASSWORD_FILE` and the like.
   *
   * @default refuses
   */
  readonly readFile?: (path: string) => string;
  /**
   * Names of the variables that are set, as far as they are known: a fault can come from one that is
   * misspelt.
   *
   * @default none
   */
  readonly names?: readonly string[];
}

/**
 * Reads the settings of some groups, and asks for no others. A variable that is empty counts as not
 * set. White space around a value is dropped, except around a secret; a secret's file loses the line
 * end at its end.
 *
 * @throws {ConfigurationError} if anything is wrong; its text names every fault, a line each.
 */
export function readSettings<Name extends Group>(
  groups: readonly Name[],
  { env, readFile = noFiles, names = [] }: Source,
): Settings<Name> {
  const rows = rowsOf(groups);
  const source = { env, readFile, parts: new Map() };
  const complete = { ...source, parts: partsOfUrls(rows.map(({ setting }) => setting), source) };
  const faults: string[] = [];
  const values: Record<string, Record<string, unknown>> = {};
  for (const { group, key, setting } of rows) {
    const value = readSetting(setting, complete);
    if (value instanceof Fault) faults.push(value.text);
    else (values[group] ??= {})[key] = value;
  }
  // The type is made from the table, whose rows have been read one by one.
  const settings = values as Settings<Name>;
  if (faults.length === 0) faults.push(...contradictions(settings as Partial<Settings>));
  if (faults.length > 0) {
    faults.push(...misspeltNames(names, groups).map(misspeltText));
    throw new ConfigurationError(`Cannot use these settings:\n${faults.join("\n")}`);
  }
  return settings;
}

interface SourceWithParts extends Required<Omit<Source, "names">> {
  /** Values that the URLs name. They win. */
  readonly parts: SettingParts;
}

/** What takes a setting's value apart. */
const URLS: ReadonlyMap<string, (url: string) => SettingParts | UrlFault> = new Map([
  ["DATABASE_URL", postgresUrlParts],
  ["REDIS_URL", redisUrlParts],
]);

function partsOfUrls(
  settings: readonly Setting<unknown>[],
  source: SourceWithParts,
): SettingParts {
  const found = new Map<string, string>();
  for (const setting of settings) {
    const split = URLS.get(setting.name);
    const url = split && readSetting(setting, source);
    // A fault is reported with all others, when the setting's own turn comes.
    if (split === undefined || typeof url !== "string") continue;
    const parts = split(url);
    if (parts instanceof UrlFault) continue;
    for (const [name, value] of parts) found.set(name, value);
  }
  return found;
}

function readSetting(setting: Setting<unknown>, source: SourceWithParts): unknown {
  const given = source.parts.get(setting.name) ?? readGiven(setting, source);
  if (given instanceof Fault) return given;
  const used = given ?? presence(setting.fallback);
  if (used === undefined) return undefined;
  const value = setting.parse(used);
  if (!(value instanceof Fault)) return value;
  const shown = setting.source === "value" ? printable(used) : "its value";
  return new Fault(`${setting.name}: ${shown} is not ${value.text}`);
}

/** The text that was given for a setting, from wherever it may come. */
function readGiven(
  setting: Setting<unknown>,
  { env, readFile }: SourceWithParts,
): string | undefined | Fault {
  const given = presence(env(setting.name));
  switch (setting.source) {
    case "value":
      return presence(given?.trim());
    case "file":
      return given && readFileOf(setting.name, given, readFile);
    case "secret": {
      const path = presence(env(fileName(setting)));
      if (path === undefined) return given;
      return given === undefined
        ? readFileOf(fileName(setting), path, readFile)
        : new Fault(`${setting.name} and ${fileName(setting)} are both set: set one of them`);
    }
  }
}

function readFileOf(
  name: string,
  path: string,
  readFile: (path: string) => string,
): string | Fault {
  try {
    const content = readFile(path).replace(/\r?\n$/, "");
    return content === "" ? new Fault(`${name}: ${printable(path)} is empty`) : content;
  } catch (error) {
    return new Fault(`${name}: ${printable(path)} ${fileFault(error)}`);
  }
}

/** An empty string counts as not set: that is how compose files and shells pass "nothing". */
function presence(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}

/** A value in quotes, escaped, and not longer than a line. */
function printable(value: string): string {
  const shortened = value.length > 80 ? `${value.slice(0, 80)}…` : value;
  return JSON.stringify(shortened).replace(
    /[\u007f-\u{10ffff}]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

function noFiles(): never {
  throw new Error("this program reads no files");
}
