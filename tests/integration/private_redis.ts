/**
 * A Redis server of the test's own: on a free port of the loopback, with nothing on disk.
 *
 * @module
 */
import { connect } from "node:net";
import { systemClock } from "../../lib/clock.ts";

/** Longest wait for the server to come up or to end, ms. */
const PATIENCE_MS = 10_000;

/** A `redis-server` process that can be hurt. */
export class PrivateRedis implements AsyncDisposable {
  readonly port: number;
  readonly #arguments: readonly string[];
  #process: Deno.ChildProcess | undefined;

  private constructor(port: number, args: readonly string[]) {
    this.port = port;
    this.#arguments = args;
  }

  /** Starts a server; `args` are further ones of its command line. */
  static async start(...args: string[]): Promise<PrivateRedis> {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    const server = new PrivateRedis(port, args);
    await server.up();
    return server;
  }

  /** Starts the server again on its port, empty. */
  async up(): Promise<void> {
    this.#process = new Deno.Command("redis-server", {
      args: [
        ...["--bind", "127.0.0.1", "--port", String(this.port)],
        ...["--save", "", "--appendonly", "no", "--dir", "/tmp"],
        ...this.#arguments,
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until("redis-server accepts connections", () => accepts(this.port));
  }

  /** Ends the server at once, as a crash does. */
  async kill(): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    this.#process = undefined;
    process.kill("SIGKILL");
    await process.status;
  }

  /** Stops the process in its tracks: connections stay open and nobody answers. */
  freeze(): void {
    this.#process?.kill("SIGSTOP");
  }

  /** Undoes {@linkcode PrivateRedis.freeze}. */
  thaw(): void {
    this.#process?.kill("SIGCONT");
  }

  /** Runs `redis-cli` and gives the lines that it prints. */
  async cli(...args: string[]): Promise<string[]> {
    const { stdout } = await new Deno.Command("redis-cli", {
      args: ["-h", "127.0.0.1", "-p", String(this.port), ...args],
      stderr: "null",
    }).output();
    const text = new TextDecoder().decode(stdout).trimEnd();
    return text === "" ? [] : text.split("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** Asks again every 20 ms until the answer is yes. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const startMs = systemClock.elapsedMs();
  while (!await holds()) {
    if (systemClock.elapsedMs() - startMs > PATIENCE_MS) throw new Error(`Not seen: ${what}`);
    await systemClock.sleep(20);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    const settle = (isOpen: boolean) => (): void => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once("connect", settle(true)).once("error", settle(false));
  });
}
