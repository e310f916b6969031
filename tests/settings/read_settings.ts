/**
 * Reads settings from variables and files in memory.
 *
 * @module
 */
import assert from "node:assert/strict";
import { ConfigurationError } from "../../lib/errors.ts";
import { readSettings } from "../../lib/settings/read.ts";
import { GROUPS, type Settings } from "../../lib/settings/table.ts";

/** Texts by name, or by path. */
export type Variables = Readonly<Record<string, string>>;

/** All settings. */
export function read(variables: Variables, files: Variables = {}): Settings {
  return readSettings(GROUPS, {
    env: (name) => variables[name],
    readFile: (path) => {
      const content = files[path];
      if (content === undefined) throw new Error("no such file");
      return content;
    },
    names: Object.keys(variables),
  });
}

/** The faults that keep them from being read, without the title. */
export function faultsOf(variables: Variables, files: Variables = {}): string[] {
  let message = "";
  assert.throws(() => read(variables, files), (error) => {
    assert(error instanceof ConfigurationError);
    message = error.message;
    return true;
  });
  const [title, ...faults] = message.split("\n");
  assert.equal(title, "Cannot use these settings:");
  return faults;
}

/** Every character that means something in a URL, a shell, SQL or an INI file; and others. */
export const SPECIAL = " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~%2Fä€😀";

/** Log-in by tokens, complete. */
export const BY_TOKEN: Variables = {
  KAFKA_SASL_MECHANISM: "oauthbearer",
  KAFKA_OAUTH_TOKEN_URL: "https://login.example/token",
  KAFKA_OAUTH_CLIENT_ID: "id",
  KAFKA_OAUTH_CLIENT_SECRET: "s3cret",
};
