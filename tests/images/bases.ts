/**
 * Stands in for the images that the Dockerfile builds on, where no registry can be reached: the same
 * names, made of what this machine has installed.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { findProgram, runProgram } from "../../tools/stack/program.ts";

/** Programs of the base that is for building: what a `RUN` calls. */
const BUILD_PROGRAMS = ["sh", "find", "mkdir", "cp"];

const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

const RECIPE = `
FROM scratch AS distroless
COPY distroless /
ENV DENO_DIR="/deno-dir/" DENO_USE_CGROUPS="1" PATH="/usr/bin:/bin"
FROM distroless AS debian
COPY debian /
ENV DENO_TLS_CA_STORE="system"
`;

/**
 * Makes the bases.
 *
 * @param dir a directory to make
 * @param buildah runs it
 */
export async function makeBases(
  dir: string,
  buildah: (args: readonly string[]) => Promise<string>,
): Promise<void> {
  const distroless = join(dir, "distroless");
  await copyProgram(Deno.execPath(), join(distroless, "bin/deno"), distroless);
  await copyProgram(await pathOf("tini"), join(distroless, "tini"), distroless);
  await copyFile(CERTIFICATES, join(distroless, CERTIFICATES));
  await Deno.mkdir(join(distroless, "tmp"));
  await Deno.chmod(join(distroless, "tmp"), 0o1777);
  const debian = join(dir, "debian");
  for (const name of BUILD_PROGRAMS) {
    await copyProgram(await pathOf(name), join(debian, "bin", name), debian);
  }
  const recipe = join(dir, "Dockerfile");
  await Deno.writeTextFile(recipe, RECIPE);
  for (const kind of ["distroless", "debian"]) {
    const name = `docker.io/denoland/deno:${kind}-${Deno.version.deno}`;
    await buildah(["build", "--layers", "--target", kind, "--tag", name, "--file", recipe, dir]);
  }
}

async function pathOf(name: string): Promise<string> {
  return await findProgram({ name, install: `apt-get install -y ${name}` });
}

/** Copies a program, and the libraries that it is linked to, to where the machine has them. */
async function copyProgram(path: string, to: string, root: string): Promise<void> {
  await copyFile(path, to);
  const linked = await runProgram(["ldd", path]);
  for (const [library] of linked.matchAll(/\/\S+/g)) await copyFile(library, join(root, library));
}

async function copyFile(from: string, to: string): Promise<void> {
  await Deno.mkdir(dirname(to), { recursive: true });
  await Deno.copyFile(from, to);
}
