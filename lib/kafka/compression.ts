/**
 * The codecs of Kafka. For reading, what a batch may become is bounded in each of them.
 *
 * A megabyte of gzip can become a gigabyte, and of zstd much more. Whoever may write to the topic
 * could end every consumer with it.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { promisify } from "node:util";
import { constants, gunzipSync, gzip, zstdCompress, zstdDecompressSync } from "node:zlib";
import { describeError } from "../errors.ts";
import { decompressLz4 } from "./lz4.ts";
import { decompressSnappy } from "./snappy.ts";
import { UnreadableError } from "./unreadable.ts";

/** A codec's name, and how it reads. */
export interface Codec {
  /** As Kafka's settings call it. */
  readonly name: string;
  /**
   * Undoes the codec.
   *
   * @throws {UnreadableError} if it would become more than `bytesMax` bytes, or is broken.
   */
  readonly decompress: (source: Uint8Array, bytesMax: number) => Uint8Array;
}

/** Codecs by their number in a batch's attributes. Number 0, no compression, is not among them. */
export const CODECS: ReadonlyMap<number, Codec> = new Map([
  [1, { name: "gzip", decompress: withZlib(gunzipSync) }],
  [2, { name: "snappy", decompress: decompressSnappy }],
  [3, { name: "lz4", decompress: decompressLz4 }],
  [4, { name: "zstd", decompress: withZlib(zstdDecompressSync) }],
]);

/** How many times their bytes most batches become. */
const GROWTH_USUAL = 8;
const CHUNK_BYTES_MIN = 1_024;

/** Codes of `node:zlib` that are no fault of the bytes: out of memory, or called wrongly. */
const OWN_FAULTS: readonly string[] = ["Z_MEM_ERROR", "Z_STREAM_ERROR", "Z_VERSION_ERROR"];

/**
 * Gives the errors of `node:zlib` their class. What it says of the bytes is a plain Error, not always
 * with a code; a full stack or memory is a RangeError of the engine.
 */
function withZlib(
  decompress: (
    source: Uint8Array,
    options: { readonly maxOutputLength: number; readonly chunkSize: number },
  ) => Uint8Array,
): Codec["decompress"] {
  return (source, bytesMax) => {
    try {
      // Mostly one piece is enough; in pieces of 16 KiB, as by default, it takes half as long again.
      const chunkSize = Math.max(Math.min(GROWTH_USUAL * source.length, bytesMax), CHUNK_BYTES_MIN);
      return decompress(source, { maxOutputLength: bytesMax, chunkSize });
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "";
      const isPlain = error instanceof Error && error.name === "Error";
      const isOfBytes = code === "ERR_BUFFER_TOO_LARGE" ||
        isPlain && !OWN_FAULTS.includes(code);
      if (!isOfBytes) throw error;
      throw new UnreadableError(describeError(error), { cause: error });
    }
  };
}

/** The codecs for sending; a setting chooses one. */
export const COMPRESSIONS = ["none", "gzip", "zstd"] as const;

/** One of {@linkcode COMPRESSIONS}. */
export type Compression = typeof COMPRESSIONS[number];

/** How a codec writes. */
export interface Compressor {
  /** In a batch's attributes. */
  readonly number: number;
  /** Works in a thread of its own: the flow goes on meanwhile. */
  readonly compress: (source: Buffer) => Promise<Buffer>;
}

const gzipped = promisify(gzip);
const zstdCompressed = promisify(zstdCompress);

/** The fastest levels: sensors' messages hardly get smaller by the others. */
const GZIP = { level: 1 };
const ZSTD = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/** Undefined: not compressed. */
export const COMPRESSORS: Readonly<Record<Compression, Compressor | undefined>> = {
  none: undefined,
  gzip: { number: 1, compress: (source) => gzipped(source, GZIP) },
  zstd: { number: 4, compress: (source) => zstdCompressed(source, ZSTD) },
};
