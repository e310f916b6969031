/**
 * Python programs that behave like the earlier ones, with the libraries that those use.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { findProgram, runProgram } from "../../tools/stack/program.ts";

const SCRIPTS = join(import.meta.dirname!, "../take_over");

/** Runs a script of `tests/take_over/` to its end and returns what it prints. */
export async function runScript(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  return await runProgram([await python(), join(SCRIPTS, script), ...args], { env });
}

/**
 * Python with the libraries of `requirements.txt`, in a virtual environment of this project's own that
 * is made once for each state of that file.
 */
async function python(): Promise<string> {
  const requirements = join(SCRIPTS, "requirements.txt");
  const wanted = await Deno.readTextFile(requirements);
  const cache = Deno.env.get("XDG_CACHE_HOME") ??
    join(Deno.env.get("HOME") ?? "/var/tmp", ".cache");
  const name = createHash("sha256").update(wanted).digest("hex").slice(0, 12);
  const dir = join(cache, "sensor-ledger", `python-${name}`);
  const program = join(dir, "bin", "python");
  const complete = join(dir, "complete");
  if (await Deno.stat(complete).then(() => true, () => false)) return program;
  const install = "apt-get install -y python3 python3-venv";
  await runProgram([await findProgram({ name: "python3", install }), "-m", "venv", "--clear", dir]);
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
  await runProgram([program, ...pip, "--requirement", requirements]);
  await Deno.writeTextFile(complete, "");
  return program;
}
