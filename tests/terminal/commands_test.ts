/** Every command of the README and of `docs/` in a terminal, in the order in which a newcomer meets them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { sampleText } from "../sample_message.ts";
import { makeShortDir, play, ROOT, stackDir, stackSettings } from "./stage.ts";

/** What is typed in the place of what is written, for it would take long, or hold up the test. */
interface Typed {
  readonly as?: string;
  /** What the terminal shows then. */
  readonly shows: RegExp;
  /** @default 0 */
  readonly code?: number;
}

const SENT = /sent +1,000\n[^]*acknowledged +1,000\nfailed +0/;

/** A program without its task. */
const ALONE = "deno run -q --env-file -P";

/** The commands as they are written, in an order in which they have something to show. */
function written(dir: string): Readonly<Record<string, Typed>> {
  const stack = `--dir ${stackDir()}`;
  const up = { as: `deno task stack up ${stack}`, shows: /ready[^]*POSTGRES_PORT=\d+/ };
  return {
    "deno task stack up": up,
    "deno task stack up > .env": { as: `${up.as} > ${dir}/.env`, shows: /ready/ },
    "deno task stack status": { as: `deno task stack status ${stack}`, shows: /Redis.* answers/i },
    "deno task stack down --only redis": {
      as: `deno task stack down ${stack} --only redis && ${up.as}`,
      shows: /stopped[^]*ready/,
    },
    "deno task stack down --only postgres": {
      as: `deno task stack down ${stack} --only postgres && ${up.as}`,
      shows: /stopped[^]*ready/,
    },
    "deno task migrate": { shows: /\d applied, \d already (there|applied)/ },
    "deno task doctor": { shows: /failures: 0/ },
    "deno task produce --count 1000 --rate 0": { shows: SENT },
    "deno task produce --duplicates 0.5 --count 1000 --rate 0": { shows: SENT },
    "deno task produce --bad 0.1 --count 1000 --rate 0": { shows: SENT },
    "deno task produce --conflicts 0.1 --count 1000 --rate 0": { shows: SENT },
    "deno task produce --from readings.ndjson": {
      as: `deno task produce --from ${dir}/readings.ndjson`,
      shows: /acknowledged +1\nfailed +0/,
    },
    "zcat readings.ndjson.gz | deno task produce --from -": {
      as: `zcat ${dir}/readings.ndjson.gz | deno task produce --from -`,
      shows: /acknowledged +1\nfailed +0/,
    },
    "deno task consume --until-end": { shows: /stopped/ },
    "deno task verify": { shows: /ok: every offset is accounted for/ },
    "deno task status": { shows: /^lag \d+ messages/m },
    "deno task last SENSOR_ID": { as: "deno task last boiler-7", shows: /21\.57/ },
    "deno task dead-letters list": { shows: /id_conflict/ },
    "deno task dead-letters list --reason timestamp_in_future": { shows: /timestamp_in_future/ },
    "deno task dead-letters show 17": { shows: /^dead letter 17$/m },
    "deno task dead-letters replay --reason timestamp_in_future": {
      shows: /^\d+ rejected$/m,
      code: 1,
    },
    "deno task dead-letters replay 17 --edit mended.json": {
      as: `deno task dead-letters replay 17 --edit ${dir}/mended.json`,
      shows: /17/,
    },
    'deno task dead-letters discard --sensor test-rig --reason-text "not a real sensor"': {
      shows: /discarded/,
    },
    "deno task dead-letters export --all > dead_letters.ndjson": {
      as: `deno task dead-letters export --all > ${dir}/dead_letters.ndjson`,
      shows: /^/,
    },
    "deno task rewind --to 2026-11-24T10:00:00Z": { shows: /partition/ },
    "deno task rewind --to beginning": { shows: /partition/ },
    "deno task rebuild-last": { shows: /last values/ },
    "deno task retain --older-than 90d --dead-letters-older-than 90d": { shows: /deleted/ },
    [`${ALONE}=consume $(deno task -q permissions consume) main_consumer.ts run`]: {
      as: `${ALONE}=consume $(deno task -q permissions consume) main_consumer.ts run --until-end`,
      shows: /stopped/,
    },
    [
      `${ALONE}=produce $(deno task -q permissions produce readings.ndjson) main_producer.ts ` +
      "--from readings.ndjson"
    ]: {
      as:
        `${ALONE}=produce $(deno task -q permissions produce ${dir}/readings.ndjson) main_producer.ts ` +
        `--from ${dir}/readings.ndjson`,
      shows: /acknowledged +1\nfailed +0/,
    },
    "deno task simulate --seeds 20000": {
      as: "deno task simulate --seeds 20 --no-bugs",
      shows: /20 worlds/,
    },
  };
}

