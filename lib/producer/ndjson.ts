/**
 * A file of newline-delimited JSON as a source of messages: each line becomes one message, its
 * bytes unchanged. Nothing is judged here; a broken line is the consumer's to reject.
 *
 * @module
 */
import type { MessageToSend } from "../kafka/message.ts";

/**
 * Longest line that is sent, in bytes. A topic takes record batches of 1 MiB, and a batch of one
 * message spends less than this kibibyte on its key and its framing.
 */
export const LINE_BYTES_MAX = 1_048_576 - 1_024;

/** Longest `sensor_id` that becomes a key, in UTF-16 units: no valid one is longer. */
const KEY_LENGTH_MAX = 64;

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/** How {@linkcode readMessages} reads. */
export interface ReadMessagesOptions {
  /**
   * Told of a line longer than {@linkcode LINE_BYTES_MAX}, which is left out.
   *
   * @param lineNumber counted from 1, empty lines included
   * @param bytes the line's length
   */
  tooLong(lineNumber: number, bytes: number): void;
  /** Told, before a line is given, how many bytes have been read with it. */
  read?(bytes: number): void;
}

/**
 * Reads messages line by line. A line ends with LF or CRLF, which do not belong to it; the last
 * one may end with the file. Empty lines are not messages. Memory stays bounded by one line and one
 * chunk, whatever the file's size and however long its lines.
 */
export async function* readMessages(
  chunks: AsyncIterable<Uint8Array>,
  options: ReadMessagesOptions,
): AsyncGenerator<MessageToSend, void, void> {
  const collector = createLineCollector();
  let lineNumber = 0;
  let bytesBefore = 0;
  const finish = (end: Uint8Array): MessageToSend | undefined => {
    lineNumber++;
    const line = collector.finish(end);
    if (typeof line !== "number") return line.length === 0 ? undefined : messageOf(line);
    options.tooLong(lineNumber, line);
    return undefined;
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, from)) {
      const message = finish(chunk.subarray(from, end));
      options.read?.(bytesBefore + end + 1);
      if (message !== undefined) yield message;
      from = end + 1;
    }
    collector.append(chunk.subarray(from));
    bytesBefore += chunk.length;
  }
  const last = finish(new Uint8Array());
  options.read?.(bytesBefore);
  if (last !== undefined) yield last;
}

/** Keeps the beginning of a line until its end is read. */
interface LineCollector {
  append(piece: Uint8Array): void;
  /** The whole line, or its length in bytes if that is over the bound. */
  finish(end: Uint8Array): Uint8Array | number;
}

function createLineCollector(): LineCollector {
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  const append = (piece: Uint8Array): void => {
    if (piece.length === 0) return;
    bytes += piece.length;
    // One byte more than the bound: it may be the carriage return of the line's end.
    if (bytes > LINE_BYTES_MAX + 1) pieces = [];
    // A copy, so that one waiting message does not keep its whole chunk in memory.
    else pieces.push(piece.slice());
  };
  const finish = (end: Uint8Array): Uint8Array | number => {
    append(end);
    const line = withoutCarriageReturn(pieces.length === 1 ? pieces[0]! : joined(pieces));
    const length = bytes > LINE_BYTES_MAX + 1 ? bytes : line.length;
    pieces = [];
    bytes = 0;
    return length > LINE_BYTES_MAX ? length : line;
  };
  return { append, finish };
}

function withoutCarriageReturn(line: Uint8Array): Uint8Array {
  return line.at(-1) === CARRIAGE_RETURN ? line.subarray(0, -1) : line;
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/** The line as a message whose key is its `sensor_id`, if it parses and has one. */
function messageOf(line: Uint8Array): MessageToSend {
  return { key: sensorIdOf(line), value: line };
}

function sensorIdOf(line: Uint8Array): string | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(decoder.decode(line));
  } catch {
    return null; // Sent all the same: the consumer keeps it as a dead letter.
  }
  if (typeof parsed !== "object" || parsed === null) return null;
  const { sensor_id: id } = parsed as { sensor_id?: unknown };
  return typeof id === "string" && id !== "" && id.length <= KEY_LENGTH_MAX ? id : null;
}
