import assert from "node:assert/strict";
import { createErrorFromCode } from "kafkajs/src/protocol/error.js";
import { ConfigurationError, describeError, NoAnswerError, TransientError } from "../lib/errors.ts";
import { classifyKafkaError } from "../lib/kafka/connection.ts";

function fault(message: string, extra: Record<string, unknown> = {}): Error {
  return Object.assign(new Error(message), extra);
}

Deno.test("classifyKafkaError() tells what passes from what a person mends", async (t) => {
  const gaveUp = (cause: Error): Error =>
    fault("gave up", { name: "KafkaJSNumberOfRetriesExceeded", cause });
  const rows: readonly [string, Error, string, RegExp][] = [
    ["no broker", fault("connect ECONNREFUSED"), "TransientError", /ECONNREFUSED/],
    [
      "no leader",
      fault("election", { type: "LEADER_NOT_AVAILABLE" }),
      "TransientError",
      /election/,
    ],
    ["rebalance", fault("r", { type: "REBALANCE_IN_PROGRESS" }), "TransientError", /r/],
    ["something unknown", fault("??"), "TransientError", /\?\?/],
    [
      "no such topic",
      fault("unknown", { type: "UNKNOWN_TOPIC_OR_PARTITION" }),
      "ConfigurationError",
      /does not exist; create it/,
    ],
    [
      "a cause behind a retry that gave up",
      gaveUp(fault("denied", { type: "GROUP_AUTHORIZATION_FAILED" })),
      "ConfigurationError",
      /no right to the group/,
    ],
    [
      "what became of the topics that were asked for",
      fault("some", { errors: [fault("denied", { type: "TOPIC_AUTHORIZATION_FAILED" })] }),
      "ConfigurationError",
      /no right to the topic/,
    ],
    [
      "a wrong password",
      fault("bad", { name: "KafkaJSSASLAuthenticationError" }),
      "ConfigurationError",
      /refuse this user and password/,
    ],
    [
      "an unknown certificate",
      gaveUp(fault("self-signed certificate in certificate chain")),
      "ConfigurationError",
      /certificate is not trusted/,
    ],
    [
      "a port of a controller",
      fault("x", { name: "KafkaJSServerDoesNotSupportApiKey" }),
      "ConfigurationError",
      /port that does not serve clients/,
    ],
  ];
  for (const [name, error, wantName, wantText] of rows) {
    await t.step(name, () => {
      const classified = classifyKafkaError("read", error);
      assert.equal(classified.name, wantName);
      assert.match(describeError(classified), wantText);
      assert.equal(classified.cause, error);
    });
  }
});

Deno.test("classifyKafkaError() tells brokers that do not answer from those that say something", async (t) => {
  const rows: readonly [string, Error, boolean][] = [
    ["refused", fault("x", { name: "KafkaJSConnectionError" }), true],
    ["closed", fault("x", { name: "KafkaJSConnectionClosedError" }), true],
    ["silent", fault("x", { name: "KafkaJSRequestTimeoutError" }), true],
    [
      "gave up",
      new Error("gave up", { cause: fault("x", { name: "KafkaJSBrokerNotFound" }) }),
      true,
    ],
    ["no leader", fault("election", { type: "LEADER_NOT_AVAILABLE" }), false],
    [
      "no token for the log-in",
      fault("connection refused", {
        name: "KafkaJSConnectionError",
        cause: new TransientError("the token server answers 503"),
      }),
      false,
    ],
  ];
  for (const [name, error, isSilent] of rows) {
    await t.step(name, () => {
      const classified = classifyKafkaError("read", error);
      assert.equal(classified instanceof NoAnswerError, isSilent);
      if (classified instanceof NoAnswerError) assert.equal(classified.server, "kafka");
    });
  }
});

Deno.test("classifyKafkaError() never takes an answer of the brokers that says no for brokers that are away", async (t) => {
  const rows: [code: number, says: RegExp][] = [
    [23, /another program is in this group.*another KAFKA_GROUP_ID/],
    [29, /no right to the topic; grant it/],
    [30, /no right to the group; grant READ/],
    [31, /lacks a right on the cluster/],
    [33, /do not offer this login mechanism/],
    [53, /no right to the transactional id/],
    [58, /refuse this user and password/],
  ];
  for (const [code, says] of rows) {
    await t.step(String(code), () => {
      for (
        const error of [createErrorFromCode(code), fault("x", { cause: createErrorFromCode(code) })]
      ) {
        const classified = classifyKafkaError("read", error);
        assert.equal(classified.name, "ConfigurationError");
        assert.match(classified.message, says);
      }
    });
  }
});

Deno.test("classifyKafkaError() hands on what a log-in by token says", () => {
  const refused = new ConfigurationError("Cannot get a token: check it");
  const wrapped = fault("x", { cause: fault("Cannot log in to the brokers", { cause: refused }) });
  assert.equal(
    classifyKafkaError("read", wrapped).message,
    "Cannot read: Cannot get a token: check it",
  );
  const away = fault("x", { cause: new TransientError("the token server answers 503") });
  assert.equal(classifyKafkaError("read", away).name, "TransientError");
});

Deno.test("classifyKafkaError() leaves what is classified alone", () => {
  const error = classifyKafkaError("read", fault("x"));
  assert.equal(classifyKafkaError("write", error), error);
});

Deno.test("classifyKafkaError() ends on a chain of causes that is a ring", () => {
  const ring = fault("ring");
  ring.cause = ring;
  assert.equal(classifyKafkaError("read", ring).name, "TransientError");
});
