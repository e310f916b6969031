import assert from "node:assert/strict";
import {
  type OAuthSettings,
  parseTokenAnswer,
  type TokenAnswer,
  TokenSource,
} from "../lib/kafka/oauth_token.ts";
import { askTokenServer } from "../lib/kafka/oauth_token.ts";
import { TransientError } from "../lib/errors.ts";
import { FakeClock } from "./fake_clock.ts";
import { OAUTH_CLIENT, TokenServer } from "./integration/token_server.ts";

const SETTINGS: OAuthSettings = {
  oauthTokenUrl: "https://login.example/token",
  oauthClientId: "id",
  oauthClientSecret: "secret",
};

function answer(token: string, seconds: unknown = 100): TokenAnswer {
  return { status: 200, body: JSON.stringify({ access_token: token, expires_in: seconds }) };
}

Deno.test("parseTokenAnswer() tells what passes from what a person mends", async (t) => {
  const rows: [name: string, answer: TokenAnswer, kind: string, says: RegExp][] = [
    ["trouble", { status: 503, body: "" }, "TransientError", /answers 503/],
    ["too many questions", { status: 429, body: "{}" }, "TransientError", /answers 429/],
    [
      "an unknown client",
      { status: 401, body: '{"error":"invalid_client"}' },
      "ConfigurationError",
      /401 invalid_client; check KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET/,
    ],
    [
      "a wrong scope",
      { status: 400, body: '{"error":"invalid_scope"}' },
      "ConfigurationError",
      /check KAFKA_OAUTH_SCOPE/,
    ],
    [
      "another page",
      { status: 404, body: "" },
      "ConfigurationError",
      /check KAFKA_OAUTH_TOKEN_URL/,
    ],
    ["elsewhere", { status: 302, body: "" }, "ConfigurationError", /check KAFKA_OAUTH_TOKEN_URL/],
    ["no JSON", { status: 200, body: "<html>" }, "ConfigurationError", /contains none/],
    ["no token", { status: 200, body: "{}" }, "ConfigurationError", /contains none/],
    ["a token that would end its field", answer("a\u0001b"), "ConfigurationError", /contains none/],
    [
      "a text that could repeat the secret",
      { status: 401, body: '{"error":"no secret"}' },
      "ConfigurationError",
      /answers 401; check/,
    ],
  ];
  for (const [name, given, kind, says] of rows) {
    await t.step(name, () => {
      assert.throws(() => parseTokenAnswer(given), { name: kind, message: says });
    });
  }
  await t.step("a token", () => {
    assert.deepEqual(parseTokenAnswer(answer("a.b-c_d~e+f/g==", 60)), {
      token: "a.b-c_d~e+f/g==",
      lifeMs: 60_000,
    });
    assert.equal(parseTokenAnswer(answer("a", "60")).lifeMs, 60_000);
    assert.equal(parseTokenAnswer(answer("a", null)).lifeMs, 0);
  });
});

Deno.test("TokenSource keeps a token and renews it before it ends", async () => {
  const clock = new FakeClock();
  let asked = 0;
  const source = new TokenSource(SETTINGS, {
    clock,
    ask: () => Promise.resolve(answer(`t${++asked}`, 100)),
  });
  assert.deepEqual(await Promise.all([source.token(), source.token()]), ["t1", "t1"]);
  await clock.advance(79_000);
  assert.equal(await source.token(), "t1");
  await clock.advance(2_000);
  assert.equal(await source.token(), "t2");
});

Deno.test("TokenSource asks anew each time where a token lives for seconds, or nobody says how long", async () => {
  for (const seconds of [10, null]) {
    let asked = 0;
    const source = new TokenSource(SETTINGS, {
      clock: new FakeClock(),
      ask: () => Promise.resolve(answer(`t${++asked}`, seconds)),
    });
    assert.equal(await source.token(), "t1");
    assert.equal(await source.token(), "t2");
  }
});

Deno.test("TokenSource outlives a token server that is away for as long as the token lasts", async () => {
  const clock = new FakeClock();
  let isAway = false;
  const source = new TokenSource(SETTINGS, {
    clock,
    ask: () =>
      isAway ? Promise.reject(new TransientError("away")) : Promise.resolve(answer("t", 100)),
  });
  await source.token();
  isAway = true;
  await clock.advance(90_000);
  assert.equal(await source.token(), "t");
  await clock.advance(9_000);
  await assert.rejects(source.token(), { name: "TransientError", message: "away" });
  isAway = false;
  assert.equal(await source.token(), "t");
});

Deno.test("askTokenServer() shows who we are as RFC 6749 says, and nothing to others", async (t) => {
  await using server = await TokenServer.start();
  const settings: OAuthSettings = {
    oauthTokenUrl: server.tokenUrl,
    oauthClientId: OAUTH_CLIENT.id,
    oauthClientSecret: OAUTH_CLIENT.secret,
    oauthScope: "readings",
  };
  await t.step("a token", async () => {
    assert.equal(parseTokenAnswer(await askTokenServer(settings)).lifeMs, 3_600_000);
  });
  await t.step("another secret", async () => {
    const { status } = await askTokenServer({ ...settings, oauthClientSecret: "other" });
    assert.equal(status, 401);
  });
  await t.step("nobody there", async () => {
    const oauthTokenUrl = "http://127.0.0.1:1/token";
    await assert.rejects(askTokenServer({ ...settings, oauthTokenUrl }), {
      name: "TransientError",
      message:
        /^Cannot reach the token server at http:..127\.0\.0\.1:1 \(KAFKA_OAUTH_TOKEN_URL\): /,
    });
  });
  await t.step("an answer without an end", async () => {
    const endless = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () =>
        new Response(
          new ReadableStream({ pull: (sink) => sink.enqueue(new Uint8Array(16_384)) }),
        ),
    );
    try {
      const oauthTokenUrl = `http://127.0.0.1:${endless.addr.port}`;
      await assert.rejects(askTokenServer({ ...settings, oauthTokenUrl }), {
        name: "TransientError",
        message: /larger than 65536 bytes/,
      });
    } finally {
      await endless.shutdown();
    }
  });
});
