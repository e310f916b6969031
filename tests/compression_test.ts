import assert from "node:assert/strict";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { CODECS } from "../lib/kafka/compression.ts";
import { UnreadableError } from "../lib/kafka/unreadable.ts";

/** What all samples below hold: 40 lines, 1556 bytes. */
const TEXT = Array.from(
  { length: 40 },
  (_, index) => `{"sensor_id": "sensor-${index % 7}", "value": ${index * 37 % 100}}\n`,
).join("");

// Written by the libraries of Kafka's Java client.
const LZ4_FRAME = Uint8Array.fromBase64(
  "BCJNGGBAgmwBAADjeyJzZW5zb3JfaWQiOiANAP8CLTAiLCAidmFsdWUiOiAwfQomAAMYMSYALzM3JwAFGDInAC83NC" +
    "cABRgzJwAvMTEnAAUYNCcALzQ4JwAFGDUnAC84NScABRg2JwAvMjInAAUJEAEvNTknAAUJEQEvOTYnAAUJEQEvMzMn" +
    "AAUJEQEfN4YBBgkRAQ+FAQYJEAEfNIUBBgkQAR84hQEGCRABHzGFAQYJEAEfNYUBBgkQAR85hQEGCRABHzKFAQYJEA" +
    "EfNoUBBgkRAQ+EAQYJEAEfNIQBBgkQAR83hQEGCRABHzGFAQYJEAEfNYUBBgkQAR84hQEGCRABHzKFAQYJEAEfNoUB" +
    "BgkRAR85hQEGCREBHzOFAQYJEQEfN4YBBgkRAR8xhgEGCREBHzSGAQYJEQEfOIYBBgkRAR8yhgEGCREBHzWGAQYJEQ" +
    "EfOYYBBgkRAR8zhgEGCREBHzaGAQYJEQEPhQEGCBABUCA0M30KAAAAAA==",
);
const SNAPPY_FRAME = Uint8Array.fromBase64(
  "glNOQVBQWQAAAAABAAAAAQAAAQGACDR7InNlbnNvcl9pZCI6IA0NQC0wIiwgInZhbHVlIjogMH0KViYAADEuJgAEMz" +
    "deJwAAMi4nAAQ3NF4nAAAzLicABDExXicAADQuJwAENDheJwAANS4nAAQ4NV4nAAA2LicABDIyXicAMhABBDU5XicA" +
    "MhEBBDk2XicAMhEBBDMzXicAMhEBADdihgEyEQFihQEyEAEANGKFATIQAQA4YoUBMhABADFihQEyEAEANWKFATIQAQ" +
    "A5YoUBMhABADJihQEyEAEANmKFATIRAWKEATIQAQA0YoQBMhABADdihQEyEAEAMWKFATIQAQA1YoUBMhABADhihQEy" +
    "EAEAMj6FAQAAAKOUBGggInNlbnNvci01IiwgInZhbHVlIjogNjJ9CnsNGhBfaWQiOhUnADYuJwAEOTleJwAAMC4nAA" +
    "QzNl4nAAAxLicABDczXicAADIuJwAEMTBeJwAAMy4nAAQ0N14nAAA0LicABDg0XicAMhEBBDIxXicAMhEBBDU4XicA" +
    "MhEBBDk1XicAMhEBADNihgEyEQEANmKGATIRAWKFATIQAQw0M30K",
);
const SNAPPY_BLOCK = Uint8Array.fromBase64(
  "lAw0eyJzZW5zb3JfaWQiOiANDUAtMCIsICJ2YWx1ZSI6IDB9ClYmAAAxLiYABDM3XicAADIuJwAENzReJwAAMy4nAA" +
    "QxMV4nAAA0LicABDQ4XicAADUuJwAEODVeJwAANi4nAAQyMl4nADIQAQQ1OV4nADIRAQQ5Nl4nADIRAQQzM14nADIR" +
    "AQA3YoYBMhEBYoUBMhABADRihQEyEAEAOGKFATIQAQAxYoUBMhABADVihQEyEAEAOWKFATIQAQAyYoUBMhABADZihQ" +
    "EyEQFihAEyEAEANGKEATIQAQA3YoUBMhABADFihQEyEAEANWKFATIQAQA4YoUBMhABADJihQEyEAEANmKFATIRAQA5" +
    "YoUBMhEBADNihQEyEQEAN2KGATIRAQAxYoYBMhEBADRihgEyEQEAOGKGATIRAQAyYoYBMhEBADVihgEyEQEAOWKGAT" +
    "IRAQAzYoYBMhEBADZihgEyEQFihQEyEAEMNDN9Cg==",
);

const SAMPLES: readonly [name: string, codec: number, compressed: Uint8Array][] = [
  ["gzip", 1, Uint8Array.from(gzipSync(TEXT))],
  ["snappy in frames", 2, SNAPPY_FRAME],
  ["snappy, bare", 2, SNAPPY_BLOCK],
  ["lz4", 3, LZ4_FRAME],
  ["zstd", 4, Uint8Array.from(zstdCompressSync(TEXT))],
];

function decompress(codec: number, bytes: Uint8Array, bytesMax: number): string {
  return new TextDecoder().decode(CODECS.get(codec)!.decompress(bytes, bytesMax));
}

Deno.test("CODECS read what others have written, up to a bound", async (t) => {
  for (const [name, codec, compressed] of SAMPLES) {
    await t.step(name, () => {
      assert.equal(decompress(codec, compressed, TEXT.length), TEXT);
      assert.throws(() => decompress(codec, compressed, TEXT.length - 1), {
        name: "UnreadableError",
      });
    });
  }
});

