/**
 * What the libraries miss of the TLS sockets that they open. Importing this module wraps `tls.connect`,
 * once.
 *
 * A server says only after the handshake that it does not accept a certificate, and closes. Then a
 * library can have no listener at that moment, and the error would end the process; or it hears of the
 * close first, and takes the refusal for a server that is away.
 *
 * @module
 */
import tls from "node:tls";
import { systemClock } from "./clock.ts";
import { connectFault } from "./connect_fault.ts";

/** A refusal explains the failures of the following milliseconds, this many. */
const EXPLAINS_MS = 3_000;

/** Most addresses that are remembered. */
const ADDRESSES_MAX = 1_000;

/** The newest refusals by `host:port`. Written here alone. */
const refusals = new Map<string, { readonly error: Error; readonly atMs: number }>();

const connect: (...args: unknown[]) => tls.TLSSocket = tls.connect as never;

tls.connect = ((...args: unknown[]): tls.TLSSocket => {
  const socket = connect(...args);
  const { host, port } = (args[0] ?? {}) as tls.ConnectionOptions;
  socket.on("error", (error) => {
    if (connectFault(error) === undefined) return;
    if (refusals.size >= ADDRESSES_MAX) refusals.clear();
    refusals.set(`${host}:${port}`, { error, atMs: systemClock.elapsedMs() });
  });
  return socket;
}) as typeof tls.connect;

/** Why a server has just refused TLS, if it has. An IPv6 address has no brackets. */
export function tlsRefusal(address: string): Error | undefined {
  const refusal = refusals.get(address);
  if (refusal === undefined) return undefined;
  return systemClock.elapsedMs() - refusal.atMs < EXPLAINS_MS ? refusal.error : undefined;
}
