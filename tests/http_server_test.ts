import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { TransientError } from "../lib/errors.ts";
import { eventStreamAnswer, EventStreams, STREAMS_MAX } from "../lib/http/event_stream.ts";
import { HttpError, type HttpHandler, jsonAnswer } from "../lib/http/exchange.ts";
import { pageHandler } from "../lib/http/page.ts";
import { BURST_MAX, RateLimit } from "../lib/http/rate_limit.ts";
import { type HttpServer, openHttpServer } from "../lib/http/server.ts";
import { createLog } from "../lib/log.ts";
import { FakeClock } from "./fake_clock.ts";

const streams = new EventStreams();

const testHandler: HttpHandler = ({ path, query, signal }) => {
  switch (path) {
    case "/echo":
      return Promise.resolve(jsonAnswer({ query: query.get("q") }));
    case "/refused":
      throw new HttpError(418, "a refusal");
    case "/away":
      throw new TransientError("Cannot reach db.internal:5432 as iotuser");
    case "/broken":
      throw new Error("secret of the inside");
    case "/endless":
      return Promise.resolve({ status: 200, headers: {}, body: endless() });
    case "/events":
      return Promise.resolve(eventStreamAnswer(streams, signal));
    default:
      return Promise.resolve(undefined);
  }
};

const endlessBegan = Promise.withResolvers<void>();
const endlessEnded = Promise.withResolvers<void>();

async function* endless(): AsyncGenerator<string> {
  endlessBegan.resolve();
  try {
    while (true) yield await Promise.resolve("x".repeat(65_536));
  } finally {
    endlessEnded.resolve();
  }
}

interface TestServer extends HttpServer {
  readonly clock: FakeClock;
  readonly logged: string[];
}

async function openTestServer(idleMs = 5_000): Promise<TestServer> {
  const clock = new FakeClock();
  const logged: string[] = [];
  const log = createLog({
    level: "warn",
    format: "text",
    write: (line) => logged.push(line),
    clock,
  });
  const parts = { handlers: [testHandler, pageHandler], clock, log };
  const server = await openHttpServer({ host: "127.0.0.1", port: 0, idleMs }, parts);
  return { ...server, clock, logged };
}

/** Sends bytes as they are, and gives what comes until the server hangs up. */
async function raw(server: HttpServer, text: string): Promise<string> {
  const socket = await dial(server);
  socket.write(text);
  let answer = "";
  socket.on("data", (bytes) => answer += bytes);
  await once(socket, "close");
  return answer;
}

async function dial(server: HttpServer): Promise<Socket> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

Deno.test("openHttpServer() gives every answer the headers that keep a browser safe", async (t) => {
  await using server = await openTestServer();
  for (const path of ["/", "/echo?q=1", "/nothing", "/broken"]) {
    await t.step(path, async () => {
      const response = await fetch(`${server.url}${path}`);
      await response.body?.cancel();
      const { headers } = response;
      assert.equal(headers.get("x-content-type-options"), "nosniff");
      assert.match(
        headers.get("content-security-policy")!,
        /^default-src 'none'; script-src 'self'/,
      );
      assert.equal(headers.get("access-control-allow-origin"), null);
      assert.equal(headers.get("server"), null);
      assert.equal(headers.get("x-powered-by"), null);
    });
  }
});

Deno.test("openHttpServer() answers for its own hosts alone, whatever is asked", async (t) => {
  await using server = await openTestServer();
  const evil = "Host: evil.example:8000\r\n";
  const own = "Host: localhost\r\n";
  const rows: readonly [string, string, number][] = [
    ["its own", `GET /echo HTTP/1.1\r\n${own}`, 200],
    ["a foreign one", `GET /echo HTTP/1.1\r\n${evil}`, 421],
    ["a foreign one, for the page", `GET / HTTP/1.1\r\n${evil}`, 421],
    ["a foreign one, for a stream", `GET /events HTTP/1.1\r\n${evil}`, 421],
    ["a foreign one, for nothing", `GET /nothing HTTP/1.1\r\n${evil}`, 421],
    ["a foreign one, for the head", `HEAD /echo HTTP/1.1\r\n${evil}`, 421],
    [
      "a foreign one, and a proxy's word",
      `GET / HTTP/1.1\r\n${evil}X-Forwarded-Host: localhost\r\n`,
      421,
    ],
    [
      "its own, and a proxy's word",
      `GET / HTTP/1.1\r\n${own}X-Forwarded-Host: evil.example\r\n`,
      200,
    ],
    ["none", "GET /echo HTTP/1.1\r\n", 400],
    ["two", `GET /echo HTTP/1.1\r\n${own}${own}`, 400],
    ["two, one of them foreign", `GET /echo HTTP/1.1\r\n${own}${evil}`, 400],
    ["a foreign one in the address", `GET http://evil.example/echo HTTP/1.1\r\n${own}`, 400],
    ["two slashes", `GET //evil.example/echo HTTP/1.1\r\n${own}`, 404],
  ];
  for (const [name, head, status] of rows) {
    await t.step(name, async () => {
      const answer = await raw(server, `${head}Connection: close\r\n\r\n`);
      assert.equal(Number(answer.split(" ")[1]), status, answer.slice(0, 300));
    });
  }
});

