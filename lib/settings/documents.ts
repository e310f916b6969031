/**
 * What people read about the settings: `.env.example` and the list in the README.
 *
 * @module
 */
import type { Setting } from "./kinds.ts";
import { fileName } from "./names.ts";
import { GROUPS, rowsOf, titleOf } from "./table.ts";

/** The text of `.env.example`: every setting with its default. */
export function envExample(): string {
  const lines = [
    "# Every setting with its default. Copy this file to .env and change what you need.",
    "# What the environment sets already wins over .env.",
  ];
  for (const group of GROUPS) {
    lines.push("", `# --- ${titleOf(group)} ---`);
    for (const { setting } of rowsOf([group])) {
      lines.push(`# ${setting.about} (${allowedText(setting)}).`);
      lines.push(`${setting.name}=${setting.fallback}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

/** The settings as a Markdown table, for the README. */
export function settingsMarkdown(): string {
  const lines = ["| Variable | Default | Allowed | What it does |", "| --- | --- | --- | --- |"];
  for (const { setting } of rowsOf(GROUPS)) {
    const fallback = setting.fallback === "" ? "none" : `\`${setting.fallback}\``;
    lines.push(
      `| \`${setting.name}\` | ${fallback} | ${allowedText(setting)} | ${setting.about}. |`,
    );
  }
  return `${lines.join("\n")}\n`;
}

function allowedText(setting: Setting<unknown>): string {
  return setting.source === "secret"
    ? `${setting.allowed}; or its path in ${fileName(setting)}`
    : setting.allowed;
}
