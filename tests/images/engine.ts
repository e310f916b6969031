/**
 * Builds and runs the images: with Docker if its engine answers, else with Podman and Buildah and
 * a store of the test's own. What is made is removed, and nothing else is touched.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { ConfigurationError } from "../../lib/errors.ts";
import { buildCommand, BUILDERS, findBuilder, type ImageProgram } from "../../tools/images.ts";
import { findProgram, runProgram } from "../../tools/stack/program.ts";
import type { Ended, Environment } from "../integration/processes.ts";
import { makeBases } from "./bases.ts";

/** How a container runs, beside what all of them have in common. */
export interface ContainerOptions {
  /** Settings. */
  readonly env?: Environment;
  /** Further flags of `run`. */
  readonly flags?: readonly string[];
  /** Most memory, MiB. @default {@linkcode MEMORY_MEGABYTES} */
  readonly memoryMegabytes?: number;
}

/** The engine's own exit code, of `run`. */
const ENGINE_FAILED = 125;

/** What a container may use, MiB. `compose.yaml` and docs/deployment.md promise that it is enough. */
export const MEMORY_MEGABYTES = 320;

/** An engine, and the images that it has made. */
export class Engine implements AsyncDisposable {
  readonly name: "docker" | "podman";
  readonly #prefix = `sensor-ledger-test-${Deno.pid}`;
  readonly #env: Environment;
  readonly #store: string | undefined;
  readonly #images: string[] = [];

  private constructor(name: "docker" | "podman", env: Environment, store?: string) {
    this.name = name;
    this.#env = env;
    this.#store = store;
  }

  /**
   * Finds an engine.
   *
   * @throws {ConfigurationError} If none works here, or a program is missing.
   */
  static async open(): Promise<Engine> {
    const { name } = await findBuilder();
    if (name === "docker") return new Engine(name, {});
    for (const each of ["podman", "buildah", "tini"]) {
      await findProgram({ name: each, install: "apt-get install -y podman buildah runc tini" });
    }
    if (Deno.uid() !== 0) {
      throw new ConfigurationError("Cannot test the images with Podman: be root, or start Docker");
    }
    const store = await Deno.makeTempDir({ prefix: "images-" });
    const engine = new Engine("podman", await privateStore(store), store);
    await makeBases(join(store, "bases"), (args) => engine.#do("buildah", args));
    return engine;
  }

  /** Builds the image of a program. */
  async build(program: ImageProgram): Promise<void> {
    const name = this.#imageOf(program);
    this.#images.push(name);
    const builder = BUILDERS.find((each) =>
      each.name === (this.name === "docker" ? "docker" : "buildah")
    )!;
    // A container that builds can do without rights that machines for tests seldom give.
    const isolation = builder.name === "buildah" ? ["--isolation", "chroot"] : [];
    const [path, first, ...rest] = buildCommand(builder, { program, names: [name] });
    await this.#do(path!, [first!, ...isolation, ...rest]);
  }

  /** What the engine knows of an image, by a template of Go. */
  async inspect(program: ImageProgram, template: string): Promise<string> {
    return await this.#do(this.name, [
      ...["image", "inspect", "--format", template],
      this.#imageOf(program),
    ]);
  }

  /** What an image has beside its base, bytes. */
  async addedBytes(program: ImageProgram): Promise<number> {
    const base = `denoland/deno:distroless-${Deno.version.deno}`;
    const sizes = [this.#imageOf(program), base].map(async (name) =>
      Number(await this.#do(this.name, ["image", "inspect", "--format", "{{.Size}}", name]))
    );
    const [all, below] = await Promise.all(sizes);
    return all! - below!;
  }

  /** Runs a program in a container to its end, whatever its exit code. */
  async run(
    program: ImageProgram,
    args: readonly string[],
    options: ContainerOptions = {},
  ): Promise<Ended> {
    const ended = await this.#call(this.name, [
      ...["run", "--rm", ...this.#flags(options), this.#imageOf(program)],
      ...args,
    ]);
    assert.notEqual(ended.code, ENGINE_FAILED, ended.stderr);
    return ended;
  }

  /**
   * Starts a program in a container that goes on. The engine's command stays in the foreground: what
   * ends this test, a Ctrl-C or a time limit, ends the container, too.
   */
  start(program: ImageProgram, options: ContainerOptions = {}): Container {
    const name = `${this.#prefix}-${program}`;
    const args = ["run", "--name", name, ...this.#flags(options), this.#imageOf(program)];
    const running = this.#command(this.name, args).output();
    return new Container(name, { call: (args) => this.#call(this.name, args), running });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#store === undefined) {
      await this.#call("docker", ["image", "rm", "--force", ...this.#images]);
      return;
    }
    await this.#call("podman", ["rm", "--all", "--force", "--time", "0"]);
    await Deno.remove(this.#store, { recursive: true });
  }

  #imageOf(program: ImageProgram): string {
    return `${this.#prefix}-${program}-image`;
  }

  #flags(
    { env = {}, flags = [], memoryMegabytes = MEMORY_MEGABYTES }: ContainerOptions,
  ): readonly string[] {
    const memory = `${memoryMegabytes}m`;
    return [
      ...["--network", "host", "--read-only", "--cap-drop", "ALL"],
      ...["--security-opt", "no-new-privileges", "--memory", memory, "--memory-swap", memory],
      ...Object.entries(env).flatMap(([name, value]) => ["--env", `${name}=${value}`]),
      ...flags,
    ];
  }

  async #do(path: string, args: readonly string[]): Promise<string> {
    return await runProgram([path, ...args], { env: this.#env });
  }

  async #call(path: string, args: readonly string[]): Promise<Ended> {
    const { code, stdout, stderr } = await this.#command(path, args).output();
    const text = new TextDecoder();
    return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
  }

  #command(path: string, args: readonly string[]): Deno.Command {
    return new Deno.Command(path, {
      args: [...args],
      // Podman leaves a file named oom where it stands when a container is killed for its memory.
      cwd: this.#store ?? "/",
      env: { ...this.#env },
      stdin: "null",
    });
  }
}

