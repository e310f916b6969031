/**
 * What is wrong with a file that a setting names.
 *
 * @module
 */
import { isPermissionFault } from "../connect_fault.ts";
import { describeError } from "../errors.ts";

const TEXTS: ReadonlyMap<string, string> = new Map([
  ["ENOENT", "does not exist"],
  ["ENOTDIR", "does not exist: a part of the path is not a directory"],
  ["EACCES", "cannot be read by the user that this program runs as"],
  ["EISDIR", "is a directory"],
]);

/** The end of a sentence that begins with the file's path. */
export function fileFault(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const text = TEXTS.get(code);
  if (text !== undefined) return text;
  // Deno guards the ways into the system, /proc and with it /dev/fd, by the permission for everything.
  if (/Requires all access/.test(describeError(error))) {
    return "is not a regular file, and Deno does not let this program read it: name a regular file";
  }
  return isPermissionFault(error)
    ? "is not among the files that this program may read (--allow-read)"
    : `cannot be read: ${describeError(error)}`;
}
