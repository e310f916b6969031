/**
 * A disk for the database alone, so that it can be full without harm to anything else: a tmpfs,
 * which holds the database as its tablespace and shrinks to what is used in it. PostgreSQL's log of
 * changes is elsewhere and goes on. Mounting takes root; without it the disk is never full.
 *
 * @module
 */
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { describeError } from "../lib/errors.ts";
import type { PostgresServer, SuperuserSession } from "../tools/stack/postgres.ts";
import { findProgram, runProgram } from "../tools/stack/program.ts";
import { NotPossibleError } from "./not_possible.ts";

/** Size of the disk unless it is full. Memory is taken for what is used only. */
const DISK_BYTES = 2 * 1_024 ** 3;

/** While the size is read and set, PostgreSQL may have taken more. */
const FILL_TRIES_MAX = 10;

/** SQLSTATE of a full disk. */
const DISK_FULL = "53100";

/** The disk of the database. Disposing of it unmounts it: PostgreSQL must be stopped by then. */
export interface DatabaseDisk extends AsyncDisposable {
  /** Where it is mounted. */
  readonly dir: string;
  /**
   * Takes all free room away, and resolves when PostgreSQL has found the disk full.
   *
   * @throws {NotPossibleError} If the disk could not be mounted.
   */
  fill(): Promise<void>;
  /** Gives the room back, and resolves when PostgreSQL can write again. */
  free(): Promise<void>;
}

/** Mounts the disk and moves the database to it. Nobody may be connected to the database. */
export async function openDatabaseDisk(
  postgres: PostgresServer,
  database: string,
): Promise<DatabaseDisk> {
  const dir = join(postgres.dir, "disk");
  await Deno.mkdir(dir);
  if (postgres.account !== undefined) {
    await Deno.chown(dir, postgres.account.uid, postgres.account.gid);
  }
  const mounted = await mount(postgres, dir).then(() => true, (error) => {
    return new NotPossibleError(`a disk cannot be mounted: ${describeError(error)}`);
  });
  const resize = async (bytes: number): Promise<void> => {
    if (mounted !== true) throw mounted;
    await runProgram([await findMount("mount"), "-o", `remount,size=${bytes}`, dir]);
  };
  await postgres.asSuperuser("postgres", async (session) => {
    await session.query(`CREATE TABLESPACE disk LOCATION '${dir}'`);
    await session.query(`ALTER DATABASE "${database}" SET TABLESPACE disk`);
  });
  return {
    dir,
    // A first session finds no cache of the catalogue, and on a full disk it could not make one.
    fill: () =>
      postgres.asSuperuser(database, async (session) => {
        await tryToWrite(session);
        await shrink(dir, resize);
        const state = await tryToWrite(session);
        if (state !== DISK_FULL) throw new Error(`Cannot fill the disk: PostgreSQL says ${state}`);
      }),
    free: () =>
      postgres.asSuperuser(database, async (session) => {
        await resize(DISK_BYTES);
        const state = await tryToWrite(session);
        if (state !== "ok") throw new Error(`Cannot free the disk: PostgreSQL says ${state}`);
      }),
    [Symbol.asyncDispose]: async () => {
      if (mounted === true) await runProgram([await findMount("umount"), dir]);
    },
  };
}

async function mount({ account }: PostgresServer, dir: string): Promise<void> {
  const owner = account === undefined ? [] : [`uid=${account.uid}`, `gid=${account.gid}`];
  const options = [`size=${DISK_BYTES}`, "mode=700", ...owner].join(",");
  await runProgram([await findMount("mount"), "-t", "tmpfs", "-o", options, "tmpfs", dir]);
}

async function findMount(name: "mount" | "umount"): Promise<string> {
  return await findProgram({ name, dirs: ["/bin", "/sbin"], install: "apt-get install -y mount" });
}

async function shrink(dir: string, resize: (bytes: number) => Promise<void>): Promise<void> {
  for (let tries = 1;; tries++) {
    const { blocks, bfree, bsize } = await statfs(dir);
    try {
      return await resize((blocks - bfree) * bsize);
    } catch (error) {
      if (error instanceof NotPossibleError || tries === FILL_TRIES_MAX) throw error;
    }
  }
}

/** Writes a page that nobody sees. Gives "ok" or what PostgreSQL says, if it can, by SQLSTATE. */
async function tryToWrite(session: SuperuserSession): Promise<string> {
  try {
    await session.query("BEGIN");
    await session.query(
      "CREATE TABLE public.probe AS SELECT 1 AS page",
    );
    return "ok";
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : describeError(error);
  } finally {
    await session.query("ROLLBACK");
  }
}
