/**
 * Opens the sockets of kafkajs, which splits `host:port` at the first colon and so cannot be given
 * an IPv6 address. The address goes through it in a form without colons, and is read back here.
 *
 * @module
 */
import net from "node:net";
import tls from "node:tls";

/** The system looks after this long without a packet whether the other side is still there, ms. */
const KEEP_ALIVE_MS = 60_000;

/** Stands for a colon. No address and no name has one. */
const COLON = "_";

/** `[::1]:9092` in a form that kafkajs can split; all else stays as it is. */
export function splittableBroker(broker: string): string {
  return broker.replace(/^\[(.*)\]/, (_, address: string) => `[${address.replaceAll(":", COLON)}]`);
}

/** The host that a socket connects to: an IPv6 address without brackets, or a name. */
export function socketHost(host: string): string {
  // What a broker advertises comes over the protocol on its own, and has colons and no brackets.
  return host.replace(/^\[(.*)\]$/, (_, address: string) => address.replaceAll(COLON, ":"));
}

/**
 * What kafkajs asks of a factory of sockets.
 *
 * @internal
 */
export type SocketQuestion = import("kafkajs").ISocketFactoryArgs;

/** Opens a socket as kafkajs's own factory does, but for the host. */
export function openSocket({ host: given, port, ssl, onConnect }: SocketQuestion): net.Socket {
  const host = socketHost(given);
  // An address is not a name that a server could choose its certificate by.
  const name = net.isIP(host) === 0 ? { servername: host } : {};
  const socket = ssl
    ? tls.connect({ host, port, ...name, ...ssl }, onConnect)
    : net.connect({ host, port }, onConnect);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  return socket;
}
