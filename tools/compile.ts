/**
 * `deno task compile`: makes `dist/producer` and `dist/consumer`, programs that need no Deno, with
 * the permissions of `deno.json` baked in and the migrations embedded.
 *
 * That needs a download, the runtime that Deno puts into each program. Where it is refused,
 * `--check` does all but that: it puts the parts together around the `deno` command itself, looks
 * whether they are all there, and throws the result away, for such a file starts `deno` and not
 * the program. Nobody must run one.
 *
 * @module
 */
import { join } from "node:path";
import { Command } from "commander";
import { runCommandLine } from "../lib/command_line.ts";
import { ConfigurationError } from "../lib/errors.ts";
import { tell } from "../lib/standard_streams.ts";
import { endAtStop } from "../lib/stop_signal.ts";

interface Target {
  /** Name of the program, and of its permissions in `deno.json`. */
  readonly name: "producer" | "consumer";
  readonly permissions: "produce" | "consume";
  readonly entrypoint: string;
  readonly include: readonly string[];
}

const TARGETS: readonly Target[] = [
  { name: "producer", permissions: "produce", entrypoint: "main_producer.ts", include: [] },
  {
    name: "consumer",
    permissions: "consume",
    entrypoint: "main_consumer.ts",
    include: ["migrations"],
  },
];

async function compile(): Promise<void> {
  for (const target of TARGETS) {
    await assemble(target, { dir: "dist", env: {} });
    tell(`made dist/${target.name}`);
  }
}

async function check(): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    for (const target of TARGETS) {
      const output = await assemble(target, { dir, env: { DENORT_BIN: Deno.execPath() } });
      for (const part of [".deno_compile_bundle", ...target.include]) {
        if (!output.includes(`─ ${part}`)) {
          throw new Error(`Cannot find ${part} in what was put together for ${target.name}`);
        }
      }
      await runBundle(target, dir);
      tell(`${target.name} fits together`);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/**
 * Bundles the program as `deno compile` does, and runs what comes out with the program's permissions,
 * as far as it needs no server.
 */
async function runBundle(target: Target, dir: string): Promise<void> {
  const bundle = join(dir, `${target.name}.js`);
  const run = [
    "run",
    "-q",
    "--no-prompt",
    "--config=deno.json",
    `-P=${target.permissions}`,
    bundle,
  ];
  for (
    const args of [
      ["bundle", "-q", "--platform=deno", `--output=${bundle}`, target.entrypoint],
      [...run, "--version"],
      [...run, "--help"],
    ]
  ) {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    if (success) continue;
    throw new Error(`Cannot run ${target.name}: ${new TextDecoder().decode(stderr)}`);
  }
}

/** Runs `deno compile` and returns what it says about the parts. */
async function assemble(
  target: Target,
  { dir, env }: { readonly dir: string; readonly env: Readonly<Record<string, string>> },
): Promise<string> {
  const args = [
    ...["compile", `--permission-set=${target.permissions}`, "--no-prompt"],
    "--v8-flags=--max-semi-space-size=8",
    // Only what the program imports goes in. Without it the whole tree of packages does, and
    // deno compile 2.9.6 overflows its stack on one of them (bintrees, below prom-client).
    "--bundle",
    // `deno check` sees to the types; this would check the bundle.
    "--no-check",
    ...target.include.map((path) => `--include=${path}`),
    ...["--output", join(dir, target.name), target.entrypoint],
  ];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    env: { NO_COLOR: "1", ...env },
  }).output();
  const text = new TextDecoder();
  const said = text.decode(stdout) + text.decode(stderr);
  if (success) return said;
  if (/denort/.test(said)) {
    throw new ConfigurationError(
      `Cannot make ${target.name}: the runtime that goes into it cannot be downloaded; ` +
        `"deno task compile --check" needs no download\n${said}`,
    );
  }
  throw new Error(`Cannot make ${target.name}: ${said}`);
}

if (import.meta.main) {
  endAtStop();
  await runCommandLine(
    new Command("compile")
      .description("Make dist/producer and dist/consumer.")
      .option("--check", "check that the parts fit together, without the download")
      .action((flags: { check?: true }) => flags.check ? check() : compile()),
  );
}
