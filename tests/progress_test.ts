import assert from "node:assert/strict";
import { TransientError } from "../lib/errors.ts";
import type { MessageToSend } from "../lib/kafka/message.ts";
import { createLog } from "../lib/log.ts";
import { createProgress, type Progress } from "../lib/producer/progress.ts";
import type { SimulatedMessage } from "../lib/producer/simulator.ts";
import { FakeClock } from "./fake_clock.ts";

const MESSAGE: MessageToSend = { key: null, value: null };

interface Bench {
  readonly clock: FakeClock;
  readonly progress: Progress;
  readonly log: string[];
  readonly terminal: string[];
}

function bench(where: "terminal" | "log"): Bench {
  const clock = new FakeClock();
  const log: string[] = [];
  const terminal: string[] = [];
  const progress = createProgress({
    clock,
    log: createLog({ level: "info", format: "text", write: (line) => log.push(line), clock }),
    writeToTerminal: where === "terminal" ? (text) => terminal.push(text) : undefined,
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
  assert.equal(terminal.at(-1), "\x1b[Ksent 3,000  acknowledged 2,700  900/s\r");
  stop.abort();
  await showing;
  assert.equal(terminal.at(-1), "\x1b[K", "the line is cleared");
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

Deno.test("createProgress() speaks of trouble once, and of its end", () => {
  const { progress, log } = bench("log");
  const away = new TransientError("Cannot send: broker away");
  progress.retrying(0, away);
  progress.retrying(1, away);
  progress.acknowledged(0, [MESSAGE]);
  progress.acknowledged(1, [MESSAGE]);
  assert.equal(log.length, 2);
  assert.match(log[0]!, /WARN {2}Kafka does not acknowledge.*broker away/);
  assert.match(log[1]!, /INFO {2}Kafka acknowledges again/);
});

Deno.test("createProgress() names the partition that is not acknowledged while others are", () => {
  const { progress, log } = bench("log");
  const away = new TransientError("Cannot send: no broker leads it");
  for (let times = 0; times < 50; times++) {
    progress.retrying(2, away);
    progress.acknowledged(0, [MESSAGE]);
  }
  progress.held(2);
  progress.held(2);
  progress.acknowledged(2, [MESSAGE]);
  assert.equal(log.length, 4, log.join(""));
  assert.match(log[0]!, /does not acknowledge.*partition=2.*no broker leads it/);
  assert.match(log[1]!, /the source is paused.*partition=2/);
  assert.match(log[2]!, /Kafka acknowledges again.*partition=2/);
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
    "sent 4, acknowledged 3, failed 1 in 1.5 s (2/s): reading 2, bad 1",
  );
});
