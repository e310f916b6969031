import assert from "node:assert/strict";
import { reachCure, type ServerSubject, unreached } from "../lib/doctor/reach.ts";
import { ConfigurationError, TransientError } from "../lib/errors.ts";
import { classifyPostgresError } from "../lib/postgres/pool.ts";

/** An error as the operating system makes it, wrapped as a client wraps it. */
function away(code: string, text = `connect ${code} 10.0.0.1:5432`): Error {
  const cause = Object.assign(new Error(text), { code });
  return new TransientError("Cannot ask", { cause });
}

/** A client's error whose text is all there is. */
function silent(text: string): Error {
  return new TransientError("Cannot ask", { cause: new Error(text) });
}

function named(name: string, text: string): Error {
  return new TransientError("Cannot ask", { cause: Object.assign(new Error(text), { name }) });
}

function answered(code: string): Error {
  const error = Object.assign(new Error("the server's words"), { code, severity: "FATAL" });
  return classifyPostgresError("look at the server", error, "connect");
}

const bothFamilies = new TransientError("Cannot ask", {
  cause: new AggregateError([
    Object.assign(new Error("connect ECONNREFUSED ::1:5432"), { code: "ECONNREFUSED" }),
    Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:5432"), { code: "ECONNREFUSED" }),
  ]),
});

Deno.test("reachCure() fits what stopped us on the way", async (t) => {
  const none = /^$/;
  const rows: [name: string, subject: ServerSubject, error: Error, cure: RegExp][] = [
    [
      "nobody listens",
      "postgres",
      away("ECONNREFUSED"),
      /^Nothing is listening.*start it.*POSTGRES_HOST/,
    ],
    ["nobody on both families", "postgres", bothFamilies, /^Nothing is listening/],
    ["no such name", "redis", away("ENOTFOUND"), /^No such host.*REDIS_HOST/],
    ["no name server", "kafka", away("EAI_AGAIN"), /DNS server.*KAFKA_BROKER/],
    ["no way there", "kafka", away("EHOSTUNREACH"), /^It does not answer in time.*firewall/],
    ["swallowed packets", "postgres", away("ETIMEDOUT"), /^It does not answer in time/],
    [
      "pg gives up",
      "postgres",
      silent("Connection terminated due to connection timeout"),
      /in time/,
    ],
    [
      "pg's pool gives up",
      "postgres",
      silent("timeout exceeded when trying to connect"),
      /in time/,
    ],
    ["kafkajs gives up", "kafka", silent("Connection timeout"), /in time/],
    ["we give up", "redis", new TransientError("no answer within 5000 ms"), /in time/],
    [
      "hung up",
      "postgres",
      silent("Connection terminated unexpectedly"),
      /^It closed the connection.*TLS/,
    ],
    [
      "hung up on Redis",
      "redis",
      silent("Socket closed unexpectedly"),
      /^It closed the connection/,
    ],
    ["reset", "kafka", away("ECONNRESET"), /^It closed the connection/],
    ["a socket that is not there", "postgres", away("ENOENT"), /^There is no socket/],
    ["a socket of somebody else", "postgres", away("EACCES"), /^There is no socket/],
    ["too many connections", "postgres", answered("53300"), none],
    ["starting up", "postgres", answered("57P03"), none],
    ["wrong password", "postgres", answered("28P01"), none],
    [
      "a broker's words",
      "kafka",
      named("KafkaJSProtocolError", "timed out, says the broker"),
      none,
    ],
    ["a setting", "redis", new ConfigurationError("connect ECONNREFUSED"), none],
    ["who knows", "kafka", silent("the moon is full"), none],
  ];
  for (const [name, subject, error, cure] of rows) {
    await t.step(name, () => assert.match(reachCure(subject, error), cure));
  }
});

Deno.test("unreached() always has the words of whoever spoke", () => {
  const { state, text, cure } = unreached("postgres", answered("53300"));
  assert.equal(state, "failure");
  assert.match(text, /the server's words \(SQLSTATE 53300\)\. Raise max_connections/);
  assert.equal(cure, "");
});
