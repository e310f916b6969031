import assert from "node:assert/strict";
import {
  createLog,
  type Log,
  LOG_TEXT_LENGTH_MAX,
  type LogOptions,
  sayOnChange,
} from "../lib/log.ts";
import { FakeClock } from "./fake_clock.ts";

const TIME = "2026-11-24T10:00:00.000Z";

function recorded(options: Partial<LogOptions> = {}): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const log = createLog({
    level: "debug",
    format: "json",
    write: (line) => lines.push(line),
    clock: new FakeClock(Date.parse(TIME)),
    ...options,
  });
  return { log, lines };
}

/** The only line, as JSON. */
function onlyEvent(lines: readonly string[]): Record<string, unknown> {
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /^[^\n]*\n$/);
  return JSON.parse(lines[0]!);
}

Deno.test("createLog() writes one JSON object a line", () => {
  const { log, lines } = recorded();
  log.warn("stored", { rows: 3, partition: 0, none: undefined });
  assert.deepEqual(lines, [
    `{"time":"${TIME}","level":"warn","message":"stored","rows":3,"partition":0}\n`,
  ]);
});

Deno.test("createLog() drops what is below its level", () => {
  const { log, lines } = recorded({ level: "warn" });
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  assert.deepEqual(lines.map((line) => JSON.parse(line).message), ["c", "d"]);
});

Deno.test("createLog() writes text for people", async (t) => {
  await t.step("aligned, quoted where needed", () => {
    const { log, lines } = recorded({ format: "text" });
    log.info("stored", { rows: 3, topic: "a b", host: "h:1", list: [1], none: undefined });
    assert.deepEqual(lines, [
      `${TIME} INFO  stored  rows=3  topic="a b"  host=h:1  list=[1]\n`,
    ]);
  });
  await t.step("auto: on a terminal only", () => {
    const person = recorded({ format: "auto", isTerminal: true });
    person.log.info("hello");
    assert.match(person.lines[0]!, /INFO {2}hello\n$/);
    const machine = recorded({ format: "auto", isTerminal: false });
    machine.log.info("hello");
    assert.equal(onlyEvent(machine.lines).message, "hello");
  });
});

Deno.test("child() adds its fields, and a field never hides time, level or message", () => {
  const { log, lines } = recorded();
  log.child({ partition: 1, attempt: 1 }).child({ topic: "t" }).info("x", {
    attempt: 2,
    level: "fatal",
    message: "fake",
  });
  assert.deepEqual(onlyEvent(lines), {
    time: TIME,
    level: "info",
    message: "x",
    partition: 1,
    attempt: 2,
    topic: "t",
    level_: "fatal",
    message_: "fake",
  });
});

Deno.test("createLog() escapes what could break a line or drive a terminal", async (t) => {
  const nasty = "a\r\nb\u001b[2J\u0000\u007f\u009b\u2028\u202e\ud800";
  for (const format of ["json", "text"] as const) {
    await t.step(format, () => {
      const { log, lines } = recorded({ format });
      log.info(nasty, { [nasty]: nasty });
      assert.equal(lines.length, 1);
      // deno-lint-ignore no-control-regex -- they are what must not be there
      assert.doesNotMatch(lines[0]!.slice(0, -1), /[\u0000-\u001f\u007f-\u009f\u2028\u202e]/);
      assert.equal(lines[0]!.at(-1), "\n");
    });
  }
  await t.step("json loses nothing", () => {
    const { log, lines } = recorded();
    log.info("x", { nasty });
    assert.equal(onlyEvent(lines).nasty, nasty);
  });
});

Deno.test("createLog() takes any value", () => {
  const { log, lines } = recorded();
  const loop: Record<string, unknown> = { name: "loop" };
  loop.self = loop;
  const shared = { x: 1 };
  log.info("x", {
    error: new Error("Cannot store 3 readings", { cause: new Error("connection closed") }),
    offset: 9007199254740993n,
    when: new Date(0),
    never: new Date(NaN),
    ratio: NaN,
    call: () => 1,
    none: null,
    loop,
    pair: [shared, shared],
  });
  assert.deepEqual(onlyEvent(lines), {
    time: TIME,
    level: "info",
    message: "x",
    error: "Cannot store 3 readings: connection closed",
    offset: "9007199254740993",
    when: "1970-01-01T00:00:00.000Z",
    never: null,
    ratio: "NaN",
    none: null,
    loop: { name: "loop", self: "[circular]" },
    pair: [{ x: 1 }, { x: 1 }],
  });
});

Deno.test("createLog() keeps the event when a field throws", () => {
  const { log, lines } = recorded();
  log.error("still said", {
    get broken(): string {
      throw new Error("getter");
    },
  });
  log.error("also said", {
    inner: {
      get broken(): string {
        throw new Error("getter");
      },
    },
  });
  assert.deepEqual(lines.map((line) => JSON.parse(line).message), ["still said", "also said"]);
});

Deno.test("createLog() shortens a long text", () => {
  const { log, lines } = recorded();
  log.info("x", { text: "y".repeat(100_000) });
  assert.equal(String(onlyEvent(lines).text).length, LOG_TEXT_LENGTH_MAX + 1);
});

Deno.test("createLog() shows no secret", async (t) => {
  const secret = 'p"ss wörd/\\1';
  for (const format of ["json", "text"] as const) {
    await t.step(format, () => {
      const { log, lines } = recorded({ format, secrets: [secret, "", undefined] });
      const inside = `before ${secret} after`;
      log.child({ inherited: inside }).info(inside, {
        field: inside,
        nested: { list: [inside] },
        [inside]: 1,
        error: new Error("outer", { cause: new Error(inside) }),
        url: `postgres://u:${encodeURIComponent(secret)}@h/d`,
        long: "x".repeat(LOG_TEXT_LENGTH_MAX - 3) + secret,
      });
      const line = lines.join("");
      for (const trace of ["wörd", "ss w", encodeURIComponent(secret), JSON.stringify(secret)]) {
        assert(!line.includes(trace), `${trace} in ${line}`);
      }
      assert.equal(line.match(/before \[redacted\] after/g)?.length, 6);
      assert.match(line, /u:\[redacted\]@h/);
    });
  }
  await t.step("a secret that contains another one", () => {
    const { log, lines } = recorded({ secrets: ["pass", "password"] });
    log.info("x", { field: "password pass" });
    assert.equal(onlyEvent(lines).field, "[redacted] [redacted]");
  });
});

Deno.test("sayOnChange() says a state once", () => {
  const said: string[] = [];
  const tell = sayOnChange("up", (state, previous) => said.push(`${previous} -> ${state}`));
  for (const state of ["up", "down", "down", "up", "up", "down"]) tell(state);
  assert.deepEqual(said, ["up -> down", "down -> up", "up -> down"]);
});
