import assert from "node:assert/strict";
import { guarded } from "../lib/http/access.ts";
import { type HttpHandler, jsonAnswer } from "../lib/http/exchange.ts";
import { openHttpServer } from "../lib/http/server.ts";
import { createLog } from "../lib/log.ts";
import { FakeClock } from "./fake_clock.ts";

const TOKEN = "correct-horse/battery+1=";

const open: HttpHandler = ({ path }) =>
  Promise.resolve(path === "/healthz" ? jsonAnswer({ ok: true }) : undefined);
const inner: HttpHandler = ({ path }) =>
  Promise.resolve(path === "/data" ? jsonAnswer({ data: 1 }) : undefined);

async function withServer(
  token: string | undefined,
  use: (ask: (path: string, authorization?: string) => Promise<Response>) => Promise<void>,
): Promise<void> {
  const clock = new FakeClock();
  const log = createLog({ level: "debug", format: "text", write: assert.fail, clock });
  const handlers = [open, guarded(inner, token)];
  await using server = await openHttpServer({ host: "127.0.0.1", port: 0 }, {
    handlers,
    clock,
    log,
  });
  await use((path, authorization) =>
    fetch(server.url + path, {
      headers: authorization === undefined ? {} : { authorization },
    })
  );
}

Deno.test("guarded() lets through who shows the token, and nobody else", async (t) => {
  const rows: [name: string, authorization: string | undefined, status: number][] = [
    ["nothing", undefined, 401],
    ["an empty header", "", 401],
    ["a bearer", `Bearer ${TOKEN}`, 200],
    ["a scheme in small letters", `bearer ${TOKEN}`, 200],
    ["a bearer and more", `Bearer ${TOKEN} x`, 401],
    ["its beginning", `Bearer ${TOKEN.slice(0, -1)}`, 401],
    ["more than it", `Bearer ${TOKEN}x`, 401],
    ["other letters of the same length", `Bearer ${TOKEN.toUpperCase()}`, 401],
    ["the token without a scheme", TOKEN, 401],
    ["another scheme", `Digest ${TOKEN}`, 401],
    ["a password of any name", `Basic ${btoa(`me:${TOKEN}`)}`, 200],
    ["a password of no name", `Basic ${btoa(`:${TOKEN}`)}`, 200],
    ["the token as a name", `Basic ${btoa(`${TOKEN}:`)}`, 401],
    ["no colon", `Basic ${btoa(TOKEN)}`, 401],
    ["no base64", "Basic !!!", 401],
    ["bytes that are no text", "Basic Ov/+", 401],
  ];
  await withServer(TOKEN, async (ask) => {
    for (const [name, authorization, status] of rows) {
      await t.step(name, async () => {
        const response = await ask("/data", authorization);
        await response.body?.cancel();
        assert.equal(response.status, status);
      });
    }
  });
});

Deno.test("guarded() asks a browser for a password, tells nothing of what is there", async () => {
  await withServer(TOKEN, async (ask) => {
    for (const path of ["/data", "/nothing"]) {
      const response = await ask(path);
      assert.equal(response.status, 401);
      assert.match(
        response.headers.get("www-authenticate")!,
        /^Basic realm="[^"]+", charset="UTF-8"$/,
      );
      assert.match((await response.json()).error, /^send HTTP_TOKEN/);
    }
    assert.deepEqual(await (await ask("/healthz")).json(), { ok: true });
  });
});

Deno.test("guarded() without a token asks for none", async () => {
  await withServer(undefined, async (ask) => {
    assert.deepEqual(await (await ask("/data")).json(), { data: 1 });
  });
});
