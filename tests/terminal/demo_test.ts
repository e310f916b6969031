/** The demo in a terminal: the first thing that a newcomer sees. */
import assert from "node:assert/strict";
import { sumsLine } from "../../tools/demo/view.ts";
import { expectClean, play } from "./stage.ts";
import { Shell } from "./shell.ts";
import { pass } from "../integration/processes.ts";

/** How long it runs before somebody looks again: some changes of its lines, ms. */
const RUNS_MS = 1_500;

const ADDRESS = /^ {2}Dashboard: (http:\/\/127\.0\.0\.1:(\d+)) {3}Ctrl-C ends it$/;

Deno.test("the demo keeps its address on the screen, and fits into it", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using shell = await Shell.open({ env: { HTTP_PORT: String(taken.addr.port) } });
  const { terminal } = shell;
  const { screen } = terminal;
  // Before anything that takes its time.
  await shell.start("deno task demo", /^Starting PostgreSQL/m);
  assert.doesNotMatch(terminal.transcript, /sensors send/);
  await terminal.untilHolds("the address is last", () => ADDRESS.test(screen.lines.at(-1)!));
  await terminal.until(/ stored /);
  const lines = screen.lines.length;
  await pass(RUNS_MS);
  assert.equal(screen.lines.length, lines, "it floods");
  const [, url, port] = screen.lines.at(-1)!.match(ADDRESS)!;
  assert.notEqual(port, String(taken.addr.port));
  assert.match(screen.lines.join("\n"), /the dashboard takes a free port/);
  const answer = await fetch(`${url}/healthz`);
  await answer.body?.cancel();
  assert.equal(answer.status, 200);
  assert.doesNotMatch(screen.lines.at(-2)!, / messages /);
  await terminal.resize(120, 24);
  await terminal.until(/ s {3}[\d,]+ messages /);
  await terminal.press("ctrl-c");
  const { code, lines: said } = await shell.ended();
  assert.equal(code, 0);
  assert.match(said.join("\n"), /stored[^]*\nok: every offset is accounted for/);
  expectClean(terminal);
});

Deno.test("the demo writes no escapes to a terminal that wants none", async () => {
  const wishes = [{ TERM: "dumb" }, { NO_COLOR: "1" }];
  await Promise.all(wishes.map(async (env) => {
    const line = "deno run -q -A tools/demo.ts --seconds 1";
    const { code, terminal } = await play({ line, env: { ...env, HTTP_PORT: "0" } });
    assert.equal(code, 0);
    assert.doesNotMatch(JSON.stringify(terminal.transcript), /u001b/);
    await terminal.until(/Dashboard: http:.*Ctrl-C ends it/);
  }));
});

Deno.test("sumsLine() uses the room that there is", () => {
  const sums = { messages: 9_999, inserted: 8_000, duplicates: 1_500, conflicts: 300, broken: 199 };
  const rows: readonly (readonly [seconds: number, columns: number, want: string])[] = [
    [
      59,
      117,
      "59 s   9,999 messages   8,000 stored   1,500 duplicates caught   " +
      "300 conflicts and 199 broken set aside",
    ],
    [61, 77, "1 min 1 s   8,000 stored   1,500 duplicates   300 conflicts   199 broken"],
    [7_384, 60, "2 h 3 min   8,000 stored   1,500 duplicates   499 set aside"],
    [0, 40, "0 s   8,000 stored"],
  ];
  for (const [seconds, columns, want] of rows) {
    assert.equal(sumsLine({ ...sums, seconds }, columns), want);
  }
});
