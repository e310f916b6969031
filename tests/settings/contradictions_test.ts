import assert from "node:assert/strict";
import { BY_TOKEN, faultsOf, type Variables } from "./read_settings.ts";

Deno.test("readSettings() refuses settings that contradict each other", async (t) => {
  const pem = { "/ca.pem": "-----BEGIN CERTIFICATE-----" };
  const rows: [Variables, string][] = [
    [{ KAFKA_TLS_CA: "/ca.pem" }, "KAFKA_TLS_CA is set: set KAFKA_TLS to verify-full, too"],
    [
      { POSTGRES_TLS_CA: "/ca.pem", POSTGRES_TLS: "require" },
      "POSTGRES_TLS_CA is set: set POSTGRES_TLS to verify-full, too",
    ],
    [{ REDIS_TLS_CA: "/ca.pem" }, "REDIS_TLS_CA is set: set REDIS_TLS to verify-full, too"],
    [
      { KAFKA_SASL_MECHANISM: "plain", KAFKA_USER: "u" },
      "KAFKA_SASL_MECHANISM is set: set KAFKA_USER and KAFKA_PASSWORD, too",
    ],
    [
      { KAFKA_PASSWORD: "p" },
      "KAFKA_USER or KAFKA_PASSWORD is set: set KAFKA_SASL_MECHANISM, too",
    ],
    [
      { ...BY_TOKEN, KAFKA_USER: "u" },
      "KAFKA_USER and KAFKA_PASSWORD do not apply to KAFKA_SASL_MECHANISM=oauthbearer: remove them",
    ],
    [
      { ...BY_TOKEN, KAFKA_OAUTH_CLIENT_ID: "" },
      "KAFKA_SASL_MECHANISM is oauthbearer: set KAFKA_OAUTH_TOKEN_URL, KAFKA_OAUTH_CLIENT_ID and " +
      "KAFKA_OAUTH_CLIENT_SECRET, too",
    ],
    [
      { KAFKA_OAUTH_SCOPE: "readings" },
      "KAFKA_OAUTH_… is set: set KAFKA_SASL_MECHANISM to oauthbearer, too",
    ],
    [{ REDIS_USER: "u" }, "REDIS_USER is set: set REDIS_PASSWORD, too"],
    [
      { POSTGRES_READ_USER: "u" },
      "POSTGRES_READ_USER and POSTGRES_READ_PASSWORD go together: set both or none",
    ],
    [
      { KAFKA_SESSION_TIMEOUT_MS: "45000" },
      "WATCHDOG_SECONDS must be longer than KAFKA_SESSION_TIMEOUT_MS: the group may wait that long",
    ],
    [
      { WATCHDOG_SECONDS: "13", POSTGRES_CONNECT_TIMEOUT_MS: "5000" },
      "WATCHDOG_SECONDS must be longer than POSTGRES_CONNECT_TIMEOUT_MS and " +
      "POSTGRES_STATEMENT_TIMEOUT_MS together: a batch may take that long",
    ],
  ];
  for (const [variables, want] of rows) {
    await t.step(want, () => assert.deepEqual(faultsOf(variables, pem), [want]));
  }
});
