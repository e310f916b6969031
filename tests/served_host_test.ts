import assert from "node:assert/strict";
import { HttpError } from "../lib/http/exchange.ts";
import { hostCheck, type HostNames } from "../lib/http/served_host.ts";

/** 200: the question is let through. */
function statusOf(headers: readonly string[], names: HostNames): number {
  try {
    hostCheck(names)(headers);
    return 200;
  } catch (error) {
    assert.ok(error instanceof HttpError);
    return error.status;
  }
}

Deno.test("hostCheck() serves addresses and names that it was told, and no other", async (t) => {
  const names = { host: "here.example", allowedHosts: ["Proxy.example", "consumer"] };
  const rows: readonly [string, number][] = [
    ["localhost", 200],
    ["localhost:8000", 200],
    ["LOCALHOST:1", 200],
    ["localhost.:8000", 200],
    ["127.0.0.1:8000", 200],
    ["10.1.2.3", 200],
    ["[::1]:8000", 200],
    ["[fd00::12]", 200],
    ["[::ffff:127.0.0.1]:8000", 200],
    ["here.example:8000", 200],
    ["proxy.example", 200],
    ["PROXY.EXAMPLE.:443", 200],
    ["consumer:8000", 200],
    ["evil.example:8000", 421],
    ["localhost.evil.example", 421],
    ["127.0.0.1.evil.example", 421],
    ["evil-localhost", 421],
    ["sub.proxy.example", 421],
    ["2130706433", 421],
    ["0x7f.1", 421],
    ["127.1", 421],
    ["::1", 400],
    ["[127.0.0.1]", 400],
    ["[::1", 400],
    ["localhost:port", 400],
    ["localhost:8000:8000", 400],
    ["evil.example@localhost", 400],
    ["localhost,evil.example", 400],
    ["localhost/x", 400],
    ["", 400],
    [":8000", 400],
  ];
  for (const [header, status] of rows) {
    await t.step(JSON.stringify(header), () => assert.equal(statusOf([header], names), status));
  }
});

Deno.test("hostCheck() wants one host", () => {
  const names = { host: "127.0.0.1" };
  assert.equal(statusOf([], names), 400);
  assert.equal(statusOf(["localhost", "localhost"], names), 400);
});
