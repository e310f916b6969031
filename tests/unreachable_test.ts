import assert from "node:assert/strict";
import { describeError, NoAnswerError, TransientError } from "../lib/errors.ts";
import { askTokenServer } from "../lib/kafka/oauth_token.ts";
import { classifyKafkaError } from "../lib/kafka/connection.ts";
import { classifyPostgresError } from "../lib/postgres/pool.ts";
import { connectionCause, unreachable } from "../lib/unreachable.ts";

/** An error as the operating system makes it, wrapped as a client wraps it. */
function away(code: string, text = `connect ${code} 10.0.0.1:5432`): Error {
  const cause = Object.assign(new Error(text), { code });
  return new TransientError("Cannot ask", { cause });
}

const bothFamilies = new AggregateError([
  Object.assign(new Error("connect ECONNREFUSED ::1:5432"), { code: "ECONNREFUSED" }),
  Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:5432"), { code: "ECONNREFUSED" }),
]);

Deno.test("connectionCause() says in a few words what stopped us", async (t) => {
  const rows: [name: string, error: unknown, cause: string | undefined][] = [
    ["nobody listens", away("ECONNREFUSED"), "connection refused"],
    ["nobody on both families", bothFamilies, "connection refused"],
    ["no such name", away("ENOTFOUND", "getaddrinfo ENOTFOUND db"), "no such host"],
    ["no name server", away("EAI_AGAIN"), "its host name could not be resolved"],
    ["no way there", away("EHOSTUNREACH"), "no route to it"],
    ["no network", away("ENETUNREACH"), "no route to it"],
    ["swallowed packets", away("ETIMEDOUT"), "no answer in time"],
    [
      "pg gives up",
      new Error("Connection terminated due to connection timeout"),
      "no answer in time",
    ],
    [
      "pg's pool gives up",
      new Error("timeout exceeded when trying to connect"),
      "no answer in time",
    ],
    ["kafkajs gives up", new Error("Connection timeout"), "no answer in time"],
    ["the token's time is up", new Error("Signal timed out."), "no answer in time"],
    ["we give up", new TransientError("no answer within 5000 ms"), "no answer within 5000 ms"],
    ["hung up", new Error("Connection terminated unexpectedly"), "it closed the connection"],
    ["hung up on Redis", new Error("Socket closed unexpectedly"), "it closed the connection"],
    ["reset", away("ECONNRESET"), "it closed the connection"],
    [
      "no TLS there",
      away(
        "ECONNRESET",
        "Client network socket disconnected before secure TLS connection was established",
      ),
      "it closed the connection before a secure TLS connection was established",
    ],
    ["no socket", away("ENOENT"), "there is no socket that this program may use"],
    ["a socket of others", away("EACCES"), "there is no socket that this program may use"],
    ["who knows", new Error("the moon is full"), undefined],
    ["no error", "ECONNREFUSED", undefined],
  ];
  for (const [name, error, cause] of rows) {
    await t.step(name, () => assert.equal(connectionCause(error), cause));
  }
});

Deno.test("unreachable() is one sentence: who, where, by which settings, why", () => {
  const silence = { name: "Redis", place: "r:6379 (REDIS_URL)", server: "redis" } as const;
  const error = unreachable(silence, away("ECONNREFUSED"));
  assert(error instanceof NoAnswerError);
  assert.equal(error.server, "redis");
  assert.equal(
    describeError(error),
    "Cannot reach Redis at r:6379 (REDIS_URL): connection refused",
  );
  const midway = unreachable({ ...silence, action: "read 5 marks" }, away("ECONNRESET"));
  assert.equal(
    describeError(new TransientError("Cannot go on", { cause: midway })),
    "Cannot go on: Cannot read 5 marks: Redis at r:6379 (REDIS_URL) closed the connection",
  );
  assert.match(unreachable(silence, new Error("the moon is full")).message, /: the moon is full$/);
});

Deno.test("classifyPostgresError() names the server's address and settings", () => {
  const place = "[::1]:5432 (DATABASE_URL)";
  const refused = classifyPostgresError("begin", bothFamilies, { purpose: "connect", place });
  assert.equal(
    describeError(refused),
    "Cannot reach PostgreSQL at [::1]:5432 (DATABASE_URL): connection refused",
  );
  const cut = classifyPostgresError("store a batch", away("ECONNRESET"), { place });
  assert.equal(
    describeError(cut),
    "Cannot store a batch: PostgreSQL at [::1]:5432 (DATABASE_URL) closed the connection",
  );
  const words = Object.assign(new Error("no password"), { code: "28P01", severity: "FATAL" });
  assert.match(
    classifyPostgresError("begin", words, { purpose: "connect", place }).message,
    /^Cannot connect to PostgreSQL at \[::1\]:5432 \(DATABASE_URL\): no password \(SQLSTATE 28P01\)/,
  );
  const plain = new Error("The server does not support SSL connections");
  assert.match(
    classifyPostgresError("begin", plain, { purpose: "connect", place }).message,
    /^Cannot connect to PostgreSQL at .*: the server does not speak TLS .*Check POSTGRES_TLS/,
  );
});

Deno.test("classifyKafkaError() names the broker, and a cause that kafkajs has dropped", async (t) => {
  const settings = "(KAFKA_BROKER, or advertised.listeners of the brokers)";
  const fault = (name: string, message: string, more: Record<string, unknown>): Error =>
    new Error("gave up", { cause: Object.assign(new Error(message), { name, ...more }) });
  const rows: [name: string, error: Error, text: string][] = [
    [
      // kafkajs takes the message of an AggregateError, which is empty.
      "refused on both families",
      fault("KafkaJSConnectionError", "Connection error: ", {
        broker: "localhost:9092",
        code: "ECONNREFUSED",
      }),
      `Cannot reach Kafka at localhost:9092 ${settings}: connection refused`,
    ],
    [
      "an IPv6 address in the form for kafkajs",
      fault("KafkaJSConnectionError", "Connection timeout", { broker: "[__1]:9092" }),
      `Cannot reach Kafka at [::1]:9092 ${settings}: no answer in time`,
    ],
    [
      "closed while a question was open",
      fault("KafkaJSConnectionClosedError", "Closed connection", { host: "k", port: 9093 }),
      `Cannot read the topic: Kafka at k:9093 ${settings} closed the connection`,
    ],
    [
      "silent",
      fault("KafkaJSRequestTimeoutError", "Request Metadata timed out", { broker: "k:9092" }),
      `Cannot read the topic: Kafka at k:9092 ${settings} did not answer in time`,
    ],
  ];
  for (const [name, error, text] of rows) {
    await t.step(name, () => {
      const classified = classifyKafkaError("read the topic", error);
      assert.equal(describeError(classified), text);
      assert(classified instanceof NoAnswerError && classified.server === "kafka");
    });
  }
});

Deno.test("a token server that is away is named, also by who logs in to Kafka", async () => {
  const oauth = {
    oauthTokenUrl: "http://127.0.0.1:1/secret-path",
    oauthClientId: "id",
    oauthClientSecret: "secret",
  };
  const error = await askTokenServer(oauth).catch((error) => error);
  const text =
    "Cannot reach the token server at http://127.0.0.1:1 (KAFKA_OAUTH_TOKEN_URL): connection refused";
  assert.equal(describeError(error), text);
  const login = Object.assign(new Error("Cannot log in", { cause: error }), {
    name: "KafkaJSConnectionError",
  });
  assert.equal(describeError(classifyKafkaError("read the topic", login)), text);
});