Deno.test("openHttpServer() refuses", async (t) => {
  await using server = await openTestServer();
  const rows: readonly [string, string, RequestInit, number][] = [
    ["an address that nobody knows", "/nothing", {}, 404],
    ["a POST", "/echo", { method: "POST" }, 405],
    ["a DELETE", "/echo", { method: "DELETE" }, 405],
    ["a long address", `/echo?q=${"x".repeat(2_100)}`, {}, 414],
    ["large headers", "/echo", { headers: { "x-large": "x".repeat(20_000) } }, 431],
    ["what a handler refuses", "/refused", {}, 418],
    ["what needs a server that is away", "/away", {}, 503],
    ["what meets a fault of ours", "/broken", {}, 500],
  ];
  for (const [name, path, init, status] of rows) {
    await t.step(name, async () => {
      const response = await fetch(`${server.url}${path}`, init);
      assert.equal(response.status, status);
      assert.doesNotMatch(await response.text(), /internal|iotuser|secret|at file/);
    });
  }
  await t.step("a GET with a body", async () => {
    const head = "GET /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc";
    assert.match(await raw(server, head), /^HTTP\/1\.1 413 /);
  });
  await t.step("what is no HTTP", async () => {
    assert.match(await raw(server, "hello\r\n\r\n"), /^(HTTP\/1\.1 400 |$)/);
  });
  await t.step("and only a fault of ours is an error in the log", () => {
    assert.equal(server.logged.length, 1);
    assert.match(server.logged[0]!, /ERROR .*secret of the inside/);
  });
});

Deno.test("openHttpServer() answers HEAD without a body", async () => {
  await using server = await openTestServer();
  const [head, get] = await Promise.all(
    ["HEAD", "GET"].map((method) => fetch(`${server.url}/echo?q=a`, { method })),
  );
  assert.equal(head!.status, 200);
  assert.equal(await head!.text(), "");
  assert.equal(await get!.text(), '{"query":"a"}\n');
  assert.equal(head!.headers.get("content-length"), get!.headers.get("content-length"));
});

Deno.test("openHttpServer() hangs up on who asks slowly or not at all", async (t) => {
  await using server = await openTestServer(200);
  for (const [name, beginning] of [["nothing", ""], ["half a question", "GET / HTTP/1.1\r\nHo"]]) {
    await t.step(name!, async () => {
      const socket = await dial(server);
      socket.resume();
      if (beginning !== "") socket.write(beginning!);
      await once(socket, "close");
    });
  }
});

