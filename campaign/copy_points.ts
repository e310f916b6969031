/**
 * Points inside a copy, at which a consumer ends itself: the rows and all that follows them leave at once,
 * so what lies between is seen in the driver alone. A copy that nobody waits for passes as it is.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
// @ts-types="@types/pg"
import pg from "pg";
import { COPY_KILL_POINTS, type KillSwitch, LEAVES_MS } from "./kill_points.ts";

/** A transaction that the driver sends. */
export interface Flight {
  /** The server asks for the rows of a copy: writes them and all that follows. */
  handleCopyInResponse(connection: FlightConnection): void;
}

/** What it goes over. */
export interface FlightConnection {
  /** The socket. */
  readonly stream: Duplex;
}

const [HALF_SENT, NOT_FINISHED, NOT_ANSWERED] = COPY_KILL_POINTS;

/** Copies of all connections of this process come by the points. */
export function addCopyPoints(kill: KillSwitch): void {
  const { query } = pg.Client.prototype;
  Object.defineProperty(pg.Client.prototype, "query", {
    value: function (this: pg.Client, ...given: unknown[]): unknown {
      const [flight] = given;
      return Reflect.apply(query, this, isFlight(flight) ? [withPoints(flight, kill)] : given);
    },
  });
}

function isFlight(given: unknown): given is Flight {
  return typeof given === "object" && given !== null && "handleCopyInResponse" in given;
}

/** The same flight, with points if it is a copy. */
export function withPoints<Any extends Flight>(flight: Any, kill: KillSwitch): Any {
  const { handleCopyInResponse } = flight;
  flight.handleCopyInResponse = (connection): void => {
    const write = (): void => handleCopyInResponse.call(flight, connection);
    if (!COPY_KILL_POINTS.some((point) => kill.isArmed(point))) return write();
    const { stream } = connection;
    void send(stream, heldBack(stream, write), kill);
  };
  return flight;
}

/** What is written meanwhile, piece by piece; nothing of it is sent. */
function heldBack(stream: Duplex, write: () => void): readonly Buffer[] {
  const written: Buffer[] = [];
  Object.defineProperty(stream, "write", {
    configurable: true,
    value: (piece: Buffer) => written.push(piece) > 0,
  });
  try {
    write();
    return written;
  } finally {
    Reflect.deleteProperty(stream, "write");
  }
}

/** The rows come first. Each message of the protocol begins with its code and its length. */
async function send(stream: Duplex, pieces: readonly Buffer[], kill: KillSwitch): Promise<void> {
  if (pieces.length === 0) return;
  const bytes = Buffer.concat(pieces);
  const rowsEnd = 1 + bytes.readInt32BE(1);
  const ends = new Map([
    [HALF_SENT, Math.ceil((HEAD_BYTES + rowsEnd) / 2)],
    // With the message that ends the rows.
    [NOT_FINISHED, rowsEnd + HEAD_BYTES],
  ]);
  let sentBytes = 0;
  for (const [point, end] of ends) {
    // A copy in pieces takes longer, so only the one that is to end goes so.
    if (kill.isDue(point)) {
      await leave(stream, bytes.subarray(sentBytes, end));
      sentBytes = end;
    }
    kill.reached(point);
  }
  if (kill.isArmed(NOT_ANSWERED)) onCommitted(stream, () => kill.reached(NOT_ANSWERED));
  stream.write(bytes.subarray(sentBytes));
}

/** Resolves once the bytes are with the server. */
async function leave(stream: Duplex, bytes: Uint8Array): Promise<void> {
  await new Promise((resolve) => stream.write(bytes, resolve));
  await sleep(LEAVES_MS);
}

/** Tells when the server has committed, before anybody else learns of it. */
function onCommitted(stream: Duplex, tell: () => void): void {
  let end = Buffer.alloc(0);
  const look = (bytes: Buffer): void => {
    end = Buffer.concat([end, bytes]).subarray(-READY.length - 1);
    if (!end.subarray(0, READY.length).equals(READY)) return;
    stream.removeListener("data", look);
    if (end.at(-1) === OUTSIDE_A_TRANSACTION) tell();
  };
  stream.prependListener("data", look);
}

/** Code and length of a message. */
const HEAD_BYTES = 5;
/** The answer that ends every flight, without the state of its transaction. */
const READY = Buffer.of("Z".charCodeAt(0), 0, 0, 0, 5);
const OUTSIDE_A_TRANSACTION = "I".charCodeAt(0);
