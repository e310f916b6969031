/** What becomes of calls when Redis answers badly, in the middle, or not at all. */
import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { openConnection, type RedisConnection } from "../lib/redis/connection.ts";
import { command } from "../lib/redis/resp.ts";

const NEVER = new AbortController().signal;
const HELLO = "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n";
const PING = command(["PING"]);

/** A server that says to each connection what it is told to, and nothing on its own. */
class Script implements AsyncDisposable {
  readonly sockets: Socket[] = [];
  readonly connected = Promise.withResolvers<void>();
  readonly #server = createServer((socket) => {
    this.sockets.push(socket);
    socket.on("error", () => {});
    socket.write(this.#greeting);
    this.connected.resolve();
  });
  readonly #greeting: string;

  constructor(greeting = HELLO) {
    this.#greeting = greeting;
  }

  async open(signal = NEVER): Promise<RedisConnection> {
    const listening = Promise.withResolvers<void>();
    this.#server.listen(0, "127.0.0.1", listening.resolve);
    await listening.promise;
    const address = this.#server.address();
    assert(address !== null && typeof address === "object");
    const { port } = address;
    return await openConnection({ host: "127.0.0.1", port, password: undefined }, signal);
  }

  say(text: string): void {
    this.sockets.at(-1)?.write(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    const closed = Promise.withResolvers<void>();
    this.#server.close(() => closed.resolve());
    await closed.promise;
  }
}

async function withConnection(
  use: (server: Script, connection: RedisConnection) => Promise<void>,
): Promise<void> {
  await using server = new Script();
  const connection = await server.open();
  try {
    await use(server, connection);
  } finally {
    connection.end(new Error("the test is over"));
  }
}

Deno.test("the first refusal of a piece counts, after all its replies; the next call has its own", () =>
  withConnection(async (server, connection) => {
    const piece = connection.send(PING, 4);
    const next = connection.send(PING);
    server.say("+OK\r\n-READONLY first\r\n-OOM second\r\n");
    server.say("+OK\r\n+next\r\n");
    await assert.rejects(piece, { name: "ErrorReply", message: "READONLY first" });
    assert.equal(await next, "next");
  }));

Deno.test("a connection that ends in the middle rejects all that waits, and what comes later", () =>
  withConnection(async (server, connection) => {
    const calls = [connection.send(PING, 3), connection.send(PING)];
    server.say("+OK\r\n$10\r\nhalf");
    server.sockets[0]!.end();
    for (const call of calls) await assert.rejects(call, { message: "connection closed" });
    await assert.rejects(connection.send(PING), { message: "connection closed" });
    assert.equal((await connection.lost).message, "connection closed");
  }));

Deno.test("what nobody asked for ends the connection, and so does what is not Redis", async (t) => {
  for (
    const [said, want] of [["+OK\r\n", "a reply to nothing"], [
      "HTTP\r\n",
      "what answers is not Redis",
    ]]
  ) {
    await t.step(want!, () =>
      withConnection(async (server, connection) => {
        server.say(said!);
        assert.equal((await connection.lost).message, want);
        await assert.rejects(connection.send(PING), { message: want! });
      }));
  }
});

Deno.test("no more than 64 calls wait", () =>
  withConnection(async (_, connection) => {
    const waiting = Array.from({ length: 64 }, () => connection.send(PING));
    await assert.rejects(connection.send(PING), { message: "64 calls wait for an answer" });
    connection.end(new Error("given up"));
    for (const call of waiting) await assert.rejects(call, { message: "given up" });
  }));

Deno.test("openConnection() leaves no connection behind when it is given up", async () => {
  await using server = new Script("");
  const givingUp = new AbortController();
  const opening = server.open(givingUp.signal);
  void server.connected.promise.then(() => givingUp.abort());
  await assert.rejects(opening, { message: "connection closed" });
});
