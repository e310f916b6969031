/**
 * What people read about the settings: `.env.example` and `docs/settings.md`.
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
    "# Variables that are already set in the environment override .env.",
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

const PAGE_HEAD = `<!-- Made by deno task generate. -->

# Settings

All settings are environment variables. The tasks also read \`.env\`, which the environment overrides.
\`.env.example\` lists every setting with its default. If several settings are wrong, all of them are reported
at once, and a misspelt name is reported with the one that was probably meant. Each command reads only the groups
that it needs.

Every secret can come from a file instead: \`POSTGRES_PASSWORD_FILE=/run/secrets/postgres_password\`.
`;

/** `docs/settings.md`: a table for each group. */
export function settingsPage(): string {
  const sections = GROUPS.map((group) => {
    const rows = rowsOf([group]).map(({ setting }) => {
      const fallback = setting.fallback === "" ? "none" : `\`${setting.fallback}\``;
      return `| \`${setting.name}\` | ${fallback} | ${allowedText(setting)} | ${setting.about}. |`;
    });
    const head = ["| Variable | Default | Allowed | What it does |", "| --- | --- | --- | --- |"];
    return [`## ${titleOf(group)}`, "", ...head, ...rows, ""].join("\n");
  });
  return `${[PAGE_HEAD, ...sections].join("\n")}`;
}

function allowedText(setting: Setting<unknown>): string {
  return setting.source === "secret"
    ? `${setting.allowed}; or its path in ${fileName(setting)}`
    : setting.allowed;
}
