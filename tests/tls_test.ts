import assert from "node:assert/strict";
import { tlsFault, tlsOptions } from "../lib/tls.ts";

Deno.test("tlsOptions() verifies unless told otherwise", () => {
  assert.equal(tlsOptions("disable", "pem"), undefined);
  assert.deepEqual(tlsOptions("require", undefined), { rejectUnauthorized: false });
  assert.deepEqual(tlsOptions("verify-full", "pem"), { rejectUnauthorized: true, ca: "pem" });
  assert.deepEqual(tlsOptions("verify-full", undefined), { rejectUnauthorized: true });
});

Deno.test("tlsFault() tells what a person must mend from what passes", async (t) => {
  const coded = Object.assign(new Error("no"), { code: "CERT_HAS_EXPIRED" });
  const rows: [string, unknown, RegExp | undefined][] = [
    ["a code", coded, /certificate is not trusted \(no\)/],
    ["a text alone", new Error("self-signed certificate in certificate chain"), /not trusted/],
    ["a wrong name", new Error("Hostname/IP does not match certificate's altnames"), /not trusted/],
    ["a cause", new Error("outer", { cause: coded }), /not trusted/],
    [
      "PostgreSQL without TLS",
      new Error("The server does not support SSL connections"),
      /speak TLS/,
    ],
    [
      "no TLS at all",
      new Error("received corrupt message of type InvalidContentType"),
      /speak TLS/,
    ],
    ["a lost connection", new Error("read ECONNRESET"), undefined],
    ["no error", "self-signed certificate", undefined],
  ];
  for (const [name, error, want] of rows) {
    await t.step(name, () => {
      const fault = tlsFault(error);
      if (want === undefined) assert.equal(fault, undefined);
      else assert.match(fault ?? "", want);
    });
  }
});
