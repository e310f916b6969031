/** The Dockerfile as a linter sees it. What comes out of it is tried in `tests/images/`. */
import { join } from "node:path";
import { runProgram } from "../../tools/stack/program.ts";
import { deploymentCheckers } from "./python.ts";

Deno.test("Dockerfile has nothing that hadolint knows of", async () => {
  const dockerfile = join(import.meta.dirname!, "../../Dockerfile");
  await runProgram([join(await deploymentCheckers(), "hadolint"), dockerfile]);
});
