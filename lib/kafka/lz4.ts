/**
 * Reads LZ4 frames, as Kafka's clients write them. Small enough to own: it is bounded in what it
 * makes, and says so when a frame is broken instead of giving what it has.
 *
 * Formats: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md and lz4_Block_format.md
 * beside it. Checksums are not looked at; Kafka's own and TCP's cover the same bytes.
 *
 * @module
 */
import { UnreadableError } from "./unreadable.ts";

const MAGIC = 0x184d2204;
/** Magic, flags, block size and a checksum. */
const HEADER_BYTES_MIN = 7;
const VERSION = 0x40;
const VERSION_MASK = 0xc0;
const HAS_BLOCK_CHECKSUMS = 0x10;
const HAS_CONTENT_SIZE = 0x08;
const HAS_DICTIONARY = 0x01;
const NOT_COMPRESSED = 0x8000_0000;
/** A match of the least length has this many bytes. */
const MATCH_BYTES_MIN = 4;
/** A length that does not fit into half a byte begins with this. */
const LONG_LENGTH = 15;
/** Block sizes by the number in the frame's header: 64 KiB to 4 MiB. */
const blockBytesMax = (number: number): number => 1 << (8 + 2 * number);

/**
 * Decompresses one frame.
 *
 * @param bytesMax most bytes that it may become
 * @throws {UnreadableError} if it would become more, or is broken.
 */
export function decompressLz4(source: Uint8Array, bytesMax: number): Uint8Array {
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  const frame = readHeader(view);
  const target = new Uint8Array(Math.min(bytesMax, frame.bytesMax));
  let from = frame.headerBytes;
  let to = 0;
  for (;;) {
    if (from + 4 > source.length) throw new UnreadableError("the LZ4 frame is cut off");
    const word = view.getUint32(from, true);
    from += 4;
    // The end mark.
    if (word === 0) return target.slice(0, to);
    const bytes = word & ~NOT_COMPRESSED;
    if (from + bytes > source.length) throw new UnreadableError("the LZ4 frame is cut off");
    const block = source.subarray(from, from + bytes);
    to = word >= NOT_COMPRESSED ? copyBlock(block, target, to) : decodeBlock(block, target, to);
    from += bytes + frame.blockTrailerBytes;
  }
}

interface FrameHeader {
  readonly headerBytes: number;
  readonly blockTrailerBytes: number;
  /** No frame with these blocks becomes more. */
  readonly bytesMax: number;
}

function readHeader(view: DataView): FrameHeader {
  if (view.byteLength < HEADER_BYTES_MIN || view.getUint32(0, true) !== MAGIC) {
    throw new UnreadableError("no LZ4 frame");
  }
  const flags = view.getUint8(4);
  const blockSize = view.getUint8(5) >> 4 & 7;
  if ((flags & VERSION_MASK) !== VERSION || (flags & HAS_DICTIONARY) !== 0 || blockSize < 4) {
    throw new UnreadableError("an LZ4 frame of an unknown kind");
  }
  const headerBytes = HEADER_BYTES_MIN + ((flags & HAS_CONTENT_SIZE) === 0 ? 0 : 8);
  const blockTrailerBytes = (flags & HAS_BLOCK_CHECKSUMS) === 0 ? 0 : 4;
  let bytesMax = 0;
  for (let from = headerBytes; from + 4 <= view.byteLength;) {
    const word = view.getUint32(from, true);
    if (word === 0) break;
    from += 4 + (word & ~NOT_COMPRESSED) + blockTrailerBytes;
    bytesMax += blockBytesMax(blockSize);
  }
  return { headerBytes, blockTrailerBytes, bytesMax };
}

function copyBlock(block: Uint8Array, target: Uint8Array, to: number): number {
  assertRoom(to + block.length, target);
  target.set(block, to);
  return to + block.length;
}

/** Decodes one block behind what is there already: it may refer to earlier blocks. */
function decodeBlock(block: Uint8Array, target: Uint8Array, start: number): number {
  let from = 0;
  let to = start;
  // The rest of a length: bytes of 255, and a smaller one.
  const readLength = (begin: number): number => {
    let length = begin;
    if (begin < LONG_LENGTH) return length;
    for (let byte = 255; byte === 255; length += byte) {
      if (from >= block.length) throw new UnreadableError("an LZ4 block is cut off");
      byte = block[from++]!;
    }
    return length;
  };
  while (from < block.length) {
    const token = block[from++]!;
    const literals = readLength(token >> 4);
    if (from + literals > block.length) throw new UnreadableError("an LZ4 block is cut off");
    assertRoom(to + literals, target);
    target.set(block.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    // The last sequence has no match.
    if (from === block.length) return to;
    if (from + 2 > block.length) throw new UnreadableError("an LZ4 block is cut off");
    const distance = block[from]! | block[from + 1]! << 8;
    from += 2;
    const matched = readLength(token & LONG_LENGTH) + MATCH_BYTES_MIN;
    if (distance === 0 || distance > to) {
      throw new UnreadableError("an LZ4 block refers to nothing");
    }
    assertRoom(to + matched, target);
    to = copyMatch(target, to, { distance, bytes: matched });
  }
  return to;
}

function assertRoom(end: number, target: Uint8Array): void {
  if (end > target.length) throw new UnreadableError("more than the decompressed data may be");
}

/** Repeats what stands `distance` before `to`. Source and target may overlap: then it is a pattern. */
export function copyMatch(
  target: Uint8Array,
  to: number,
  { distance, bytes }: { readonly distance: number; readonly bytes: number },
): number {
  const end = to + bytes;
  if (distance >= bytes) {
    target.copyWithin(to, to - distance, to - distance + bytes);
    return end;
  }
  for (let at = to; at < end; at++) target[at] = target[at - distance]!;
  return end;
}
