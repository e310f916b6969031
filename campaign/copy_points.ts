/**
 * Points inside a copy, at which a consumer ends itself: the whole transaction of a batch leaves in one
 * flight, so what lies between its parts is seen in the driver alone. A flight that nobody waits for
 * passes as it is.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
// @ts-types="@types/pg"
import pg from "pg";
import { COPY_KILL_POINTS, type KillSwitch, LEAVES_MS } from "./kill_points.ts";

/** What the driver sends. */
export interface Flight {
  /** Writes it. */
  submit(connection: FlightConnection): unknown;
}

/** What it sends it over. */
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
  return typeof given === "object" && given !== null && "submit" in given &&
    typeof given.submit === "function";
}

/** The same flight, with points if it is a copy. */
export function withPoints<Any extends Flight>(flight: Any, kill: KillSwitch): Any {
  const { submit } = flight;
  flight.submit = (connection): unknown => {
    if (!COPY_KILL_POINTS.some((point) => kill.isArmed(point))) return submit(connection);
    const { stream } = connection;
    const { written, value } = heldBack(stream, () => submit(connection));
    void send(stream, written, kill);
    return value;
  };
  return flight;
}

/** What is written meanwhile, piece by piece; nothing of it is sent. */
function heldBack<Value>(
  stream: Duplex,
  write: () => Value,
): { readonly written: readonly Buffer[]; readonly value: Value } {
  const written: Buffer[] = [];
  Object.defineProperty(stream, "write", {
    configurable: true,
    value: (piece: Buffer) => written.push(piece) > 0,
  });
  try {
    return { value: write(), written };
  } finally {
    Reflect.deleteProperty(stream, "write");
  }
}

/** Each message of the protocol is a piece, and only the rows of a copy have their head apart. */
async function send(stream: Duplex, pieces: readonly Buffer[], kill: KillSwitch): Promise<void> {
  const head = pieces.findIndex((piece) => piece[0] === COPY_DATA && piece.length === HEAD_BYTES);
  const rows = pieces[head + 1];
  if (head === -1 || rows === undefined) return void stream.write(Buffer.concat(pieces));
  const bytesBefore = Buffer.concat(pieces.slice(0, head + 1)).length;
  const ends = new Map([
    [HALF_SENT, bytesBefore + Math.ceil(rows.length / 2)],
    // With the message that ends the rows.
    [NOT_FINISHED, bytesBefore + rows.length + HEAD_BYTES],
  ]);
  const bytes = Buffer.concat(pieces);
  let sentBytes = 0;
  for (const [point, end] of ends) {
    // A flight in pieces costs time, so only that which is to end is sent so.
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
const COPY_DATA = "d".charCodeAt(0);
/** The answer that ends every flight, without the state of its transaction. */
const READY = Buffer.of("Z".charCodeAt(0), 0, 0, 0, 5);
const OUTSIDE_A_TRANSACTION = "I".charCodeAt(0);
