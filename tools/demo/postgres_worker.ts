/**
 * The worker that holds PostgreSQL in WebAssembly and lets clients in by TCP, so that its work never
 * holds up the flow. `embedded_postgres.ts` starts it.
 *
 * @module
 */
import { PGlite } from "@electric-sql/pglite";
// Not in the import map: it and PGlite name each other as peers, and deno compile, which walks all
// that the map names, overflows its stack on the circle.
// deno-lint-ignore no-import-prefix -- see above
import { PGLiteSocketServer } from "npm:@electric-sql/pglite-socket@0.2.17";

/** What the worker is told. */
export type WorkerCommand =
  /** Open the database, in memory or in a directory, and listen. */
  | {
    readonly kind: "start";
    readonly dataDir: string | undefined;
    readonly connectionsMax: number;
  }
  /** Hang up on everybody and let nobody in. */
  | { readonly kind: "pause" }
  /** Let clients in again, at the same port. */
  | { readonly kind: "resume" }
  /** Close the database. */
  | { readonly kind: "stop" };

/** What the worker answers to each command. */
export type WorkerAnswer =
  | { readonly kind: "done"; readonly port: number }
  | { readonly kind: "failed"; readonly text: string };

// A worker's global has these two; the types of a page say otherwise.
interface WorkerScope {
  onmessage: ((event: MessageEvent<WorkerCommand>) => void) | null;
  postMessage(answer: WorkerAnswer): void;
}
const scope = globalThis as unknown as WorkerScope;

let database: PGlite | undefined;
let server: PGLiteSocketServer | undefined;
let port = 0;
let connectionsMax = 1;

scope.onmessage = ({ data }) => {
  obey(data).then(
    () => scope.postMessage({ kind: "done", port }),
    (error) => scope.postMessage({ kind: "failed", text: String(error) }),
  );
};

async function obey(command: WorkerCommand): Promise<void> {
  switch (command.kind) {
    case "start":
      connectionsMax = command.connectionsMax;
      database = await PGlite.create({
        ...(command.dataDir !== undefined && { dataDir: command.dataDir }),
        initDbStartParams: ["--wal-segsize=1"],
        startParams: [...PGlite.defaultStartParams, "-c", "shared_buffers=32MB"],
      });
      takeWholeFlights(database);
      return await listen(database);
    case "pause":
      await server?.stop();
      server = undefined;
      return;
    case "resume":
      if (database !== undefined) await listen(database);
      return;
    case "stop":
      await server?.stop();
      await database?.close();
  }
}

/** The first bytes of the messages that a Sync ends: of a statement, and of rows that are copied. */
const PARTS_OF_FLIGHT: ReadonlySet<number> = new Set(
  [..."PBDEdc"].map((type) => type.charCodeAt(0)),
);

const FLUSH = "H".charCodeAt(0);
/** "Send rows", in binary, of any number of columns. */
const COPY_IN_RESPONSE = Uint8Array.of("G".charCodeAt(0), 0, 0, 0, 7, 1, 0, 0);

/**
 * The socket server hands over one message at a time, and PostgreSQL, once it copies, expects the
 * next ones at once: it takes their absence for the end of the client. So messages are kept until
 * those are there that belong together, and whoever waits to send rows is told to.
 */
function takeWholeFlights(db: PGlite): void {
  const run = db.execProtocolRawStream.bind(db);
  let kept: Uint8Array[] = [];
  db.execProtocolRawStream = async (message, options): Promise<void> => {
    const type = message[0] ?? 0;
    // A client that begins has no type, and what another one has left is not its own.
    if (type === 0) kept = [];
    kept.push(message);
    if (PARTS_OF_FLIGHT.has(type)) return;
    if (type === FLUSH) return options?.onRawData(COPY_IN_RESPONSE);
    const flight = new Uint8Array(await new Blob(kept as BlobPart[]).arrayBuffer());
    kept = [];
    await run(flight, options);
  };
}

async function listen(db: PGlite): Promise<void> {
  server = new PGLiteSocketServer({ db, host: "127.0.0.1", port, maxConnections: connectionsMax });
  await server.start();
  port = Number(server.getServerConn().split(":").at(-1));
}
