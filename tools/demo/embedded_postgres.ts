/**
 * PostgreSQL without a server: in WebAssembly inside a worker, for the ordinary client.
 *
 * All clients share ONE session, and even the unnamed statement of one is that of the others: use
 * one connection.
 *
 * @module
 */
import type { PostgresSettings } from "../../lib/postgres/pool.ts";
import type { WorkerAnswer, WorkerCommand } from "./postgres_worker.ts";

/** A database that runs in this process. */
export interface EmbeddedPostgres extends AsyncDisposable {
  /** How to reach it. */
  readonly settings: PostgresSettings;
  /** Hangs up on all clients and lets none in: it is away, with all it has. */
  pause(): Promise<void>;
  /** Is there again. */
  resume(): Promise<void>;
}

/** Clients at the same time: one, and the one before it that has not quite gone. */
const CONNECTIONS_MAX = 4;

/**
 * Starts it, which takes a second or more.
 *
 * @param dataDir Where the data is kept; undefined: in memory.
 * @throws {Error} if the directory cannot be used.
 */
export async function startEmbeddedPostgres(dataDir?: string): Promise<EmbeddedPostgres> {
  const worker = new Worker(new URL("./postgres_worker.ts", import.meta.url), { type: "module" });
  const tell = (command: WorkerCommand): Promise<number> =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<WorkerAnswer>) =>
        data.kind === "done" ? resolve(data.port) : reject(
          new Error(`Cannot ${command.kind} the embedded PostgreSQL: ${data.text}`),
        );
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(`Cannot ${command.kind} the embedded PostgreSQL: ${event.message}`));
      };
      worker.postMessage(command);
    });
  try {
    const port = await tell({ kind: "start", dataDir, connectionsMax: CONNECTIONS_MAX });
    return {
      settings: {
        host: "127.0.0.1",
        port,
        database: "postgres",
        user: "postgres",
        password: "postgres",
        poolMax: 1,
        connectTimeoutMs: 5_000,
        statementTimeoutMs: 8_000,
      },
      pause: async () => {
        await tell({ kind: "pause" });
      },
      resume: async () => {
        await tell({ kind: "resume" });
      },
      [Symbol.asyncDispose]: async () => {
        await tell({ kind: "stop" });
        worker.terminate();
      },
    };
  } catch (error) {
    worker.terminate();
    throw error;
  }
}
