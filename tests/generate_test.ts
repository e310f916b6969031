import assert from "node:assert/strict";
import { fileUrl, GENERATED_FILES } from "../tools/generate.ts";

Deno.test("every generated file is what the code makes of it", async (t) => {
  for (const { path, make } of GENERATED_FILES) {
    await t.step(path, async () => {
      const present = await Deno.readTextFile(fileUrl(path));
      assert.equal(present, make(), "run: deno task generate");
    });
  }
});
