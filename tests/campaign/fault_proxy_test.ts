/** The link that can be hurt, between real sockets on loopback. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type FaultProxy, openFaultProxy } from "../../campaign/fault_proxy.ts";
import { FakeClock } from "../fake_clock.ts";

const MIB = 1_024 * 1_024;

Deno.test("FaultProxy passes bytes, ends and new connections", async () => {
  await using bed = await EchoBed.open();
  for (let count = 0; count < 3; count++) {
    using client = await bed.connect();
    assert.equal(await ask(client, "hello"), "hello");
    await client.closeWrite();
    assert.equal(await client.read(new Uint8Array(1)), null, "the end came back");
  }
  assert.deepEqual(bed.endings, ["end", "end", "end"]);
});

Deno.test("FaultProxy half open holds everything back, then lets it go on", async () => {
  await using bed = await EchoBed.open();
  using early = await bed.connect();
  assert.equal(await ask(early, "before"), "before");
  bed.proxy.setMode({ kind: "half open" });
  using late = await bed.connect();
  const asked = Promise.all([ask(early, "held"), ask(late, "held, too")]);
  const gone = await bed.connect();
  gone.close();

  await bed.roundTrips(20);
  assert.deepEqual(bed.heard.filter((text) => text !== "elsewhere"), ["before"]);
  assert.equal(bed.proxy.connections, 3, "all stay open");

  bed.proxy.setMode({ kind: "pass" });
  assert.deepEqual(await asked, ["held", "held, too"]);
});

Deno.test("FaultProxy half open holds an end back", async () => {
  await using bed = await EchoBed.open();
  using client = await bed.connect();
  assert.equal(await ask(client, "hello"), "hello");
  bed.proxy.setMode({ kind: "half open" });
  bed.closeAll();
  let heard = false;
  const read = client.read(new Uint8Array(1)).finally(() => heard = true);
  await bed.roundTrips(20);
  assert.equal(heard, false);
  bed.proxy.setMode({ kind: "pass" });
  assert.equal(await read, null);
});

Deno.test("FaultProxy half open holds a reset back", async () => {
  await using bed = await EchoBed.open();
  await using link = await QuietLink.open();
  link.proxy.setMode({ kind: "half open" });
  link.server.resetAndDestroy();
  await bed.roundTrips(20);
  assert.equal(link.proxy.connections, 1);
  link.proxy.setMode({ kind: "pass" });
  await assertCut(link.client);
});

Deno.test("FaultProxy reset cuts what is open and what is new", async () => {
  await using bed = await EchoBed.open();
  using open = await bed.connect();
  assert.equal(await ask(open, "hello"), "hello");
  bed.proxy.setMode({ kind: "reset" });
  await assertCut(open);
  {
    using refused = await bed.connect();
    await assertCut(refused);
  }
  bed.proxy.setMode({ kind: "pass" });
  using healed = await bed.connect();
  assert.equal(await ask(healed, "again"), "again");
});

Deno.test("FaultProxy reset cuts what was half open", async () => {
  await using bed = await EchoBed.open();
  bed.proxy.setMode({ kind: "half open" });
  using client = await bed.connect();
  await client.write(new TextEncoder().encode("held"));
  await until(() => bed.proxy.connections === 1);
  bed.proxy.setMode({ kind: "reset" });
  await assertCut(client);
  await until(() => bed.proxy.connections === 0);
  assert.deepEqual(bed.heard, []);
});

Deno.test("FaultProxy slow waits for the latency and the rate, each way", async () => {
  const clock = new FakeClock();
  await using bed = await EchoBed.open(clock);
  bed.proxy.setMode({ kind: "slow", latencyMs: 100, bytesPerSecondMax: 1_000 });
  using client = await bed.connect();
  const answer = ask(client, "12345");
  await until(() => clock.sleeping === 1);
  await clock.advance(104);
  assert.equal(clock.sleeping, 1);
  await clock.advance(1);
  await until(() => bed.heard.length === 1 && clock.sleeping === 1);
  await clock.advance(105);
  assert.equal(await answer, "12345");
});

Deno.test("FaultProxy slow makes bytes that follow closely wait for the rate alone", async () => {
  const clock = new FakeClock();
  await using bed = await EchoBed.open(clock);
  bed.proxy.setMode({ kind: "slow", latencyMs: 100, bytesPerSecondMax: 1_000 });
  using client = await bed.connect();
  await writeBytes(client, new TextEncoder().encode("a"));
  await until(() => clock.sleeping === 1);
  await clock.advance(101);
  await until(() => bed.heard.length === 1 && clock.sleeping === 1);
  await writeBytes(client, new TextEncoder().encode("bb"));
  await until(() => clock.sleeping === 2);
  await clock.advance(2);
  await until(() => bed.heard.length === 2);
});

Deno.test("FaultProxy slow ends at once with the mode", async () => {
  const clock = new FakeClock();
  await using bed = await EchoBed.open(clock);
  bed.proxy.setMode({ kind: "slow", latencyMs: 100, bytesPerSecondMax: 1_000 });
  using client = await bed.connect();
  const answer = ask(client, "12345");
  await until(() => clock.sleeping === 1);
  bed.proxy.setMode({ kind: "pass" });
  assert.equal(await answer, "12345");
});

Deno.test("FaultProxy loses the next reply of each open connection, and only that", async () => {
  await using bed = await EchoBed.open();
  using open = await bed.connect();
  assert.equal(await ask(open, "first"), "first");
  bed.proxy.setMode({ kind: "lose replies" });
  using later = await bed.connect();
  assert.equal(await ask(later, "later"), "later");
  await open.write(new TextEncoder().encode("unanswered"));
  await assertCut(open);
  await until(() => bed.endings.length === 1);
  assert.deepEqual(bed.heard, ["first", "later", "unanswered"], "the request came through");
  assert.deepEqual(bed.endings, ["end"], "the server saw no reset");
  assert.equal(bed.proxy.repliesLost, 1);
  assert.equal(await ask(later, "still there"), "still there");
});

Deno.test("FaultProxy keeps little: who sends waits for who reads", async () => {
  await using bed = await EchoBed.open();
  await using link = await QuietLink.open();
  const bytes = new Uint8Array(64 * MIB);
  for (let at = 0; at < bytes.length; at += 4_096) bytes[at] = at / 4_096 % 251;
  let sent = 0;
  const sending = (async (): Promise<void> => {
    while (sent < bytes.length) sent += await link.client.write(bytes.subarray(sent, sent + MIB));
    await link.client.closeWrite();
  })();
  await bed.throughAnother(bytes);
  const sentUnread = sent;
  const received = await Array.fromAsync(link.server);
  await sending;
  assert.ok(sentUnread < bytes.length / 2, `${sentUnread} bytes were taken, and none was read`);
  assert.ok(Buffer.concat(received).equals(bytes), "in order");
});

Deno.test("FaultProxy resets the client of a server that is away", async () => {
  await using bed = await EchoBed.open();
  bed.stopListening();
  using client = await bed.connect();
  await assertCut(client);
});

Deno.test("FaultProxy disposed of in any mode leaves nothing open", async (t) => {
  const modes = [
    { kind: "pass" },
    { kind: "half open" },
    { kind: "slow", latencyMs: 1_000_000, bytesPerSecondMax: 1 },
    { kind: "lose replies" },
  ] as const;
  for (const mode of modes) {
    await t.step(mode.kind, async () => {
      await using bed = await EchoBed.open();
      bed.proxy.setMode(mode);
      using client = await bed.connect();
      await client.write(new TextEncoder().encode("hello"));
      await until(() => bed.proxy.connections === 1);
      await bed.proxy[Symbol.asyncDispose]();
      assert.equal(bed.proxy.connections, 0);
      await assert.rejects(bed.connect(), { name: "ConnectionRefused" });
    });
  }
});

/** A server that says everything back, and a link to it. */
class EchoBed implements AsyncDisposable {
  /** What came in, piece by piece. */
  readonly heard: string[] = [];
  /** How connections ended. */
  readonly endings: ("end" | "reset")[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<Deno.Conn>();
  readonly #port: number;
  readonly #accepting: Promise<void>;
  #isListening = true;
  #proxy: FaultProxy | undefined;

  private constructor() {
    this.#accepting = this.#accept();
    this.#port = this.#listener.addr.port;
  }

  static async open(clock?: FakeClock): Promise<EchoBed> {
    const bed = new EchoBed();
    bed.#proxy = await openFaultProxy({ targetPort: bed.#port, ...clock && { clock } });
    return bed;
  }

  get proxy(): FaultProxy {
    return this.#proxy!;
  }

  async connect(): Promise<Deno.TcpConn> {
    return await Deno.connect({ hostname: "127.0.0.1", port: this.proxy.port });
  }

  /** Time that has certainly been enough: so many questions answered on a healthy link. */
  async roundTrips(count: number): Promise<void> {
    await using healthy = await openFaultProxy({ targetPort: this.#port });
    using client = await Deno.connect({ hostname: "127.0.0.1", port: healthy.port });
    for (let done = 0; done < count; done++) await ask(client, "elsewhere");
  }

  /** Sends bytes over a healthy link and reads them back. */
  async throughAnother(bytes: Uint8Array): Promise<void> {
    await using healthy = await openFaultProxy({ targetPort: this.#port });
    using client = await Deno.connect({ hostname: "127.0.0.1", port: healthy.port });
    await Promise.all([writeBytes(client, bytes), readBytes(client, bytes.length)]);
  }

  /** Closes the server's side of each connection. */
  closeAll(): void {
    for (const connection of this.#open) connection.close();
    this.#open.clear();
  }

  stopListening(): void {
    if (this.#isListening) this.#listener.close();
    this.#isListening = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    this.stopListening();
    this.closeAll();
    await this.#accepting;
  }

  async #accept(): Promise<void> {
    const echoes: Promise<void>[] = [];
    try {
      for await (const connection of this.#listener) {
        this.#open.add(connection);
        echoes.push(this.#echo(connection));
      }
    } finally {
      await Promise.all(echoes);
    }
  }

  async #echo(connection: Deno.Conn): Promise<void> {
    const buffer = new Uint8Array(64 * 1_024);
    try {
      for (;;) {
        const count = await connection.read(buffer);
        if (count === null) break;
        this.heard.push(count < 100 ? new TextDecoder().decode(buffer.subarray(0, count)) : "…");
        await writeBytes(connection, buffer.subarray(0, count));
      }
      this.endings.push("end");
    } catch {
      this.endings.push("reset");
    }
    if (this.#open.delete(connection)) connection.close();
  }
}

/** A connection to a server that reads nothing on its own. */
class QuietLink implements AsyncDisposable {
  private constructor(
    readonly proxy: FaultProxy,
    readonly client: Deno.TcpConn,
    /** The server's side. */
    readonly server: Socket,
    readonly listener: Server,
  ) {}

  static async open(): Promise<QuietLink> {
    const taken = Promise.withResolvers<Socket>();
    const listener = createServer({ allowHalfOpen: true }, taken.resolve).listen(0, "127.0.0.1");
    await once(listener, "listening");
    const proxy = await openFaultProxy({ targetPort: (listener.address() as AddressInfo).port });
    const client = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
    return new QuietLink(proxy, client, await taken.promise, listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    this.client.close();
    this.server.destroy();
    this.listener.close();
    await once(this.listener, "close");
  }
}

async function ask(connection: Deno.Conn, question: string): Promise<string> {
  await writeBytes(connection, new TextEncoder().encode(question));
  return new TextDecoder().decode(await readBytes(connection, question.length));
}

async function writeBytes(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) sent += await connection.write(bytes.subarray(sent));
}

async function readBytes(connection: Deno.Conn, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  for (let received = 0; received < count;) {
    const got = await connection.read(bytes.subarray(received));
    if (got === null) throw new Error(`Cannot read ${count} bytes: ended after ${received}`);
    received += got;
  }
  return bytes;
}

async function assertCut(connection: Deno.Conn): Promise<void> {
  await assert.rejects(connection.read(new Uint8Array(1)), { name: "ConnectionReset" });
}

/** Lets the sockets work until it holds. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await nextTurn();
}
