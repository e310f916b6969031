/**
 * The codecs of Kafka, for reading: what a batch may become is bounded in each of them.
 *
 * A megabyte of gzip can become a gigabyte, and of zstd much more. Whoever may write to the topic
 * could end every consumer with it.
 *
 * @module
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { decompressLz4 } from "./lz4.ts";
import { decompressSnappy } from "./snappy.ts";

/** A codec's name, and how it reads. */
export interface Codec {
  /** As Kafka's settings call it. */
  readonly name: string;
  /**
   * Undoes the codec.
   *
   * @throws {Error} if it would become more than `bytesMax` bytes, or is broken.
   */
  readonly decompress: (source: Uint8Array, bytesMax: number) => Uint8Array;
}

/** Codecs by their number in a batch's attributes. Number 0, no compression, is not among them. */
export const CODECS: ReadonlyMap<number, Codec> = new Map([
  [1, {
    name: "gzip",
    decompress: (source, bytesMax) => gunzipSync(source, { maxOutputLength: bytesMax }),
  }],
  [2, { name: "snappy", decompress: decompressSnappy }],
  [3, { name: "lz4", decompress: decompressLz4 }],
  [4, {
    name: "zstd",
    decompress: (source, bytesMax) => zstdDecompressSync(source, { maxOutputLength: bytesMax }),
  }],
]);
