import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { ConfigurationError, TransientError } from "../lib/errors.ts";
import { classifyKafkaError } from "../lib/kafka/connection.ts";
import { oauthMechanism } from "../lib/kafka/oauth_login.ts";

/** A broker that answers each message of a login in turn; an error is not an answer. */
class Broker {
  readonly heard: string[] = [];
  readonly #answers: readonly (string | Error)[];

  constructor(answers: readonly (string | Error)[]) {
    this.#answers = answers;
  }

  /** Logs in with a token. */
  login(token: () => Promise<string>): Promise<void> {
    const nothing = (): void => {};
    const logger = { info: nothing, error: nothing, warn: nothing, debug: nothing };
    return oauthMechanism(token).authenticationProvider({
      host: "h",
      port: 1,
      logger: { ...logger, namespace: () => logger as never, setLogLevel: nothing },
      saslAuthenticate: async ({ request, response }) => {
        const bytes = await request.encode();
        assert.equal(bytes.readInt32BE(), bytes.length - 4);
        const answer = this.#answers[this.heard.push(bytes.subarray(4).toString()) - 1];
        if (typeof answer !== "string") throw answer;
        const framed = Buffer.concat([Buffer.alloc(4), Buffer.from(answer)]);
        framed.writeInt32BE(answer.length);
        return response!.parse(await response!.decode(framed));
      },
    }).authenticate();
  }
}

Deno.test("oauthMechanism() shows the token, and an empty answer lets it in", async () => {
  const broker = new Broker([""]);
  await broker.login(() => Promise.resolve("a.b.c"));
  assert.deepEqual(broker.heard, ["n,,\u0001auth=Bearer a.b.c\u0001\u0001"]);
});

Deno.test("oauthMechanism() ends the exchange of a token that is refused, and says why", async () => {
  const broker = new Broker(['{"status":"invalid_token"}', new Error("closed")]);
  const fault = await broker.login(() => Promise.resolve("a")).catch((error) => error);
  assert.equal(broker.heard[1], "\u0001");
  assert.equal(fault.retriable, false, "kafkajs tries it no second time");
  const classified = classifyKafkaError("read", fault);
  assert.equal(classified.name, "ConfigurationError");
  assert.match(classified.message, /refuse the token \(\{"status":"invalid_token"\}\); check/);
});

Deno.test("oauthMechanism() hands on why there is no token, and gives up the connection", async (t) => {
  const rows: [error: Error, retriable: boolean][] = [
    [new TransientError("the token server answers 503"), true],
    [new ConfigurationError("check KAFKA_OAUTH_TOKEN_URL"), false],
  ];
  for (const [error, retriable] of rows) {
    await t.step(error.name, async () => {
      const fault = await new Broker([]).login(() => Promise.reject(error)).catch((one) => one);
      assert.equal(fault.name, "KafkaJSConnectionError");
      assert.equal(fault.retriable, retriable);
      assert.equal(classifyKafkaError("read", fault).name, error.name);
    });
  }
});
