import assert from "node:assert/strict";
import { keyPairFault, tlsOptions } from "../lib/tls.ts";
import { makeCertificates } from "./integration/certificates.ts";

Deno.test("tlsOptions() verifies unless told otherwise", () => {
  assert.equal(tlsOptions({ tls: "disable", ca: "pem" }), undefined);
  assert.equal(tlsOptions({ certificate: "pem", key: "pem" }), undefined);
  assert.deepEqual(tlsOptions({ tls: "require" }), { rejectUnauthorized: false });
  assert.deepEqual(tlsOptions({ tls: "verify-full", ca: "pem" }), {
    rejectUnauthorized: true,
    ca: "pem",
  });
  assert.deepEqual(tlsOptions({ tls: "verify-full" }), { rejectUnauthorized: true });
});

Deno.test("tlsOptions() shows our own certificate together with its key alone", () => {
  const pair = { certificate: "c", key: "k" };
  assert.deepEqual(tlsOptions({ tls: "require", ...pair }), {
    rejectUnauthorized: false,
    cert: "c",
    key: "k",
  });
  assert.deepEqual(tlsOptions({ tls: "require", certificate: "c" }), { rejectUnauthorized: false });
});

Deno.test("keyPairFault() finds what does not belong together, and shows nothing of it", async (t) => {
  const dir = await Deno.makeTempDir();
  try {
    const { certificate, key, client } = await makeCertificates(dir);
    const read = (path: string): string => Deno.readTextFileSync(path);
    const rows: [name: string, certificate: string, key: string, want: string | undefined][] = [
      ["a pair", read(certificate), read(key), undefined],
      [
        "another key",
        read(certificate),
        read(client.key),
        "the key is that of another certificate",
      ],
      [
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        read(key),
        "the certificate cannot be read",
      ],
      [
        "no key",
        read(certificate),
        "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
        "the key cannot be read",
      ],
    ];
    for (const [name, certificateText, keyText, want] of rows) {
      await t.step(name, () => assert.equal(keyPairFault(certificateText, keyText), want));
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
