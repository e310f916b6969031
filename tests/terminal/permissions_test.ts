/** Programs that are started without a task: what they need, their permission sets allow. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { makeShortDir, play, ROOT, stackSettings } from "./stage.ts";

/** Commands of each program, with a part of what they show. */
const PLAYED: readonly (readonly [
  program: "producer" | "consumer",
  args: string,
  shows: RegExp,
])[] = [
  ["producer", "--help", /Usage: producer/],
  ["producer", "--count 5 --rate 0", /acknowledged +5\nfailed +0/],
  ["consumer", "--help", /Usage: consumer/],
  ["consumer", "migrate", /already (there|applied)/],
  ["consumer", "run --until-end", /stopped/],
  ["consumer", "verify", /ok: every offset/],
  ["consumer", "doctor", /failures: 0/],
];

const SETS = { producer: "produce", consumer: "consume" } as const;

Deno.test("the programs as the images start them", async (t) => {
  for (const [program, args, shows] of PLAYED) {
    await t.step(`${program} ${args}`, async () => {
      const flags = `--cached-only --v8-flags=--max-semi-space-size=8 -P=${SETS[program]}`;
      const line = `deno run -q ${flags} main_${program}.ts ${args}`;
      const { code, text } = await play({ line, env: stackSettings() });
      assert.equal(code, 0, text);
      assert.match(text, shows);
    });
  }
});

Deno.test("the programs from their bundles", async (t) => {
  const dir = await makeShortDir();
  try {
    // What `deno task compile` puts into a program.
    await Deno.copyFile(join(ROOT, "deno.json"), join(dir, "deno.json"));
    await Deno.symlink(join(ROOT, "migrations"), join(dir, "migrations"));
    for (const program of ["producer", "consumer"] as const) {
      const bundle =
        `deno bundle -q --platform=deno --output=${dir}/${program}.js main_${program}.ts`;
      const { code, text } = await play({ line: bundle });
      assert.equal(code, 0, text);
    }
    for (const [program, args, shows] of PLAYED) {
      await t.step(`${program} ${args}`, async () => {
        const line = `deno run -q -P=${SETS[program]} ${program}.js ${args}`;
        const { code, text } = await play({ line, cwd: dir, env: stackSettings() });
        assert.equal(code, 0, text);
        assert.match(text, shows);
      });
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("settings may name files anywhere", async (t) => {
  const dir = await makeShortDir();
  const { POSTGRES_PASSWORD: password = "", ...settings } = stackSettings();
  const env = { ...settings, POSTGRES_PASSWORD_FILE: join(dir, "password") };
  const verifies = async (more: Readonly<Record<string, string>>) =>
    await play({ line: "deno task verify", env: { ...env, ...more } });
  try {
    await t.step("that is not there", async () => {
      const { code, text } = await verifies({});
      assert.equal(code, 2, text);
      assert.match(text, /POSTGRES_PASSWORD_FILE: .* does not exist/);
    });
    await Deno.writeTextFile(join(dir, "password"), password);
    await t.step("a password", async () => {
      const { code, text } = await verifies({});
      assert.equal(code, 0, text);
    });
    await t.step("certificates", async () => {
      const certificates = "/etc/ssl/certs/ca-certificates.crt";
      const more = { POSTGRES_TLS: "verify-full", POSTGRES_TLS_CA: certificates };
      const { code, text } = await verifies(more);
      // The stack's server speaks no TLS: the file was read, and that is what is said.
      assert.notEqual(code, 0, text);
      assert.match(text, /TLS|SSL/);
    });
    await t.step("and nobody answers questions", async () => {
      const { code, text } = await verifies({ DENO_NO_PROMPT: "1" });
      assert.equal(code, 0, text);
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
