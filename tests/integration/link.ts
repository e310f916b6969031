/**
 * A link to a server that can stop to carry anything without hanging up, or be cut.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { connect, createServer, type Socket } from "node:net";

/** Where in what a client sends the link stops to carry it: before these bytes, or after so many. */
export type LinkStop = Buffer | number;

/** A link whose near end is a port of the loopback. */
export interface Link {
  /** Its near end. */
  readonly port: number;
  /** Carries nothing any more. Connections that are open now stay dead. */
  stall(): void;
  /** Carries what comes on new connections. */
  heal(): void;
  /** Stops within what the next client sends, as if the client froze there; resolves when it has. */
  stallWithin(stop: LinkStop): Promise<void>;
  /** Hangs up on everybody. */
  cut(): void;
}

/** Opens a link to `target`, and closes it when `use` has returned. */
export async function withLink(
  target: { readonly host: string; readonly port: number },
  use: (link: Link) => Promise<void>,
): Promise<void> {
  const sockets = new Set<Socket>();
  let stalled = false;
  let within: { readonly stop: LinkStop; readonly stalled: () => void } | undefined;
  const server = createServer((near) => {
    const far = connect(target);
    let sent = Buffer.alloc(0);
    for (const [from, to] of [[near, far], [far, near]] as const) {
      sockets.add(from);
      // Sockets that were there during the stall stay dead, as after a lost route.
      from.on("data", (bytes: Buffer) => {
        if (stalled) sockets.delete(from);
        if (!sockets.has(from)) return;
        const before = sent.length;
        if (from === near && within !== undefined) sent = Buffer.concat([sent, bytes]);
        const end = from === near && within !== undefined ? endOf(sent, within.stop) : -1;
        if (end === -1) {
          to.write(bytes);
          return;
        }
        to.write(sent.subarray(before, end));
        sockets.delete(near);
        within?.stalled();
        within = undefined;
      });
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address !== "object") throw new Error("Cannot open a link");
  try {
    await use({
      port: address.port,
      stall: () => stalled = true,
      heal: () => stalled = false,
      stallWithin: (stop) =>
        new Promise((resolve) => {
          within = { stop, stalled: resolve };
        }),
      cut: () => sockets.forEach((socket) => socket.destroy()),
    });
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

/** How much of `sent` is still carried; -1: all of it. */
function endOf(sent: Buffer, stop: LinkStop): number {
  if (typeof stop === "number") return sent.length >= stop ? stop : -1;
  return sent.indexOf(stop);
}
