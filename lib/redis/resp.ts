/**
 * Redis's protocol, RESP2, as much of it as this program speaks: commands as bytes, and replies out of
 * bytes that come in pieces.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** A reply that says no: `OOM command not allowed …`. */
export class ErrorReply extends Error {
  /** Tells the class in a log. */
  override name = "ErrorReply";
}

/** What Redis replies; null: nothing is there. */
export type Reply = string | number | null | ErrorReply | readonly Reply[];

/** Largest text; that of a message is 65,536 bytes. */
const TEXT_BYTES_MAX = 64 * 1024 * 1024;

/** Most elements of an array. */
const ELEMENTS_MAX = 1_000_000;

/** Longest line that is no text of its own: an error, a status, a number. */
const LINE_BYTES_MAX = 65_536;

/** Deepest nesting of arrays. */
const DEPTH_MAX = 8;

const [CR, LF] = [13, 10];
const [STATUS, ERROR, INTEGER, TEXT, ARRAY] = Buffer.from("+-:$*");
const MINUS = 0x2d;
const ZERO = 0x30;
const LINE_END_BYTES = 2;

/** The bytes of one command. */
export function command(words: readonly string[]): Buffer {
  let text = `*${words.length}\r\n`;
  for (const word of words) text += `$${Buffer.byteLength(word)}\r\n${word}\r\n`;
  return Buffer.from(text);
}

/** Makes replies of what comes. Half a reply waits for its rest. */
export class ReplyReader {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  /** Arrays that are not whole yet, the outermost first. */
  readonly #open: { readonly elements: Reply[]; readonly length: number }[] = [];

  /** Takes the next piece. */
  push(bytes: Buffer): void {
    const isRead = this.#at === this.#bytes.length;
    this.#bytes = isRead ? bytes : Buffer.concat([this.#bytes.subarray(this.#at), bytes]);
    this.#at = 0;
  }

  /**
   * The next whole reply; undefined: some of it is yet to come.
   *
   * @throws {Error} If it is not Redis that speaks, or it says more than is bounded here.
   */
  next(): Reply | undefined {
    for (;;) {
      let reply = this.#nextElement();
      if (reply === undefined) return undefined;
      // What is whole may complete the array that it stands in, and this the one around it.
      for (;;) {
        const around = this.#open.at(-1);
        if (around === undefined) return reply;
        around.elements.push(reply);
        if (around.elements.length < around.length) break;
        this.#open.pop();
        reply = around.elements;
      }
    }
  }

  #nextElement(): Reply | undefined {
    const from = this.#at + 1;
    const end = this.#lineEnd(from);
    if (end === -1) return undefined;
    const kind = this.#bytes[this.#at];
    if (kind === TEXT) return this.#nextText(this.#number(from, end), end + LINE_END_BYTES);
    this.#at = end + LINE_END_BYTES;
    switch (kind) {
      case STATUS:
        return this.#bytes.toString("utf8", from, end);
      case ERROR:
        return new ErrorReply(this.#bytes.toString("utf8", from, end));
      case INTEGER:
        return this.#number(from, end);
      case ARRAY:
        return this.#nextArray(this.#number(from, end));
      default:
        throw new Error("what answers is not Redis");
    }
  }

  #nextText(length: number, from: number): Reply | undefined {
    if (length > TEXT_BYTES_MAX) throw new Error(`a reply of ${length} bytes is too long`);
    const end = length < 0 ? from : from + length + LINE_END_BYTES;
    if (this.#bytes.length < end) return undefined;
    this.#at = end;
    return length < 0 ? null : this.#bytes.toString("utf8", from, from + length);
  }

  #nextArray(length: number): Reply | undefined {
    if (length < 0) return null;
    if (length === 0) return [];
    if (length > ELEMENTS_MAX || this.#open.length >= DEPTH_MAX) {
      throw new Error(`a reply of ${length} elements is too long, or nested too deep`);
    }
    this.#open.push({ elements: [], length });
    return this.#nextElement();
  }

  /** A loop: most lines are a few bytes long, and a search by the runtime costs more to begin. */
  #lineEnd(from: number): number {
    const bytes = this.#bytes;
    for (let at = from; at < bytes.length - 1; at++) {
      if (bytes[at] === CR && bytes[at + 1] === LF) return at;
    }
    if (bytes.length - from > LINE_BYTES_MAX) throw new Error("what answers is not Redis");
    return -1;
  }

  #number(from: number, end: number): number {
    const bytes = this.#bytes;
    const isNegative = bytes[from] === MINUS;
    let value = 0;
    for (let at = isNegative ? from + 1 : from; at < end; at++) {
      const digit = bytes[at]! - ZERO;
      if (digit < 0 || digit > 9) throw new Error("what answers is not Redis");
      value = value * 10 + digit;
    }
    return isNegative ? -value : value;
  }
}
