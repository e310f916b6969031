import assert from "node:assert/strict";
import { reachCure, unreached } from "../lib/doctor/reach.ts";
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
  return classifyPostgresError("look at the server", error, { purpose: "connect" });
}

Deno.test("reachCure() fits what stopped us on the way", async (t) => {
  const none = /^$/;
  const rows: [name: string, error: Error, cure: RegExp][] = [
    ["nobody listens", away("ECONNREFUSED"), /^Nothing is listening there: start it/],
    ["no such name", away("ENOTFOUND"), /^Correct the address/],
    ["no name server", away("EAI_AGAIN"), /DNS server/],
    ["no way there", away("EHOSTUNREACH"), /firewall/],
    ["swallowed packets", away("ETIMEDOUT"), /firewall/],
    ["hung up", silent("Connection terminated unexpectedly"), /expects TLS/],
    ["a socket that is not there", away("ENOENT"), /^Start the server/],
    ["too many connections", answered("53300"), none],
    ["starting up", answered("57P03"), none],
    ["wrong password", answered("28P01"), none],
    ["a broker's words", named("KafkaJSProtocolError", "timed out, says the broker"), none],
    ["a setting", new ConfigurationError("connect ECONNREFUSED"), none],
    ["who knows", silent("the moon is full"), none],
  ];
  for (const [name, error, cure] of rows) {
    await t.step(name, () => assert.match(reachCure(error), cure));
  }
});

Deno.test("unreached() always has the words of whoever spoke", () => {
  const { state, text, cure } = unreached("postgres", answered("53300"));
  assert.equal(state, "failure");
  assert.match(text, /the server's words \(SQLSTATE 53300\)\. Raise max_connections/);
  assert.equal(cure, "");
});
