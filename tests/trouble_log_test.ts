import assert from "node:assert/strict";
import { NoAnswerError, TransientError, UnreachableError } from "../lib/errors.ts";
import { serverTitles, TroubleLog } from "../lib/trouble_log.ts";
import { FakeClock } from "./fake_clock.ts";
import { keptLog } from "./kept_log.ts";

const TITLES = serverTitles({
  kafka: { brokers: ["localhost:9092"] },
  redis: { host: "localhost", port: 6379 },
});

const REFUSED = new NoAnswerError("Cannot read the topic's offsets", {
  server: "kafka",
  cause: new Error("connect ECONNREFUSED 127.0.0.1:9092"),
});

function open(): { clock: FakeClock; lines: string[]; troubles: TroubleLog } {
  const clock = new FakeClock(Date.UTC(2026, 10, 29, 12, 3, 4));
  const { log, lines } = keptLog(clock);
  return { clock, lines, troubles: new TroubleLog({ clock, log, titles: TITLES }) };
}

Deno.test("TroubleLog tells a server's going and its coming in one line each, whoever meets it", async () => {
  const { clock, lines, troubles } = open();
  for (let second = 0; second < 50; second++) {
    troubles.met(["look at kafka"], REFUSED);
    troubles.met(["partition 0", "partition 1"], new NoAnswerError("gone", { server: "kafka" }));
    await clock.advance(1_000);
  }
  assert.deepEqual(lines, [
    "WARN  Kafka at localhost:9092 (KAFKA_BROKER) has not answered since 12:03:04: connection refused",
  ]);
  troubles.left("partition 0");
  troubles.left("look at kafka");
  assert.equal(lines.length, 1, "partition 1 has it still");
  troubles.left("partition 1");
  assert.deepEqual(lines.slice(1), ["INFO  Kafka is back after 50 s"]);
});

Deno.test("TroubleLog reminds after 1, 5, 15 and 60 minutes, and then every hour", async () => {
  const { clock, lines, troubles } = open();
  const told: [minute: number, line: string][] = [];
  for (let minute = 0; minute <= 200; minute++) {
    const before = lines.length;
    for (let call = 0; call < 6; call++) {
      troubles.met(["look at kafka"], REFUSED);
      await clock.advance(10_000);
    }
    for (const line of lines.slice(before)) told.push([minute, line]);
  }
  const text = (lasted: string): string =>
    `WARN  Kafka at localhost:9092 (KAFKA_BROKER) has not answered for ${lasted}: connection refused`;
  assert.deepEqual(told.slice(1), [
    [1, text("1 min")],
    [5, text("5 min")],
    [15, text("15 min")],
    [60, text("1 h")],
    [120, text("2 h")],
    [180, text("3 h")],
  ]);
  troubles.left("look at kafka");
  assert.equal(lines.at(-1), "INFO  Kafka is back after 3 h 21 min");
});

Deno.test("TroubleLog owes no reminder for the time in which nobody asked", async () => {
  const { clock, lines, troubles } = open();
  troubles.met(["a"], REFUSED);
  await clock.advance(20 * 60_000);
  troubles.met(["a"], REFUSED);
  troubles.met(["a"], REFUSED);
  assert.equal(lines.length, 2);
  assert.match(lines[1]!, /for 20 min/);
});

Deno.test("TroubleLog counts from when the failure began", async () => {
  const { clock, lines, troubles } = open();
  await clock.advance(7_000);
  troubles.met(["partition 0"], REFUSED, { sinceMs: 1_000 });
  assert.match(lines[0]!, /since 12:03:05/);
  troubles.left("partition 0");
  assert.equal(lines[1], "INFO  Kafka is back after 6 s");
});

Deno.test("TroubleLog says that a Redis which refuses is left out, and what that means", () => {
  const { lines, troubles } = open();
  const full = new TransientError("Cannot remember 3 marks: OOM command not allowed");
  troubles.met(["Redis writes"], full, { server: "redis" });
  troubles.met(["Redis reads"], new NoAnswerError("no answer within 250 ms"), { server: "redis" });
  troubles.left("Redis writes");
  troubles.left("Redis reads");
  assert.deepEqual(lines, [
    "WARN  Redis at localhost:6379 (REDIS_HOST, REDIS_PORT) has been left out since 12:03:04: Cannot remember 3 marks: " +
    "OOM command not allowed. PostgreSQL finds the duplicates alone",
    "INFO  Redis is back after 0 s",
  ]);
});

Deno.test("TroubleLog tells what a server says by its text, and how long it lasted", async () => {
  const { clock, lines, troubles } = open();
  const full = new TransientError("Cannot store 5 readings: disk full");
  troubles.met(["partition 0"], full, { fields: { partitions: "0" } });
  await clock.advance(100_000);
  troubles.met(["partition 0"], full, { fields: { partitions: "0" } });
  troubles.left("partition 0");
  troubles.left("partition 0");
  assert.deepEqual(lines, [
    "WARN  waiting: Cannot store 5 readings: disk full  partitions=0",
    "WARN  still waiting, for 1 min 40 s: Cannot store 5 readings: disk full",
    'INFO  going on  after="Cannot store 5 readings: disk full"  waited="1 min 40 s"',
  ]);
});

Deno.test("TroubleLog says nothing of what somebody who is gone had met", () => {
  const { lines, troubles } = open();
  troubles.met(["partition 0"], REFUSED);
  troubles.forget("partition 0");
  troubles.left("partition 0");
  assert.equal(lines.length, 1);
});

Deno.test("TroubleLog takes what a server said before it went for a part of its going", () => {
  const { lines, troubles } = open();
  const leaderless = new TransientError("Cannot send: no broker leads the partition");
  troubles.met(["partition 0"], leaderless, { fields: { partition: 0 } });
  troubles.met(["partition 1"], leaderless, { fields: { partition: 1 } });
  troubles.met(["partition 0"], REFUSED);
  troubles.met(["partition 1"], REFUSED);
  troubles.left("partition 0");
  troubles.left("partition 1");
  assert.deepEqual(lines, [
    "WARN  waiting: Cannot send: no broker leads the partition  partition=0",
    "WARN  Kafka at localhost:9092 (KAFKA_BROKER) has not answered since 12:03:04: connection refused",
    "INFO  Kafka is back after 0 s",
  ]);
});

Deno.test("TroubleLog gives the server's own last words as the cause of its going", () => {
  const { lines, troubles } = open();
  const stopping = new NoAnswerError("Cannot store 5 readings: it is shutting down. Wait", {
    server: "postgres",
    cause: new Error("the database system is shutting down"),
  });
  troubles.met(["partition 0"], stopping, { fields: { partitions: "0" } });
  assert.deepEqual(lines, [
    "WARN  PostgreSQL has not answered since 12:03:04: the database system is shutting down",
  ]);
});

Deno.test("TroubleLog does not call Kafka silent because the server of its tokens is", () => {
  const { lines, troubles } = open();
  const away = new UnreachableError("Cannot reach the token server at idp:443: no such host");
  troubles.met(["look at kafka"], away, { server: "kafka" });
  assert.deepEqual(lines, [
    "WARN  waiting: Cannot reach the token server at idp:443: no such host",
  ]);
});
