import assert from "node:assert/strict";
import process from "node:process";
import type { MessageToSend } from "../lib/kafka/message.ts";
import { LINE_BYTES_MAX, readMessages } from "../lib/producer/ndjson.ts";

const encoder = new TextEncoder();

/** The bytes in chunks of `size`, as a stream would bring them. */
async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < bytes.length; from += size) {
    await Promise.resolve();
    yield bytes.slice(from, from + size);
  }
}

interface Read {
  readonly messages: MessageToSend[];
  readonly tooLong: [lineNumber: number, bytes: number][];
}

async function read(bytes: Uint8Array, size = 65_536): Promise<Read> {
  const tooLong: [number, number][] = [];
  const messages: MessageToSend[] = [];
  const options = {
    tooLong: (lineNumber: number, length: number): void => {
      tooLong.push([lineNumber, length]);
    },
  };
  for await (const some of readMessages(inChunks(bytes, size), options)) messages.push(...some);
  return { messages, tooLong };
}

function textsOf(messages: readonly MessageToSend[]): string[] {
  return messages.map(({ value }) => new TextDecoder("latin1").decode(value!));
}

Deno.test("readMessages() splits lines alike however the bytes are cut", async (t) => {
  const cases: readonly [name: string, input: string, want: string[]][] = [
    ["nothing", "", []],
    ["one line without an end", "a", ["a"]],
    ["LF", "a\nbc\n", ["a", "bc"]],
    ["CRLF", "a\r\nbc\r\n", ["a", "bc"]],
    ["empty lines are no messages", "\n\na\n\r\n\nb\n\n", ["a", "b"]],
    ["spaces are a message", " \n", [" "]],
    ["a carriage return inside stays", "a\rb\n\r\r\n", ["a\rb", "\r"]],
    ["a carriage return at the end of the file", "a\r", ["a"]],
  ];
  for (const [name, input, want] of cases) {
    await t.step(name, async () => {
      for (const size of [1, 2, 3, 65_536]) {
        assert.deepEqual(textsOf((await read(encoder.encode(input), size)).messages), want);
      }
    });
  }
});

Deno.test("readMessages() leaves the bytes as they are, broken ones too", async () => {
  const line = Uint8Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => byte !== 10);
  const { messages } = await read(Uint8Array.from([...line, 10, ...line]), 7);
  assert.deepEqual(messages, [{ key: null, value: line }, { key: null, value: line }]);
});

Deno.test("readMessages() does not keep a chunk in memory for one of its messages", async () => {
  const lines = ["one", "two", "x".repeat(1_000), "y".repeat(2_000), "z".repeat(100_000)];
  const { messages } = await read(encoder.encode(lines.join("\n")), 1_000_000);
  assert.deepEqual(textsOf(messages), lines);
  assert.deepEqual(messages.map(({ value }) => value!.buffer.byteLength), [
    ...[2_048, 2_048, 2_048],
    ...[2_000, 100_000],
  ]);
});

Deno.test("readMessages() takes the key from sensor_id", async (t) => {
  const cases: readonly [name: string, line: string, key: string | null][] = [
    ["a reading", '{"value":1,"sensor_id":"s-1"}', "s-1"],
    ["with spaces", '  { "sensor_id" : "s-1" } ', "s-1"],
    ["behind a byte order mark", '\ufeff{"sensor_id":"s-1"}', "s-1"],
    ["not ASCII", '{"sensor_id":"Zürich"}', "Zürich"],
    ["64 characters", `{"sensor_id":"${"x".repeat(64)}"}`, "x".repeat(64)],
    ["65 characters", `{"sensor_id":"${"x".repeat(65)}"}`, null],
    ["empty", '{"sensor_id":""}', null],
    ["a number", '{"sensor_id":7}', null],
    ["absent", "{}", null],
    ["not an object", "null", null],
    ["an array", '["sensor_id"]', null],
    ["not JSON", '{"sensor_id":"s-1"', null],
  ];
  for (const [name, line, key] of cases) {
    await t.step(name, async () => {
      const { messages } = await read(encoder.encode(line));
      assert.deepEqual(messages, [{ key, value: encoder.encode(line) }]);
    });
  }
});

Deno.test("readMessages() takes no key from bytes that are not UTF-8", async () => {
  const line = Uint8Array.from([...encoder.encode('{"sensor_id":"a"}')]);
  line[14] = 0xff;
  assert.deepEqual((await read(line)).messages, [{ key: null, value: line }]);
});

Deno.test("readMessages() keeps nothing of a line over the bound", async () => {
  const chunk = new Uint8Array(1_048_576).fill(120);
  const memoryBefore = process.memoryUsage().external;
  let memoryMax = 0;
  async function* endlessLine(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < 256; at++) {
      await Promise.resolve();
      memoryMax = Math.max(memoryMax, process.memoryUsage().external - memoryBefore);
      yield chunk;
    }
  }
  let tooLongBytes = 0;
  const options = { tooLong: (_: number, bytes: number): void => void (tooLongBytes = bytes) };
  for await (const messages of readMessages(endlessLine(), options)) {
    for (const _ of messages) assert.fail("it was sent");
  }
  assert.equal(tooLongBytes, 256 * chunk.length);
  assert(memoryMax < 64 * chunk.length, `${memoryMax} bytes were kept`);
});

Deno.test("readMessages() leaves out a line over the bound and goes on", async (t) => {
  const longest = "x".repeat(LINE_BYTES_MAX);
  for (const size of [65_536, 4_000_000]) {
    await t.step(`in chunks of ${size} bytes`, async () => {
      const input = `a\n\n${longest}x\n${longest}\r\nb\n${longest}${longest}`;
      const { messages, tooLong } = await read(encoder.encode(input), size);
      assert.deepEqual(messages.map(({ value }) => value!.length), [1, LINE_BYTES_MAX, 1]);
      assert.deepEqual(tooLong, [[3, LINE_BYTES_MAX + 1], [6, 2 * LINE_BYTES_MAX]]);
    });
  }
});

Deno.test("readMessages() tells how many bytes are read, line by line, to the last", async () => {
  for (const size of [1, 3, 65_536]) {
    const told: number[] = [];
    const chunks = inChunks(encoder.encode("a\n\nbc\r\nd"), size);
    const options = { tooLong: () => {}, read: (bytes: number) => void told.push(bytes) };
    for await (const messages of readMessages(chunks, options)) for (const _ of messages) void 0;
    assert.deepEqual(told, [2, 3, 7, 8]);
  }
});
