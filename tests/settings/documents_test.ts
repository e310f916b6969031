import assert from "node:assert/strict";
import { envExample, settingsPage } from "../../lib/settings/documents.ts";
import { settingNames } from "../../lib/settings/names.ts";
import { read } from "./read_settings.ts";

Deno.test("envExample() is the file in the repository, and changes no default", async (t) => {
  const file = await Deno.readTextFile(new URL("../../.env.example", import.meta.url));
  await t.step("the same text", () => {
    assert.equal(file, envExample(), "run: deno task generate");
  });
  await t.step("every setting, at its default", () => {
    const pairs = file.split("\n").filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => line.split("=") as [string, string]);
    assert.deepEqual(
      pairs.map(([name]) => name),
      settingNames().filter((name) => !name.endsWith("_FILE")),
    );
    assert.deepEqual(read(Object.fromEntries(pairs)), read({}));
  });
});

Deno.test("settingsPage() has a row of four cells for each setting", () => {
  const rows = settingsPage().split("\n").filter((line) => line.startsWith("| `"));
  assert.equal(rows.length, settingNames().filter((name) => !name.endsWith("_FILE")).length);
  for (const row of rows) assert.equal(row.split("|").length, 6, row);
});
