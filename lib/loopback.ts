/**
 * Which hosts are this computer.
 *
 * @module
 */

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[?::1\]?)$/;

/** Whether nobody else on the network reaches a host, or listens to what is sent to it. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}
