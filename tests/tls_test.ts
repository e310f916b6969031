import assert from "node:assert/strict";
import { tlsOptions } from "../lib/tls.ts";

Deno.test("tlsOptions() verifies unless told otherwise", () => {
  assert.equal(tlsOptions("disable", "pem"), undefined);
  assert.deepEqual(tlsOptions("require", undefined), { rejectUnauthorized: false });
  assert.deepEqual(tlsOptions("verify-full", "pem"), { rejectUnauthorized: true, ca: "pem" });
  assert.deepEqual(tlsOptions("verify-full", undefined), { rejectUnauthorized: true });
});
