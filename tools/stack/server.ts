/**
 * One server of the stack as a process of this machine: started in the background, asked whether
 * it answers, and ended. It outlives the program that started it; a file keeps its process id.
 *
 * What is special to Kafka, PostgreSQL and Redis is in the modules of their names.
 *
 * @module
 */
import { join } from "node:path";
import { systemClock } from "../../lib/clock.ts";
import { ConfigurationError, describeError } from "../../lib/errors.ts";
import { type Account, lastLines, runProgram } from "./program.ts";

/** Longest time that a server may take from its start to its first answer, in milliseconds. */
export const START_MS_MAX = 90_000;

/** Longest time that a server may take to end when asked to, in milliseconds. */
export const STOP_MS_MAX = 30_000;

/** Longest time that a server may take for one answer, in milliseconds. */
export const ANSWER_MS_MAX = 3_000;

const POLL_MS = 100;
/** How long a port may take to become free, ms. */
const PORT_FREE_MS_MAX = 2_000;

/** A server that this machine can run. Making one does nothing yet. */
export interface Server {
  /** What people call it. */
  readonly name: string;
  /** Holds its data, `server.pid` and `server.log`. */
  readonly dir: string;
  /** The loopback ports that it listens on, the clients' port first. */
  readonly ports: readonly number[];
  /**
   * An argument of its command line that no other process has, so that a process id out of an old
   * file is never taken for this server.
   */
  readonly marker: string;
  /** The signal on which it ends cleanly, and soon. */
  readonly stopSignal: "SIGTERM" | "SIGINT";
  /**
   * Whom it runs as.
   * @default the caller
   */
  readonly account?: Account | undefined;
  /**
   * Makes `dir` ready for a start and returns the command line.
   *
   * @param report called with a line of text before what takes long
   */
  prepare(report: (line: string) => void): Promise<readonly string[]>;
  /** Resolves if the server answers a real question, else rejects with the cause. */
  ask(): Promise<void>;
}

/** What {@linkcode serverState} finds. */
export type ServerState =
  | { readonly kind: "answers"; readonly pid: number }
  | { readonly kind: "silent"; readonly pid: number; readonly cause: string }
  | { readonly kind: "stopped" };

