/**
 * `deno task images`: builds both images with what is here: Docker, Podman or Buildah.
 *
 * @module
 */
import { join } from "node:path";
import { Command } from "commander";
import { runCommandLine } from "../lib/command_line.ts";
import { ConfigurationError, describeError } from "../lib/errors.ts";
import { VERSION } from "../lib/program.ts";
import { tell } from "../lib/standard_streams.ts";

/** The programs, each of which is a target of the Dockerfile. */
export const IMAGE_PROGRAMS = ["producer", "consumer"] as const;

/** One of {@linkcode IMAGE_PROGRAMS}. */
export type ImageProgram = (typeof IMAGE_PROGRAMS)[number];

/** What builds images. */
export interface Builder {
  /** How it is called here. */
  readonly name: "docker" | "podman" | "buildah";
  /** A question that it answers if it works. */
  readonly asks: readonly string[];
  /** What begins the command that builds. Without Docker's format an image has no health check. */
  readonly builds: readonly string[];
}

/** In the order of choice. Docker's client may be there without its engine, which has to answer. */
export const BUILDERS: readonly Builder[] = [
  {
    name: "docker",
    asks: ["version", "--format", "{{.Server.Version}}"],
    builds: ["build"],
  },
  { name: "podman", asks: ["--version"], builds: ["build", "--format", "docker"] },
  { name: "buildah", asks: ["--version"], builds: ["build", "--layers", "--format", "docker"] },
];

/** What an image is made of. */
export interface Build {
  /** Its target. */
  readonly program: ImageProgram;
  /** Names to give it. */
  readonly names: readonly string[];
  /** Where the code is, if that is known. */
  readonly source?: string | undefined;
}

const ROOT = join(import.meta.dirname!, "..");

/** The words of the command that builds an image. */
export function buildCommand(
  { name, builds }: Builder,
  { program, names, source }: Build,
): readonly string[] {
  return [
    name,
    ...builds,
    ...["--target", program],
    ...names.flatMap((each) => ["--tag", each]),
    ...(source === undefined ? [] : ["--build-arg", `SOURCE=${source}`]),
    ROOT,
  ];
}

/** The address of a git remote for everybody to see: of the web, and without log-in. */
export function publicSource(remote: string): string | undefined {
  if (!/^https?:\/\//.test(remote) || !URL.canParse(remote)) return undefined;
  const url = new URL(remote);
  url.username = url.password = "";
  return url.href;
}

/**
 * The first of {@linkcode BUILDERS} that works here.
 *
 * @throws {ConfigurationError} If none does; the message says what is wrong with each.
 */
export async function findBuilder(): Promise<Builder> {
  const faults: string[] = [];
  for (const builder of BUILDERS) {
    const fault = await faultOf([builder.name, ...builder.asks]);
    if (fault === undefined) return builder;
    faults.push(`${builder.name}: ${fault}`);
  }
  throw new ConfigurationError(
    `Cannot build images: no engine works here (${faults.join("; ")}). ` +
      `Start Docker, or install Podman with "apt-get install -y podman"`,
  );
}

async function faultOf([program = "", ...args]: readonly string[]): Promise<string | undefined> {
  try {
    const { success, code, stderr } = await new Deno.Command(program, { args, stdin: "null" })
      .output();
    if (success) return undefined;
    const [line] = new TextDecoder().decode(stderr).trim().split("\n");
    return line || `exit code ${code}`;
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? "not installed" : describeError(error);
  }
}

async function buildAll(): Promise<void> {
  const builder = await findBuilder();
  const source = await gitRemote();
  for (const program of IMAGE_PROGRAMS) {
    const name = `sensor-ledger-${program}`;
    tell(`building ${name} with ${builder.name}`);
    const names = [name, `${name}:${VERSION}`];
    const [path, ...args] = buildCommand(builder, { program, names, source });
    const { code } = await new Deno.Command(path!, { args, stdin: "null" }).spawn().status;
    if (code !== 0) throw new Error(`Cannot build ${name}: ${builder.name} ended with ${code}`);
  }
  tell(`made sensor-ledger-{producer,consumer}:${VERSION} with ${builder.name}`);
}

async function gitRemote(): Promise<string | undefined> {
  const args = ["-C", ROOT, "remote", "get-url", "origin"];
  const asked = await new Deno.Command("git", { args, stdin: "null" }).output().catch(() => null);
  return asked?.success ? publicSource(new TextDecoder().decode(asked.stdout).trim()) : undefined;
}

if (import.meta.main) {
  await runCommandLine(
    new Command("images")
      .description("Build both images with Docker, Podman or Buildah.")
      .action(buildAll),
  );
}
