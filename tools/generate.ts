/**
 * Writes every file that is made from the code: `.env.example`, `docs/reading.schema.json`, the
 * table of settings in the README, and the chart of `docs/growth.json`. Tests find a file that was
 * not made anew.
 *
 * @module
 */
import growth from "../docs/growth.json" with { type: "json" };
import { schemaDocument } from "../lib/reading/reading_schema.ts";
import { envExample, settingsMarkdown } from "../lib/settings.ts";
import { growthChart } from "./bench/growth_chart.ts";

const BEGIN = "<!-- settings: made by deno task generate -->\n";
const END = "<!-- end of settings -->\n";

/** A file that is made from the code. */
export interface GeneratedFile {
  /** Path from the top of the project. */
  readonly path: string;
  /** What the file should be, given what it is. */
  readonly make: (present: string) => string;
}

/** All of them. */
export const GENERATED_FILES: readonly GeneratedFile[] = [
  { path: ".env.example", make: envExample },
  {
    path: "docs/reading.schema.json",
    make: () => `${JSON.stringify(schemaDocument(), null, 2)}\n`,
  },
  { path: "README.md", make: replaceSettings },
  { path: "docs/growth.svg", make: () => growthChart(growth.points) },
];

function replaceSettings(readme: string): string {
  const from = readme.indexOf(BEGIN);
  const to = readme.indexOf(END);
  if (from < 0 || to < from) throw new Error(`Cannot find the place of the settings in README.md`);
  return `${readme.slice(0, from + BEGIN.length)}\n${settingsMarkdown()}\n${readme.slice(to)}`;
}

/** Where a path from the top of the project is. */
export function fileUrl(path: string): URL {
  return new URL(`../${path}`, import.meta.url);
}

if (import.meta.main) {
  for (const { path, make } of GENERATED_FILES) {
    const present = await Deno.readTextFile(fileUrl(path)).catch(() => "");
    await Deno.writeTextFile(fileUrl(path), make(present));
  }
}