Deno.test("CODECS refuse a sample that is cut off, or give its beginning and no more", async (t) => {
  for (const [name, codec, compressed] of SAMPLES) {
    await t.step(name, () => {
      for (let length = 1; length < compressed.length; length++) {
        try {
          const text = decompress(codec, compressed.subarray(0, length), 1_000_000);
          // Between two blocks a stream looks whole. Whoever reads its records finds out.
          const hasStream = name === "snappy in frames" || name === "zstd";
          assert(hasStream && TEXT.startsWith(text) && text !== TEXT, `${length} bytes`);
        } catch (error) {
          assert(error instanceof UnreadableError, String(error));
        }
      }
    });
  }
});

Deno.test("CODECS survive samples with a wrong byte, within the bound", async (t) => {
  for (const [name, codec, compressed] of SAMPLES) {
    await t.step(name, () => {
      for (let at = 0; at < compressed.length; at++) {
        for (const flip of [0x01, 0x80, 0xff]) {
          const broken = compressed.slice();
          broken[at]! ^= flip;
          try {
            assert(CODECS.get(codec)!.decompress(broken, 4_096).length <= 4_096);
          } catch (error) {
            assert(error instanceof UnreadableError, String(error));
          }
        }
      }
    });
  }
});

Deno.test("the LZ4 codec reads frames with every kind of block and header", async (t) => {
  const magic = [0x04, 0x22, 0x4d, 0x18];
  const end = [0, 0, 0, 0];
  const stored = [3, 0, 0, 0x80, 0x61, 0x62, 0x63];
  // Nothing of its own: six bytes from three back, which lie in the block before.
  const linked = [7, 0, 0, 0, 0x02, 3, 0, 0x30, 0x78, 0x79, 0x7a];
  const checksum = [1, 2, 3, 4];
  const rows: [string, number[], string][] = [
    ["a block that is stored as it is", [0x60, 0x40, 0, ...stored, ...end], "abc"],
    [
      "a block that refers to the one before",
      [0x40, 0x40, 0, ...stored, ...linked, ...end],
      "abcabcabcxyz",
    ],
    ["checksums of blocks", [0x70, 0x40, 0, ...stored, ...checksum, ...end], "abc"],
    ["a length of the content", [0x68, 0x40, 3, 0, 0, 0, 0, 0, 0, 0, 0, ...stored, ...end], "abc"],
    ["a checksum of the content", [0x64, 0x40, 0, ...stored, ...end, ...checksum], "abc"],
    ["no block", [0x60, 0x40, 0, ...end], ""],
  ];
  for (const [name, frame, want] of rows) {
    await t.step(name, () => {
      assert.equal(decompress(3, Uint8Array.from([...magic, ...frame]), 100), want);
    });
  }
  await t.step("refuses a match that goes over the bound", () => {
    const match = [3, 0, 0, 0, 0x02, 3, 0];
    const bytes = Uint8Array.from([...magic, 0x40, 0x40, 0, ...stored, ...match, ...end]);
    assert.equal(decompress(3, bytes, 9), "abcabcabc");
    assert.throws(() => decompress(3, bytes, 8), { name: "UnreadableError" });
  });
  const bad: [string, number[]][] = [
    ["another version", [0x80, 0x40, 0, ...end]],
    ["a dictionary", [0x61, 0x40, 0, ...end]],
    ["a block size that does not exist", [0x60, 0x30, 0, ...end]],
    ["a block that refers to nothing", [0x40, 0x40, 0, ...linked, ...end]],
    ["distance 0", [0x40, 0x40, 0, ...stored, 3, 0, 0, 0, 0x02, 0, 0, ...end]],
  ];
  for (const [name, frame] of bad) {
    await t.step(`refuses ${name}`, () => {
      const bytes = Uint8Array.from([...magic, ...frame]);
      assert.throws(() => decompress(3, bytes, 100), { name: "UnreadableError" });
    });
  }
});

Deno.test("the Snappy codec reads every kind of element", async (t) => {
  const long = "x".repeat(300);
  const letters = [...new TextEncoder().encode(long)];
  const rows: [string, number[], string][] = [
    ["a length in one byte", [100, 60 << 2, 99, ...letters.slice(0, 100)], long.slice(0, 100)],
    ["a length in two bytes", [0xac, 2, 61 << 2, 43, 1, ...letters], long],
    ["a copy with an offset of 11 bits", [6, 1 << 2, 0x61, 0x62, 0x01, 2], "ababab"],
    ["a copy with an offset of 16 bits", [4, 1 << 2, 0x61, 0x62, 0x06, 2, 0], "abab"],
    ["a copy with an offset of 32 bits", [4, 1 << 2, 0x61, 0x62, 0x07, 2, 0, 0, 0], "abab"],
    ["nothing", [0], ""],
  ];
  for (const [name, block, want] of rows) {
    await t.step(name, () => assert.equal(decompress(2, Uint8Array.from(block), 400), want));
  }
  const bad: [string, number[]][] = [
    ["more than it says", [1, 1 << 2, 0x61, 0x62]],
    ["less than it says", [3, 1 << 2, 0x61, 0x62]],
    ["a copy of what is not there", [4, 1 << 2, 0x61, 0x62, 0x06, 3, 0]],
    ["a copy of distance 0", [4, 1 << 2, 0x61, 0x62, 0x06, 0, 0]],
    ["a length of four gigabytes", [0xff, 0xff, 0xff, 0xff, 0x0f, 0]],
    ["a length without an end", [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
  ];
  for (const [name, block] of bad) {
    await t.step(`refuses ${name}`, () => {
      assert.throws(() => decompress(2, Uint8Array.from(block), 400), { name: "UnreadableError" });
    });
  }
});