Deno.test("openHttpServer() hangs up on who takes no answer, and ends what makes it", async () => {
  await using server = await openTestServer(100);
  const socket = await dial(server);
  socket.pause();
  socket.write("GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await endlessBegan.promise;
  await endlessEnded.promise;
  socket.destroy();
});

Deno.test("openHttpServer() tells who asks too much to wait", async () => {
  await using server = await openTestServer();
  const statuses: number[] = [];
  for (let asked = 0; asked <= BURST_MAX; asked++) {
    const response = await fetch(`${server.url}/echo`);
    await response.body?.cancel();
    statuses.push(response.status);
  }
  assert.deepEqual([statuses.at(-2), statuses.at(-1)], [200, 429]);
  await server.clock.advance(1_000);
  const response = await fetch(`${server.url}/echo`);
  await response.body?.cancel();
  assert.equal(response.status, 200);
});

Deno.test("openHttpServer() says an address that a person can open", async (t) => {
  const clock = new FakeClock();
  const log = createLog({ level: "error", format: "text", write: assert.fail, clock });
  for (const [host, named] of [["0.0.0.0", "localhost"], ["::", "localhost"], ["::1", "[::1]"]]) {
    await t.step(host!, async () => {
      const settings = { host: host!, port: 0 };
      await using server = await openHttpServer(settings, { handlers: [testHandler], clock, log });
      assert.equal(new URL(server.url).hostname, named);
      const response = await fetch(`${server.url}/echo`);
      assert.equal(response.status, 200);
      await response.body?.cancel();
    });
  }
});

Deno.test("openHttpServer() names an address that it cannot have", async () => {
  await using server = await openTestServer();
  const { port } = new URL(server.url);
  const log = createLog({
    level: "error",
    format: "text",
    write: assert.fail,
    clock: server.clock,
  });
  await assert.rejects(
    openHttpServer({ host: "127.0.0.1", port: Number(port) }, {
      handlers: [],
      clock: server.clock,
      log,
    }),
    { name: "ConfigurationError", message: `Cannot listen on 127.0.0.1:${port}` },
  );
});

Deno.test("RateLimit keeps clients apart, and fills up no further than a burst", async () => {
  const clock = new FakeClock();
  const rate = new RateLimit(clock);
  await clock.advance(60_000);
  const admitted = (client: string): number =>
    Array.from({ length: 2 * BURST_MAX }, () => rate.admits(client)).filter(Boolean).length;
  assert.equal(admitted("a"), BURST_MAX);
  assert.equal(admitted("b"), BURST_MAX);
  await clock.advance(2_000);
  assert.equal(admitted("a"), 100);
});

Deno.test("pageHandler() serves every file that the page asks for, and only once", async () => {
  await using server = await openTestServer();
  const page = await (await fetch(server.url)).text();
  const asked = [...page.matchAll(/(?:src|href)="(\/[a-z_]+\.[a-z]+)"/g)].map(([, path]) => path!);
  assert(asked.includes("/main.js") && asked.includes("/style.css"), String(asked));
  const waiting = new Set(asked);
  // A set grows while it is walked through: modules name further modules.
  for (const path of waiting) {
    const response = await fetch(`${server.url}${path}`);
    assert.equal(response.status, 200, path);
    const text = await response.text();
    if (path.endsWith(".js")) {
      for (const [, name] of text.matchAll(/from "\.(\/[a-z_]+\.js)"/g)) waiting.add(name!);
    }
    const tag = response.headers.get("etag")!;
    const again = await fetch(`${server.url}${path}`, { headers: { "if-none-match": tag } });
    assert.equal(again.status, 304, path);
    assert.equal(await again.text(), "");
  }
  assert(waiting.has("/overview.js") && waiting.has("/chart.js"));
  assert.doesNotMatch(page, /https?:\/\//, "nothing comes from another site");
});

Deno.test("EventStreams send each viewer the newest state", async () => {
  await using server = await openTestServer();
  let made = 0;
  streams.send(() => made++);
  assert.equal(made, 0, "nobody watches");
  const stop = new AbortController();
  const response = await fetch(`${server.url}/events`, { signal: stop.signal });
  assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let received = "";
  const until = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(received)) {
      received += (await reader.read()).value ?? assert.fail(received);
    }
  };
  await until(/^retry: 2000\n\n/);
  streams.send(() => ({ text: "a\nb" }));
  await until(/data: \{"text":"a\\nb"\}\n\n/);
  assert.equal(streams.size, 1);
  stop.abort();
  await reader.closed.catch(() => {});
});

Deno.test("EventStreams.watch() ends when the server closes, and counts no one who left", async () => {
  const all = new EventStreams();
  const gone = new AbortController();
  const [stays, leaves] = [all.watch(new AbortController().signal), all.watch(gone.signal)];
  await Promise.all([stays.next(), leaves.next()]);
  assert.equal(all.size, 2);
  const left = leaves.next();
  gone.abort();
  assert.equal((await left).done, true);
  assert.equal(all.size, 1);
  // Two states while the viewer does not look: the newest one is what it gets.
  all.send(() => 1);
  all.send(() => 2);
  assert.equal((await stays.next()).value, "data: 2\n\n");
  const last = stays.next();
  all.close();
  assert.equal((await last).done, true);
  assert.equal(all.size, 0);
});

Deno.test("eventStreamAnswer() refuses more viewers than it can serve", async () => {
  const all = new EventStreams();
  const { signal } = new AbortController();
  const watching = Array.from({ length: STREAMS_MAX }, () => all.watch(signal));
  await Promise.all(watching.map((each) => each.next()));
  assert.throws(() => eventStreamAnswer(all, signal), { name: "HttpError", status: 503 });
});
