import assert from "node:assert/strict";
import { connectFault, isPermissionFault, settingsOf } from "../lib/connect_fault.ts";

const TEXT = 'Requires net access to "db:5432", run again with the --allow-net flag';
const NOT_CAPABLE = new Deno.errors.NotCapable(TEXT);

Deno.test("connectFault() tells what a person must mend from what passes", async (t) => {
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
    ["Deno's own refusal", NOT_CAPABLE, /^Requires net access to "db:5432"/],
    ["the same in a library's words", new Error(`Connection error: ${TEXT}`), /Requires net/],
    [
      "the same for a host's name",
      new Error("getaddrinfo EPERM db"),
      /EPERM db \(Deno's --allow-net/,
    ],
    [
      "the same for a Unix socket",
      new Deno.errors.NotCapable('Requires write access to "/tmp/.s.PGSQL.5432", run again …'),
      /^Requires write .*Connecting to a Unix socket takes that.* "deno task permissions consume"/,
    ],
    [
      "our certificate, as Deno's TLS says it",
      new Error("Connection error: received fatal alert: CertificateExpired"),
      /^the server says that our client certificate has expired \(Connection error: received/,
    ],
    [
      "a missing one",
      new Error("received fatal alert: CertificateRequired"),
      /requires a client certificate/,
    ],
    ["a revoked one", new Error("received fatal alert: CertificateRevoked"), /has been revoked/],
    [
      "a strange one",
      new Error("received fatal alert: UnknownCA"),
      /know the authority that signed our/,
    ],
    [
      "the same by OpenSSL",
      new Error("tlsv1 alert unknown ca"),
      /know the authority that signed our/,
    ],
    ["another alert", new Error("received fatal alert: InternalError"), undefined],
    ["a lost connection", new Error("read ECONNRESET"), undefined],
    ["no error", "self-signed certificate", undefined],
  ];
  for (const [name, error, want] of rows) {
    await t.step(name, () => {
      const fault = connectFault(error)?.text;
      if (want === undefined) assert.equal(fault, undefined);
      else assert.match(fault ?? "", want);
    });
  }
});

Deno.test("settingsOf() names what to look at", () => {
  const about = (text: string): string => settingsOf(connectFault(new Error(text))!, "REDIS");
  assert.equal(about("received fatal alert: UnknownCA"), "REDIS_TLS_CERT and REDIS_TLS_KEY");
  assert.equal(about("self-signed certificate"), "REDIS_TLS and REDIS_TLS_CA");
  assert.equal(about(TEXT), "Deno's permissions");
});

Deno.test("isPermissionFault() knows the error of this Deno", () => {
  assert.equal(isPermissionFault(NOT_CAPABLE), true);
  assert.equal(isPermissionFault(new Error("ECONNREFUSED")), false);
});
