/**
 * Python programs, with the libraries that a `requirements.txt` names.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { findProgram, runProgram } from "../../tools/stack/program.ts";

const TESTS = join(import.meta.dirname!, "..");
const TAKE_OVER = join(TESTS, "take_over");
/** Directory of programs that use transactions. */
export const TRANSACTIONS: string = join(TESTS, "transactions");

/**
 * Runs a script of `tests/take_over/` to its end and returns what it prints. They behave like the
 * earlier programs, with the libraries that those use.
 */
export async function runScript(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const python = join(await pythonPrograms(TAKE_OVER), "python");
  return await runProgram([python, join(TAKE_OVER, script), ...args], { env });
}

/** Python with what the programs of `tests/transactions/` need. */
export async function transactionsPython(): Promise<string> {
  return join(await pythonPrograms(TRANSACTIONS), "python");
}

/** Directory of the programs that check the files of a deployment, `tests/deployment/`. */
export function deploymentCheckers(): Promise<string> {
  return pythonPrograms(join(TESTS, "deployment"));
}

/** The documents of a YAML file, by the Python of {@linkcode deploymentCheckers}. */
export async function readYaml(path: string): Promise<readonly unknown[]> {
  const python = join(await deploymentCheckers(), "python");
  const script =
    "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
  return JSON.parse(await runProgram([python, "-c", script, path]));
}

/**
 * Directory of Python and of the programs that come with the libraries of `requirements.txt`: a
 * virtual environment of this project's own that is made once for each state of that file.
 */
async function pythonPrograms(dirOfRequirements: string): Promise<string> {
  const requirements = join(dirOfRequirements, "requirements.txt");
  const wanted = await Deno.readTextFile(requirements);
  const cache = Deno.env.get("XDG_CACHE_HOME") ??
    join(Deno.env.get("HOME") ?? "/var/tmp", ".cache");
  const name = createHash("sha256").update(wanted).digest("hex").slice(0, 12);
  const dir = join(cache, "sensor-ledger", `python-${name}`);
  const programs = join(dir, "bin");
  const complete = join(dir, "complete");
  if (await Deno.stat(complete).then(() => true, () => false)) return programs;
  const install = "apt-get install -y python3 python3-venv";
  await runProgram([await findProgram({ name: "python3", install }), "-m", "venv", "--clear", dir]);
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
  await runProgram([join(programs, "python"), ...pip, "--requirement", requirements]);
  await Deno.writeTextFile(complete, "");
  return programs;
}
