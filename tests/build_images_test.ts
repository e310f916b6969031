import assert from "node:assert/strict";
import { buildCommand, BUILDERS, publicSource } from "../tools/images.ts";

Deno.test("publicSource() tells where the code is, and no password", async (t) => {
  const rows: [remote: string, source: string | undefined][] = [
    ["https://example.org/iot/ledger.git", "https://example.org/iot/ledger.git"],
    ["https://me:secret@example.org/ledger", "https://example.org/ledger"],
    ["git@example.org:iot/ledger.git", undefined],
    ["/srv/git/ledger", undefined],
    ["https://", undefined],
  ];
  for (const [remote, source] of rows) {
    await t.step(remote, () => assert.equal(publicSource(remote), source));
  }
});

Deno.test("buildCommand() keeps the health check, whatever builds", () => {
  const build = {
    program: "consumer",
    names: ["c", "c:1"],
    source: "https://example.org",
  } as const;
  for (const builder of BUILDERS) {
    const words = buildCommand(builder, build).join(" ");
    assert.match(words, / --target consumer --tag c --tag c:1 --build-arg SOURCE=https:/);
    assert.equal(words.includes(" --format docker "), builder.name !== "docker");
  }
});