/** A container that runs, or did. */
export class Container implements AsyncDisposable {
  readonly #name: string;
  readonly #call: (args: readonly string[]) => Promise<Ended>;
  readonly #running: Promise<unknown>;

  /** Made by {@linkcode Engine.start}. */
  constructor(
    name: string,
    { call, running }: {
      readonly call: (args: readonly string[]) => Promise<Ended>;
      readonly running: Promise<unknown>;
    },
  ) {
    this.#name = name;
    this.#call = call;
    this.#running = running;
  }

  /** Whether the image's health check says so now. Podman's own checks are made by systemd. */
  async isHealthy(engine: Engine["name"]): Promise<boolean> {
    if (engine === "podman") {
      return (await this.#call(["healthcheck", "run", this.#name])).code === 0;
    }
    return await this.#inspect("{{.State.Health.Status}}") === "healthy";
  }

  /** What it has written so far, to both streams. */
  async logs(): Promise<string> {
    const { stdout, stderr } = await this.#call(["logs", this.#name]);
    return stdout + stderr;
  }

  /** Stops it as `compose.yaml` would. */
  async stop(): Promise<{ readonly exitCode: number; readonly tookMs: number }> {
    const startedMs = performance.now();
    await this.#call(["stop", "--time", "15", this.#name]);
    const tookMs = performance.now() - startedMs;
    return { exitCode: Number(await this.#inspect("{{.State.ExitCode}}")), tookMs };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#call(["rm", "--force", this.#name]);
    await this.#running;
  }

  async #inspect(template: string): Promise<string> {
    const { code, stdout, stderr } = await this.#call([
      "inspect",
      "--format",
      template,
      this.#name,
    ]);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  }
}

/** The settings of Podman and Buildah by which nothing of the machine's own store is seen. */
async function privateStore(dir: string): Promise<Environment> {
  const storage = join(dir, "storage.conf");
  await Deno.writeTextFile(
    storage,
    `[storage]
driver = "overlay"
graphroot = "${dir}/store"
runroot = "${dir}/run"
[storage.options.overlay]
skip_mount_home = "true"
`,
  );
  const containers = join(dir, "containers.conf");
  await Deno.writeTextFile(
    containers,
    `[containers]
# Those of whoever runs it: to raise them is a right that root need not have.
default_ulimits = []
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "${dir}/run/libpod"
`,
  );
  return { CONTAINERS_STORAGE_CONF: storage, CONTAINERS_CONF: containers };
}
