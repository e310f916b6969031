/**
 * A PgBouncer of the test's own, in front of the PostgreSQL of the private stack.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { PostgresSettings } from "../../lib/postgres/pool.ts";
import { testServers } from "./test_stack.ts";
import { until } from "./private_redis.ts";

/** How long a client keeps a connection to the server. */
export type PoolMode = "session" | "transaction" | "statement";

/** A `pgbouncer` process on a free port of the loopback and a socket. */
export class PrivatePooler implements AsyncDisposable {
  readonly port: number;
  /** The directory of its Unix socket. */
  readonly dir: string;
  readonly #account: { uid?: number; gid?: number };
  #process: Deno.ChildProcess | undefined;

  private constructor(parts: { port: number; dir: string; uid?: number; gid?: number }) {
    const { port, dir, ...account } = parts;
    this.port = port;
    this.dir = dir;
    this.#account = account;
  }

  /**
   * Starts it with its defaults: nothing that a program may say at its start is ignored.
   *
   * @param server where it connects to, and whom it lets in
   */
  static async start(server: PostgresSettings, mode: PoolMode): Promise<PrivatePooler> {
    const [postgres] = (await testServers()).postgres;
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    // The path of a socket must be short.
    const dir = await Deno.makeTempDir({ dir: "/tmp" });
    const settings = {
      ...{ listen_addr: "127.0.0.1", listen_port: port, unix_socket_dir: dir },
      ...{ auth_type: "plain", auth_file: join(dir, "users.txt") },
      ...{ pool_mode: mode, default_pool_size: 3, server_round_robin: 1 },
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
    await Deno.writeTextFile(
      join(dir, "pgbouncer.ini"),
      ["[databases]", `* = host=${server.host} port=${server.port}`, "[pgbouncer]", ...lines]
        .join("\n"),
    );
    const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
    await Deno.writeTextFile(
      settings.auth_file,
      `${quoted(server.user)} ${quoted(server.password)}\n`,
    );
    const account = postgres?.account;
    if (account !== undefined) await Deno.chown(dir, account.uid, account.gid);
    await Deno.chmod(dir, 0o755);
    const pooler = new PrivatePooler({ port, dir, ...account });
    await pooler.up();
    return pooler;
  }

  /** Starts it, again. */
  async up(): Promise<void> {
    assert.ok(this.#process === undefined);
    // It refuses to run as root.
    this.#process = new Deno.Command("pgbouncer", {
      args: ["-q", join(this.dir, "pgbouncer.ini")],
      ...this.#account,
      clearEnv: true,
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until("pgbouncer listens", async () => {
      const socket = await Deno.connect({ hostname: "127.0.0.1", port: this.port })
        .catch(() => null);
      socket?.close();
      return socket !== null;
    });
  }

  /** Ends it at once: all connections through it are gone. */
  async kill(): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    this.#process = undefined;
    process.kill("SIGKILL");
    await process.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.dir, { recursive: true });
  }
}
