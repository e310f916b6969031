import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { idsOf, marksOf } from "../fakes/mark_texts.ts";
import { lookUpCommand, setCommands } from "../lib/redis/mark_commands.ts";
import { command, ErrorReply, type Reply, ReplyReader } from "../lib/redis/resp.ts";

function readAll(...pieces: readonly Uint8Array[]): readonly Reply[] {
  const reader = new ReplyReader();
  const replies: Reply[] = [];
  for (const piece of pieces) {
    reader.push(Buffer.from(piece));
    for (let reply = reader.next(); reply !== undefined; reply = reader.next()) replies.push(reply);
  }
  return replies;
}

Deno.test("ReplyReader reads every kind, however it is cut", () => {
  const text = "+OK\r\n-OOM no\r\n:-12\r\n$-1\r\n$0\r\n\r\n$7\r\na\r\n€x\r\n*-1\r\n*0\r\n" +
    "*3\r\n$1\r\na\r\n*2\r\n:7\r\n*0\r\n-WRONGTYPE x\r\n";
  const want: Reply[] = [
    "OK",
    new ErrorReply("OOM no"),
    -12,
    null,
    "",
    "a\r\n€x",
    null,
    [],
    ["a", [7, []], new ErrorReply("WRONGTYPE x")],
  ];
  const bytes = Buffer.from(text);
  assert.deepEqual(readAll(bytes), want);
  assert.deepEqual(readAll(...Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))), want);
  for (let at = 1; at < bytes.length; at++) {
    assert.deepEqual(readAll(bytes.subarray(0, at), bytes.subarray(at)), want, `cut at ${at}`);
  }
});

Deno.test("ReplyReader refuses what is not Redis, and what is too much", async (t) => {
  const rows: readonly [name: string, bytes: string, want: RegExp][] = [
    ["a web server", "HTTP/1.1 400 Bad Request\r\n", /not Redis/],
    ["a line without an end", "+" + "x".repeat(70_000), /not Redis/],
    ["no number", ":1x\r\n", /not Redis/],
    ["a text that is too long", "$99999999999\r\n", /too long/],
    ["an array that is too long", "*99999999\r\n", /too long/],
    ["nested too deep", "*1\r\n".repeat(9) + ":1\r\n", /too deep/],
  ];
  for (const [name, bytes, want] of rows) {
    await t.step(name, () => assert.throws(() => readAll(Buffer.from(bytes)), { message: want }));
  }
});

Deno.test("commands with marks are those that texts would give", () => {
  const ids = ["00000000-0000-0000-0000-000000000000", "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9"];
  const values = ["", "v", "9 letters", "10 letters", "x".repeat(1_234)];
  for (const prefix of ["", "production:"]) {
    const keys = ids.map((id) => `${prefix}reading:${id}`);
    assert.deepEqual(
      lookUpCommand(idsOf(ids), prefix).toString(),
      command(["MGET", ...keys]).toString(),
    );
    const marks = values.flatMap((value) => ids.map((id) => ({ id, value })));
    const want = marks.map(({ id, value }) =>
      command(["SETEX", `${prefix}reading:${id}`, "60", value]).toString()
    );
    const bytes = setCommands(marksOf(marks), { prefix, ttlSeconds: 60 });
    assert.equal(bytes.toString(), want.join(""));
  }
  assert.equal(setCommands(marksOf([]), { prefix: "", ttlSeconds: 60 }).length, 0);
});
