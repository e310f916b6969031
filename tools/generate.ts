/**
 * Writes every file that is made from the code: `.env.example`, `docs/reading.schema.json`,
 * `docs/settings.md`, and the chart of `docs/growth.json`. A test finds a file that is out of date.
 *
 * @module
 */
import growth from "../docs/growth.json" with { type: "json" };
import { Command } from "commander";
import { runCommandLine } from "../lib/command_line.ts";
import { schemaDocument } from "../lib/reading/reading_schema.ts";
import { envExample, settingsPage } from "../lib/settings/documents.ts";
import { growthChart } from "./bench/growth_chart.ts";

/** A file that is made from the code. */
export interface GeneratedFile {
  /** Path from the top of the project. */
  readonly path: string;
  /** What the file should be. */
  readonly make: () => string;
}

/** All of them. */
export const GENERATED_FILES: readonly GeneratedFile[] = [
  { path: ".env.example", make: envExample },
  {
    path: "docs/reading.schema.json",
    make: () => `${JSON.stringify(schemaDocument(), null, 2)}\n`,
  },
  { path: "docs/settings.md", make: settingsPage },
  { path: "docs/growth.svg", make: () => growthChart(growth.points) },
];

/** Where a path from the top of the project is. */
export function fileUrl(path: string): URL {
  return new URL(`../${path}`, import.meta.url);
}

async function generate(): Promise<void> {
  for (const { path, make } of GENERATED_FILES) {
    await Deno.writeTextFile(fileUrl(path), make());
  }
}

if (import.meta.main) {
  await runCommandLine(
    new Command("generate")
      .description("Write every file that is made from the code.")
      .action(generate),
  );
}
