/**
 * Reads Snappy, bare or in the frames in which Kafka's Java clients wrap it. Bounded in what it
 * makes.
 *
 * Formats: https://github.com/google/snappy/blob/main/format_description.txt; the frames are those
 * of snappy-java's SnappyOutputStream: a header of 16 bytes, then blocks behind their lengths.
 *
 * @module
 */
import { copyMatch } from "./lz4.ts";
import { UnreadableError } from "./unreadable.ts";

const FRAME_MAGIC = [0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00];
const WRONG_LENGTH = "a Snappy block is not as long as it says";
/** The magic and two version numbers. */
const FRAME_HEADER_BYTES = 16;

/**
 * Decompresses one framed stream or one bare block.
 *
 * @param bytesMax most bytes that it may become
 * @throws {UnreadableError} if it would become more, or is broken.
 */
export function decompressSnappy(source: Uint8Array, bytesMax: number): Uint8Array {
  if (!FRAME_MAGIC.every((byte, index) => source[index] === byte)) {
    return decodeBlock(source, bytesMax);
  }
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  const blocks: Uint8Array[] = [];
  let bytes = 0;
  for (let from = FRAME_HEADER_BYTES; from < source.length;) {
    const length = from + 4 > source.length ? Infinity : view.getUint32(from);
    from += 4;
    if (from + length > source.length) throw new UnreadableError("a Snappy frame is cut off");
    const block = decodeBlock(source.subarray(from, from + length), bytesMax - bytes);
    blocks.push(block);
    bytes += block.length;
    from += length;
  }
  const whole = new Uint8Array(bytes);
  let to = 0;
  for (const block of blocks) {
    whole.set(block, to);
    to += block.length;
  }
  return whole;
}

function decodeBlock(block: Uint8Array, bytesMax: number): Uint8Array {
  const { length, headerBytes } = readLength(block);
  if (length > bytesMax) throw new UnreadableError("more than the decompressed data may be");
  const target = new Uint8Array(length);
  let from = headerBytes;
  let to = 0;
  while (from < block.length) {
    const element = readElement(block, from);
    from += element.headerBytes;
    const { bytes, distance } = element;
    if (distance === undefined) {
      if (from + bytes > block.length) throw new UnreadableError("a Snappy block is cut off");
      if (to + bytes > length) throw new UnreadableError(WRONG_LENGTH);
      target.set(block.subarray(from, from + bytes), to);
      from += bytes;
      to += bytes;
    } else {
      if (distance === 0 || distance > to) {
        throw new UnreadableError("a Snappy block refers to nothing");
      }
      to = copyMatch(target, to, { distance, bytes });
    }
  }
  // Copies are cut off by the array at its end.
  if (to !== length) throw new UnreadableError(WRONG_LENGTH);
  return target;
}

/** The block's decompressed length: seven bits a byte, the lowest first, at most 32 bits. */
function readLength(block: Uint8Array): { length: number; headerBytes: number } {
  let length = 0;
  for (let index = 0; index < 5; index++) {
    const byte = block[index];
    if (byte === undefined) break;
    length += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return { length, headerBytes: index + 1 };
  }
  throw new UnreadableError("no Snappy block");
}

interface Element {
  readonly headerBytes: number;
  /** How many bytes it becomes. */
  readonly bytes: number;
  /** How far back to copy from; undefined: the bytes follow. */
  readonly distance?: number;
}

/** Bytes beyond the end read as zero; what they say is then out of bounds. */
function readElement(block: Uint8Array, from: number): Element {
  const tag = block[from]!;
  const upper = tag >> 2;
  const number = (bytes: number): number => {
    let value = 0;
    for (let index = bytes; index > 0; index--) value = value * 256 + (block[from + index] ?? 0);
    return value;
  };
  switch (tag & 3) {
    case 0: {
      // Up to 60 the length is in the tag, above that in one to four bytes behind it.
      const lengthBytes = Math.max(0, upper - 59);
      const bytes = 1 + (lengthBytes === 0 ? upper : number(lengthBytes));
      return { headerBytes: 1 + lengthBytes, bytes };
    }
    case 1:
      return { headerBytes: 2, bytes: 4 + (upper & 7), distance: (tag >> 5) * 256 + number(1) };
    case 2:
      return { headerBytes: 3, bytes: 1 + upper, distance: number(2) };
    default:
      return { headerBytes: 5, bytes: 1 + upper, distance: number(4) };
  }
}
