import assert from "node:assert/strict";
import { describeError } from "../lib/errors.ts";
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
      "an unreadable codec",
      fault("x", { name: "KafkaJSNotImplemented" }),
      "ConfigurationError",
      /codec that cannot be read/,
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

Deno.test("classifyKafkaError() leaves what is classified alone", () => {
  const error = classifyKafkaError("read", fault("x"));
  assert.equal(classifyKafkaError("write", error), error);
});

Deno.test("classifyKafkaError() ends on a chain of causes that is a ring", () => {
  const ring = fault("ring");
  ring.cause = ring;
  assert.equal(classifyKafkaError("read", ring).name, "TransientError");
});