/** Those that other suites play, or that a machine of its own is for. */
const ELSEWHERE: readonly RegExp[] = [
  /^deno task (stack up --postgres-port|stack down$|prove|compile|bench|retain --older-than 90d$)/,
  // It prints flags for other commands, in which it is played.
  /^deno task permissions /,
];

Deno.test("every command that a person reads of is typed here", async () => {
  const known = Object.keys(written("")).map((command) => command.replace(/ > \.env$/, ""));
  const missing: string[] = [];
  const docs = await Array.fromAsync(
    Deno.readDir(join(ROOT, "docs")),
    ({ name }) => `docs/${name}`,
  );
  for (const page of ["README.md", ...docs.filter((path) => path.endsWith(".md"))]) {
    for (const command of commandsOf(await Deno.readTextFile(join(ROOT, page)))) {
      const isElsewhere = ELSEWHERE.some((pattern) => pattern.test(command));
      if (!known.includes(command) && !isElsewhere) missing.push(`${page}: ${command}`);
    }
  }
  assert.deepEqual(missing, []);
});

/** Commands with arguments, out of blocks and out of sentences. Tasks by themselves are asked for help. */
function commandsOf(page: string): readonly string[] {
  const texts = [...page.matchAll(/`([^`\n]*deno task [^`\n]*)`|^((?:deno|zcat) .*)$/gm)]
    .map(([, quoted, line]) => (quoted ?? line)!);
  return texts.flatMap((text) => text.split("&&"))
    .map((command) => command.replace(/ > \.env/, "").trim())
    .filter((command) => /deno task \S+ \S|\| deno task|deno run/.test(command));
}

Deno.test("the commands in a terminal of 80 columns", async (t) => {
  const dir = await makeFiles();
  try {
    for (const [command, { as = command, shows, code = 0 }] of Object.entries(written(dir))) {
      await t.step(command, async () => {
        const played = await play({ line: as, env: stackSettings() });
        assert.equal(played.code, code, played.text);
        assert.match(played.text, shows);
      });
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

/** What the commands read: a reading of a sensor of its own, and a mended one. */
async function makeFiles(): Promise<string> {
  const dir = await makeShortDir();
  const reading = (): string =>
    sampleText({
      unique_reading_id: crypto.randomUUID(),
      sensor_id: "boiler-7",
      timestamp: new Date().toISOString(),
    });
  const readings = join(dir, "readings.ndjson");
  await Deno.writeTextFile(readings, `${reading()}\n`);
  await Deno.writeTextFile(join(dir, "mended.json"), reading());
  const { code } = await new Deno.Command("gzip", { args: ["--keep", readings] }).output();
  assert.equal(code, 0);
  return dir;
}

/** Commands that show tables, which have more room where a terminal is wider. */
const TABLES = [
  "deno task verify",
  "deno task status",
  "deno task doctor",
  "deno task dead-letters list --all",
  "deno task dead-letters show 17",
] as const;

Deno.test("tables in a terminal of 120 columns", async (t) => {
  for (const line of TABLES) {
    await t.step(line, async () => {
      const { code, text } = await play({ line, columns: 120, env: stackSettings() });
      assert.equal(code, 0, text);
    });
  }
});
