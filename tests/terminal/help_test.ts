/** Help and wrong flags of every task: no servers, no settings, no questions. */
import assert from "node:assert/strict";
import config from "../../deno.json" with { type: "json" };
import { play } from "./stage.ts";

/** Tasks that run Deno's own commands, which have flags of their own. */
const DENOS_OWN = /^(test|test:.*|docs:lint|ok)$/;

/** Commands below a task. */
const COMMANDS: readonly string[] = [
  "dead-letters list",
  "dead-letters replay",
  "stack up",
  "bench growth",
];

const WIDTHS = [80, 120] as const;
/** Questions at a time: each waits for Deno to start, mostly. */
const AT_ONCE = 4;

const ours = Object.keys(config.tasks).filter((name) => !DENOS_OWN.test(name));

Deno.test("what deno task shows of each task fits into a terminal", () => {
  const lines = Object.entries(config.tasks)
    .flatMap(([name, { command }]) => `Task ${name} ${command}`.split("\n"));
  assert.deepEqual(lines.filter((line) => line.length > WIDTHS[0]), []);
});

/** Plays some commands at a time, and gives what is wrong with each. */
async function faultsOf(
  lines: readonly string[],
  judge: (line: string) => Promise<void>,
): Promise<readonly string[]> {
  const faults: string[] = [];
  const waiting = [...lines];
  const work = async (): Promise<void> => {
    for (let line = waiting.shift(); line !== undefined; line = waiting.shift()) {
      await judge(line).catch((error) => faults.push(String(error)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return faults;
}

Deno.test("help fits into a terminal", async (t) => {
  const lines = [...ours, ...COMMANDS].map((task) => `deno task ${task} --help`);
  for (const columns of WIDTHS) {
    await t.step(`${columns} columns`, async () => {
      const faults = await faultsOf(lines, async (line) => {
        const { code, text } = await play({ line, columns });
        assert.equal(code, 0, text);
        assert.match(text, /Usage: /, line);
      });
      assert.deepEqual(faults, []);
    });
  }
});

Deno.test("help needs nobody to answer", async () => {
  const faults = await faultsOf(["produce", "consume", "verify"], async (task) => {
    const env = { DENO_NO_PROMPT: "1" };
    const { code, text } = await play({ line: `deno task ${task} --help`, env });
    assert.equal(code, 0, text);
    assert.match(text, /Usage: /);
  });
  assert.deepEqual(faults, []);
});

Deno.test("a flag that does not exist is exit code 2", async () => {
  // The bench has a stack by then, which is ended again; tests/command_line_test.ts asks it alone.
  const faults = await faultsOf(ours.filter((task) => task !== "bench"), async (task) => {
    const { code, text } = await play({ line: `deno task ${task} --no-such-flag` });
    assert.equal(code, 2, text);
    assert.match(text, /unknown option '--no-such-flag'|required option/, text);
  });
  assert.deepEqual(faults, []);
});
