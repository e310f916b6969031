/**
 * A base backup of the bed's PostgreSQL, and the way back to it.
 *
 * @module
 */
import { join } from "node:path";
import type { Bed } from "./bed.ts";
import { findPostgresProgram } from "../tools/stack/postgres.ts";
import { runProgram } from "../tools/stack/program.ts";

/** The state of the server at one moment. */
export interface BaseBackup {
  /** Puts it in the place of what the server has. The server must be stopped; used up once. */
  restore(): Promise<void>;
}

/** Copies the running server's data. */
export async function takeBaseBackup({ postgres, disk }: Bed): Promise<BaseBackup> {
  const copy = join(postgres.dir, "backup");
  const diskCopy = join(postgres.dir, "backup_disk");
  const command = [
    ...[await findPostgresProgram("pg_basebackup"), "--host=127.0.0.1"],
    ...[`--port=${postgres.ports[0]}`, "--username=postgres", "--no-password"],
    ...["--checkpoint=fast", "--wal-method=stream", "--no-sync"],
    ...[`--pgdata=${copy}`, `--tablespace-mapping=${disk.dir}=${diskCopy}`],
  ];
  const env = { PGPASSWORD: await Deno.readTextFile(postgres.passwordFile) };
  const { account } = postgres;
  await runProgram(command, { account, env });
  return {
    restore: async () => {
      const places = [postgres.data, copy, disk.dir, diskCopy];
      await runProgram(["/bin/sh", "-c", RESTORE, "sh", ...places], { account });
    },
  };
}

/** The disk is emptied and filled, not replaced: it is mounted. */
const RESTORE = `set -e
data=$1 copy=$2 disk=$3 disk_copy=$4
rm -rf "$data"
mv "$copy" "$data"
find "$disk" -mindepth 1 -delete
cp -a "$disk_copy/." "$disk"
rm -rf "$disk_copy"
for link in "$data"/pg_tblspc/*; do ln -sfn "$disk" "$link"; done`;
