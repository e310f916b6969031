/** A log whose lines are kept, for tests. */
import type { Clock } from "../lib/clock.ts";
import { createLog, type Log } from "../lib/log.ts";

/** Keeps lines from level info on as text, without their time. */
export function keptLog(clock: Clock): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const log = createLog({
    level: "info",
    format: "text",
    write: (line) => lines.push(line.replace(/^\S+ /, "").trimEnd()),
    clock,
  });
  return { log, lines };
}
