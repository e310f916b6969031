/** Ctrl-C as a person presses it: once is once, and the prompt comes back on a line of its own. */
import assert from "node:assert/strict";
import { findStack } from "../../tools/stack/stack.ts";
import { signalServer } from "../../tools/stack/server.ts";
import { Shell } from "./shell.ts";
import { play, stackDir, stackSettings } from "./stage.ts";
import { pass } from "../integration/processes.ts";

/** `deno task` sends Ctrl-C on as soon as it can, which is now before and now after the program's own. */
const TIMES = 4;

/** Longer than what counts as the same Ctrl-C. */
const SECOND_AFTER_MS = 1_000;

/** A task that runs until it is stopped, what shows that it does, and what it says in the end. */
const TASKS: readonly (readonly [command: string, shows: RegExp, says: RegExp])[] = [
  [
    "deno task produce --rate 200",
    /acknowledged [\d,]+/,
    /^sent +([\d,]+)\n[^]*^acknowledged +\1\nfailed +0$/m,
  ],
  ["deno task consume", /partitions assigned/, /stopped +inserted=\d+/],
];

Deno.test("one Ctrl-C ends a task in good order", async (t) => {
  const { code, text } = await play({ line: "deno task migrate", env: stackSettings() });
  assert.equal(code, 0, text);
  for (const [command, shows, says] of TASKS) {
    await t.step(command, async () => {
      await using shell = await Shell.open({ env: stackSettings() });
      for (let times = 0; times < TIMES; times++) {
        await shell.start(command, shows);
        await shell.terminal.press("ctrl-c");
        const { code, lines } = await shell.ended();
        const text = lines.join("\n");
        assert.match(text, says);
        assert.equal(code, 0, text);
        // What the terminal echoes is not mixed with what the program writes.
        const echo = lines.filter((line) => line.includes("^C") && line !== "^C");
        assert.deepEqual(echo, [], text);
      }
    });
  }
});

Deno.test("a second Ctrl-C ends a task at once", async () => {
  const { kafka } = (await findStack(stackDir()))!;
  await using shell = await Shell.open({ env: stackSettings() });
  await shell.start("deno task produce --rate 200", /acknowledged [\d,]+/);
  // What is under way is waited for then, longer than the second Ctrl-C takes.
  for (const broker of kafka) await signalServer(broker, "SIGSTOP");
  try {
    await shell.terminal.press("ctrl-c");
    await pass(SECOND_AFTER_MS);
    await shell.terminal.press("ctrl-c");
    const startMs = performance.now();
    const { code, lines } = await shell.ended();
    assert.equal(code, 130, lines.join("\n"));
    assert(performance.now() - startMs < 1_500, "it took its time");
  } finally {
    for (const broker of kafka) await signalServer(broker, "SIGCONT");
  }
});
