import assert from "node:assert/strict";
import Encoder from "kafkajs/src/protocol/encoder.js";
import "../lib/kafka/kafkajs_patches.ts";

/** Zigzag and seven bits a byte, written from Kafka's protocol guide with BigInt alone. */
function varint(value: bigint, bits: number): number[] {
  let rest = BigInt.asUintN(bits, value << 1n ^ value >> BigInt(bits - 1));
  const bytes: number[] = [];
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return bytes;
}

const INT32_VALUES = [0, 1, -1, 63, 64, -64, -65, 8_191, 8_192, 2 ** 30, -(2 ** 30), 2 ** 31 - 1];

Deno.test("writeVarInt() writes a number as the protocol asks", async (t) => {
  for (const value of [...INT32_VALUES, -(2 ** 31)]) {
    await t.step(String(value), () => {
      const encoder = new Encoder(1).writeVarInt(value);
      assert.deepEqual([...encoder.buffer], varint(BigInt(value), 32));
    });
  }
});

Deno.test("writeVarLong() and sizeOfVarLong() agree with the protocol", async (t) => {
  for (const value of [...INT32_VALUES, 2 ** 31, -(2 ** 31), 2 ** 40, -(2 ** 52)]) {
    await t.step(String(value), () => {
      const want = varint(BigInt(value), 64);
      assert.deepEqual([...new Encoder(1).writeVarLong(value).buffer], want);
      assert.equal(Encoder.sizeOfVarLong(value), want.length);
    });
  }
});