/** The id of the server's process, or undefined if it does not run. */
export async function serverPid(server: Server): Promise<number | undefined> {
  try {
    const pid = Number(await Deno.readTextFile(pidFile(server)));
    return (await commandLine(pid)).includes(server.marker) ? pid : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Whether the server runs, and whether it answers. */
export async function serverState(server: Server): Promise<ServerState> {
  const pid = await serverPid(server);
  if (pid === undefined) return { kind: "stopped" };
  try {
    await server.ask();
    return { kind: "answers", pid };
  } catch (error) {
    return { kind: "silent", pid, cause: describeError(error) };
  }
}

/**
 * Starts the server unless it runs, and waits until it answers.
 *
 * @param report called with a line of text before what takes long
 * @returns whether it was started here or ran already
 * @throws {ConfigurationError} If a port is taken, or a program is missing.
 * @throws {Error} If it ends, or does not answer within {@linkcode START_MS_MAX}.
 */
export async function startServer(
  server: Server,
  report: (line: string) => void = () => {},
): Promise<"started" | "running"> {
  const running = await serverPid(server) !== undefined;
  if (!running) {
    for (const port of server.ports) await untilPortFree(server.name, port);
    const command = await server.prepare(report);
    await Deno.writeTextFile(pidFile(server), await spawn(server, command));
  }
  const startedMs = systemClock.elapsedMs();
  for (;;) {
    const state = await serverState(server);
    if (state.kind === "answers") return running ? "running" : "started";
    if (state.kind === "stopped") throw new Error(await endedText(server));
    if (systemClock.elapsedMs() - startedMs > START_MS_MAX) {
      throw new Error(`Cannot reach ${server.name} (pid ${state.pid}): ${state.cause}`);
    }
    await systemClock.sleep(POLL_MS);
  }
}

/**
 * Ends the server if it runs, and waits until its process is gone. One that does not end within
 * {@linkcode STOP_MS_MAX} is killed.
 *
 * @param signal `SIGKILL` gives it no chance to put its data in order.
 * @default signal the server's own way to end cleanly
 */
export async function stopServer(
  server: Server,
  signal: Deno.Signal = server.stopSignal,
): Promise<"stopped" | "killed" | "was not running"> {
  if (!await signalServer(server, signal)) return "was not running";
  if (await endsWithin(server, STOP_MS_MAX)) return "stopped";
  await signalServer(server, "SIGKILL");
  await endsWithin(server, STOP_MS_MAX);
  return "killed";
}

/** Sends a signal to the server's process. Returns false if it does not run. */
export async function signalServer(server: Server, signal: Deno.Signal): Promise<boolean> {
  const pid = await serverPid(server);
  if (pid === undefined) return false;
  try {
    Deno.kill(pid, signal);
    return true;
  } catch (error) {
    // It ended on its own in between.
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Waits until nobody listens on a loopback port: of a server that was killed the process can look gone
 * while its threads still hold its sockets.
 *
 * @throws {ConfigurationError} If somebody still does after {@linkcode PORT_FREE_MS_MAX}.
 */
async function untilPortFree(serverName: string, port: number): Promise<void> {
  const startedMs = systemClock.elapsedMs();
  for (;;) {
    try {
      return Deno.listen({ hostname: "127.0.0.1", port }).close();
    } catch (cause) {
      if (systemClock.elapsedMs() - startedMs > PORT_FREE_MS_MAX) {
        throw new ConfigurationError(
          `Cannot start ${serverName}: port ${port} is taken by another program ` +
            `(see "ss -ltnp"); stop that program or choose another port, see "--help"`,
          { cause },
        );
      }
      await systemClock.sleep(POLL_MS);
    }
  }
}

/**
 * Starts the process in a session of its own, its output in `server.log`, and returns its id.
 * The shell in between ends at once, so the server is nobody's child and outlives us; and Ctrl-C in
 * our terminal does not reach it, so that whoever started it can still end it in good order.
 */
async function spawn(server: Server, command: readonly string[]): Promise<string> {
  const script = 'log=$1; shift; { exec "$@"; } >>"$log" 2>&1 </dev/null & echo $!';
  const shell = new Deno.Command("/bin/sh", {
    ...server.account,
    args: ["-c", script, "sh", logFile(server), ...command],
    cwd: "/",
    detached: true,
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  });
  // Not shell.output(), which does not heed `detached`.
  const { stdout } = await shell.spawn().output();
  return new TextDecoder().decode(stdout).trim();
}

async function endsWithin(server: Server, waitMs: number): Promise<boolean> {
  const startedMs = systemClock.elapsedMs();
  while (await serverPid(server) !== undefined) {
    if (systemClock.elapsedMs() - startedMs > waitMs) return false;
    await systemClock.sleep(POLL_MS);
  }
  await Deno.remove(pidFile(server)).catch(() => {});
  return true;
}

/** The arguments of a process; none of a process that has ended. */
async function commandLine(pid: number): Promise<readonly string[]> {
  if (!Number.isSafeInteger(pid) || pid <= 1) return [];
  if (Deno.build.os === "linux") {
    const file = `/proc/${pid}/cmdline`;
    // Empty for good once the process has ended, and for an instant while it turns from the shell
    // that started it into the server.
    for (let attempt = 0; attempt < 10; attempt++) {
      const text = await Deno.readTextFile(file).catch(() => undefined);
      if (text === undefined) return [];
      if (text !== "") return text.split("\0");
      await systemClock.sleep(10);
    }
    return [];
  }
  // No argument of ours holds a space but for a directory's name, and that only joins the marker.
  const line = await runProgram(["ps", "-ww", "-o", "args=", "-p", String(pid)]).catch(() => "");
  return line.trim().split(" ");
}

async function endedText(server: Server): Promise<string> {
  const log = await Deno.readTextFile(logFile(server)).catch(() => "");
  return `Cannot start ${server.name}: it ended; see ${logFile(server)}: ${lastLines(log, 8)}`;
}

function pidFile(server: Server): string {
  return join(server.dir, "server.pid");
}

function logFile(server: Server): string {
  return join(server.dir, "server.log");
}
