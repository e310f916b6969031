import assert from "node:assert/strict";
import { NoAnswerError, TransientError } from "../lib/errors.ts";
import type { MessageToSend } from "../lib/kafka/message.ts";
import { createLog } from "../lib/log.ts";
import { createProgress, type Goal, type Progress } from "../lib/producer/progress.ts";
import type { SimulatedMessage } from "../lib/producer/simulator.ts";
import { FakeClock } from "./fake_clock.ts";

const MESSAGE: MessageToSend = { key: null, value: null };

interface Bench {
  readonly clock: FakeClock;
  readonly progress: Progress;
  readonly log: string[];
  readonly terminal: string[];
}

function bench(where: "terminal" | "log", goal: Goal = {}): Bench {
  const clock = new FakeClock();
  const log: string[] = [];
  const terminal: string[] = [];
  const progress = createProgress({
    clock,
    log: createLog({ level: "info", format: "text", write: (line) => log.push(line), clock }),
    showLine: where === "terminal" ? (line) => terminal.push(line) : undefined,
    goal,
  });
  return { clock, progress, log, terminal };
}

function count(progress: Progress, sent: number, acknowledged: number): void {
  for (let at = 0; at < sent; at++) progress.taken(MESSAGE);
  if (acknowledged > 0) progress.acknowledged(0, Array(acknowledged).fill(MESSAGE));
}

Deno.test("createProgress() moves one line on a terminal, five times a second", async () => {
  const { clock, progress, log, terminal } = bench("terminal");
  const stop = new AbortController();
  const showing = progress.show(stop.signal);
  for (let second = 0; second < 3; second++) {
    count(progress, 1_000, 900);
    await clock.advance(1_000);
  }
  assert.equal(terminal.length, 15);
  assert.equal(terminal.at(-1), "sent 3,000  acknowledged 2,700  900/s");
  stop.abort();
  await showing;
  assert.deepEqual(log, []);
});

Deno.test("createProgress() writes a log line every ten seconds elsewhere", async () => {
  const { clock, progress, log, terminal } = bench("log");
  const stop = new AbortController();
  const showing = progress.show(stop.signal);
  count(progress, 100, 50);
  await clock.advance(10_000);
  count(progress, 0, 50);
  await clock.advance(19_999);
  stop.abort();
  await showing;
  assert.deepEqual(log.map((line) => line.slice(line.indexOf("INFO"))), [
    "INFO  progress  sent=100  acknowledged=50  perSecond=5\n",
    "INFO  progress  sent=100  acknowledged=100  perSecond=5\n",
  ]);
  assert.deepEqual(terminal, []);
});

Deno.test("createProgress() says how much is done and how long it takes, where that is known", async (t) => {
  const file = { size: 2_000, read: () => 1_000 };
  const rows: [name: string, goal: Goal, end: string][] = [
    ["a count", { messages: 4_000 }, "25 %, 6 s left"],
    ["a count that is reached", { messages: 1_000 }, "100 %, 0 s left"],
    ["a file of which half is read, and that acknowledged", { bytes: file }, "50 %, 2 s left"],
    ["a file and a count that comes first", { messages: 1_250, bytes: file }, "80 %, 1 s left"],
    ["a pipe", { bytes: { size: 0, read: () => 1_000 } }, ""],
  ];
  for (const [name, goal, end] of rows) {
    await t.step(name, async () => {
      const { clock, progress, terminal } = bench("terminal", goal);
      const stop = new AbortController();
      const showing = progress.show(stop.signal);
      await clock.advance(1_800);
      count(progress, 1_000, 1_000);
      await clock.advance(200);
      assert.equal(terminal.at(-1), `sent 1,000  acknowledged 1,000  500/s  ${end}`.trimEnd());
      stop.abort();
      await showing;
    });
  }
});

Deno.test("createProgress() counts what is acknowledged, and not what is read", async () => {
  const { clock, progress, log } = bench("log", { bytes: { size: 100, read: () => 100 } });
  const stop = new AbortController();
  const showing = progress.show(stop.signal);
  count(progress, 8, 2);
  await clock.advance(10_000);
  stop.abort();
  await showing;
  assert.match(log[0]!, /percent=25 {2}secondsLeft=30\n$/);
  assert.equal(
    progress.interruption(),
    "Interrupted before the end: 2 messages acknowledged, about 25 % of the file",
  );
});

Deno.test("interruption() says how many are acknowledged of how many", () => {
  const { progress } = bench("log", { messages: 5_000 });
  count(progress, 1_300, 1_234);
  assert.equal(
    progress.interruption(),
    "Interrupted before the end: 1,234 of 5,000 messages acknowledged",
  );
  assert.equal(
    bench("log").progress.interruption(),
    "Interrupted before the end: 0 messages acknowledged",
  );
});

Deno.test("createProgress() speaks of trouble once, and of its end", () => {
  const { progress, log } = bench("log");
  const away = new TransientError("Cannot send: broker away");
  progress.retrying(0, away, 0);
  progress.retrying(1, away, 0);
  progress.acknowledged(0, [MESSAGE]);
  progress.acknowledged(1, [MESSAGE]);
  assert.equal(log.length, 2);
  assert.match(log[0]!, /WARN {2}waiting: Cannot send: broker away/);
  assert.match(log[1]!, /INFO {2}going on {2}after="Cannot send: broker away"/);
});

Deno.test("createProgress() calls Kafka silent only if no other partition is acknowledged meanwhile", async () => {
  const { clock, progress, log } = bench("log");
  const refused = new NoAnswerError("Cannot send: connect ECONNREFUSED", { server: "kafka" });
  await clock.advance(7_000);
  progress.acknowledged(0, [MESSAGE]);
  progress.retrying(1, refused, 1_000);
  assert.match(log.at(-1)!, /WARN {2}waiting: Cannot send: connect ECONNREFUSED {2}partition=1/);
  await clock.advance(7_000);
  progress.retrying(0, refused, 8_000);
  assert.match(log.at(-1)!, /WARN {2}Kafka has not answered since \S+: connection refused/);
});

Deno.test("createProgress() names the partition that is not acknowledged while others are", () => {
  const { progress, log } = bench("log");
  const away = new TransientError("Cannot send: no broker leads it");
  for (let times = 0; times < 50; times++) {
    progress.retrying(2, away, 0);
    progress.acknowledged(0, [MESSAGE]);
  }
  progress.held(2);
  progress.held(2);
  progress.acknowledged(2, [MESSAGE]);
  assert.equal(log.length, 4, log.join(""));
  assert.match(log[0]!, /waiting: .*no broker leads it {2}partition=2/);
  assert.match(log[1]!, /the source is paused.*partition=2/);
  assert.match(log[2]!, /going on .*no broker leads it/);
  assert.match(log[3]!, /the source is read again.*partition=2/);
});

Deno.test("summary() sums up, by kind where messages have one", async () => {
  const { clock, progress } = bench("log");
  for (const kind of ["reading", "bad", "reading"] as const) {
    const message: SimulatedMessage = { ...MESSAGE, kind };
    progress.taken(message);
  }
  await clock.advance(1_500);
  const result = { sent: 4, acknowledged: 3, failed: 1 };
  assert.equal(
    progress.summary(result),
    [
      "sent          4",
      "  reading     2",
      "  bad         1",
      "acknowledged  3",
      "failed        1",
      "in 1.5 s, 2/s",
    ].join("\n"),
  );
});
