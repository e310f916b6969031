import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readSettings } from "../../lib/settings/read.ts";
import { makeCertificates } from "../integration/certificates.ts";
import { faultsOf, read, type Variables } from "./read_settings.ts";

Deno.test("readSettings() reads secrets from files", async (t) => {
  const path = { POSTGRES_PASSWORD_FILE: "/run/secrets/pg" };
  await t.step("without the line end at the end", () => {
    assert.equal(read(path, { "/run/secrets/pg": "a b\r\n" }).postgres.password, "a b");
    assert.equal(read(path, { "/run/secrets/pg": "a\n\n" }).postgres.password, "a\n");
  });
  await t.step("both given", () => {
    assert.deepEqual(
      faultsOf({ ...path, POSTGRES_PASSWORD: "hunter2" }, { "/run/secrets/pg": "x" }),
      ["POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are both set: set one of them"],
    );
  });
  await t.step("an empty password beside a file counts as not set", () => {
    const settings = read({ ...path, POSTGRES_PASSWORD: "" }, { "/run/secrets/pg": "x" });
    assert.equal(settings.postgres.password, "x");
  });
  await t.step("an empty file", () => {
    assert.deepEqual(faultsOf(path, { "/run/secrets/pg": "\n" }), [
      `POSTGRES_PASSWORD_FILE: "/run/secrets/pg" is empty`,
    ]);
  });
  await t.step("a file that cannot be read", () => {
    assert.deepEqual(faultsOf(path), [
      `POSTGRES_PASSWORD_FILE: "/run/secrets/pg" cannot be read: no such file`,
    ]);
  });
  await t.step("a file that no one can read for us", () => {
    assert.throws(
      () =>
        readSettings(["redis"], {
          env: (name) => name === "REDIS_PASSWORD_FILE" ? "/x" : undefined,
        }),
      { name: "ConfigurationError", message: /REDIS_PASSWORD_FILE: .*reads no files/ },
    );
  });
  await t.step("other settings have no file", () => {
    assert.equal(read({ TOPIC_NAME_FILE: "/x" }).kafka.topic, "iot-sensor-data");
  });
});

Deno.test("readSettings() reads certificates from the file that a setting names", async (t) => {
  const pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
  const trusting = { KAFKA_TLS: "verify-full", KAFKA_TLS_CA: "/ca.pem" };
  await t.step("its content", () => {
    assert.equal(read(trusting, { "/ca.pem": `${pem}\n` }).kafka.ca, pem);
  });
  await t.step("a file that is none", () => {
    assert.deepEqual(faultsOf(trusting, { "/ca.pem": "hello" }), [
      "KAFKA_TLS_CA: its value is not the path of a PEM file",
    ]);
    assert.deepEqual(faultsOf(trusting), [`KAFKA_TLS_CA: "/ca.pem" cannot be read: no such file`]);
  });
});

Deno.test("readSettings() reads a certificate of our own together with its key", async (t) => {
  const dir = await Deno.makeTempDir();
  try {
    const { client, certificate } = await makeCertificates(dir);
    const text = (path: string): string => Deno.readTextFileSync(path).trimEnd();
    const files = {
      "/cert.pem": text(client.certificate),
      "/other.pem": text(certificate),
      "/key.pem": text(client.key),
    };
    for (const server of ["KAFKA", "POSTGRES", "REDIS"]) {
      const variables = {
        [`${server}_TLS`]: "verify-full",
        [`${server}_TLS_CERT`]: "/cert.pem",
        [`${server}_TLS_KEY`]: "/key.pem",
      };
      const key = server.toLowerCase() as "kafka" | "postgres" | "redis";
      await t.step(`${server}: both`, () => {
        const read1 = read(variables, files)[key];
        assert.equal(read1.certificate, files["/cert.pem"]);
        assert.equal(read1.key, files["/key.pem"]);
      });
      const both = `${server}_TLS_CERT and ${server}_TLS_KEY`;
      const rows: [name: string, changed: Variables, want: string][] = [
        ["no key", { [`${server}_TLS_KEY`]: "" }, `${both} go together: set both or none`],
        ["no certificate", { [`${server}_TLS_CERT`]: "" }, `${both} go together: set both or none`],
        [
          "the key of another certificate",
          { [`${server}_TLS_CERT`]: "/other.pem" },
          `${both}: the key is that of another certificate`,
        ],
        [
          "without TLS",
          { [`${server}_TLS`]: "disable" },
          `${server}_TLS_CERT is set: set ${server}_TLS to verify-full, too`,
        ],
        [
          "a certificate in the place of the key",
          { [`${server}_TLS_KEY`]: "/cert.pem" },
          `${server}_TLS_KEY: its value is not the path of a PEM file with an unencrypted key`,
        ],
      ];
      for (const [name, changed, want] of rows) {
        await t.step(`${server}: ${name}`, () => {
          assert.deepEqual(faultsOf({ ...variables, ...changed }, files), [want]);
        });
      }
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("readSettings() says why a file cannot be read", async (t) => {
  const rows: [name: string, error: Error, want: string][] = [
    ["not there", coded("ENOENT"), "does not exist"],
    ["below a file", coded("ENOTDIR"), "does not exist: a part of the path is not a directory"],
    ["a directory", coded("EISDIR"), "is a directory"],
    ["no right", coded("EACCES"), "cannot be read by the user that this program runs as"],
    [
      "no permission of Deno's",
      new Deno.errors.NotCapable('Requires read access to "/tmp/x", run again with …'),
      "is not among the files that this program may read (--allow-read)",
    ],
    [
      "what a shell makes of <(command)",
      new Deno.errors.NotCapable('Requires all access to "/dev/fd/63", run again with …'),
      "is not a regular file, and Deno does not let this program read it: name a regular file",
    ],
    ["anything else", new Error("input/output error"), "cannot be read: input/output error"],
  ];
  for (const [name, error, want] of rows) {
    await t.step(name, () => {
      const env = (each: string): string | undefined =>
        each === "REDIS_PASSWORD_FILE" ? "/tmp/x" : undefined;
      const readFile = (): never => {
        throw error;
      };
      assert.throws(() => readSettings(["redis"], { env, readFile }), {
        name: "ConfigurationError",
        message: `Cannot use these settings:\nREDIS_PASSWORD_FILE: "/tmp/x" ${want}`,
      });
    });
  }
  await t.step("as Node says it", () => {
    const env = (each: string): string | undefined =>
      each === "REDIS_PASSWORD_FILE" ? "/nowhere/x" : undefined;
    const readFile = (path: string): string => readFileSync(path, "utf8");
    assert.throws(() => readSettings(["redis"], { env, readFile }), {
      message: /: "\/nowhere\/x" does not exist$/,
    });
  });
});

function coded(code: string): Error {
  return Object.assign(new Error(`${code}: some words`), { code });
}
